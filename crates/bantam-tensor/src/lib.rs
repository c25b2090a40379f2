//! Number and block formats: layout, decode, encode, error bound.
//!
//! A tensor is a matrix of rows; each row is a whole number of blocks of its [`TensorType`]. What a type is stands in
//! one file under `blocks/` and one line of the table there; everything else asks the table.
//!
//! Invariants: decoding is exact to the bit with the reference (`gguf.quants` of PyPI's gguf); encoding finite numbers
//! never makes a NaN or an infinity out of a block format and stays within [`TensorType::error_bound`]; a block's bytes
//! depend on that block's values only.
//!
//! Not here: reading files (`bantam-formats`), products straight on quantized blocks (`bantam-kernels`), choosing types
//! for a model's tensors (recipes).
#![forbid(unsafe_code)]

mod blocks;
mod error;
mod float8;
mod foreign;
mod half;
mod nf4;
mod shared_bytes;
mod tensor_type;

pub use blocks::TensorType;
pub use error::TensorError;
pub use float8::{e2m1_to_f32, e4m3_to_f32, e5m2_to_f32, e8m0_to_f32};
pub use foreign::{foreign_block_layout, known_ggml_type_name};
pub use half::{F16_MAX, bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};
pub use nf4::Nf4;
pub use shared_bytes::{BytesOwner, MakeBytes, OwnBytes, SharedBytes};
