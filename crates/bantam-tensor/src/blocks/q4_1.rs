//! Q4_1: blocks of 32 with a scale and an offset; 5 bits an element.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | scale `d`, f16 |
//! | 2..4 | offset `m`, f16 |
//! | 4..20 | codes: byte `i` has element `i` in its low and element `i + 16` in its high four bits |
//!
//! `x = d · q + m`, `m` the smallest element, `d = (largest - smallest) / 15`. Source: ggml's `block_q4_1`.

use super::format::{BlockFormat, inverse, magnitude, range, read_f16, span, with_slack, write_f16};
use crate::half::{F16_MAX, f16_rounding};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "Q4_1",
    ggml_id: 3,
    block_len: 32,
    block_bytes: 20,
    decode,
    encode: Some(encode),
    error_bound,
    fallback: None,
};

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (values, block) in values.as_chunks_mut::<32>().0.iter_mut().zip(bytes.as_chunks::<20>().0) {
        let [d0, d1, m0, m1, codes @ ..] = block;
        let (scale, offset) = (read_f16([*d0, *d1]), read_f16([*m0, *m1]));
        let (first, second) = values.split_at_mut(16);
        for ((first, second), &code) in first.iter_mut().zip(second).zip(codes) {
            *first = scale * (code & 15) as f32 + offset;
            *second = scale * (code >> 4) as f32 + offset;
        }
    }
}

fn encode(values: &[f32], bytes: &mut [u8]) {
    for (values, block) in values.as_chunks::<32>().0.iter().zip(bytes.as_chunks_mut::<20>().0) {
        let (min, max) = range(values);
        let offset = min.clamp(-F16_MAX, F16_MAX);
        let scale = ((max - min) / 15.0).min(F16_MAX);
        let inverse = inverse(scale);
        let [d0, d1, m0, m1, codes @ ..] = block;
        [*d0, *d1] = write_f16(scale);
        [*m0, *m1] = write_f16(offset);
        let (first, second) = values.split_at(16);
        for ((&first, &second), code) in first.iter().zip(second).zip(codes) {
            let first = ((first - offset) * inverse + 0.5).min(15.0) as u8;
            let second = ((second - offset) * inverse + 0.5).min(15.0) as u8;
            *code = first | second << 4;
        }
    }
}

fn error_bound(min: f32, max: f32) -> f32 {
    let scale = (max - min) / 15.0;
    if scale > F16_MAX || magnitude(min, max) > F16_MAX {
        return span(min, max);
    }
    with_slack(scale * 0.5 + 15.0 * f16_rounding(scale) + f16_rounding(min.abs())) + magnitude(min, max) * 1e-6
}
