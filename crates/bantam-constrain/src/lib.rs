//! Output constraints: JSON schemas, regular expressions, choices and grammars as masks over a tokenizer's vocabulary.
//!
//! A [`Compiler`] belongs to one tokenizer. It turns what an answer must be into a [`Constraint`]; each answer then has a
//! [`Session`] of it, which says before every token which ones may come ([`Session::mask`]) and hears which one came
//! ([`Session::accept`]). The work of matching is `llguidance`'s: derivatives of regular expressions under an Earley
//! parser, run over a trie of all tokens' bytes.
//!
//! Invariants: what a session lets through is a beginning of a valid answer, and the end only comes where the answer is
//! valid; a schema or grammar that cannot be honoured is refused by the keyword and its place, never half obeyed; tokens
//! that steer a model (control tokens) come only where a grammar names them; rows of logits for which the vocabulary has no
//! token are never allowed; schemas and grammars are strangers' texts, so their size, depth, work and memory are bounded.
//!
//! Not in here: sampling and the phases of an answer, thoughts before it above all (`bantam-engine`), files and options
//! (the command).
#![forbid(unsafe_code)]

mod brackets;
mod compiler;
mod error;
mod gbnf;
mod schema;
mod session;
mod spans;
mod text;
mod tools;
mod vocabulary;
mod watch;

pub use compiler::{Calls, Compiler, Constraint};
pub use error::ConstraintError;
pub use session::Session;
pub use spans::{CallForm, CallForms};
pub use tools::CallRules;
