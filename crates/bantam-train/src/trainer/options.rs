//! How a model is trained.

use bantam_kernels::Precision;

use crate::adapters::Lora;
use crate::data::Example;
use crate::optimiser::AdamW;
use crate::preference::Loss;
use crate::schedule::Schedule;

/// What is trained.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// Adapters beside frozen weights.
    Lora(Lora),
    /// Every weight.
    Full,
}

/// When layers run again on the way back (activation checkpointing).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recompute {
    /// Where keeping their values would not fit into the memory there is.
    #[default]
    Automatic,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How a model is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOptions {
    /// What is trained.
    pub method: Method,
    /// What is minimised.
    pub loss: Loss,
    /// The learning rate at its height.
    pub rate: f32,
    /// How it goes.
    pub schedule: Schedule,
    /// Share of all steps over which it rises.
    pub warmup: f32,
    /// Share of the numbers that are left out of embeddings and of what layers add, where every weight is trained; adapters
    /// have their own.
    pub dropout: f32,
    /// Weight of a prompt's token in the loss, where an answer's is 1 (prompt loss weight); 0 learns answers alone.
    pub prompt_weight: f32,
    /// How often every example is seen.
    pub epochs: usize,
    /// What an average of the trained weights keeps of itself at each step (Polyak & Juditsky 1992), which is then what has
    /// been learned; 0: the last weights are. Losses are measured with the last weights.
    pub average: f32,
    /// Examples of a step.
    pub batch: usize,
    /// Tokens that run together; a step with more runs in several batches, whose gradients add up.
    pub rows: usize,
    /// Most that the norm of all gradients together may be; beyond it they are made smaller.
    pub clip: Option<f32>,
    /// The optimiser.
    pub optimiser: AdamW,
    /// Seed of everything random.
    pub seed: u64,
    /// Whether examples come in an order of chance.
    pub shuffle: bool,
    /// Whether layers run again on the way back instead of being kept: slower, for less memory; the same bits.
    pub recompute: Recompute,
    /// What frozen weights of BF16 and of blocks are multiplied in.
    pub precision: Precision,
    /// Whether the frozen matrices of layers are held as NF4 with double quantization, whatever the model has them in (QLoRA).
    pub nf4: bool,
    /// Threads; all that this process may use where not given.
    pub threads: Option<usize>,
    /// Most memory to take, where the user says so.
    pub memory_limit: Option<u64>,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            method: Method::Lora(Lora::default()),
            loss: Loss::default(),
            rate: 2e-4,
            schedule: Schedule::default(),
            warmup: 0.03,
            dropout: 0.0,
            prompt_weight: 0.0,
            epochs: 3,
            average: 0.0,
            batch: 8,
            rows: 1024,
            clip: Some(1.0),
            optimiser: AdamW::default(),
            seed: 0,
            shuffle: true,
            recompute: Recompute::default(),
            precision: Precision::Bf16,
            nf4: false,
            threads: None,
            memory_limit: None,
        }
    }
}

/// How many tokens and sequences run together, and how long the longest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Tokens of a batch.
    pub rows: usize,
    /// Sequences of a batch.
    pub sequences: usize,
    /// Tokens of the longest example.
    pub longest: usize,
}

impl Tokens {
    /// What examples need.
    pub fn of<'e>(examples: impl IntoIterator<Item = &'e Example>, options: &TrainOptions) -> Self {
        let (count, longest) =
            examples.into_iter().fold((0, 1), |(count, longest), each| (count + 1, each.tokens.len().max(longest)));
        Self::for_lengths(count, longest, options)
    }

    /// What so many examples of at most `longest` tokens need.
    pub fn for_lengths(examples: usize, longest: usize, options: &TrainOptions) -> Self {
        // An example's last token is only predicted.
        let most = longest.saturating_sub(1).max(1);
        let together = options.batch.min(examples).max(1);
        // No more than a step can have, which leaves its batches as they are.
        let rows = options.rows.min(together.saturating_mul(most)).max(most);
        Self { rows, sequences: rows.min(together), longest }
    }
}

#[cfg(test)]
mod tests {
    use super::{Example, Tokens, TrainOptions};

    #[test]
    fn rows_are_what_a_step_can_have() {
        let check = |rows: usize, batch: usize, lengths: &[usize], expected: [usize; 3]| {
            let example = |length: &usize| Example { tokens: vec![0; *length], said: vec![true; *length], line: 0 };
            let examples: Vec<Example> = lengths.iter().map(example).collect();
            let found = Tokens::of(&examples, &TrainOptions { rows, batch, ..TrainOptions::default() });
            assert_eq!([found.rows, found.sequences, found.longest], expected);
        };
        check(1024, 1, &[100, 7], [99, 1, 100]);
        check(1024, 2, &[100, 7, 8], [198, 2, 100]);
        check(1024, 16, &[100; 16], [1024, 16, 100]);
        // Nor more than there are.
        check(1024, 8, &[100, 7], [198, 2, 100]);
        check(usize::MAX, usize::MAX, &[3], [2, 1, 3]);
        // An example that is longer than rows runs whole.
        check(64, 4, &[100; 4], [99, 4, 100]);
        check(0, 0, &[], [1, 1, 1]);
        let most = TrainOptions { rows: usize::MAX, batch: usize::MAX, ..TrainOptions::default() };
        assert_eq!(Tokens::for_lengths(usize::MAX, 3, &most).rows, usize::MAX);
    }
}
