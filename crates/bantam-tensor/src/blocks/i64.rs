//! I64: signed 64-bit integers, little-endian, one element a block; only read. Exact up
//! to magnitudes of 2^24, beyond that rounded to the nearest binary32, ties to even.

use super::format::{BlockFormat, unbounded};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "I64",
    ggml_id: 27,
    block_len: 1,
    block_bytes: 8,
    decode,
    encode: None,
    error_bound: unbounded,
    fallback: None,
};

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (value, block) in values.iter_mut().zip(bytes.as_chunks().0) {
        *value = i64::from_le_bytes(*block) as f32;
    }
}
