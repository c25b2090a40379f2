//! IQ4_NL: blocks of 32 with one scale and codes that stand for values finer near zero; 4.5 bits an element.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | scale `d`, f16, of either sign |
//! | 2..18 | codes: byte `i` has element `i` in its low and element `i + 16` in its high four bits |
//!
//! `x = d · v[q]` with the values `v` of `codebooks.rs`, from -127 to 113. Source: ggml's `block_iq4_nl`.

use super::codebooks::NON_LINEAR;
use super::format::{BlockFormat, inverse, magnitude, read_f16, span, with_slack, write_f16};
use super::search::{self, NON_LINEAR_PROMISE, SCALE_GROWTH, non_linear_code};
use crate::half::{F16_MAX, f16_rounding};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "IQ4_NL",
    ggml_id: 20,
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
        expand(values, codes, read_f16([*low, *high]));
    }
}

fn encode(values: &[f32], bytes: &mut [u8]) {
    for (values, block) in values.as_chunks::<32>().0.iter().zip(bytes.as_chunks_mut::<18>().0) {
        // What the format cannot reach is held at its ends first; so nothing below leaves the range of f32.
        let held = values.map(|value| value.clamp(-127.0 * F16_MAX, 127.0 * F16_MAX));
        let scale = write_f16(search::non_linear(&held));
        let [low, high, codes @ ..] = block;
        [*low, *high] = scale;
        assign(codes, &held, read_f16(scale));
    }
}

/// A sub-block's numbers from its codes.
#[inline(always)]
pub(super) fn expand(values: &mut [f32; 32], codes: &[u8; 16], scale: f32) {
    // All sixteen products first: they are fewer than the elements, and a look-up gives the very same bits.
    let table = NON_LINEAR.map(|value| scale * value as f32);
    let (first, second) = values.split_at_mut(16);
    for ((first, second), &code) in first.iter_mut().zip(second).zip(codes) {
        *first = table[(code & 15) as usize];
        *second = table[(code >> 4) as usize];
    }
}

/// A sub-block's codes for a scale as it is stored.
pub(super) fn assign(codes: &mut [u8; 16], values: &[f32; 32], scale: f32) {
    let inverse = inverse(scale);
    let (first, second) = values.split_at(16);
    for ((&first, &second), code) in first.iter().zip(second).zip(codes) {
        *code = non_linear_code(first * inverse) | non_linear_code(second * inverse) << 4;
    }
}

/// The search's promise, then what rounding the scale to a half adds, times the largest value.
fn error_bound(min: f32, max: f32) -> f32 {
    let scale = SCALE_GROWTH * magnitude(min, max) / 127.0;
    if scale > F16_MAX {
        return span(min, max).max(magnitude(min, max));
    }
    with_slack(NON_LINEAR_PROMISE * magnitude(min, max) + 127.0 * f16_rounding(scale))
}
