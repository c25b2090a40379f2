//! F64: IEEE 754 binary64, little-endian, one element a block; only read. Rounded to the nearest binary32, ties
//! to even: 29 bits of the fraction are lost, and what is too large becomes infinite.

use super::format::{BlockFormat, unbounded};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "F64",
    ggml_id: 28,
    block_len: 1,
    block_bytes: 8,
    decode,
    encode: None,
    error_bound: unbounded,
    fallback: None,
};

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (value, block) in values.iter_mut().zip(bytes.as_chunks().0) {
        *value = f64::from_le_bytes(*block) as f32;
    }
}
