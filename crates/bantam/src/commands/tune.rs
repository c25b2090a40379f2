//! `bantam tune MODEL DATA -o ADAPTER`: a LoRA adapter for a model, learned from examples.

mod data;
mod page;
mod report;
mod samples;
mod scratch;
mod steps;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::bail;
use bantam_convert::Types;
use bantam_kernels::Precision;
use bantam_runtime::{Model, PeftSettings, base_fingerprint, write_peft};
use bantam_text::Moment;
use bantam_train::adapters::{ALL, Lora};
use bantam_train::checkpoint;
use bantam_train::optimiser::{AdamW, Muon};
use bantam_train::preference::Loss;
use bantam_train::schedule::Schedule;
use bantam_train::trainer::{Promise, promise};
use bantam_train::{Method, TrainError, TrainOptions, Trainer};
use clap::{Args, ValueEnum};
use serde_json::{Map, json};

use super::merge::Replaced;
use super::template::moment;
use crate::arguments::{
    ModelArgument, RecomputeChoice, not_negative, positive, positive_float, rank, share, threads, types_to_write,
};
use crate::failure::{Usage, interrupted};
use crate::interrupt::Interrupt;
use crate::models;
use crate::output::note;
use crate::prompter::now;
use crate::size;
use report::duration;
use steps::{Course, Place, Room, same_bits, say_end};

/// Arguments of `bantam tune`.
#[derive(Args, Debug)]
pub struct TuneArguments {
    #[command(flatten)]
    model: ModelArgument,
    /// Examples: JSON lines, a JSON list, CSV, TSV or Parquet of any usual shape
    #[arg(value_name = "DATA", value_hint = clap::ValueHint::FilePath, required_unless_present = "from_scratch")]
    data: Option<PathBuf>,
    #[command(flatten)]
    scratch: scratch::ScratchArguments,
    /// The adapter's directory, in PEFT's form; from scratch, the new model's .gguf file
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
    /// With full: the format of the matrices of the model that is written [default: as the model has them]
    #[arg(long = "type", value_name = "TYPE", value_parser = types_to_write)]
    types: Option<Types>,
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
    /// What is trained, and by what: adapters whose scale is alpha / rank (lora, dora) or alpha / √rank (rslora), every
    /// weight (full), or adapters by comparing answers (dpo, orpo, kto)
    #[arg(long, value_name = "METHOD", default_value = "rslora")]
    method: MethodChoice,
    /// With dpo and kto: what leaving the model as it was costs; with orpo: what odds count beside the answers' own loss
    /// [default: 0.1]
    #[arg(long, value_name = "X", value_parser = positive_float)]
    beta: Option<f32>,
    /// With dpo, orpo and kto: the adapters that learn [default: rslora]
    #[arg(long, value_name = "KIND")]
    kind: Option<KindChoice>,
    /// With dpo: share of the pairs that are taken to be the wrong way round [default: 0]
    #[arg(long, value_name = "X", value_parser = share)]
    label_smoothing: Option<f32>,
    /// Inner width [default: 16]
    #[arg(long, value_name = "N", value_parser = rank())]
    rank: Option<usize>,
    /// Other ranks of some modules, such as q_proj=8,down_proj=32
    #[arg(long, value_name = "NAME=N,…", value_delimiter = ',', value_parser = rank_pattern)]
    rank_pattern: Vec<(String, usize)>,
    /// Alpha [default: twice the rank; with rslora twice its root]
    #[arg(long, value_name = "X", value_parser = positive_float)]
    alpha: Option<f32>,
    /// Share of what an adapter reads that is left out at random while it learns [default: 0]
    #[arg(long, value_name = "X", value_parser = share)]
    dropout: Option<f32>,
    /// Modules that get an adapter, such as q_proj,v_proj or *_proj [default: all-linear]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    target: Vec<String>,
    /// Modules that are trained wholly beside the adapters, such as lm_head,embed_tokens or *norm
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    save_modules: Vec<String>,
}

/// Methods of tuning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MethodChoice {
    /// LoRA (Hu et al. 2021)
    Lora,
    /// Rank-stabilised LoRA (Kalajdzievski 2023)
    Rslora,
    /// Weight-decomposed LoRA (Liu et al. 2024): lengths of rows are learned apart from their directions
    Dora,
    /// Every weight: the output holds a model
    Full,
    /// Direct preference optimisation (Rafailov et al. 2023) of chosen and rejected answers; --kind says by which adapters
    Dpo,
    /// The same by odds ratios (Hong et al. 2024), without a reference
    Orpo,
    /// The same by Kahneman-Tversky optimisation (Ethayarajh et al. 2024) of answers that are good or bad
    Kto,
}

/// Kinds of adapters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KindChoice {
    /// LoRA
    Lora,
    /// Rank-stabilised LoRA
    Rslora,
    /// Weight-decomposed LoRA
    Dora,
}

impl MethodChoice {
    fn compares(self) -> bool {
        matches!(self, Self::Dpo | Self::Orpo | Self::Kto)
    }
}

impl AdapterOptions {
    /// What kind of adapter learns, if one does.
    fn kind(&self) -> Option<KindChoice> {
        match self.method {
            MethodChoice::Lora => Some(KindChoice::Lora),
            MethodChoice::Rslora => Some(KindChoice::Rslora),
            MethodChoice::Dora => Some(KindChoice::Dora),
            MethodChoice::Full => None,
            MethodChoice::Dpo | MethodChoice::Orpo | MethodChoice::Kto => Some(self.kind.unwrap_or(KindChoice::Rslora)),
        }
    }
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

/// What frozen weights are held in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum QuantizeChoice {
    /// 4-bit NormalFloat in blocks of 64, their scales in 8 bits (Dettmers et al. 2023), as bitsandbytes has it
    Nf4,
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
    /// The learning rate at its height [default: 2e-4; with full 2e-5, with dpo, orpo and kto 5e-5]
    #[arg(long = "rate", value_name = "X", value_parser = positive_float)]
    rate: Option<f32>,
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
    /// Hold the frozen matrices of layers in another form than the model's: nf4, with double quantization (QLoRA)
    #[arg(long, value_name = "TYPE")]
    quantize: Option<QuantizeChoice>,
    /// Multiply with frozen weights in f32, where it would be bf16: slower, and nothing rounded
    #[arg(long)]
    f32: bool,
    /// Seed of everything random
    #[arg(short = 's', long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Measure on the validation examples every so many steps [default: at each epoch's end]
    #[arg(long, value_name = "N", value_parser = positive())]
    validate_every: Option<usize>,
    /// End with the weights that measured best, instead of the last
    #[arg(long)]
    keep_best: bool,
    /// Stop after so many measurements without a better one
    #[arg(long, value_name = "N", value_parser = positive())]
    patience: Option<usize>,
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
    /// The date that chat templates are told, as 2024-07-26; by default today, in UTC
    #[arg(long, value_name = "DATE", value_parser = moment)]
    date: Option<Moment>,
    /// Prompts of the validation examples that the report answers with both models; 0: none
    #[arg(long, value_name = "N", default_value = "8")]
    samples: usize,
}

fn schedule(name: &str) -> Result<Schedule, String> {
    Schedule::from_name(name)
        .ok_or_else(|| format!("there is no schedule '{name}'; known are {}", Schedule::NAMES.join(", ")))
}

/// What choosing by a measure lacks.
const NO_VALIDATION: &str = "--keep-best and --patience need examples to measure on: --validation";
/// Longest examples where nobody says how long.
pub const DEFAULT_LENGTH: usize = 2048;
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

impl TuneArguments {
    /// Refuses what does not go together.
    fn check(&self, model: &Model) -> anyhow::Result<()> {
        let full = self.adapter.method == MethodChoice::Full;
        if (self.learning.keep_best || self.learning.patience.is_some()) && self.validation == "0" {
            return Err(Usage(NO_VALIDATION.into()).into());
        }
        if self.types.is_some() && !full {
            return Err(Usage("--type is for --method full; bantam merge writes a model with an adapter".into()).into());
        }
        self.check_ignored()?;
        if full {
            let checkpoint = model.checkpoint();
            if checkpoint.architecture().is_none() {
                bail!("--method full trains a GGUF model; bantam convert makes one of {}", self.model.model.display());
            }
            let (source, target) = (&self.model.model, self.output.join(MODEL));
            if let (Ok(source), Ok(target)) = (source.canonicalize(), target.canonicalize())
                && source == target
            {
                bail!("{} is the model that is trained: name another directory with -o", target.display());
            }
            // Told before it is trained, not when it is to be written.
            let unwritable = |name: &str| {
                let known = checkpoint.tensor(name)?.tensor_type.as_ref().ok()?;
                (known.is_quantized() && !known.can_encode()).then(|| known.name())
            };
            let mut weights = model.plan().weights.iter();
            if matches!(self.types, None | Some(Types::AsIs))
                && let Some((name, kind)) = weights.find_map(|weight| Some((&weight.name, unwritable(&weight.name)?)))
            {
                bail!(
                    "--method full: `{name}` is {kind}, which can be read but not written; name a format with --type"
                );
            }
            let apart = |weight: &str| checkpoint.tensor(weight).is_none_or(|tensor| tensor.file_name == weight);
            if let Some(weight) = model.plan().weights.iter().find(|weight| !apart(&weight.name)) {
                bail!("--method full: the file holds `{}` within another tensor, which is not supported", weight.name);
            }
        }
        Ok(())
    }

    /// Refuses options that the method would not look at.
    fn check_ignored(&self) -> anyhow::Result<()> {
        let AdapterOptions {
            method,
            beta,
            kind,
            label_smoothing,
            rank,
            rank_pattern,
            alpha,
            dropout,
            target,
            save_modules,
        } = &self.adapter;
        let of_adapters = [
            ("--rank", rank.is_some()),
            ("--rank-pattern", !rank_pattern.is_empty()),
            ("--alpha", alpha.is_some()),
            ("--dropout", dropout.is_some()),
            ("--target", !target.is_empty()),
            ("--save-modules", !save_modules.is_empty()),
            ("--quantize", self.learning.quantize.is_some()),
        ];
        let full = *method == MethodChoice::Full;
        let given = of_adapters.into_iter().find(|(_, given)| full && *given);
        if let Some((option, _)) = given {
            return Err(Usage(format!("{option} is for adapters, and --method full has none")).into());
        }
        let of_comparisons = [("--beta", beta.is_some()), ("--kind", kind.is_some())];
        if let Some((option, _)) = of_comparisons.into_iter().find(|(_, given)| !method.compares() && *given) {
            let told = format!("{option} is for answers that are compared: --method dpo, orpo or kto");
            return Err(Usage(told).into());
        }
        if label_smoothing.is_some() && *method != MethodChoice::Dpo {
            return Err(Usage("--label-smoothing is for --method dpo".into()).into());
        }
        Ok(())
    }

    fn options(&self) -> TrainOptions {
        let (method, beta) = (self.adapter.method, self.adapter.beta.unwrap_or(0.1));
        let kind = self.adapter.kind();
        let rank_stabilised = kind == Some(KindChoice::Rslora);
        let rank = self.adapter.rank.unwrap_or(16);
        let twice = 2.0 * if rank_stabilised { (rank as f32).sqrt() } else { rank as f32 };
        let lora = Lora {
            rank,
            ranks: self.adapter.rank_pattern.clone(),
            alpha: self.adapter.alpha.unwrap_or(twice),
            rank_stabilised,
            dora: kind == Some(KindChoice::Dora),
            dropout: self.adapter.dropout.unwrap_or(0.0),
            targets: if self.adapter.target.is_empty() { vec![ALL.into()] } else { self.adapter.target.clone() },
            saved: self.adapter.save_modules.clone(),
        };
        TrainOptions {
            method: if method == MethodChoice::Full { Method::Full } else { Method::Lora(lora) },
            loss: match method {
                MethodChoice::Lora | MethodChoice::Rslora | MethodChoice::Dora | MethodChoice::Full => Loss::Tokens,
                MethodChoice::Dpo => Loss::Dpo { beta, smoothing: self.adapter.label_smoothing.unwrap_or(0.0) },
                MethodChoice::Orpo => Loss::Orpo { beta },
                MethodChoice::Kto => Loss::Kto { beta, desirable: 1.0, undesirable: 1.0 },
            },
            rate: self.learning.rate.unwrap_or(match method {
                MethodChoice::Lora | MethodChoice::Rslora | MethodChoice::Dora => 2e-4,
                MethodChoice::Full => 2e-5,
                MethodChoice::Dpo | MethodChoice::Orpo | MethodChoice::Kto => 5e-5,
            }),
            schedule: self.learning.schedule,
            warmup: self.learning.warmup,
            dropout: 0.0,
            prompt_weight: 0.0,
            average: 0.0,
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
            nf4: self.learning.quantize == Some(QuantizeChoice::Nf4),
            threads: self.threads,
            memory_limit: self.memory,
        }
    }
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
    let there = ["adapter_model.safetensors", MODEL].iter().position(|name| arguments.output.join(name).exists());
    let there =
        there.map(|at| format!("{} holds {} already", arguments.output.display(), ["an adapter", "a model"][at]));
    place.check(arguments, there)?;
    let date = date(arguments, &place.state)?;
    let examples = data::load(arguments, &model, date)?;
    if (arguments.learning.keep_best || arguments.learning.patience.is_some()) && examples.validation.len() == 0 {
        return Err(Usage(NO_VALIDATION.into()).into());
    }
    let options = arguments.options();
    let tokens = examples.room(&options);
    let each = examples.learned.tokens();
    let promised = promise(&model, &options, tokens, each * options.epochs as u64)?;
    if !arguments.dry_run {
        promised.check(&options)?;
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
        Method::Lora(lora) => write_adapter(arguments, &model, lora, &mut trainer, &base.to_string())?,
        Method::Full => {
            let (target, types) = (arguments.output.join(MODEL), arguments.types.unwrap_or(Types::AsIs));
            Replaced::write(&arguments.model.model, &target, trainer.weights(), (types, arguments.threads))?;
        }
    }
    report::write(&arguments.output.join("run.json"), &model, &options, &trainer.state, promised.memory)?;
    place.clear();
    let (standing, adapter) = (trainer.state.clone(), trainer.adapter());
    // Both models are loaded for their answers, each when the one before is gone.
    drop(trainer);
    let tuned = || match &options.method {
        Method::Lora(_) => Ok(models::open_decoder(&arguments.model.model, None)?.with_adapters(vec![adapter])),
        Method::Full => models::open_decoder(&arguments.output.join(MODEL), None),
    };
    let asked = samples::choose(&examples.validation.answers(), arguments.examples.samples);
    let samples = samples::both(&model, tuned, &asked, arguments, &interrupt).unwrap_or_else(|error| {
        note(format!("the report has no answers: {error}"));
        Vec::new()
    });
    let outcome = report::Outcome { steps, best: keep_best, samples };
    report::page(&arguments.output.join("report.html"), &model, &options, &standing, outcome)?;
    say_end(begin, &standing, &arguments.output);
    Ok(())
}

/// Writes the adapter's directory.
fn write_adapter(
    arguments: &TuneArguments,
    model: &Model,
    lora: &Lora,
    trainer: &mut Trainer,
    base: &str,
) -> anyhow::Result<()> {
    let template = model.chat_template(false)?.filter(|_| !arguments.examples.raw);
    let mut notes = Map::new();
    notes.insert("base_fingerprint".into(), json!(base));
    notes.insert(
        "template_fingerprint".into(),
        json!(template.map(|template| bantam_runtime::fingerprint(template.source().as_bytes()))),
    );
    notes.insert("steps".into(), json!(trainer.state.step));
    let settings = PeftSettings {
        rank: lora.rank,
        alpha: f64::from(lora.alpha),
        rank_stabilised: lora.rank_stabilised,
        dropout: lora.dropout,
        base: arguments.model.model.display().to_string(),
        notes,
    };
    let adapter = trainer.adapter();
    Ok(write_peft(&arguments.output, model.checkpoint(), &adapter, &settings)?)
}

/// An interruption as the command's own.
fn stop<T>(result: Result<T, TrainError>) -> anyhow::Result<T> {
    match result {
        Err(TrainError::Interrupted) => Err(interrupted()),
        other => Ok(other?),
    }
}
