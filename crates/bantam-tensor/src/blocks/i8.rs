//! I8: signed 8-bit integers, little-endian, one element a block; only read. Exact.

use super::format::{BlockFormat, unbounded};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "I8",
    ggml_id: 24,
    block_len: 1,
    block_bytes: 1,
    decode,
    encode: None,
    error_bound: unbounded,
    fallback: None,
};

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (value, block) in values.iter_mut().zip(bytes.as_chunks().0) {
        *value = i8::from_le_bytes(*block) as f32;
    }
}
