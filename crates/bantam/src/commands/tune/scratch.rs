//! `bantam tune --from-scratch SPEC CORPUS… -o MODEL`: a small model from nothing.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, bail};
use bantam_runtime::{Fingerprint, Model, peak_memory};
use bantam_train::data::{Encoder, Example, fingerprint, step_order};
use bantam_train::scratch::{self, Average, ScratchSpec};
use bantam_train::trainer::promise;
use bantam_train::{Recompute, Tokens, TrainError, Trainer};
use clap::Args;

use super::report::{self, Report, duration};
use super::{TuneArguments, say_promise, stop};
use crate::failure::{Usage, interrupted};
use crate::interrupt::Interrupt;
use crate::models;
use crate::output::note;
use crate::progress::Progress;

/// What only a model from nothing has.
#[derive(Args, Debug)]
#[command(next_help_heading = "From scratch")]
pub struct ScratchArguments {
    /// Learn a new model: its shape, tokenizer and training are in this TOML file; what would be MODEL and DATA is its corpus
    #[arg(
        long,
        value_name = "SPEC",
        value_hint = clap::ValueHint::FilePath,
        conflicts_with_all = [
            "types", "method", "beta", "label_smoothing", "rank", "rank_pattern", "alpha", "dropout", "target", "epochs", "batch", "rate", "schedule", "warmup", "weight_decay", "optimiser", "clip", "f32", "seed", "validate_every", "save_modules", "quantize", "samples", "date", "keep_best", "patience", "save_every", "max_length", "rows", "in_order", "raw", "recompute",
        ]
    )]
    pub from_scratch: Option<PathBuf>,
    /// With --from-scratch: more files of the corpus
    #[arg(value_name = "CORPUS", requires = "from_scratch")]
    pub corpus: Vec<PathBuf>,
}

/// Inside the directory of a run.
const BEGUN: &str = "begun.gguf";
const STATE: &str = "training-state.safetensors";

/// What is learned from, and measured on.
struct Examples {
    learned: Vec<Example>,
    validation: Vec<Example>,
    fingerprint: Fingerprint,
}

/// Trains a new model.
pub fn run(arguments: &TuneArguments, spec_path: &Path) -> anyhow::Result<()> {
    let spec = ScratchSpec::read(spec_path)?;
    let corpus: Vec<PathBuf> =
        [&arguments.model.model].into_iter().chain(&arguments.data).chain(&arguments.scratch.corpus).cloned().collect();
    let target = &arguments.output;
    let directory = PathBuf::from(format!("{}.training", target.display()));
    let (begun, state) = (directory.join(BEGUN), directory.join(STATE));
    if !arguments.resume && !arguments.force && !arguments.dry_run {
        if target.exists() {
            bail!("{} is there already; --force replaces it", target.display());
        }
        if state.exists() {
            let there = directory.display();
            bail!("{there} holds a run that was stopped; --resume goes on with it, --force begins anew");
        }
    }
    if arguments.resume && !state.exists() {
        bail!("there is no run to go on with in {}", directory.display());
    }
    let interrupt = Interrupt::install_for_files()?;
    let keep_on = || !interrupt.is_set();
    std::fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    let mut found_vectors = 0;
    if !arguments.resume {
        let vocabulary = stop(scratch::learn(&spec, &corpus, &keep_on))?;
        let beside = spec_path.parent().unwrap_or(Path::new("."));
        let found = scratch::begin(&spec, beside, &vocabulary, &begun)?;
        found_vectors = found;
    }
    let model = models::open_decoder(&begun, None)?;
    let examples = load_examples(arguments, &spec, &corpus, &model)?;
    let mut options = spec.options()?;
    (options.threads, options.memory_limit) = (arguments.threads, arguments.memory);
    let tokens = Tokens::of(examples.learned.iter().chain(&examples.validation), &options);
    let each: u64 = examples.learned.iter().map(|example| example.tokens.len() as u64).sum();
    let promised = promise(&model, &options, tokens, each * options.epochs as u64)?;
    if !arguments.dry_run {
        promised.check(&options)?;
    }
    let known = match found_vectors {
        0 => String::new(),
        found => format!(", of which {found} begin with a vector given"),
    };
    note(format!("the tokenizer has {} tokens{known}", model.spec().vocabulary));
    say_promise(examples.learned.len(), each, &promised);
    if arguments.dry_run {
        if !state.exists() {
            std::fs::remove_dir_all(&directory)?;
        }
        return Ok(());
    }
    // Threads and memory change no bit of a run.
    let mut same = options.clone();
    (same.threads, same.memory_limit, same.recompute) = (None, None, Recompute::default());
    let run = format!("{} {} {} {same:?}", begun_fingerprint(&begun)?, examples.fingerprint, spec.training.average);
    let mut bar = Progress::start();
    let mut trainer = stop(Trainer::new(&model, &options, tokens, run, &mut |_| keep_on()))?;
    let mut average = (spec.training.average > 0.0).then(|| Average::begin(&mut trainer, spec.training.average));
    if arguments.resume {
        trainer.restore(&state)?;
        if let Some(average) = &mut average {
            average.restore(&directory, trainer.state.step)?;
        }
    }
    let steps = trainer.steps(examples.learned.len());
    let an_epoch = examples.learned.len().div_ceil(options.batch.max(1));
    let validate_every = spec.training.validate_every.unwrap_or(an_epoch);
    let mut report = Report::begin(trainer.state.step, steps);
    let begin = Instant::now();
    let save = |trainer: &mut Trainer, average: &Option<Average>| -> Result<(), TrainError> {
        // The average of this step stands before the state that asks for it, and the last one goes after it.
        let step = trainer.state.step;
        if let Some(average) = average {
            average.save(&directory, step)?;
        }
        trainer.save(&state)?;
        Average::forget(&directory, step);
        Ok(())
    };
    let mut finish = |trainer: &mut Trainer| -> Result<(), TrainError> {
        save(trainer, &average)?;
        while trainer.state.step < steps {
            let event = match trainer.step(&examples.learned, steps, &keep_on) {
                Err(TrainError::Interrupted) => {
                    save(trainer, &average)?;
                    return Err(TrainError::Interrupted);
                }
                other => other?,
            };
            report.add(&event);
            if let Some(average) = &mut average {
                average.add(trainer, event.step);
            }
            if !examples.validation.is_empty() && (event.step % validate_every == 0 || event.step == steps) {
                let loss = trainer.evaluate(&examples.validation, &keep_on);
                let loss = loss.map_err(|error| match error {
                    // The step was taken: the state says so, and a resumed run measures no more here.
                    TrainError::Interrupted => save(trainer, &average).err().unwrap_or(TrainError::Interrupted),
                    other => other,
                })?;
                trainer.state.validation.push((event.step, loss));
                bar = Progress::start();
                note(report.line(&event, Some(loss), peak_memory()));
            }
            bar.say(|| report.line(&event, trainer.state.validation.last().map(|(_, loss)| *loss), peak_memory()));
            if event.step % spec.training.save_every == 0 && event.step < steps {
                save(trainer, &average)?;
            }
        }
        Ok(())
    };
    let ended = finish(&mut trainer);
    drop(bar);
    match ended {
        Ok(()) => {}
        Err(TrainError::Interrupted) => {
            note(format!("stopped after step {} of {steps}; --resume goes on", trainer.state.step));
            return Err(interrupted());
        }
        Err(error) => return Err(error.into()),
    }
    let weights = average.map_or_else(|| trainer.weights(), |average| average.weights().to_vec());
    scratch::finish(&spec, &begun, &weights, target)?;
    report::write(&directory.join("run.json"), &model, &options, &trainer.state, promised.memory)?;
    // The model is whole; the rest has done its duty.
    for done in [&state, &begun] {
        let _ = std::fs::remove_file(done);
    }
    Average::forget(&directory, usize::MAX);
    let last = trainer.state.losses.last().copied().unwrap_or_default();
    let validation =
        trainer.state.validation.last().map_or(String::new(), |(_, loss)| format!(", validation {loss:.4}"));
    note(format!(
        "{steps} steps in {}: loss {last:.4}{validation}; {}",
        duration(begin.elapsed().as_secs_f64()),
        target.display()
    ));
    Ok(())
}

fn begun_fingerprint(begun: &Path) -> anyhow::Result<String> {
    Ok(bantam_runtime::fingerprint(&std::fs::read(begun).with_context(|| begun.display().to_string())?))
}

fn load_examples(
    arguments: &TuneArguments,
    spec: &ScratchSpec,
    corpus: &[PathBuf],
    model: &Model,
) -> anyhow::Result<Examples> {
    let tokenizer = model.tokenizer()?;
    let encoder = Encoder::new(tokenizer, model.chat_template(false)?, model.chat_template(true)?);
    let read = |corpus: &[PathBuf]| -> anyhow::Result<Vec<Example>> {
        let files = scratch::examples(corpus, tokenizer, &encoder, spec.context, arguments.examples.skip_long)?;
        for file in files.iter().filter(|file| file.skipped > 0) {
            let (path, skipped, context) = (file.path.display(), file.skipped, spec.context);
            note(format!("{path}: {skipped} examples are longer than {context} tokens and left out"));
        }
        Ok(files.into_iter().flat_map(|file| file.examples).collect())
    };
    let mut learned = read(corpus)?;
    let validation = match arguments.validation.parse::<f64>() {
        Ok(0.0) => Vec::new(),
        Ok(part) if (0.0..1.0).contains(&part) => {
            let count = ((learned.len() as f64 * part).round() as usize).max(1);
            if count >= learned.len() {
                bail!("{} examples are too few to keep a share of {part} of them for validation", learned.len());
            }
            // Drawn from the seed, so that a resumed run keeps the same ones.
            let mut kept = step_order(learned.len(), count, 0, Some(!spec.training.seed));
            kept.sort_unstable();
            let taken: Vec<Example> = kept.into_iter().rev().map(|at| learned.swap_remove(at)).collect();
            taken
        }
        Ok(_) => return Err(Usage("--validation takes a file, or a share from 0 up to 1".into()).into()),
        Err(_) => read(&[PathBuf::from(&arguments.validation)])?,
    };
    if learned.is_empty() {
        bail!("there is nothing in the corpus to learn");
    }
    let fingerprint = fingerprint(&[&learned, &validation]);
    Ok(Examples { learned, validation, fingerprint })
}
