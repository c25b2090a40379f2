//! Q8_0: blocks of 32 with one scale; 8.5 bits an element.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | scale `d`, f16 |
//! | 2..34 | codes `q`, signed bytes |
//!
//! `x = d · q`, `d = max |x| / 127`, `q` rounded to nearest, ties away from zero. Source: ggml's `block_q8_0`.

use super::format::{BlockFormat, inverse, largest_magnitude, magnitude, read_f16, span, with_slack, write_f16};
use crate::half::{F16_MAX, f16_rounding};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "Q8_0",
    ggml_id: 8,
    block_len: 32,
    block_bytes: 34,
    decode,
    encode: Some(encode),
    error_bound,
    fallback: None,
};

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (values, block) in values.as_chunks_mut::<32>().0.iter_mut().zip(bytes.as_chunks::<34>().0) {
        let [low, high, codes @ ..] = block;
        let scale = read_f16([*low, *high]);
        for (value, &code) in values.iter_mut().zip(codes) {
            *value = scale * (code as i8) as f32;
        }
    }
}

fn encode(values: &[f32], bytes: &mut [u8]) {
    for (values, block) in values.as_chunks::<32>().0.iter().zip(bytes.as_chunks_mut::<34>().0) {
        let scale = (largest_magnitude(values) / 127.0).min(F16_MAX);
        let inverse = inverse(scale);
        let [low, high, codes @ ..] = block;
        [*low, *high] = write_f16(scale);
        for (code, &value) in codes.iter_mut().zip(values) {
            // Adding the largest number below one half and truncating rounds ties away from zero as `round` does,
            // without a call.
            let scaled = value * inverse;
            *code = (scaled + 0.499_999_97f32.copysign(scaled)).clamp(-127.0, 127.0) as i8 as u8;
        }
    }
}

fn error_bound(min: f32, max: f32) -> f32 {
    let scale = magnitude(min, max) / 127.0;
    if scale > F16_MAX { span(min, max) } else { with_slack(scale * 0.5 + 127.0 * f16_rounding(scale)) }
}
