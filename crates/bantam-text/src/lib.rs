//! Tokenizers, streaming detokenizer, chat templates and calls for tools.
//!
//! Everything here is a pure function of bytes that others have read: no files, no threads, no processes. What comes in
//! (vocabularies, `tokenizer.json`, templates, chats) is written by strangers, so every parser bounds its depth, its
//! work and its memory and answers with a [`TextError`], never a panic.
//!
//! Not in here: reading GGUF or directories (`bantam-formats` and above), sampling, and what a server makes of a chat.
#![forbid(unsafe_code)]

mod detokenizer;
mod error;
pub mod exchange;
mod merges;
pub mod template;
mod tokenizer;
pub mod tool_calls;
pub mod training;
mod vocabulary;

pub use detokenizer::Detokenizer;
pub use error::TextError;
pub use merges::Merges;
pub use template::{ChatInput, ChatTemplate, Moment, Prompt, with_fitting_arguments};
pub use tokenizer::{HfFiles, Piece, PreTokenizer, Special, Tokenizer, pre_tokenizer_names};
pub use vocabulary::{TokenKind, Vocabulary};
