//! TQ2_0: blocks of 256 numbers -1, 0 or 1 with one scale, two bits each; 2.0625 bits an element.
//!
//! | bytes | what |
//! |---|---|
//! | 0..64 | codes: of each 32 bytes (half a block), byte `i` has elements `i`, `i + 32`, `i + 64`, `i + 96`, two bits each, the first lowest |
//! | 64..66 | scale `d`, f16 |
//!
//! `x = d · (q - 1)`, `d = max |x|`. Exact for ternary weights whose scale is a half; a poor choice for others. Source:
//! ggml's `block_tq2_0`.

use super::TensorType;
use super::format::{BlockFormat, inverse, largest_magnitude, magnitude, read_f16, with_slack, write_f16};
use super::q2_k::pack_two_bits;
use crate::half::{F16_MAX, f16_rounding};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "TQ2_0",
    ggml_id: 35,
    block_len: 256,
    block_bytes: 66,
    decode,
    encode: Some(encode),
    error_bound,
    fallback: Some(TensorType::Q4_0),
};

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (values, block) in values.as_chunks_mut::<256>().0.iter_mut().zip(bytes.as_chunks::<66>().0) {
        let [codes @ .., d0, d1] = block;
        let scale = read_f16([*d0, *d1]);
        for (values, codes) in values.as_chunks_mut::<128>().0.iter_mut().zip(codes.as_chunks::<32>().0) {
            for (quarter, values) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                for (value, &code) in values.iter_mut().zip(codes) {
                    *value = scale * ((code >> (2 * quarter) & 3) as i32 - 1) as f32;
                }
            }
        }
    }
}

fn encode(values: &[f32], bytes: &mut [u8]) {
    for (values, block) in values.as_chunks::<256>().0.iter().zip(bytes.as_chunks_mut::<66>().0) {
        let (scale, codes) = ternary(values);
        let [code_bytes @ .., d0, d1] = block;
        [*d0, *d1] = scale;
        pack_two_bits(&codes, code_bytes);
    }
}

/// Scale and codes 0, 1, 2 of a block: each element rounded to the nearest of minus, zero and plus the largest
/// magnitude, ties away from zero.
pub(super) fn ternary(values: &[f32; 256]) -> ([u8; 2], [u8; 256]) {
    let scale = largest_magnitude(values).min(F16_MAX);
    let inverse = inverse(scale);
    let codes = values.map(|value| {
        let scaled = value * inverse;
        1 + (scaled >= 0.5) as u8 - (scaled <= -0.5) as u8
    });
    (write_f16(scale), codes)
}

/// Half a step.
pub(super) fn error_bound(min: f32, max: f32) -> f32 {
    let scale = magnitude(min, max);
    if scale > F16_MAX { scale } else { with_slack(scale * 0.5 + f16_rounding(scale)) }
}
