//! GBNF, llama.cpp's grammar format, read and written anew as a Lark grammar for llguidance.
//!
//! GBNF has no words: every character stands for itself, and the parser keeps all readings. llguidance cuts text into words
//! first, the longest that fits, and would lose readings. So a grammar without recursion becomes one word as a whole (it is
//! a regular expression, and a fast one); any other is cut into the longest regular parts whose ends are certain
//! ([`borders`]), characters at the least.
//!
//! Format: llama.cpp, `grammars/README.md`.

mod borders;
mod parse;
mod parts;
#[cfg(test)]
mod tests;
mod write;

use bantam_text::Tokenizer;

use crate::ConstraintError;

/// An expression.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Expression {
    /// One character of these ranges, or of none of them.
    Class { negated: bool, ranges: Vec<(char, char)> },
    /// One after the other; nothing is the empty text.
    Sequence(Vec<Expression>),
    /// One of them.
    Choice(Vec<Expression>),
    /// Least times, most times.
    Repeat(Box<Expression>, u32, Option<u32>),
    /// A rule, by its number.
    Rule(usize),
    /// A token by its id, or any other token; whether it is one that steers a model, and no text.
    Token { negated: bool, id: u32, control: bool },
}

/// A grammar: rules by number.
#[derive(Debug)]
struct Grammar {
    rules: Vec<Expression>,
    root: usize,
}

/// The same language in Lark.
pub(crate) fn to_lark(source: &str, tokenizer: &Tokenizer) -> Result<String, ConstraintError> {
    let grammar = parse::parse(source, tokenizer)?;
    Ok(write::write(&parts::Parts::longest(&grammar)))
}

/// The same, with every character a word of its own: slow, and plainly the same language.
#[cfg(test)]
pub(crate) fn to_lark_of_characters(source: &str, tokenizer: &Tokenizer) -> Result<String, ConstraintError> {
    let grammar = parse::parse(source, tokenizer)?;
    Ok(write::write(&parts::Parts::characters(&grammar)))
}
