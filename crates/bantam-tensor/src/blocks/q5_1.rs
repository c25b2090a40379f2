//! Q5_1: blocks of 32 with a scale and an offset; 6 bits an element.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | scale `d`, f16 |
//! | 2..4 | offset `m`, f16 |
//! | 4..8 | fifth bits, a little-endian u32, bit `i` of element `i` |
//! | 8..24 | lower four bits: byte `i` has element `i` low and element `i + 16` high |
//!
//! `x = d · q + m`, `m` the smallest element, `d = (largest - smallest) / 31`. Source: ggml's `block_q5_1`.

use super::format::{BlockFormat, inverse, magnitude, range, read_f16, span, with_slack, write_f16};
use crate::half::{F16_MAX, f16_rounding};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "Q5_1",
    ggml_id: 7,
    block_len: 32,
    block_bytes: 24,
    decode,
    encode: Some(encode),
    error_bound,
    fallback: None,
};

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (values, block) in values.as_chunks_mut::<32>().0.iter_mut().zip(bytes.as_chunks::<24>().0) {
        let [d0, d1, m0, m1, fifth0, fifth1, fifth2, fifth3, codes @ ..] = block;
        let (scale, offset) = (read_f16([*d0, *d1]), read_f16([*m0, *m1]));
        let fifth = u32::from_le_bytes([*fifth0, *fifth1, *fifth2, *fifth3]);
        let (first, second) = values.split_at_mut(16);
        for (index, ((first, second), &code)) in first.iter_mut().zip(second).zip(codes).enumerate() {
            let low_bit = (fifth >> index << 4) & 16;
            let high_bit = (fifth >> index >> 12) & 16;
            *first = scale * ((code & 15) as i32 + low_bit as i32) as f32 + offset;
            *second = scale * ((code >> 4) as i32 + high_bit as i32) as f32 + offset;
        }
    }
}

fn encode(values: &[f32], bytes: &mut [u8]) {
    for (values, block) in values.as_chunks::<32>().0.iter().zip(bytes.as_chunks_mut::<24>().0) {
        let (min, max) = range(values);
        let offset = min.clamp(-F16_MAX, F16_MAX);
        let scale = ((max - min) / 31.0).min(F16_MAX);
        let inverse = inverse(scale);
        let [d0, d1, m0, m1, fifth0, fifth1, fifth2, fifth3, codes @ ..] = block;
        [*d0, *d1] = write_f16(scale);
        [*m0, *m1] = write_f16(offset);
        let mut fifth = 0u32;
        let (first, second) = values.split_at(16);
        for (index, ((&first, &second), code)) in first.iter().zip(second).zip(codes).enumerate() {
            let first = ((first - offset) * inverse + 0.5).min(31.0) as u8;
            let second = ((second - offset) * inverse + 0.5).min(31.0) as u8;
            *code = first & 15 | second << 4;
            fifth |= (first as u32 >> 4) << index | (second as u32 >> 4) << (index + 16);
        }
        [*fifth0, *fifth1, *fifth2, *fifth3] = fifth.to_le_bytes();
    }
}

fn error_bound(min: f32, max: f32) -> f32 {
    let scale = (max - min) / 31.0;
    if scale > F16_MAX || magnitude(min, max) > F16_MAX {
        return span(min, max);
    }
    with_slack(scale * 0.5 + 31.0 * f16_rounding(scale) + f16_rounding(min.abs())) + magnitude(min, max) * 1e-6
}
