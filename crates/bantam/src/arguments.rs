//! The command line as data: what clap reads, prints as help, and turns into completions and the man page.

use std::path::PathBuf;

use bantam_convert::{Types, type_names};
use bantam_engine::{ChatSettings, SamplingOptions};
use bantam_tensor::TensorType;
use bantam_train::adapters::MOST_RANK;
use clap::{Args, Parser, ValueEnum};

use crate::commands::Command;
use crate::size;

/// Small language models on your own machine.
#[derive(Debug, Parser)]
#[command(name = "bantam", version, propagate_version = true, max_term_width = 110, arg_required_else_help = true)]
#[command(after_help = "MODEL is a .gguf file, the first part of a split GGUF, or a Hugging Face directory.\n\
                        docs/commands.md says what scripts may rely on.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The model that every command takes first.
#[derive(Args, Clone, Debug)]
pub struct ModelArgument {
    /// A .gguf file, the first part of a split GGUF, or a Hugging Face directory
    #[arg(value_name = "MODEL", value_hint = clap::ValueHint::AnyPath)]
    pub model: PathBuf,
}

/// What a model takes memory for.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Loading")]
pub struct SizeArguments {
    /// Positions a sequence may hold; by default what the model was made for, up to 8192
    #[arg(short = 'c', long, value_name = "N", value_parser = positive())]
    pub context: Option<usize>,
    /// How keys and values of earlier positions are kept; by default f16, for logits f32
    #[arg(long, value_name = "FORMAT")]
    pub kv: Option<KvChoice>,
    /// Quantize the weights to this type while loading, such as q8_0
    #[arg(long = "type", value_name = "TYPE", value_parser = tensor_type)]
    pub quantize: Option<TensorType>,
    /// Threads that compute; by default one for each performance core that this process may use
    #[arg(short = 't', long, value_name = "N", value_parser = threads())]
    pub threads: Option<usize>,
}

/// How a model is brought into memory.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Loading")]
pub struct LoadArguments {
    #[command(flatten)]
    pub size: SizeArguments,
    /// Memory that may be used, such as 3G; by default what the machine has left
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub memory: Option<u64>,
    /// An adapter, a directory in PEFT's form or a GGUF file, with a factor behind a colon where it is not 1; may be given
    /// more than once
    #[arg(long, value_name = "ADAPTER[:SCALE]", value_hint = clap::ValueHint::AnyPath)]
    pub adapter: Vec<String>,
    /// Use adapters that were trained on another form or type of the model, where their shapes fit
    #[arg(long)]
    pub any_base: bool,
}

/// Formats of the attention memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum KvChoice {
    /// 32-bit floats: twice the memory, nothing rounded
    F32,
    /// 16-bit floats
    #[default]
    F16,
    /// 8-bit blocks: half the memory of f16
    #[value(name = "q8_0")]
    Q8_0,
}

/// When layers run again on the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RecomputeChoice {
    /// Where keeping their values would not fit into memory
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl From<RecomputeChoice> for bantam_train::Recompute {
    fn from(choice: RecomputeChoice) -> Self {
        match choice {
            RecomputeChoice::Auto => Self::Automatic,
            RecomputeChoice::Always => Self::Always,
            RecomputeChoice::Never => Self::Never,
        }
    }
}

/// How the next token is chosen. What is not given comes from the model's own defaults.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Sampling")]
pub struct SamplingArguments {
    /// 0 takes the likeliest token always; higher is more varied
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = not_negative)]
    pub temperature: Option<f32>,
    /// Choose among the K likeliest tokens; 0: all
    #[arg(long, value_name = "K")]
    pub top_k: Option<usize>,
    /// Choose among the likeliest tokens that together have this probability; 1: all
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = share)]
    pub top_p: Option<f32>,
    /// Drop tokens less likely than this share of the likeliest; 0: none
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = share)]
    pub min_p: Option<f32>,
    /// Keep the tokens closest to the expected surprise, up to this probability; 1: all
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = share)]
    pub typical_p: Option<f32>,
    /// Divide the logits of tokens seen lately by this; 1: off
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = positive_float)]
    pub repeat_penalty: Option<f32>,
    /// How many of the last tokens the penalties look at; 0: none, -1: the whole context
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..=1 << 32))]
    pub repeat_last_n: Option<i64>,
    /// Subtract this from the logits of tokens seen lately; 0: off
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = finite)]
    pub presence_penalty: Option<f32>,
    /// Subtract this from the logits of tokens seen lately, for each time; 0: off
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = finite)]
    pub frequency_penalty: Option<f32>,
    /// The same seed gives the same text; by default another each time
    #[arg(short = 's', long, value_name = "N")]
    pub seed: Option<u64>,
    /// Stop before this text; may be given more than once
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub stop: Vec<String>,
    /// Most tokens of an answer; by default until the model ends it or the context is full
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=1 << 40))]
    pub max_tokens: Option<u64>,
}

impl SamplingArguments {
    /// What was chosen, as the engine has it.
    pub fn settings(&self, think: Option<bool>) -> ChatSettings {
        let sampling = SamplingOptions {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            typical_p: self.typical_p,
            repeat_penalty: self.repeat_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            repeat_last_n: self.repeat_last_n,
            ..SamplingOptions::default()
        };
        let max_tokens = self.max_tokens.and_then(|most| usize::try_from(most).ok());
        ChatSettings { sampling, seed: self.seed, stop: self.stop.clone(), max_tokens, think }
    }
}

/// Whether the model is asked to think first.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct ThinkArguments {
    /// Ask the model to think first, and show its thoughts in a pipe too
    #[arg(long, overrides_with = "no_think")]
    pub think: bool,
    /// Ask the model not to think first
    #[arg(long, overrides_with = "think")]
    pub no_think: bool,
}

impl ThinkArguments {
    /// What was asked for, if anything was.
    pub fn choice(self) -> Option<bool> {
        match (self.think, self.no_think) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        }
    }
}

/// Accepts whole numbers from 1.
pub fn positive() -> impl clap::builder::TypedValueParser<Value = usize> {
    use clap::builder::TypedValueParser as _;
    clap::value_parser!(u64).range(1..=1 << 40).map(|number| number as usize)
}

/// Accepts an adapter's inner width, up to more than any model is wide.
pub fn rank() -> impl clap::builder::TypedValueParser<Value = usize> {
    use clap::builder::TypedValueParser as _;
    clap::value_parser!(u64).range(1..=MOST_RANK as u64).map(|number| number as usize)
}

/// Accepts as many sequences as make sense anywhere.
pub fn sequences() -> impl clap::builder::TypedValueParser<Value = usize> {
    use clap::builder::TypedValueParser as _;
    clap::value_parser!(u64).range(1..=4096).map(|number| number as usize)
}

/// Accepts as many threads as make sense anywhere.
pub fn threads() -> impl clap::builder::TypedValueParser<Value = usize> {
    use clap::builder::TypedValueParser as _;
    clap::value_parser!(u64).range(1..=1024).map(|number| number as usize)
}

/// Reads the name of a type to write, or of a mixture of types.
pub fn types_to_write(name: &str) -> Result<Types, String> {
    Types::from_name(name).ok_or_else(|| {
        let names: Vec<String> = type_names().collect();
        format!("there is no type '{name}' to write; known are {}", names.join(", "))
    })
}

/// Reads the name of a type.
pub fn tensor_type(name: &str) -> Result<TensorType, String> {
    TensorType::from_name(name).ok_or_else(|| {
        let names: Vec<_> = TensorType::ALL.iter().map(|known| known.name().to_ascii_lowercase()).collect();
        format!("there is no type '{name}'; known are {}", names.join(", "))
    })
}

/// Reads a number that is neither infinite nor NaN.
pub fn finite(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(format!("'{text}' is no number")),
    }
}

/// Reads a number from 0.
pub fn not_negative(text: &str) -> Result<f32, String> {
    finite(text).and_then(|number| if number >= 0.0 { Ok(number) } else { Err(format!("{text} is below 0")) })
}

/// Reads a number above 0.
pub fn positive_float(text: &str) -> Result<f32, String> {
    finite(text).and_then(|number| if number > 0.0 { Ok(number) } else { Err(format!("{text} is not above 0")) })
}

/// Reads a number from 0 to 1.
pub fn share(text: &str) -> Result<f32, String> {
    finite(text).and_then(|number| {
        if (0.0..=1.0).contains(&number) { Ok(number) } else { Err(format!("{text} is not between 0 and 1")) }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn arguments_are_consistent() {
        super::Cli::command().debug_assert();
    }
}
