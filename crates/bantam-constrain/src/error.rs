//! What can go wrong with a constraint: one sentence each, saying what was expected, what was found and where.

/// An error of this crate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConstraintError {
    /// A vocabulary that tokens cannot be masked in.
    #[error("answers can't be held to a form with this vocabulary: {0}")]
    Vocabulary(String),
    /// A JSON schema that cannot be honoured.
    #[error("the schema's \"{keyword}\" at {} can't be honoured: {reason}", place(pointer))]
    Schema {
        /// The keyword.
        keyword: String,
        /// JSON pointer (RFC 6901) to the schema that has the keyword.
        pointer: String,
        /// Why not.
        reason: String,
    },
    /// A JSON schema that no answer fulfils, or that is no schema.
    #[error("the schema can't be used: {0}")]
    BadSchema(String),
    /// A regular expression that cannot be used.
    #[error("the regular expression can't be used: {0}")]
    Regex(String),
    /// Choices that are none.
    #[error("the choices can't be used: {0}")]
    Choices(String),
    /// A grammar that cannot be used.
    #[error("the grammar can't be used: {0}")]
    Grammar(String),
    /// A GBNF grammar that cannot be read, and where.
    #[error("the grammar can't be used: line {line}: {reason}")]
    Gbnf {
        /// Line in the grammar, from 1.
        line: usize,
        /// What was expected and what was found.
        reason: String,
    },
    /// Calls that cannot be held to a tool's schema.
    #[error("calls can't be held to the tool {tool:?}: {reason}")]
    Tool {
        /// The tool's name.
        tool: String,
        /// What in it can't be honoured.
        reason: String,
    },
    /// An answer that cannot go on.
    #[error("the answer can't go on: {0}")]
    Stuck(String),
}

fn place(pointer: &str) -> &str {
    if pointer.is_empty() { "its top" } else { pointer }
}
