//! A loaded model: Spec, Plan, weights, Program, paged memory and the memory promise.
//!
//! Duty: from a path to something that turns tokens into logits. [`Model::open`] reads what a model is (headers,
//! settings, vocabulary, template; no weights); [`Model::memory`] says what loading it would take; [`Model::load`] maps
//! and repacks the weights; [`Loaded`] keeps sequences in paged memory and runs batches.
//!
//! Invariants
//! * Nothing is cut: what does not fit a context or the machine is refused with both numbers.
//! * After a load, a step fails only for what the caller asked (a full context, an unknown token) or an interruption.
//!
//! Not here: sampling, scheduling, chats (`bantam-engine`); what a step computes (`bantam-plan`, backends).
#![forbid(unsafe_code)]

mod adapter;
mod describe;
mod embedding;
mod error;
mod files;
mod generation;
mod loaded;
mod machine;
mod memory;
mod metadata;
mod model;
mod open;
mod optimised;
mod processors;
mod quantize;

pub use adapter::{
    Adapted, Adapter, AdapterPart, AdapterTensor, AnyBase, Dora, Fingerprint, PeftSettings, SavedWeight,
    adapter_tensors, base_fingerprint, fingerprint, read_gguf_adapter, read_peft, with_saved, write_gguf_adapter,
    write_peft,
};
pub use bantam_kernels::{KvFormat, Precision};
pub use bantam_plan::{Profile, ProfiledStep};
pub use describe::{Description, TypeShare, describe};
pub use embedding::{EmbeddingDefaults, Pooling, normalize};
pub use error::RuntimeError;
pub use generation::GenerationDefaults;
pub use loaded::{Feed, Loaded, Outputs, SequenceId};
pub use machine::{MemoryLimit, memory_limit, peak_memory};
pub use memory::{MemoryPromise, in_words};
pub use metadata::vocabulary;
pub use model::{DEFAULT_CONTEXT, LoadOptions, Model, OpenOptions, Progress};
pub use open::{TextFiles, open_text};
pub use optimised::Optimised;
pub use processors::preferred_threads;
