//! Calls whose arguments are stretches of a text: what a model that understands utterances answers with.
//!
//! `{"name": NAME, "arguments": {SLOT: VALUE, …}}` on one line: a name that the model knows, each of its slots at most once, in
//! the order in which they were said, each value a stretch of whole words of the utterance, or a list of several. No grammar that is compiled once
//! says that for every utterance, and compiling one for each takes longer than answering, so this is an automaton of its
//! own: a set of places in the answer, moved byte by byte.

mod automaton;
mod forms;
mod session;

pub use forms::{CallForm, CallForms};
pub(crate) use session::{Known, SpanSession, Spans};
