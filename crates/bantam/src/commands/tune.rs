//! `bantam tune MODEL DATA -o ADAPTER`: a LoRA adapter for a model, learned from examples.

mod report;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::bail;
use bantam_kernels::Precision;
use bantam_runtime::{Fingerprint, Model, PeftSettings, base_fingerprint, peak_memory, write_peft};
use bantam_train::adapters::Lora;
use bantam_train::data::{DataFile, Encoder, Example, fingerprint, read, step_order};
use bantam_train::optimiser::{AdamW, Muon};
use bantam_train::preference::Loss;
use bantam_train::schedule::Schedule;
use bantam_train::trainer::promise;
use bantam_train::{Method, Recompute, Tokens, TrainError, TrainOptions, Trainer};
use clap::{Args, ValueEnum};
use serde_json::{Map, json};

use crate::arguments::{ModelArgument, RecomputeChoice, not_negative, positive, positive_float, rank, share, threads};
use crate::failure::{Usage, interrupted};
use crate::interrupt::Interrupt;
use crate::models;
use crate::output::note;
use crate::progress::Progress;
use crate::size;
use report::{Report, duration};

/// Arguments of `bantam tune`.
#[derive(Args, Debug)]
pub struct TuneArguments {
    #[command(flatten)]
    model: ModelArgument,
    /// Examples, a JSON object a line: messages, prompt and completion, or text
    #[arg(value_name = "DATA")]
    data: PathBuf,
    /// The adapter's directory, in PEFT's form
    #[arg(short = 'o', long = "output", value_name = "DIR")]
    output: PathBuf,
    /// Examples to measure on while it learns: a file, or a share of DATA such as 0.1
    #[arg(long, value_name = "FILE|SHARE", default_value = "0")]
    validation: String,
    /// Go on with a run that was stopped
    #[arg(long)]
    resume: bool,
    /// Replace an adapter that is there already
    #[arg(long, conflicts_with = "resume")]
    force: bool,
    /// Only say what it would take
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    adapter: AdapterOptions,
    #[command(flatten)]
    learning: LearningOptions,
    #[command(flatten)]
    examples: ExampleOptions,
    /// Memory that may be used, such as 3G; by default what the machine has left
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    memory: Option<u64>,
    /// Threads that compute; by default all that this process may use
    #[arg(short = 't', long, value_name = "N", value_parser = threads())]
    threads: Option<usize>,
}

/// What an adapter is.
#[derive(Args, Debug)]
#[command(next_help_heading = "Adapter")]
struct AdapterOptions {
    /// How its scale comes from alpha and rank: alpha / rank, or alpha / √rank
    #[arg(long, value_name = "METHOD", default_value = "rslora")]
    method: MethodChoice,
    /// Inner width
    #[arg(long, value_name = "N", default_value = "16", value_parser = rank())]
    rank: usize,
    /// Other ranks of some modules, such as q_proj=8,down_proj=32
    #[arg(long, value_name = "NAME=N,…", value_delimiter = ',', value_parser = rank_pattern)]
    rank_pattern: Vec<(String, usize)>,
    /// Alpha [default: twice the rank; with rslora twice its root]
    #[arg(long, value_name = "X", value_parser = positive_float)]
    alpha: Option<f32>,
    /// Share of what an adapter reads that is left out at random while it learns
    #[arg(long, value_name = "X", default_value = "0", value_parser = share)]
    dropout: f32,
    /// Modules that get an adapter, such as q_proj,v_proj or *_proj
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', default_value = "all-linear")]
    target: Vec<String>,
}

/// Methods of tuning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MethodChoice {
    /// LoRA (Hu et al. 2021)
    Lora,
    /// Rank-stabilised LoRA (Kalajdzievski 2023)
    Rslora,
}

/// Optimisers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OptimiserChoice {
    /// AdamW with states of f32
    Adamw,
    /// AdamW with states in blocks of 8 bits: a quarter of their memory
    #[value(name = "adamw-8bit")]
    Adamw8bit,
    /// Muon for the matrices of layers, AdamW for the rest: for full training
    Muon,
}

/// A module's name or pattern, and a rank.
fn rank_pattern(text: &str) -> Result<(String, usize), String> {
    let parts = text.rsplit_once('=').and_then(|(name, rank)| Some((name.to_owned(), rank.parse::<usize>().ok()?)));
    parts
        .filter(|(name, rank)| !name.is_empty() && (1..=65_536).contains(rank))
        .ok_or_else(|| "expected NAME=RANK".into())
}

/// How it learns.
#[derive(Args, Debug)]
#[command(next_help_heading = "Learning")]
struct LearningOptions {
    /// How often every example is seen
    #[arg(long, value_name = "N", default_value = "3", value_parser = positive())]
    epochs: usize,
    /// Examples of a step
    #[arg(long, value_name = "N", default_value = "8", value_parser = positive())]
    batch: usize,
    /// The learning rate at its height
    #[arg(long = "rate", value_name = "X", default_value = "2e-4", value_parser = positive_float)]
    rate: f32,
    /// How the learning rate goes: constant, linear, cosine or wsd
    #[arg(long, value_name = "NAME", default_value = "linear", value_parser = schedule)]
    schedule: Schedule,
    /// Share of the steps over which it rises
    #[arg(long, value_name = "X", default_value = "0.03", value_parser = share)]
    warmup: f32,
    /// Share of a weight, times the learning rate, that each step takes off
    #[arg(long, value_name = "X", default_value = "0", value_parser = not_negative)]
    weight_decay: f32,
    /// What takes the steps
    #[arg(long, value_name = "NAME", default_value = "adamw")]
    optimiser: OptimiserChoice,
    /// Most that the norm of a step's gradients may be; 0: any
    #[arg(long, value_name = "X", default_value = "1", value_parser = not_negative)]
    clip: f32,
    /// Multiply with frozen weights in f32, where it would be bf16: slower, and nothing rounded
    #[arg(long)]
    f32: bool,
    /// Seed of everything random
    #[arg(short = 's', long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Measure on the validation examples every so many steps [default: at each epoch's end]
    #[arg(long, value_name = "N", value_parser = positive())]
    validate_every: Option<usize>,
    /// Keep the state every so many steps
    #[arg(long, value_name = "N", default_value = "50", value_parser = positive())]
    save_every: usize,
}

/// What becomes of examples.
#[derive(Args, Debug)]
#[command(next_help_heading = "Examples")]
struct ExampleOptions {
    /// Most tokens of an example [default: the model's context, up to 2048]
    #[arg(long, value_name = "N", value_parser = positive())]
    max_length: Option<usize>,
    /// Leave examples out that are longer, instead of refusing them
    #[arg(long)]
    skip_long: bool,
    /// Tokens that run together; fewer take less memory and more time
    #[arg(long, value_name = "N", default_value = "1024", value_parser = positive())]
    rows: usize,
    /// Keep the order of the file
    #[arg(long)]
    in_order: bool,
    /// Use no chat template: prompts and completions as they are
    #[arg(long)]
    raw: bool,
    /// When to make the values of layers anew on the way back instead of keeping them: slower, for less memory
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    recompute: RecomputeChoice,
}

fn schedule(name: &str) -> Result<Schedule, String> {
    Schedule::from_name(name)
        .ok_or_else(|| format!("there is no schedule '{name}'; known are {}", Schedule::NAMES.join(", ")))
}

/// Longest examples where nobody says how long.
const DEFAULT_LENGTH: usize = 2048;
/// The state of a run, inside the adapter's directory.
const STATE: &str = "training-state.safetensors";

impl TuneArguments {
    fn options(&self) -> TrainOptions {
        let rank_stabilised = self.adapter.method == MethodChoice::Rslora;
        let rank = self.adapter.rank;
        let twice = 2.0 * if rank_stabilised { (rank as f32).sqrt() } else { rank as f32 };
        let lora = Lora {
            rank,
            ranks: self.adapter.rank_pattern.clone(),
            alpha: self.adapter.alpha.unwrap_or(twice),
            rank_stabilised,
            dropout: self.adapter.dropout,
            targets: self.adapter.target.clone(),
        };
        TrainOptions {
            method: Method::Lora(lora),
            loss: Loss::Tokens,
            rate: self.learning.rate,
            schedule: self.learning.schedule,
            warmup: self.learning.warmup,
            epochs: self.learning.epochs,
            batch: self.learning.batch,
            rows: self.examples.rows,
            clip: (self.learning.clip > 0.0).then_some(self.learning.clip),
            optimiser: AdamW {
                weight_decay: self.learning.weight_decay,
                eight_bit: self.learning.optimiser == OptimiserChoice::Adamw8bit,
                muon: (self.learning.optimiser == OptimiserChoice::Muon).then(Muon::default),
                ..AdamW::default()
            },
            seed: self.learning.seed,
            shuffle: !self.examples.in_order,
            recompute: self.examples.recompute.into(),
            precision: if self.learning.f32 { Precision::F32 } else { Precision::Bf16 },
            threads: self.threads,
            memory_limit: self.memory,
        }
    }
}

/// Examples to learn from, and to measure on.
struct Examples {
    learned: Vec<Example>,
    validation: Vec<Example>,
    fingerprint: Fingerprint,
}

fn load_examples(arguments: &TuneArguments, model: &Model) -> anyhow::Result<Examples> {
    let tokenizer = model.tokenizer()?;
    let template = |tools| if arguments.examples.raw { Ok(None) } else { model.chat_template(tools) };
    let encoder = Encoder::new(tokenizer, template(false)?, template(true)?);
    let context = model.context_length();
    let limit = arguments.examples.max_length.unwrap_or(DEFAULT_LENGTH.min(context));
    if limit > context {
        bail!("--max-length {limit} is more than the model's context of {context}");
    }
    let file = |path: &Path| -> anyhow::Result<DataFile> {
        let file = read(path, &encoder, limit, arguments.examples.skip_long)?;
        if file.skipped > 0 {
            note(format!("{}: {} examples are longer than {limit} tokens and left out", path.display(), file.skipped));
        }
        Ok(file)
    };
    let data = file(&arguments.data)?;
    let mut learned = data.examples;
    let validation = match arguments.validation.parse::<f64>() {
        Ok(0.0) => Vec::new(),
        Ok(part) if (0.0..1.0).contains(&part) => {
            let count = ((learned.len() as f64 * part).round() as usize).max(1);
            if count >= learned.len() {
                bail!("{} examples are too few to keep a share of {part} of them for validation", learned.len());
            }
            // Drawn from the seed, so that a resumed run keeps the same ones.
            let mut kept = step_order(learned.len(), count, 0, Some(!arguments.learning.seed));
            kept.sort_unstable();
            let mut taken = Vec::with_capacity(count);
            for at in kept.into_iter().rev() {
                taken.push(learned.remove(at));
            }
            taken
        }
        Ok(_) => return Err(Usage("--validation takes a file, or a share from 0 up to 1".into()).into()),
        Err(_) => file(Path::new(&arguments.validation))?.examples,
    };
    let fingerprint = fingerprint(&[&learned, &validation]);
    Ok(Examples { learned, validation, fingerprint })
}

/// Tunes.
pub fn run(arguments: &TuneArguments) -> anyhow::Result<()> {
    let model = models::open_decoder(&arguments.model.model, None)?;
    let state = arguments.output.join(STATE);
    let there = |name: &str| arguments.output.join(name).exists();
    if !arguments.resume && !arguments.force && !arguments.dry_run {
        if there("adapter_model.safetensors") {
            bail!("{} holds an adapter already; --force replaces it", arguments.output.display());
        }
        if state.exists() {
            bail!(
                "{} holds a run that was stopped; --resume goes on with it, --force begins anew",
                arguments.output.display()
            );
        }
    }
    if arguments.resume && !state.exists() {
        bail!("there is no run to go on with in {}", arguments.output.display());
    }
    let examples = load_examples(arguments, &model)?;
    let options = arguments.options();
    let tokens = Tokens::of(examples.learned.iter().chain(&examples.validation), &options);
    let each: u64 = examples.learned.iter().map(|example| example.tokens.len() as u64).sum();
    let promised = promise(&model, &options, tokens, each * options.epochs as u64)?;
    if !arguments.dry_run {
        promised.check(&options)?;
    }
    note(format!(
        "{} examples, {} tokens an epoch; {} numbers are trained; needs {} of memory and about {}",
        examples.learned.len(),
        size::count(each),
        size::count(promised.trained),
        size::format(promised.memory),
        duration(promised.seconds),
    ));
    if arguments.dry_run {
        return Ok(());
    }
    let base = base_fingerprint(model.checkpoint());
    let interrupt = Interrupt::install_for_files()?;
    std::fs::create_dir_all(&arguments.output)?;
    // Threads, memory and whether layers are kept change no bit of a run.
    let mut same = options.clone();
    (same.threads, same.memory_limit, same.recompute) = (None, None, Recompute::Automatic);
    let run = format!("{base} {} {same:?}", examples.fingerprint);
    let mut bar = Progress::start();
    let loading = &mut |_: u64| !interrupt.is_set();
    let mut trainer = stop(Trainer::new(&model, &options, tokens, run, loading))?;
    if arguments.resume {
        trainer.restore(&state)?;
    }
    let steps = trainer.steps(examples.learned.len());
    let an_epoch = examples.learned.len().div_ceil(options.batch.max(1));
    let validate_every = arguments.learning.validate_every.unwrap_or(an_epoch);
    let mut report = Report::begin(trainer.state.step, steps);
    let keep_on = || !interrupt.is_set();
    let measure = |trainer: &mut Trainer| -> Result<(), TrainError> {
        if !examples.validation.is_empty()
            && trainer.state.validation.last().map(|(at, _)| *at) != Some(trainer.state.step)
        {
            let loss = trainer.evaluate(&examples.validation, &keep_on)?;
            let step = trainer.state.step;
            trainer.state.validation.push((step, loss));
        }
        Ok(())
    };
    let begin = Instant::now();
    let mut finish = || -> Result<(), TrainError> {
        // From here on there is something to go on with, whatever happens.
        trainer.save(&state)?;
        if trainer.state.step == 0 {
            measure(&mut trainer)?;
        }
        while trainer.state.step < steps {
            let event = trainer.step(&examples.learned, steps, &keep_on)?;
            if event.step % validate_every == 0 || event.step == steps {
                measure(&mut trainer)?;
            }
            bar.say(|| report.line(&event, trainer.state.validation.last().map(|(_, loss)| *loss), peak_memory()));
            if event.step % arguments.learning.save_every == 0 && event.step < steps {
                trainer.save(&state)?;
            }
        }
        // Where the last one was interrupted.
        measure(&mut trainer)
    };
    let ended = finish();
    drop(bar);
    match ended {
        Ok(()) => {}
        Err(TrainError::Interrupted) => {
            trainer.save(&state)?;
            note(format!("stopped after step {} of {steps}; --resume goes on", trainer.state.step));
            return Err(interrupted());
        }
        Err(error) => return Err(error.into()),
    }
    let Method::Lora(lora) = &options.method else { bail!("only adapters are written") };
    let template = model.chat_template(false)?.filter(|_| !arguments.examples.raw);
    let mut notes = Map::new();
    notes.insert("base_fingerprint".into(), json!(base));
    notes.insert(
        "template_fingerprint".into(),
        json!(template.map(|template| bantam_runtime::fingerprint(template.source().as_bytes()))),
    );
    notes.insert("steps".into(), json!(steps));
    let settings = PeftSettings {
        rank: lora.rank,
        alpha: f64::from(lora.alpha),
        rank_stabilised: lora.rank_stabilised,
        dropout: lora.dropout,
        base: arguments.model.model.display().to_string(),
        notes,
    };
    let adapter = trainer.adapter();
    write_peft(&arguments.output, model.checkpoint(), &adapter, &settings)?;
    report::write(&arguments.output.join("run.json"), &model, &options, &trainer.state, promised.memory)?;
    // The adapter is whole; the state has done its duty.
    let _ = std::fs::remove_file(&state);
    let last = trainer.state.losses.last().copied().unwrap_or_default();
    note(format!(
        "{} steps in {}: loss {last:.4}{}; {}",
        steps,
        duration(begin.elapsed().as_secs_f64()),
        trainer.state.validation.last().map_or(String::new(), |(_, loss)| format!(", validation {loss:.4}")),
        arguments.output.display()
    ));
    Ok(())
}

/// An interruption as the command's own.
fn stop<T>(result: Result<T, TrainError>) -> anyhow::Result<T> {
    match result {
        Err(TrainError::Interrupted) => Err(interrupted()),
        other => Ok(other?),
    }
}
