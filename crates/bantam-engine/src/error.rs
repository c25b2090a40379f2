//! What can go wrong between a request and its answer.

use std::path::PathBuf;

use bantam_constrain::ConstraintError;
use bantam_text::TextError;

use crate::ModelError;

/// An error of this crate, one clear sentence each.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The model could not run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Text could not become tokens, or a chat no prompt.
    #[error(transparent)]
    Text(#[from] TextError),
    /// An answer cannot go on under its constraint, or the constraint cannot be used.
    #[error(transparent)]
    Constraint(#[from] ConstraintError),
    /// A setting that means nothing.
    #[error("{name} must be {expected}, not {found}")]
    Setting {
        /// The setting's name, as in the command's options.
        name: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it was.
        found: String,
    },
    /// A row of logits without a single usable number.
    #[error("no token can be chosen: none of the {vocabulary_len} logits is a number above minus infinity")]
    NoCandidate {
        /// The length of the row.
        vocabulary_len: usize,
    },
    /// A prompt of no tokens.
    #[error(
        "the prompt is empty, and the model's metadata puts no token before a text: there is nothing to go on from"
    )]
    EmptyPrompt,
    /// A prompt with a token that the model does not have.
    #[error("token {token} of the prompt is outside the vocabulary of {vocabulary_len} tokens")]
    PromptToken {
        /// The token's id.
        token: u32,
        /// The size of the vocabulary.
        vocabulary_len: usize,
    },
    /// A prompt longer than the context.
    #[error("the prompt has {tokens} tokens and does not fit the context of {context}")]
    PromptTooLong {
        /// Length of the prompt.
        tokens: usize,
        /// Most positions a sequence may hold.
        context: usize,
    },
    /// A conversation that has reached the context's end.
    #[error(
        "the conversation is full: it takes {tokens} tokens of a context of {context}, and an answer needs {reserve} more"
    )]
    ChatFull {
        /// Length of the rendered conversation.
        tokens: usize,
        /// Positions that must be left for an answer.
        reserve: usize,
        /// Most positions a sequence may hold.
        context: usize,
    },
    /// Nothing was said yet that could be answered once more.
    #[error("there is no message to answer once more")]
    NothingToRegenerate,
    /// A file that is no saved conversation.
    #[error("{} is no saved conversation: {reason}", path.display())]
    NotAChat {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        reason: String,
    },
    /// A file that could not be read or written.
    #[error("{} cannot be {action}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// "read" or "written".
        action: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// A request that whoever reads requests found wrong; the sentence is theirs.
    #[error("{0}")]
    Refused(String),
}
