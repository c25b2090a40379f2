//! What runs of every kind share: where they may begin, their steps, what is said at the end.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::bail;
use bantam_convert::free_space;
use bantam_formats::atomic::remove_unfinished;
use bantam_runtime::peak_memory;
use bantam_train::checkpoint::{self, State};
use bantam_train::trainer::Promise;
use bantam_train::{Recompute, TrainError, TrainOptions, Trainer};

use super::TuneArguments;
use super::data::{Examples, List};
use super::report::{Report, duration};
use crate::failure::interrupted;
use crate::interrupt::Interrupt;
use crate::output::note;
use crate::progress::Progress;
use crate::size;

/// Where a run leaves its state.
pub struct Place {
    /// The folder.
    pub folder: PathBuf,
    /// The state in it.
    pub state: PathBuf,
    /// The weights that measured best so far, beside it.
    pub best: PathBuf,
}

impl Place {
    /// In a folder.
    pub fn new(folder: PathBuf) -> Self {
        let (state, best) = (folder.join("training-state.safetensors"), folder.join("best-weights.safetensors"));
        Self { folder, state, best }
    }

    /// Refuses to write over what is there, and to go on with a run that is not. `there` says what would be written over.
    pub fn check(&self, arguments: &TuneArguments, there: Option<String>) -> anyhow::Result<()> {
        let folder = self.folder.display();
        if arguments.resume {
            if !self.state.exists() {
                bail!("there is no run to go on with in {folder}");
            }
            return Ok(());
        }
        if arguments.force || arguments.dry_run {
            return Ok(());
        }
        if let Some(there) = there {
            bail!("{there}; --force replaces it");
        }
        if self.state.exists() {
            bail!("{folder} holds a run that was stopped; --resume goes on with it, --force begins anew");
        }
        Ok(())
    }

    /// Removes what was left where a run was killed while it wrote its states, or one of `others`.
    pub fn sweep(&self, others: &[&Path]) -> anyhow::Result<()> {
        for path in [self.state.as_path(), &self.best].iter().chain(others) {
            remove_unfinished(path)?;
        }
        Ok(())
    }

    /// Refuses a run that the disk clearly has no room for, counting what it writes over; a disk that fills up later stops it
    /// with the last state whole.
    pub fn check_room(&self, room: &Room, best: bool) -> anyhow::Result<()> {
        let own = [&self.state, &self.best].map(|path| std::fs::metadata(path).map_or(0, |file| file.len()));
        let needed = room.most(best).saturating_sub(own.iter().sum());
        // The folder may not be there yet.
        let folder = self.folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
        match free_space(folder) {
            Some(free) if free < needed => bail!(
                "this run needs {} on the disk for its states and what comes of it, but {} has {} free; -o may name another place",
                size::format(needed),
                folder.display(),
                size::format(free)
            ),
            _ => Ok(()),
        }
    }

    /// What was trained is whole; this has done its duty.
    pub fn clear(&self) {
        for done in [&self.state, &self.best] {
            let _ = std::fs::remove_file(done);
        }
    }
}

/// Bytes that a run writes.
pub struct Room {
    /// A state.
    pub state: u64,
    /// All trained weights.
    pub weights: u64,
    /// What it begins with, still to be written.
    pub beginning: u64,
    /// What comes of it.
    pub result: u64,
}

impl Room {
    /// Of an adapter or model that was promised this.
    pub fn new(promised: &Promise, beginning: u64, result: u64) -> Self {
        Self { state: promised.state, weights: 4 * promised.trained, beginning, result }
    }

    /// Bytes at the most that lie there at the same time: each file is written beside the one it takes the place of.
    fn most(&self, best: bool) -> u64 {
        let best = if best { self.weights } else { 0 };
        let whole = self.state + best;
        self.beginning + whole + self.state.max(best).max(self.result)
    }
}

/// What tells a run from others: options without what changes no bit of it.
pub fn same_bits(options: &TrainOptions) -> TrainOptions {
    TrainOptions { threads: None, memory_limit: None, recompute: Recompute::Automatic, ..options.clone() }
}

/// The steps of a run.
pub struct Course<'a> {
    /// Where its state is kept.
    pub place: &'a Place,
    /// Steps between measurements; an epoch's where not given.
    pub validate_every: Option<usize>,
    /// Whether the weights that measure best are kept.
    pub keep_best: bool,
    /// Measurements without a better one after which it ends.
    pub patience: Option<usize>,
    /// Steps between states.
    pub save_every: usize,
}

impl Course<'_> {
    /// Takes the steps that are left, and gives how many there were to be in all. However it ends, there is a state to go on
    /// with.
    pub fn take(&self, trainer: &mut Trainer, examples: &Examples, interrupt: &Interrupt) -> anyhow::Result<usize> {
        let count = examples.learned.len();
        let steps = trainer.steps(count);
        let ended = self.all(trainer, examples, steps, &|| !interrupt.is_set());
        match ended {
            Ok(()) => Ok(steps),
            Err(TrainError::Interrupted) => {
                trainer.save(&self.place.state)?;
                note(format!("stopped after step {} of {steps}; --resume goes on", trainer.state.step));
                Err(interrupted())
            }
            Err(error) => Err(self.with_last_state(error).into()),
        }
    }

    /// Says of a loss that is no number which state stays: it may be older than the step before.
    fn with_last_state(&self, error: TrainError) -> TrainError {
        match (error, checkpoint::state(&self.place.state)) {
            (TrainError::NotFinite { step, what, value, .. }, Ok(last)) => {
                let (path, last) = (self.place.state.display(), last.step);
                let advice = format!(
                    "{path} holds the state after step {last}; going on would come to the same, but a lower learning rate or \
                     stronger clipping may help: they begin anew, with --force"
                );
                TrainError::NotFinite { step, what, value, advice }
            }
            (error, _) => error,
        }
    }

    fn all(
        &self,
        trainer: &mut Trainer,
        examples: &Examples,
        steps: usize,
        keep_on: &dyn Fn() -> bool,
    ) -> Result<(), TrainError> {
        let state = &self.place.state;
        let mut bar = Progress::start();
        let mut report = Report::begin(trainer.state.step, steps);
        let validate_every = self.validate_every.unwrap_or(trainer.steps_of_epoch(examples.learned.len())).max(1);
        // From here on there is something to go on with, whatever happens.
        trainer.save(state)?;
        if trainer.state.step == 0 {
            if matches!(examples.learned, List::Comparisons(_)) {
                examples.take_reference(trainer, keep_on)?;
                trainer.save(state)?;
            }
            self.measure(trainer, examples, keep_on)?;
        }
        // Where one was interrupted.
        if trainer.state.step > 0 && trainer.state.step.is_multiple_of(validate_every) {
            self.measure(trainer, examples, keep_on)?;
        }
        let goes_on =
            |state: &State| state.step < steps && self.patience.is_none_or(|most| state.measured_since_best() < most);
        while goes_on(&trainer.state) {
            let event = examples.learned.step(trainer, steps, keep_on)?;
            report.add(&event);
            let measured = event.step.is_multiple_of(validate_every) || event.step == steps;
            if measured {
                self.measure(trainer, examples, keep_on)?;
            }
            let validation = trainer.state.validation.last().map(|(_, loss)| *loss);
            if measured && validation.is_some() {
                // These lines stay.
                bar = Progress::start();
                note(report.line(&event, validation, peak_memory()));
            }
            bar.say(|| report.line(&event, validation, peak_memory()));
            if event.step.is_multiple_of(self.save_every) && event.step < steps {
                trainer.save(state)?;
            }
        }
        // Whatever comes of writing the result, it can be written again.
        trainer.save(state)?;
        self.measure(trainer, examples, keep_on)
    }

    /// Measures on the validation examples, if there are some and this step's loss is not known.
    fn measure(
        &self,
        trainer: &mut Trainer,
        examples: &Examples,
        keep_on: &dyn Fn() -> bool,
    ) -> Result<(), TrainError> {
        let step = trainer.state.step;
        if examples.validation.len() == 0 || trainer.state.validation.last().map(|(at, _)| *at) == Some(step) {
            return Ok(());
        }
        let loss = examples.validation.measure(trainer, keep_on)?;
        if !loss.is_finite() {
            let advice = "a lower learning rate may help".into();
            return Err(TrainError::NotFinite { step, what: "the validation loss", value: loss, advice });
        }
        trainer.state.validation.push((step, loss));
        if self.keep_best && trainer.state.best().is_some_and(|(best, _)| best == step) {
            trainer.save_weights(&self.place.best)?;
        }
        Ok(())
    }
}

/// Says what came of a run.
pub fn say_end(begin: Instant, standing: &State, result: &Path) {
    let last = standing.losses.last().copied().unwrap_or_default();
    note(format!(
        "{} steps in {}: loss {last:.4}{}; {}",
        standing.step,
        duration(begin.elapsed().as_secs_f64()),
        standing.validation.last().map_or(String::new(), |(_, loss)| format!(", validation {loss:.4}")),
        result.display()
    ));
}

#[cfg(test)]
mod tests {
    use super::{Place, Room};

    #[test]
    fn room_is_for_what_lies_there_at_once() {
        let room = |state, weights, beginning, result| Room { state, weights, beginning, result };
        let check = |room: Room, best: bool, expected: u64| assert_eq!(room.most(best), expected);
        // Two states while one takes the other's place.
        check(room(12, 4, 0, 4), false, 24);
        // The best weights beside them.
        check(room(12, 4, 0, 4), true, 28);
        // A model that is larger than the state of its adapter.
        check(room(12, 4, 0, 1000), true, 1016);
        check(room(12, 4, 4, 2), false, 28);
    }

    #[cfg(unix)]
    #[test]
    fn what_no_disk_holds_is_refused() {
        let place = Place::new(std::env::temp_dir().join("bantam-not-there").join("adapter"));
        let check = |state: u64, expected: Option<&str>| {
            let told = place.check_room(&Room { state, weights: 0, beginning: 0, result: 0 }, false);
            let told = told.err().map(|error| error.to_string());
            assert!(told.as_deref().unwrap_or_default().contains(expected.unwrap_or_default()), "{told:?}");
            assert_eq!(told.is_some(), expected.is_some());
        };
        check(0, None);
        let folder = std::env::temp_dir();
        let told = format!("but {} has", folder.display().to_string().trim_end_matches('/'));
        check(1 << 60, Some(&told));
    }
}
