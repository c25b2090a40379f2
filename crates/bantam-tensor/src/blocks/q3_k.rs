//! Q3_K: super-blocks of 256, sixteen sub-blocks of 16 with a 6-bit scale each; 3.4375 bits an element.
//!
//! | bytes | what |
//! |---|---|
//! | 0..32 | third bits: byte `i` has those of elements `i`, `i + 32`, …, `i + 224`, the first lowest |
//! | 32..96 | lower two bits: of each 32 bytes (half a super-block), byte `i` has those of elements `i`, `i + 32`, `i + 64`, `i + 96`, the first lowest |
//! | 96..104 | lower four bits of the scales: byte `i` has scale `i` low and `i + 8` high |
//! | 104..108 | upper two bits of the scales: byte `i` has scales `i`, `i + 4`, `i + 8`, `i + 12`, the first lowest |
//! | 108..110 | scale of the scales, f16 |
//!
//! `x = d · (s - 32) · (q - 4)`. Source: ggml's `block_q3_K`.

use super::TensorType;
use super::format::{BlockFormat, largest, magnitude, read_f16, span, with_slack, write_f16};
use super::q2_k::pack_two_bits;
use super::search::{self, SCALE_GROWTH, nearest};
use crate::half::{F16_MAX, f16_rounding};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "Q3_K",
    ggml_id: 11,
    block_len: 256,
    block_bytes: 110,
    decode,
    encode: Some(encode),
    error_bound,
    fallback: Some(TensorType::IQ4_NL),
};

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (values, block) in values.as_chunks_mut::<256>().0.iter_mut().zip(bytes.as_chunks::<110>().0) {
        let [body @ .., d0, d1] = block;
        let scale_of_scales = read_f16([*d0, *d1]);
        let (third, rest) = body.split_at(32);
        let (low, packed) = rest.split_at(64);
        let scales: [f32; 16] = std::array::from_fn(|index| {
            let lower = packed[index % 8] >> (4 * (index / 8)) & 15;
            let upper = packed[8 + index % 4] >> (2 * (index / 4)) & 3;
            scale_of_scales * ((lower | upper << 4) as i32 - 32) as f32
        });
        for (eighth, values) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let low = &low.as_chunks::<32>().0[eighth / 4];
            let parts = low.as_chunks::<16>().0.iter().zip(third.as_chunks::<16>().0);
            let shift = 2 * (eighth % 4);
            for (index, (values, (low, third))) in values.as_chunks_mut::<16>().0.iter_mut().zip(parts).enumerate() {
                let scale = scales[2 * eighth + index];
                for ((value, &low), &third) in values.iter_mut().zip(low).zip(third) {
                    let code = (low >> shift & 3) | (third >> eighth & 1) << 2;
                    *value = scale * (code as i32 - 4) as f32;
                }
            }
        }
    }
}

fn encode(values: &[f32], bytes: &mut [u8]) {
    for (values, block) in values.as_chunks::<256>().0.iter().zip(bytes.as_chunks_mut::<110>().0) {
        // What the format cannot reach is held at its ends first; so nothing below leaves the range of f32.
        let reach = 32.0 * 4.0 * F16_MAX;
        let held = values.map(|value| value.clamp(-reach, reach));
        let sub_blocks = held.as_chunks::<16>().0;
        let mut found = [0.0f32; 16];
        for (found, values) in found.iter_mut().zip(sub_blocks) {
            *found = search::symmetric(values, 4.0);
        }
        // The largest scale gets -32, the one code more on the negative side.
        let largest_scale = largest(&found);
        let inverse = if largest_scale == 0.0 { 0.0 } else { -32.0 / largest_scale };
        let scale_of_scales = write_f16(largest_scale / -32.0);
        let mut codes = [4u8; 256];
        let mut scales = [0u8; 16];
        for (index, (codes, values)) in codes.as_chunks_mut::<16>().0.iter_mut().zip(sub_blocks).enumerate() {
            let scale = nearest(inverse * found[index], -32.0, 31.0);
            scales[index] = (scale + 32.0) as u8;
            // Codes for the scales as they are stored, not as they were found.
            let stored = read_f16(scale_of_scales) * scale;
            if stored != 0.0 {
                for (code, &value) in codes.iter_mut().zip(values) {
                    *code = (nearest(value / stored, -4.0, 3.0) + 4.0) as u8;
                }
            }
        }
        let [body @ .., d0, d1] = block;
        [*d0, *d1] = scale_of_scales;
        let (third, rest) = body.split_at_mut(32);
        let (low, packed) = rest.split_at_mut(64);
        for (index, byte) in third.iter_mut().enumerate() {
            *byte = (0..8).map(|eighth| codes[index + 32 * eighth] >> 2 << eighth).sum();
        }
        pack_two_bits(&codes, low);
        for index in 0..8 {
            packed[index] = scales[index] & 15 | scales[index + 8] << 4;
        }
        for index in 0..4 {
            let upper = |quarter: usize| scales[index + 4 * quarter] >> 4 << (2 * quarter);
            packed[8 + index] = upper(0) | upper(1) | upper(2) | upper(3);
        }
    }
}

/// The search's step, then what rounding scales to 6 bits of a half adds, times the largest code. (A whole unit and not
/// half of one: a scale just opposite to the largest finds no code 32.)
fn error_bound(min: f32, max: f32) -> f32 {
    let step = magnitude(min, max) / 4.0;
    let scale_of_scales = SCALE_GROWTH * step / 32.0;
    if scale_of_scales > F16_MAX {
        return span(min, max).max(magnitude(min, max));
    }
    with_slack(step + 4.0 * (scale_of_scales + 32.0 * f16_rounding(scale_of_scales)))
}
