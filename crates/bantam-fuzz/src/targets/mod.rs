//! What is fuzzed: one file per target, one row per target in [`TARGETS`].

mod adapter;
mod checkpoint;
mod constraints;
mod convert;
mod data;
mod directory;
mod gguf;
mod model;
mod quantized;
mod safetensors;
mod template;
mod tokenizer;
mod tool_calls;

use bantam_testkit::mutate::Region;

/// A well-formed input to damage, and where damage tells most.
#[derive(Clone, Debug)]
pub struct Input {
    /// The input.
    pub bytes: Vec<u8>,
    /// The part that mutations favour.
    pub region: Region,
    /// Whether every second one is damaged in its words and not in its bytes.
    pub text: bool,
}

/// A parser under attack.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Name on the command line.
    pub name: &'static str,
    /// What is attacked, in a few words.
    pub about: &'static str,
    /// Makes well-formed inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Whether inputs are texts, whose words are worth damaging, too.
    pub text: bool,
    /// Where the mutations of an input should fall.
    pub region: fn(&[u8]) -> Region,
    /// Hands an input to the parser and uses what comes out; whether it was accepted.
    pub take: fn(&[u8]) -> bool,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    gguf::TARGET,
    safetensors::TARGET,
    tokenizer::JSON,
    tokenizer::SENTENCEPIECE,
    tokenizer::ADDED_TOKENS,
    tokenizer::VOCAB_TXT,
    tokenizer::VOCABULARY,
    checkpoint::GGUF,
    checkpoint::CONFIG,
    template::TARGET,
    tool_calls::TARGET,
    model::TARGET,
    quantized::PARTS,
    quantized::SETTINGS,
    directory::INDEX,
    directory::GENERATION,
    directory::ROPE,
    constraints::SCHEMA,
    constraints::EXPRESSION,
    constraints::CHOICES,
    constraints::LARK,
    constraints::GBNF,
    convert::DIRECTORY,
    convert::GGUF,
    data::ROWS,
    data::PARQUET,
    adapter::GGUF,
    adapter::CONFIG,
    adapter::TENSORS,
];

impl Target {
    /// The target of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// An input with the region that fits it.
    pub fn input(&self, bytes: Vec<u8>) -> Input {
        Input { region: (self.region)(&bytes), bytes, text: self.text }
    }

    /// The inputs made here.
    pub fn inputs(&self) -> Vec<Input> {
        (self.seeds)().into_iter().map(|bytes| self.input(bytes)).collect()
    }
}
