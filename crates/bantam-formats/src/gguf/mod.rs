//! GGUF: read versions 1, 2 and 3, write version 3, and split files.
//!
//! Source: the format page of ggml (`docs/gguf.md` in `ggml-org/ggml`). A file is a header (magic, version, counts), metadata
//! (key, type, value), tensor descriptions (name, dimensions fastest first, type, offset) and, aligned, the tensors' data.
//! Version 1 has 32-bit lengths and dimensions where later versions have 64-bit ones; version 3 differs from 2 only in
//! allowing big-endian files, which are refused here by name.

mod array;
mod cursor;
mod reader;
mod split;
mod tensor;
mod value;
mod writer;

pub use array::{Array, Strings};
pub use reader::Gguf;
pub(crate) use split::split_name;
pub use split::{SplitGguf, SplitLimits, is_split_key, plan_split, split_parts, write_parts, write_split};
pub use tensor::{TensorInfo, TensorKind};
pub use value::{Value, ValueType};
pub use writer::{GgufWriter, TensorHeader};

/// Alignment of tensor data where `general.alignment` says nothing, in bytes.
pub const DEFAULT_ALIGNMENT: usize = 32;
/// Most dimensions a tensor may have.
pub const MAX_DIMENSIONS: usize = 4;
/// Deepest nesting of arrays in arrays that is read (real files use one level).
pub const MAX_ARRAY_DEPTH: usize = 4;
/// The key under which a file says how its tensor data is aligned.
pub const ALIGNMENT_KEY: &str = "general.alignment";
