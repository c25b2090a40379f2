//! The memory promise: what a model will take, said before it is loaded.

use bantam_model::Checkpoint;
use bantam_plan::{ProgramMemory, WeightView, Weights};
use bantam_tensor::TensorType;
use bantam_text::Tokenizer;

/// Bytes that loading and running a model takes, by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryPromise {
    /// Weights repacked for this machine.
    pub weights: u64,
    /// Weights read in place from the mapped file.
    pub mapped: u64,
    /// Keys and values at the full context.
    pub cache: u64,
    /// Activations and scratch.
    pub scratch: u64,
    /// Vocabulary, template, program: everything else.
    pub overhead: u64,
}

impl MemoryPromise {
    pub(crate) fn new(program: ProgramMemory, overhead: u64) -> Self {
        let ProgramMemory { weights, mapped, cache, scratch } = program;
        Self { weights, mapped, cache, scratch, overhead }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        [self.mapped, self.cache, self.scratch, self.overhead].into_iter().fold(self.weights, u64::saturating_add)
    }
}

/// Bytes the program itself takes, however small the model: code, libraries, stacks.
const PROGRAM: u64 = 24 << 20;
/// Bytes a worker thread takes: its stack's touched part and its scratch.
const PER_THREAD: u64 = 1 << 20;
/// Bytes the tokenizer takes per token: spelling, tables both ways, merges.
const PER_TOKEN: u64 = 320;

/// What is neither weights nor activations nor keys and values.
pub(crate) fn overhead(tokenizer: Option<&Tokenizer>, threads: usize) -> u64 {
    let tokens = tokenizer.map_or(0, Tokenizer::vocabulary_len) as u64;
    PROGRAM + PER_THREAD * threads as u64 + PER_TOKEN * tokens
}

/// Weights of which only types and sizes are looked at: re-encoded ones are not re-encoded for it.
pub(crate) struct Sizes<'a> {
    checkpoint: &'a Checkpoint,
    types: &'a dyn Fn(&str, TensorType, usize) -> TensorType,
}

impl<'a> Sizes<'a> {
    pub(crate) fn new(checkpoint: &'a Checkpoint, types: &'a dyn Fn(&str, TensorType, usize) -> TensorType) -> Self {
        Self { checkpoint, types }
    }
}

impl Weights for Sizes<'_> {
    fn weight(&self, name: &str) -> Option<WeightView> {
        let view = self.checkpoint.weight(name)?;
        let tensor_type = (self.types)(name, view.tensor_type, view.width);
        Some(WeightView { tensor_type, ..view })
    }
}

/// A number of bytes for people: `1.5 GiB`.
pub fn in_words(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{size:.1} {unit}") };
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_read_as_people_say_them() {
        for (bytes, words) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB"), (5 << 40, "5.0 TiB")]
        {
            assert_eq!(super::in_words(bytes), words);
        }
    }
}
