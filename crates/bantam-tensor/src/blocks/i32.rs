//! I32: signed 32-bit integers, little-endian, one element a block; only read. Exact up
//! to magnitudes of 2^24, beyond that rounded to the nearest binary32, ties to even.

use super::format::{BlockFormat, unbounded};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "I32",
    ggml_id: 26,
    block_len: 1,
    block_bytes: 4,
    decode,
    encode: None,
    error_bound: unbounded,
    fallback: None,
};

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (value, block) in values.iter_mut().zip(bytes.as_chunks().0) {
        *value = i32::from_le_bytes(*block) as f32;
    }
}
