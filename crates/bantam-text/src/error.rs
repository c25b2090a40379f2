//! What can go wrong with text: one sentence each, saying what was expected, what was found and where.

/// An error of this crate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// A tokenizer kind, pre-tokenizer, normalizer or the like that is not supported, by its name.
    #[error("unsupported {what} '{name}'")]
    Unsupported {
        /// The part of the tokenizer: "tokenizer model", "pre-tokenizer", "normalizer"…
        what: &'static str,
        /// The name found in the file.
        name: String,
    },
    /// A vocabulary that contradicts itself.
    #[error("damaged vocabulary: {0}")]
    Vocabulary(String),
    /// A `tokenizer.json` or companion file that cannot be understood.
    #[error("damaged {file}: {reason}")]
    File {
        /// The file's usual name.
        file: &'static str,
        /// What was expected and what was found.
        reason: String,
    },
    /// A pre-tokenizer pattern that is not a valid regular expression, or that needs too much work on this text.
    #[error("pre-tokenizer pattern {pattern:?}: {reason}")]
    Pattern {
        /// The pattern, shortened.
        pattern: String,
        /// The regular-expression engine's words.
        reason: String,
    },
    /// A token id outside the vocabulary.
    #[error("token id {id} is outside the vocabulary of {len} tokens")]
    TokenId {
        /// The id.
        id: u32,
        /// Number of ids in the vocabulary.
        len: usize,
    },
    /// A chat template that cannot be parsed.
    #[error("chat template, line {line}: {reason}")]
    TemplateSyntax {
        /// Line in the template, from 1.
        line: u32,
        /// What was expected and what was found.
        reason: String,
    },
    /// A chat template that failed while rendering.
    #[error("chat template, line {line}: {reason}")]
    TemplateRender {
        /// Line in the template, from 1.
        line: u32,
        /// What happened.
        reason: String,
    },
    /// The template called `raise_exception`: the chat is not one this model was made for.
    #[error("the chat template refuses this chat: {0}")]
    TemplateRefused(String),
    /// A template that did more work or grew larger than any honest one.
    #[error("chat template, line {line}: stopped, {reason}")]
    TemplateLimit {
        /// Line in the template, from 1.
        line: u32,
        /// Which limit was reached.
        reason: String,
    },
    /// A chat that is not an array of message objects.
    #[error("chat: {0}")]
    Chat(String),
    /// Descriptions of tools, or a choice among them, that cannot be understood.
    #[error("tools: {place}: {reason}")]
    Tools {
        /// Where in the description: `tools[1].function.name`.
        place: String,
        /// What was expected and what was found.
        reason: String,
    },
}

/// Cuts `text` to at most `limit` characters for an error message.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
