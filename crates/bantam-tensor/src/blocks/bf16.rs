//! BF16: the upper 16 bits of a binary32, little-endian, one element a block; rounded to nearest, ties to even.

use super::format::{BlockFormat, magnitude};
use crate::half::{bf16_to_f32, f32_to_bf16};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "BF16",
    ggml_id: 30,
    block_len: 1,
    block_bytes: 2,
    decode,
    encode: Some(encode),
    error_bound,
    fallback: None,
};

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (value, block) in values.iter_mut().zip(bytes.as_chunks().0) {
        *value = bf16_to_f32(u16::from_le_bytes(*block));
    }
}

fn encode(values: &[f32], bytes: &mut [u8]) {
    for (block, value) in bytes.as_chunks_mut().0.iter_mut().zip(values) {
        *block = f32_to_bf16(*value).to_le_bytes();
    }
}

fn error_bound(min: f32, max: f32) -> f32 {
    let magnitude = magnitude(min, max);
    // The last binary32 that rounds down to the largest finite bfloat16, and half a step of its subnormals.
    let last = f32::from_bits(0x7f7f_7fff);
    let tiny = f32::from_bits(0x8000);
    if magnitude <= last { (magnitude * (1.0 / 256.0)).max(tiny) } else { f32::INFINITY }
}
