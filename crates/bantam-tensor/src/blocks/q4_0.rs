//! Q4_0: blocks of 32 with one scale; 4.5 bits an element.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | scale `d`, f16, of either sign |
//! | 2..18 | codes: byte `i` has element `i` in its low and element `i + 16` in its high four bits |
//!
//! `x = d · (q - 8)`. The element of largest magnitude gets code 0: `d` is that element over -8, so that the one code more
//! on the negative side is never wasted. Source: ggml's `block_q4_0`.

use super::format::{BlockFormat, inverse, largest, magnitude, read_f16, span, with_slack, write_f16};
use crate::half::{F16_MAX, f16_rounding};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "Q4_0",
    ggml_id: 2,
    block_len: 32,
    block_bytes: 18,
    decode,
    encode: Some(encode),
    error_bound,
    fallback: None,
};

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (values, block) in values.as_chunks_mut::<32>().0.iter_mut().zip(bytes.as_chunks::<18>().0) {
        let [low, high, codes @ ..] = block;
        let scale = read_f16([*low, *high]);
        let (first, second) = values.split_at_mut(16);
        for ((first, second), &code) in first.iter_mut().zip(second).zip(codes) {
            *first = scale * ((code & 15) as i32 - 8) as f32;
            *second = scale * ((code >> 4) as i32 - 8) as f32;
        }
    }
}

fn encode(values: &[f32], bytes: &mut [u8]) {
    for (values, block) in values.as_chunks::<32>().0.iter().zip(bytes.as_chunks_mut::<18>().0) {
        let scale = (largest(values) / -8.0).clamp(-F16_MAX, F16_MAX);
        let inverse = inverse(scale);
        let [low, high, codes @ ..] = block;
        [*low, *high] = write_f16(scale);
        let (first, second) = values.split_at(16);
        for ((&first, &second), code) in first.iter().zip(second).zip(codes) {
            let first = (first * inverse + 8.5).min(15.0) as u8;
            let second = (second * inverse + 8.5).min(15.0) as u8;
            *code = first | second << 4;
        }
    }
}

/// A whole step: the end opposite to the largest element has one code less.
fn error_bound(min: f32, max: f32) -> f32 {
    let scale = magnitude(min, max) / 8.0;
    if scale > F16_MAX { span(min, max) } else { with_slack(scale + 8.0 * f16_rounding(scale)) }
}
