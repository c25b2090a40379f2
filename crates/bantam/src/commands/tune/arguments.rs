//! What `bantam tune` is asked for, and what of that does not go together.

use std::path::PathBuf;

use anyhow::bail;
use bantam_convert::Types;
use bantam_kernels::Precision;
use bantam_runtime::Model;
use bantam_text::Moment;
use bantam_train::adapters::{ALL, Lora, MOST_RANK};
use bantam_train::optimiser::{AdamW, Muon};
use bantam_train::preference::Loss;
use bantam_train::schedule::Schedule;
use bantam_train::{Method, TrainOptions};
use clap::{Args, ValueEnum};

use super::{MODEL, scratch};
use crate::arguments::{
    ModelArgument, RecomputeChoice, not_negative, positive, positive_float, rank, share, threads, types_to_write,
};
use crate::commands::template::moment;
use crate::failure::Usage;
use crate::size;

/// Arguments of `bantam tune`.
#[derive(Args, Debug)]
pub struct TuneArguments {
    #[command(flatten)]
    pub model: ModelArgument,
    /// Examples: JSON lines, a JSON list, CSV, TSV or Parquet of any usual shape
    #[arg(value_name = "DATA", value_hint = clap::ValueHint::FilePath, required_unless_present = "from_scratch")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub scratch: scratch::ScratchArguments,
    /// The adapter's directory, in PEFT's form; from scratch, the new model's .gguf file
    #[arg(short = 'o', long = "output", value_name = "DIR")]
    pub output: PathBuf,
    /// Examples to measure on while it learns: a file, or a share of DATA such as 0.1
    #[arg(long, value_name = "FILE|SHARE", default_value = "0")]
    pub validation: String,
    /// Go on with a run that was stopped
    #[arg(long)]
    pub resume: bool,
    /// Replace an adapter that is there already
    #[arg(long, conflicts_with = "resume")]
    pub force: bool,
    /// Only say what it would take
    #[arg(long)]
    pub dry_run: bool,
    /// With full: the format of the matrices of the model that is written [default: as the model has them]
    #[arg(long = "type", value_name = "TYPE", value_parser = types_to_write)]
    pub types: Option<Types>,
    #[command(flatten)]
    pub adapter: AdapterOptions,
    #[command(flatten)]
    pub learning: LearningOptions,
    #[command(flatten)]
    pub examples: ExampleOptions,
    /// Memory that may be used, such as 3G; by default what the machine has left
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub memory: Option<u64>,
    /// Threads that compute; by default all that this process may use
    #[arg(short = 't', long, value_name = "N", value_parser = threads())]
    pub threads: Option<usize>,
}

/// What an adapter is.
#[derive(Args, Debug)]
#[command(next_help_heading = "Adapter")]
pub struct AdapterOptions {
    /// What is trained, and by what: adapters whose scale is alpha / rank (lora, dora) or alpha / √rank (rslora), every
    /// weight (full), or adapters by comparing answers (dpo, orpo, kto)
    #[arg(long, value_name = "METHOD", default_value = "rslora")]
    pub method: MethodChoice,
    /// With dpo and kto: what leaving the model as it was costs; with orpo: what odds count beside the answers' own loss
    /// [default: 0.1]
    #[arg(long, value_name = "X", value_parser = positive_float)]
    pub beta: Option<f32>,
    /// With dpo, orpo and kto: the adapters that learn [default: rslora]
    #[arg(long, value_name = "KIND")]
    pub kind: Option<KindChoice>,
    /// With dpo: share of the pairs that are taken to be the wrong way round [default: 0]
    #[arg(long, value_name = "X", value_parser = share)]
    pub label_smoothing: Option<f32>,
    /// Inner width [default: 16]
    #[arg(long, value_name = "N", value_parser = rank())]
    pub rank: Option<usize>,
    /// Other ranks of some modules, such as q_proj=8,down_proj=32
    #[arg(long, value_name = "NAME=N,…", value_delimiter = ',', value_parser = rank_pattern)]
    pub rank_pattern: Vec<(String, usize)>,
    /// Alpha [default: twice the rank; with rslora twice its root]
    #[arg(long, value_name = "X", value_parser = positive_float)]
    pub alpha: Option<f32>,
    /// Share of what an adapter reads that is left out at random while it learns [default: 0]
    #[arg(long, value_name = "X", value_parser = share)]
    pub dropout: Option<f32>,
    /// Modules that get an adapter, such as q_proj,v_proj or *_proj [default: all-linear]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub target: Vec<String>,
    /// Modules that are trained wholly beside the adapters, such as lm_head,embed_tokens or *norm
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub save_modules: Vec<String>,
}

/// Methods of tuning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MethodChoice {
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
pub enum KindChoice {
    /// LoRA
    Lora,
    /// Rank-stabilised LoRA
    Rslora,
    /// Weight-decomposed LoRA
    Dora,
}

impl MethodChoice {
    /// Whether answers are compared.
    pub fn compares(self) -> bool {
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
pub enum OptimiserChoice {
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
pub enum QuantizeChoice {
    /// 4-bit NormalFloat in blocks of 64, their scales in 8 bits (Dettmers et al. 2023), as bitsandbytes has it
    Nf4,
}

/// A module's name or pattern, and a rank.
fn rank_pattern(text: &str) -> Result<(String, usize), String> {
    let parts = text.rsplit_once('=').and_then(|(name, rank)| Some((name.to_owned(), rank.parse::<usize>().ok()?)));
    parts
        .filter(|(name, rank)| !name.is_empty() && (1..=MOST_RANK).contains(rank))
        .ok_or_else(|| "expected NAME=RANK".into())
}

/// How it learns.
#[derive(Args, Debug)]
#[command(next_help_heading = "Learning")]
pub struct LearningOptions {
    /// How often every example is seen
    #[arg(long, value_name = "N", default_value = "3", value_parser = positive())]
    pub epochs: usize,
    /// Examples of a step
    #[arg(long, value_name = "N", default_value = "8", value_parser = positive())]
    pub batch: usize,
    /// The learning rate at its height [default: 2e-4; with full 2e-5, with dpo, orpo and kto 5e-5]
    #[arg(long = "rate", value_name = "X", value_parser = positive_float)]
    pub rate: Option<f32>,
    /// How the learning rate goes: constant, linear, cosine or wsd
    #[arg(long, value_name = "NAME", default_value = "linear", value_parser = schedule)]
    pub schedule: Schedule,
    /// Share of the steps over which it rises
    #[arg(long, value_name = "X", default_value = "0.03", value_parser = share)]
    pub warmup: f32,
    /// Share of a weight, times the learning rate, that each step takes off
    #[arg(long, value_name = "X", default_value = "0", value_parser = not_negative)]
    pub weight_decay: f32,
    /// What takes the steps
    #[arg(long, value_name = "NAME", default_value = "adamw")]
    pub optimiser: OptimiserChoice,
    /// Most that the norm of a step's gradients may be; 0: any
    #[arg(long, value_name = "X", default_value = "1", value_parser = not_negative)]
    pub clip: f32,
    /// Hold the frozen matrices of layers in another form than the model's: nf4, with double quantization (QLoRA)
    #[arg(long, value_name = "TYPE")]
    pub quantize: Option<QuantizeChoice>,
    /// Multiply with frozen weights in f32, where it would be bf16: slower, and nothing rounded
    #[arg(long)]
    pub f32: bool,
    /// Seed of everything random
    #[arg(short = 's', long, value_name = "N", default_value = "0")]
    pub seed: u64,
    /// Measure on the validation examples every so many steps [default: at each epoch's end]
    #[arg(long, value_name = "N", value_parser = positive())]
    pub validate_every: Option<usize>,
    /// End with the weights that measured best, instead of the last
    #[arg(long)]
    pub keep_best: bool,
    /// Stop after so many measurements without a better one
    #[arg(long, value_name = "N", value_parser = positive())]
    pub patience: Option<usize>,
    /// Keep the state every so many steps
    #[arg(long, value_name = "N", default_value = "50", value_parser = positive())]
    pub save_every: usize,
}

/// What becomes of examples.
#[derive(Args, Debug)]
#[command(next_help_heading = "Examples")]
pub struct ExampleOptions {
    /// Most tokens of an example [default: the model's context, up to 2048]
    #[arg(long, value_name = "N", value_parser = positive())]
    pub max_length: Option<usize>,
    /// Leave examples out that are longer, instead of refusing them
    #[arg(long)]
    pub skip_long: bool,
    /// Tokens that run together; fewer take less memory and more time
    #[arg(long, value_name = "N", default_value = "1024", value_parser = positive())]
    pub rows: usize,
    /// Keep the order of the file
    #[arg(long)]
    pub in_order: bool,
    /// Use no chat template: prompts and completions as they are
    #[arg(long)]
    pub raw: bool,
    /// When to make the values of layers anew on the way back instead of keeping them: slower, for less memory
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub recompute: RecomputeChoice,
    /// The date that chat templates are told, as 2024-07-26; by default today, in UTC
    #[arg(long, value_name = "DATE", value_parser = moment)]
    pub date: Option<Moment>,
    /// Prompts of the validation examples that the report answers with both models; 0: none [default: 8]
    #[arg(long, value_name = "N")]
    pub samples: Option<usize>,
}

fn schedule(name: &str) -> Result<Schedule, String> {
    Schedule::from_name(name)
        .ok_or_else(|| format!("there is no schedule '{name}'; known are {}", Schedule::NAMES.join(", ")))
}

impl TuneArguments {
    /// Refuses what does not go together.
    pub fn check(&self, model: &Model) -> anyhow::Result<()> {
        let full = self.adapter.method == MethodChoice::Full;
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
        let LearningOptions { validate_every, keep_best, patience, f32, .. } = &self.learning;
        let of_validation = [
            ("--validate-every", validate_every.is_some()),
            ("--keep-best", *keep_best),
            ("--patience", patience.is_some()),
            ("--samples", self.examples.samples.is_some()),
        ];
        // A share of nothing is none, too.
        let measures = self.validation.parse::<f64>() != Ok(0.0);
        if let Some((option, _)) = of_validation.into_iter().find(|(_, given)| !measures && *given) {
            return Err(Usage(format!("{option} needs examples to measure on: --validation")).into());
        }
        if *f32 && full {
            return Err(Usage("--f32 is for frozen weights, and --method full has none".into()).into());
        }
        if self.examples.date.is_some() && self.examples.raw {
            return Err(Usage("--date is for chat templates, and --raw uses none".into()).into());
        }
        if label_smoothing.is_some() && *method != MethodChoice::Dpo {
            return Err(Usage("--label-smoothing is for --method dpo".into()).into());
        }
        Ok(())
    }

    /// How it is trained.
    pub fn options(&self) -> TrainOptions {
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
