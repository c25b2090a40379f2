//! Number and block formats: layout, decode, encode, error bound.
#![forbid(unsafe_code)]

mod shared_bytes;
mod tensor_type;

pub use shared_bytes::{BytesOwner, SharedBytes};
pub use tensor_type::TensorType;
