//! What can go wrong between data and a tuned model.

use std::path::PathBuf;

use thiserror::Error;

/// Data that cannot be learned from, a model that cannot be trained, or a run that had to stop.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A line of the data is not what it should be.
    #[error("{path}:{line}: {problem}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What was expected and found.
        problem: String,
    },
    /// Examples are longer than what is trained at once.
    #[error("{path}: {count} of {of} examples are longer than {limit} tokens: {lines}; {advice}")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// How many.
        count: usize,
        /// Of how many.
        of: usize,
        /// Most tokens of an example.
        limit: usize,
        /// The first lines and their lengths.
        lines: String,
        /// What to do.
        advice: &'static str,
    },
    /// There is nothing to learn from.
    #[error(
        "{path}: no examples: expected rows with `messages`, `prompt` and `completion`, `text`, or another shape that `bantam tune` reads"
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A pattern of targets names no weight.
    #[error("no linear of this model is called `{pattern}`; there are {known}")]
    Target {
        /// The pattern.
        pattern: String,
        /// What there is.
        known: String,
    },
    /// The spec of a new model is not what it should be.
    #[error("{path}: {problem}")]
    Spec {
        /// The file.
        path: PathBuf,
        /// Where, and what was expected and found.
        problem: String,
    },
    /// An option that cannot be.
    #[error("{0}")]
    Option(String),
    /// The loss or a gradient is no number any more.
    #[error("step {step}: {what} is {value}; {advice}")]
    NotFinite {
        /// The step, from 1.
        step: usize,
        /// `the loss` or `the gradient's norm`.
        what: &'static str,
        /// What it is.
        value: f64,
        /// Where the last good state is, what may help.
        advice: String,
    },
    /// A state that does not belong to this run.
    #[error("{path}: {problem}")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// A file cannot be read or written.
    #[error("cannot read {path}: {problem}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        problem: String,
    },
    /// Training would take more memory than there is.
    #[error("tuning this model needs {needed}, but {limit} {available}; {advice}")]
    Memory {
        /// What it would take.
        needed: String,
        /// Whose limit it is.
        limit: String,
        /// How much there is.
        available: String,
        /// What to do.
        advice: String,
    },
    /// Someone asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// The model.
    #[error(transparent)]
    Runtime(#[from] bantam_runtime::RuntimeError),
    /// A file's format.
    #[error(transparent)]
    Format(#[from] bantam_formats::FormatError),
    /// The Plan or the backend.
    #[error(transparent)]
    Plan(#[from] bantam_plan::PlanError),
    /// Text: tokens and templates.
    #[error(transparent)]
    Text(#[from] bantam_text::TextError),
}
