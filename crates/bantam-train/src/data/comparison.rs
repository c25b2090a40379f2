//! Answers that are compared: what preference tuning (DPO, ORPO, KTO) learns from.

use super::Example;

/// What is compared. In every example the prompt's tokens come first, and what is said is the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Two answers to one prompt.
    Pair {
        /// The better.
        chosen: Example,
        /// The worse.
        rejected: Example,
    },
    /// One answer.
    Single {
        /// The prompt and the answer.
        answer: Example,
        /// Whether it is good.
        good: bool,
    },
}

impl Comparison {
    /// Its answers.
    pub fn answers(&self) -> impl Iterator<Item = &Example> {
        let (first, second) = match self {
            Self::Pair { chosen, rejected } => (chosen, Some(rejected)),
            Self::Single { answer, .. } => (answer, None),
        };
        std::iter::once(first).chain(second)
    }

    /// The line it comes from, counted from 1; of a JSON list or a Parquet file the row.
    pub fn line(&self) -> usize {
        self.answers().map(|example| example.line).next().unwrap_or_default()
    }

    pub(super) fn at_line(mut self, line: usize) -> Self {
        match &mut self {
            Self::Pair { chosen, rejected } => (chosen.line, rejected.line) = (line, line),
            Self::Single { answer, .. } => answer.line = line,
        }
        self
    }
}

/// Which comparisons a loss takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// Pairs (DPO, ORPO): `chosen` and `rejected`.
    Pairs,
    /// Single answers (KTO): `completion` and `label`, or both answers of a pair, each by itself.
    Singles,
}
