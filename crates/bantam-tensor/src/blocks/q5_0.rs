//! Q5_0: blocks of 32 with one scale; 5.5 bits an element.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | scale `d`, f16, of either sign |
//! | 2..6 | fifth bits, a little-endian u32, bit `i` of element `i` |
//! | 6..22 | lower four bits: byte `i` has element `i` low and element `i + 16` high |
//!
//! `x = d · (q - 16)`. The element of largest magnitude gets code 0: `d` is that element over -16, so that the one code more
//! on the negative side is never wasted. Source: ggml's `block_q5_0`.

use super::format::{BlockFormat, inverse, largest, magnitude, read_f16, span, with_slack, write_f16};
use crate::half::{F16_MAX, f16_rounding};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "Q5_0",
    ggml_id: 6,
    block_len: 32,
    block_bytes: 22,
    decode,
    encode: Some(encode),
    error_bound,
    fallback: None,
};

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (values, block) in values.as_chunks_mut::<32>().0.iter_mut().zip(bytes.as_chunks::<22>().0) {
        let [low, high, fifth0, fifth1, fifth2, fifth3, codes @ ..] = block;
        let scale = read_f16([*low, *high]);
        let fifth = u32::from_le_bytes([*fifth0, *fifth1, *fifth2, *fifth3]);
        let (first, second) = values.split_at_mut(16);
        for (index, ((first, second), &code)) in first.iter_mut().zip(second).zip(codes).enumerate() {
            let low_bit = (fifth >> index << 4) & 16;
            let high_bit = (fifth >> index >> 12) & 16;
            *first = scale * ((code & 15) as i32 + low_bit as i32 - 16) as f32;
            *second = scale * ((code >> 4) as i32 + high_bit as i32 - 16) as f32;
        }
    }
}

fn encode(values: &[f32], bytes: &mut [u8]) {
    for (values, block) in values.as_chunks::<32>().0.iter().zip(bytes.as_chunks_mut::<22>().0) {
        let scale = (largest(values) / -16.0).clamp(-F16_MAX, F16_MAX);
        let inverse = inverse(scale);
        let [low, high, fifth0, fifth1, fifth2, fifth3, codes @ ..] = block;
        [*low, *high] = write_f16(scale);
        let mut fifth = 0u32;
        let (first, second) = values.split_at(16);
        for (index, ((&first, &second), code)) in first.iter().zip(second).zip(codes).enumerate() {
            let first = (first * inverse + 16.5).min(31.0) as u8;
            let second = (second * inverse + 16.5).min(31.0) as u8;
            *code = first & 15 | second << 4;
            fifth |= (first as u32 >> 4) << index | (second as u32 >> 4) << (index + 16);
        }
        [*fifth0, *fifth1, *fifth2, *fifth3] = fifth.to_le_bytes();
    }
}

/// A whole step: the end opposite to the largest element has one code less.
fn error_bound(min: f32, max: f32) -> f32 {
    let scale = magnitude(min, max) / 16.0;
    if scale > F16_MAX { span(min, max) } else { with_slack(scale + 16.0 * f16_rounding(scale)) }
}
