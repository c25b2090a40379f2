//! Safetensors: a length, a JSON header, and the tensors' bytes.
//!
//! Source: the format section of the `huggingface/safetensors` README. The header is a JSON object of tensors
//! (`dtype`, `shape` slowest first, `data_offsets` from the end of the header) and an optional `__metadata__` of strings;
//! the offsets cover the data without gap or overlap.
//!
//! The reader is our own (on `serde_json`) and not the `safetensors` crate: that one reports a damaged header as a variant
//! without the tensor's name or the numbers concerned, panics are not ruled out by its contract, and what is left of it
//! once the errors are ours is a few dozen lines.

mod dtype;
mod reader;
mod writer;

pub use dtype::Dtype;
pub use reader::{SafeTensor, SafeTensors};
pub use writer::{SafeTensorHeader, SafeTensorsWriter};

/// Largest header that is read, in bytes, as in the reference implementation.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;
/// The entry of the header that is no tensor.
const METADATA_KEY: &str = "__metadata__";
