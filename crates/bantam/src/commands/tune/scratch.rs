//! `bantam tune --from-scratch SPEC CORPUS… -o MODEL`: a small model from nothing.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, bail};
use bantam_kernels::Mapping;
use bantam_runtime::Model;
use bantam_train::Trainer;
use bantam_train::data::{Encoder, Example, fingerprint, step_order};
use bantam_train::scratch::{self, ScratchSpec, TrainingSpec};
use bantam_train::trainer::promise;
use clap::Args;

use super::data::{Examples, List};
use super::report;
use super::steps::{Course, Place, Room, same_bits, say_end};
use super::{TuneArguments, say_promise, stop};
use crate::failure::Usage;
use crate::interrupt::Interrupt;
use crate::models;
use crate::output::note;

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
            "types", "method", "beta", "kind", "label_smoothing", "rank", "rank_pattern", "alpha", "dropout", "target", "epochs", "batch", "rate", "schedule", "warmup", "weight_decay", "optimiser", "clip", "f32", "seed", "validate_every", "save_modules", "quantize", "samples", "date", "keep_best", "patience", "save_every", "max_length", "rows", "in_order", "raw", "recompute",
        ]
    )]
    pub from_scratch: Option<PathBuf>,
    /// With --from-scratch: more files of the corpus
    #[arg(value_name = "CORPUS", requires = "from_scratch")]
    pub corpus: Vec<PathBuf>,
}

/// Inside the directory of a run: the first weights, and before they are drawn a file of their shape.
const BEGUN: &str = "begun.gguf";
const OUTLINE: &str = "outline.gguf";

/// A folder that goes unless something was begun in it.
struct Folder<'a> {
    place: &'a Place,
    outline: PathBuf,
}

impl Drop for Folder<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.outline);
        // Refused while it holds anything.
        let _ = std::fs::remove_dir(&self.place.folder);
    }
}

/// Trains a new model.
pub fn run(arguments: &TuneArguments, spec_path: &Path) -> anyhow::Result<()> {
    let spec = ScratchSpec::read(spec_path)?;
    let corpus: Vec<PathBuf> =
        [&arguments.model.model].into_iter().chain(&arguments.data).chain(&arguments.scratch.corpus).cloned().collect();
    let target = &arguments.output;
    if target.is_dir() {
        bail!("{} is a folder: -o names the new model's file", target.display());
    }
    let place = Place::new(PathBuf::from(format!("{}.training", target.display())));
    place.check(arguments, target.exists().then(|| format!("{} is there already", target.display())))?;
    let interrupt = Interrupt::install_for_files()?;
    let keep_on = || !interrupt.is_set();
    std::fs::create_dir_all(&place.folder).with_context(|| place.folder.display().to_string())?;
    let folder = Folder { place: &place, outline: place.folder.join(OUTLINE) };
    let begun = place.folder.join(BEGUN);
    let beside = spec_path.parent().unwrap_or(Path::new("."));
    let beginning = if arguments.resume { None } else { scratch::beginning(&spec, beside)? };
    let is_given = arguments.resume || beginning.is_some();
    let vocabulary = if is_given { None } else { Some(stop(scratch::learn(&spec, &corpus, &keep_on))?) };
    if let Some(vocabulary) = &vocabulary {
        scratch::outline(&spec, vocabulary, &folder.outline)?;
    }
    let outlined = beginning.as_ref().unwrap_or(if vocabulary.is_some() { &folder.outline } else { &begun });
    let mut model = models::open_decoder(outlined, None)?;
    let examples = load_examples(arguments, &spec, &corpus, &model)?;
    let mut options = spec.options()?;
    (options.threads, options.memory_limit) = (arguments.threads, arguments.memory);
    let tokens = examples.room(&options);
    let each = examples.learned.tokens();
    let promised = promise(&model, &options, tokens, each * options.epochs as u64)?;
    if !arguments.dry_run {
        // Before anything of the model's size is in memory or on the disk.
        promised.check(&options)?;
        place.sweep(&[&begun, target])?;
        let begins = if arguments.resume { 0 } else { 4 * promised.trained };
        let result = scratch::finished_bytes(&spec, promised.trained)?;
        place.check_room(&Room::new(&promised, begins, result), false)?;
    }
    note(format!("the tokenizer has {} tokens", model.spec().vocabulary));
    say_promise(examples.learned.len(), each, &promised);
    if arguments.dry_run {
        return Ok(());
    }
    if let Some(vocabulary) = vocabulary {
        let found = scratch::begin(&spec, beside, &vocabulary, &begun)?;
        if found > 0 {
            note(format!("{found} tokens begin with a vector given"));
        }
        model = models::open_decoder(&begun, None)?;
    }
    if let Some(beginning) = beginning {
        std::fs::copy(&beginning, &begun).with_context(|| beginning.display().to_string())?;
        model = models::open_decoder(&begun, None)?;
    }
    drop(folder);
    let run = format!("{} {} {:?}", begun_fingerprint(&begun)?, examples.fingerprint, same_bits(&options));
    let mut trainer = stop(Trainer::new(&model, &options, tokens, run, &mut |_| keep_on()))?;
    if arguments.resume {
        trainer.restore(&place.state)?;
    }
    let begin = Instant::now();
    let TrainingSpec { validate_every, save_every, .. } = spec.training;
    let course = Course { place: &place, validate_every, keep_best: false, patience: None, save_every };
    course.take(&mut trainer, &examples, &interrupt)?;
    let standing = trainer.state.clone();
    scratch::finish(&spec, &begun, &trainer.into_learned(), target)?;
    report::write(&place.folder.join("run.json"), &model, &options, &standing, promised.memory)?;
    place.clear();
    let _ = std::fs::remove_file(&begun);
    say_end(begin, &standing, target);
    Ok(())
}

fn begun_fingerprint(begun: &Path) -> anyhow::Result<String> {
    let mapped = Mapping::open(begun).with_context(|| begun.display().to_string())?;
    Ok(bantam_runtime::fingerprint(mapped.as_ref()))
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
    Ok(Examples { learned: List::Examples(learned), validation: List::Examples(validation), fingerprint })
}
