//! What a model is: [`Spec`], the families that read one from a checkpoint, and lowering it to a Plan.
//!
//! Invariants
//! * A setting is understood, known to change nothing, or refused by name; so is a tensor. Nothing is guessed.
//! * No family's name appears outside `families/`; everything else asks for properties of the Spec.
//! * Tensor names are GGUF's; Hugging Face's are a table per family.
//!
//! Not here: reading bytes (`bantam-formats`), running a Plan (backends), loading weights (`bantam-runtime`).
#![forbid(unsafe_code)]
#![deny(clippy::wildcard_enum_match_arm)]

mod arrange;
mod checkpoint;
mod decoder;
mod error;
pub mod exchange;
pub mod families;
mod lower;
mod names;
pub mod quantized;
mod settings;
pub mod spec;
mod window;

pub use checkpoint::{Checkpoint, Tensor};
pub use error::ModelError;
pub use lower::{HEAD, TOKEN_EMBEDDING, lower, lower_for};
pub use spec::Spec;
