//! `bantam tune MODEL DATA -o ADAPTER`: a LoRA adapter for a model, learned from examples.

mod arguments;
mod data;
mod page;
mod report;
mod samples;
mod scratch;
mod steps;

use std::path::Path;
use std::time::Instant;

use bantam_convert::Types;
use bantam_runtime::{Adapter, Model, PeftSettings, base_fingerprint, fingerprint, write_peft};
use bantam_text::Moment;
use bantam_train::adapters::Lora;
use bantam_train::checkpoint;
use bantam_train::trainer::{Promise, promise};
use bantam_train::{Method, TrainError, Trainer};

use super::merge::Replaced;
use super::template::moment;
use crate::failure::{Usage, interrupted};
use crate::interrupt::Interrupt;
use crate::models;
use crate::output::note;
use crate::prompter::now;
use crate::size;
pub use arguments::TuneArguments;
use arguments::{LearningOptions, MethodChoice};
use report::duration;
use steps::{Course, Place, Room, same_bits, say_end};

/// Longest examples where nobody says how long.
pub const DEFAULT_LENGTH: usize = 2048;
/// Prompts that a report answers where nobody says how many.
const SAMPLES: usize = 8;
/// An adapter's weights.
const ADAPTER: &str = "adapter_model.safetensors";
/// A model that was trained in full.
const MODEL: &str = "model.gguf";

/// Says what a run will take.
fn say_promise(examples: usize, tokens: u64, promised: &Promise) {
    note(format!(
        "{examples} examples, {} tokens an epoch; {} numbers are trained; needs {} of memory and about {}",
        size::count(tokens),
        size::count(promised.trained),
        size::format(promised.memory),
        duration(promised.seconds),
    ));
}

/// The day that chat templates are told: one for the whole run, whenever it goes on.
fn date(arguments: &TuneArguments, state: &Path) -> anyhow::Result<Moment> {
    let kept = if arguments.resume { checkpoint::state(state)?.date } else { String::new() };
    let day = |moment: Moment| Moment::date(moment.year, moment.month, moment.day);
    Ok(match (moment(&kept), arguments.examples.date) {
        (Ok(kept), None) => kept,
        (_, Some(date)) => day(date),
        (Err(_), None) => day(now()),
    })
}

/// A day as `--date` takes it.
fn in_digits(date: Moment) -> String {
    format!("{:04}-{:02}-{:02}", date.year, date.month, date.day)
}

/// Tunes.
pub fn run(arguments: &TuneArguments) -> anyhow::Result<()> {
    if let Some(spec) = &arguments.scratch.from_scratch {
        return scratch::run(arguments, spec);
    }
    let model = models::open_decoder(&arguments.model.model, None)?;
    arguments.check(&model)?;
    let place = Place::new(arguments.output.clone());
    let there = [ADAPTER, MODEL].iter().position(|name| arguments.output.join(name).exists());
    let there =
        there.map(|at| format!("{} holds {} already", arguments.output.display(), ["an adapter", "a model"][at]));
    place.check(arguments, there)?;
    let date = date(arguments, &place.state)?;
    let examples = data::load(arguments, &model, date)?;
    // A file may hold examples that are too long, and nothing else.
    if (arguments.learning.keep_best || arguments.learning.patience.is_some()) && examples.validation.len() == 0 {
        return Err(
            Usage("--keep-best and --patience need examples to measure on: --validation has none".into()).into()
        );
    }
    let options = arguments.options();
    let tokens = examples.room(&options);
    let each = examples.learned.tokens();
    let promised = promise(&model, &options, tokens, each * options.epochs as u64)?;
    if !arguments.dry_run {
        promised.check(&options)?;
        place.sweep(&[&arguments.output.join(ADAPTER), &arguments.output.join(MODEL)])?;
        let result = match &options.method {
            Method::Lora(_) => 4 * promised.trained,
            // Its matrices in other types take less, which is not known here.
            Method::Full if arguments.types.is_some() => 0,
            Method::Full => std::fs::metadata(&arguments.model.model).map_or(0, |file| file.len()),
        };
        place.check_room(&Room::new(&promised, 0, result), arguments.learning.keep_best)?;
    }
    say_promise(examples.learned.len(), each, &promised);
    if arguments.dry_run {
        return Ok(());
    }
    let base = base_fingerprint(model.checkpoint());
    let interrupt = Interrupt::install_for_files()?;
    std::fs::create_dir_all(&arguments.output)?;
    let LearningOptions { validate_every, keep_best, patience, save_every, .. } = arguments.learning;
    let (fingerprint, same) = (&examples.fingerprint, same_bits(&options));
    let run = format!("{base} {fingerprint} {same:?} {validate_every:?} {keep_best} {patience:?}");
    let loading = &mut |_: u64| !interrupt.is_set();
    let mut trainer = stop(Trainer::new(&model, &options, tokens, run, loading))?;
    trainer.state.date = in_digits(date);
    if arguments.resume {
        trainer.restore(&place.state)?;
    }
    let begin = Instant::now();
    let course = Course { place: &place, validate_every, keep_best, patience, save_every };
    let steps = course.take(&mut trainer, &examples, &interrupt)?;
    let taken = trainer.state.step;
    if keep_best && let Some((step, _)) = trainer.state.best().filter(|(step, _)| *step != taken) {
        trainer.restore_weights(&place.best)?;
        note(format!("the weights after step {step} measured best and are kept"));
    }
    match &options.method {
        Method::Lora(lora) => write_adapter(arguments, &model, lora, &mut trainer)?,
        Method::Full => {
            let (target, types) = (arguments.output.join(MODEL), arguments.types.unwrap_or(Types::AsIs));
            Replaced::write(&arguments.model.model, &target, trainer.weights(), (types, arguments.threads))?;
        }
    }
    report::write(&arguments.output.join("run.json"), &model, &options, &trainer.state, promised.memory)?;
    let (standing, adapter) = (trainer.state.clone(), trainer.adapter());
    // Both models are loaded for their answers, each when the one before is gone.
    drop(trainer);
    let tuned = || match &options.method {
        Method::Lora(_) => Ok(models::open_decoder(&arguments.model.model, None)?.with_adapters(vec![adapter])),
        Method::Full => models::open_decoder(&arguments.output.join(MODEL), None),
    };
    let asked = samples::choose(&examples.validation.answers(), arguments.examples.samples.unwrap_or(SAMPLES));
    let samples = samples::both(&model, tuned, &asked, arguments, &interrupt);
    if interrupt.is_set() {
        note(format!(
            "stopped before the report; {} is whole, and --resume writes the report",
            arguments.output.display()
        ));
        return Err(interrupted());
    }
    let samples = samples.unwrap_or_else(|error| {
        note(format!("the report has no answers: {error}"));
        Vec::new()
    });
    let outcome = report::Outcome { steps, best: keep_best, samples };
    report::page(&arguments.output.join("report.html"), &model, &options, &standing, outcome)?;
    place.clear();
    say_end(begin, &standing, &arguments.output);
    Ok(())
}

/// Writes the adapter's directory.
fn write_adapter(arguments: &TuneArguments, model: &Model, lora: &Lora, trainer: &mut Trainer) -> anyhow::Result<()> {
    let template = model.chat_template(false)?.filter(|_| !arguments.examples.raw);
    let settings = PeftSettings {
        rank: lora.rank,
        alpha: f64::from(lora.alpha),
        rank_stabilised: lora.rank_stabilised,
        dropout: lora.dropout,
        base: arguments.model.model.display().to_string(),
    };
    let template = template.map(|template| fingerprint(template.source().as_bytes()));
    let adapter = Adapter { template, ..trainer.adapter() };
    Ok(write_peft(&arguments.output, model.checkpoint(), &adapter, &settings)?)
}

/// An interruption as the command's own.
fn stop<T>(result: Result<T, TrainError>) -> anyhow::Result<T> {
    match result {
        Err(TrainError::Interrupted) => Err(interrupted()),
        other => Ok(other?),
    }
}
