//! What can go wrong between a path and logits.

use std::path::PathBuf;

use thiserror::Error;

/// A model that cannot be opened, loaded or run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The file or directory is damaged or no model.
    #[error(transparent)]
    Format(#[from] bantam_formats::FormatError),
    /// The model cannot be understood.
    #[error("{path}: {error}")]
    Model {
        /// Which model.
        path: PathBuf,
        /// Why.
        error: bantam_model::ModelError,
    },
    /// An adapter cannot be used with the model.
    #[error("{path}: {problem}")]
    Adapter {
        /// The adapter's directory or file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// Its vocabulary or template cannot be used.
    #[error("{path}: {error}")]
    Text {
        /// Which model.
        path: PathBuf,
        /// Why.
        error: bantam_text::TextError,
    },
    /// The backend refused it.
    #[error(transparent)]
    Plan(bantam_plan::PlanError),
    /// A file cannot be read.
    #[error("cannot read {path}: {problem}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        problem: String,
    },
    /// A file cannot be written or removed.
    #[error("cannot write {path}: {problem}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        problem: String,
    },
    /// The vocabulary and the embedding disagree.
    #[error("{path}: the vocabulary has {tokens} tokens, but the token embedding only {rows} rows")]
    Vocabulary {
        /// Which model.
        path: PathBuf,
        /// Tokens of the tokenizer.
        tokens: usize,
        /// Rows of the embedding.
        rows: usize,
    },
    /// Loading would take more memory than there is.
    #[error("this model needs {needed} with a context of {context}, but {limit} {available}; {advice}")]
    Memory {
        /// What it would take.
        needed: String,
        /// The context asked for.
        context: usize,
        /// Whose limit it is.
        limit: String,
        /// How much there is.
        available: String,
        /// What to do.
        advice: String,
    },
    /// A context longer than the model was made for.
    #[error("a context of {asked} was asked for, but the model was made for {trained}")]
    Context {
        /// Asked for.
        asked: usize,
        /// The model's own.
        trained: usize,
    },
    /// More tokens than a sequence may hold.
    #[error("{tokens} tokens do not fit the context of {context}")]
    ContextFull {
        /// Tokens it would hold.
        tokens: usize,
        /// Most it may hold.
        context: usize,
    },
    /// A token that the model does not have.
    #[error("token {token} is outside the vocabulary of {vocabulary}")]
    Token {
        /// The token.
        token: u32,
        /// Rows of the embedding.
        vocabulary: usize,
    },
    /// More sequences than were asked for when loading.
    #[error("all {sequences} sequences are in use")]
    Sequences {
        /// How many there are.
        sequences: usize,
    },
    /// A handle of a sequence that was closed.
    #[error("this sequence is closed")]
    Closed,
    /// Someone asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// An option that this model cannot honour.
    #[error("{0}")]
    Option(String),
}

impl From<bantam_plan::PlanError> for RuntimeError {
    fn from(error: bantam_plan::PlanError) -> Self {
        if error == bantam_plan::PlanError::Interrupted { Self::Interrupted } else { Self::Plan(error) }
    }
}
