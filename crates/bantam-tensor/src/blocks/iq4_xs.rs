//! IQ4_XS: super-blocks of 256, eight sub-blocks of 32 with a 6-bit scale each, codes as IQ4_NL; 4.25 bits an element.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | scale of the scales, f16 |
//! | 2..4 | upper two bits of the scales, a little-endian u16, the first lowest |
//! | 4..8 | lower four bits of the scales, the even one's low |
//! | 8..136 | codes: of each 16 bytes (a sub-block), byte `i` has element `i` low and element `i + 16` high |
//!
//! `x = d · (s - 32) · v[q]`. Source: ggml's `block_iq4_xs`.

use super::TensorType;
use super::format::{BlockFormat, largest, magnitude, read_f16, span, with_slack, write_f16};
use super::iq4_nl::{assign, expand};
use super::search::{self, NON_LINEAR_PROMISE, SCALE_GROWTH, nearest};
use crate::half::{F16_MAX, f16_rounding};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "IQ4_XS",
    ggml_id: 23,
    block_len: 256,
    block_bytes: 136,
    decode,
    encode: Some(encode),
    error_bound,
    fallback: Some(TensorType::IQ4_NL),
};

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (values, block) in values.as_chunks_mut::<256>().0.iter_mut().zip(bytes.as_chunks::<136>().0) {
        let [d0, d1, u0, u1, l0, l1, l2, l3, codes @ ..] = block;
        let scale_of_scales = read_f16([*d0, *d1]);
        let upper = u16::from_le_bytes([*u0, *u1]);
        let lower = u32::from_le_bytes([*l0, *l1, *l2, *l3]);
        let sub_blocks = values.as_chunks_mut::<32>().0.iter_mut().zip(codes.as_chunks::<16>().0);
        for (index, (values, codes)) in sub_blocks.enumerate() {
            let scale = (lower >> (4 * index) & 15) as i32 | (upper as i32 >> (2 * index) & 3) << 4;
            expand(values, codes, scale_of_scales * (scale - 32) as f32);
        }
    }
}

fn encode(values: &[f32], bytes: &mut [u8]) {
    for (values, block) in values.as_chunks::<256>().0.iter().zip(bytes.as_chunks_mut::<136>().0) {
        // What the format cannot reach is held at its ends first; so nothing below leaves the range of f32.
        let reach = 32.0 * 127.0 * F16_MAX;
        let held = values.map(|value| value.clamp(-reach, reach));
        let sub_blocks = held.as_chunks::<32>().0;
        let mut found = [0.0f32; 8];
        for (found, values) in found.iter_mut().zip(sub_blocks) {
            *found = search::non_linear(values);
        }
        // The largest scale gets -32, the one code more on the negative side.
        let largest_scale = largest(&found);
        let inverse = if largest_scale == 0.0 { 0.0 } else { -32.0 / largest_scale };
        let [d0, d1, u0, u1, l0, l1, l2, l3, codes @ ..] = block;
        [*d0, *d1] = write_f16(largest_scale / -32.0);
        let scale_of_scales = read_f16([*d0, *d1]);
        let (mut upper, mut lower) = (0u16, 0u32);
        for (index, (codes, values)) in codes.as_chunks_mut::<16>().0.iter_mut().zip(sub_blocks).enumerate() {
            let scale = nearest(inverse * found[index], -32.0, 31.0);
            let code = (scale + 32.0) as u8;
            lower |= (code as u32 & 15) << (4 * index);
            upper |= (code as u16 >> 4) << (2 * index);
            // Codes for the scales as they are stored, not as they were found.
            assign(codes, values, scale_of_scales * scale);
        }
        [*u0, *u1] = upper.to_le_bytes();
        [*l0, *l1, *l2, *l3] = lower.to_le_bytes();
    }
}

/// The search's promise, then what rounding scales to 6 bits of a half adds, times the largest value. (A whole unit and
/// not half of one: a scale just opposite to the largest finds no code 32.)
fn error_bound(min: f32, max: f32) -> f32 {
    let scale_of_scales = SCALE_GROWTH * magnitude(min, max) / 127.0 / 32.0;
    if scale_of_scales > F16_MAX {
        return span(min, max).max(magnitude(min, max));
    }
    let from_scales = 127.0 * (scale_of_scales + 32.0 * f16_rounding(scale_of_scales));
    with_slack(NON_LINEAR_PROMISE * magnitude(min, max) + from_scales)
}
