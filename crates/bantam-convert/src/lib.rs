//! Models from one form into another: a Hugging Face directory to GGUF and back, GGUF in one file or several, and either
//! with its numbers in another format.
//!
//! Invariants
//! * What is not asked to be rounded keeps its bits; what had to be changed all the same is named in the [`Report`].
//! * A setting that the target cannot hold is refused by name; nothing is lost in silence.
//! * Tensors go through piece by piece: memory does not grow with the model.
//! * A target appears whole or not at all, never over something that was there unless that is asked for, and the source is
//!   only read.
//!
//! Not here: what a setting means (`bantam-model`), what a tokenizer does (`bantam-text`), arguments and progress bars (the
//! command).
#![forbid(unsafe_code)]

mod about;
mod convert;
mod embedding;
mod encode;
mod error;
mod gguf_out;
mod huggingface_out;
mod place;
mod report;
mod rest;
mod source;
mod types;
mod vocabulary;

pub use bantam_formats::gguf::SplitLimits;
pub use convert::{Form, Options, convert, convert_edited};
pub use encode::Edit;
pub use error::ConvertError;
pub use place::free_space;
pub use report::{Report, TypeCount, WrittenFile};
pub use types::{Types, type_names};
