//! F16: IEEE 754 binary16, little-endian, one element a block. Magnitudes of 65520 and more become infinite.

use super::format::{BlockFormat, magnitude};
use crate::half::{f16_rounding, f16_to_f32, f32_to_f16};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "F16",
    ggml_id: 1,
    block_len: 1,
    block_bytes: 2,
    decode,
    encode: Some(encode),
    error_bound,
    fallback: None,
};

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (value, block) in values.iter_mut().zip(bytes.as_chunks().0) {
        *value = f16_to_f32(u16::from_le_bytes(*block));
    }
}

fn encode(values: &[f32], bytes: &mut [u8]) {
    for (block, value) in bytes.as_chunks_mut().0.iter_mut().zip(values) {
        *block = f32_to_f16(*value).to_le_bytes();
    }
}

fn error_bound(min: f32, max: f32) -> f32 {
    let magnitude = magnitude(min, max);
    if magnitude < 65520.0 { f16_rounding(magnitude) } else { f32::INFINITY }
}
