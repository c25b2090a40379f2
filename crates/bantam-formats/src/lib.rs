//! Model files from strangers: GGUF, safetensors and Hugging Face directories, checked, and back.
//!
//! Duty: turn bytes that nobody vouches for into structs whose every number has been checked, and write the same formats
//! so that a crash or a full disk never leaves half a file under the final name.
//!
//! # Invariants
//!
//! * Parsers take a slice and return owned data; nothing borrows the file, nothing is read twice, nothing here maps files.
//! * Every count and length is bounded by the bytes that are really there *before* memory is reserved for it, so memory used
//!   is a small multiple of the header's size whatever the header claims.
//! * Every [`std::ops::Range`] handed out lies inside the bytes that were parsed and has exactly the length that the tensor's
//!   type and shape ask for.
//! * No input makes this crate panic; each refusal is one sentence that says what was expected, what was found, and where.
//! * Writers write beside the target and rename: see [`atomic`].
//!
//! # Not in it
//!
//! What a configuration *means* (`bantam-model`), how a block of numbers is decoded (`bantam-tensor`), how text becomes tokens
//! (`bantam-text`), and mapping files into memory (`bantam-kernels`).
#![forbid(unsafe_code)]

pub mod atomic;
pub mod embedded;
mod error;
pub mod gguf;
pub mod huggingface;
mod json;
pub mod npy;
pub mod reference;
pub mod safetensors;

pub use error::FormatError;
pub use gguf::Gguf;
pub use reference::{ModelReference, what_is_it};
