//! Q6_K: super-blocks of 256, sixteen sub-blocks of 16 with an 8-bit scale each; 6.5625 bits an element.
//!
//! | bytes | what |
//! |---|---|
//! | 0..128 | lower four bits: of each 64 bytes (half a super-block), byte `i` has element `i` low and `i + 64` high |
//! | 128..192 | upper two bits: of each 32 bytes, byte `i` has those of elements `i`, `i + 32`, `i + 64`, `i + 96` |
//! | 192..208 | scales of the sub-blocks, signed bytes |
//! | 208..210 | scale of the scales, f16 |
//!
//! `x = (d · s) · (q - 32)`. Source: ggml's `block_q6_K`.

use super::TensorType;
use super::format::{BlockFormat, largest, magnitude, read_f16, span, with_slack, write_f16};
use super::search::{self, SCALE_GROWTH, nearest};
use crate::half::{F16_MAX, f16_rounding};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "Q6_K",
    ggml_id: 14,
    block_len: 256,
    block_bytes: 210,
    decode,
    encode: Some(encode),
    error_bound,
    fallback: Some(TensorType::Q8_0),
};

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (values, block) in values.as_chunks_mut::<256>().0.iter_mut().zip(bytes.as_chunks::<210>().0) {
        let (low, rest) = block.split_at(128);
        let (high, rest) = rest.split_at(64);
        let (scales, last) = rest.split_at(16);
        let scale_of_scales = read_f16([last[0], last[1]]);
        for (half, (values, (low, high))) in values
            .as_chunks_mut::<128>()
            .0
            .iter_mut()
            .zip(low.as_chunks::<64>().0.iter().zip(high.as_chunks::<32>().0))
            .enumerate()
        {
            for (quarter, values) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                // Quarters 0 and 1 lie in the low four bits of the two 32-byte runs, 2 and 3 in the high ones.
                let low = &low.as_chunks::<32>().0[quarter % 2];
                let shift = 4 * (quarter / 2);
                for (sub_block, (values, (low, high))) in values
                    .as_chunks_mut::<16>()
                    .0
                    .iter_mut()
                    .zip(low.as_chunks::<16>().0.iter().zip(high.as_chunks::<16>().0))
                    .enumerate()
                {
                    let scale = scale_of_scales * (scales[8 * half + 2 * quarter + sub_block] as i8) as f32;
                    for ((value, &low), &high) in values.iter_mut().zip(low).zip(high) {
                        let code = (low >> shift & 15) | (high >> (2 * quarter) & 3) << 4;
                        *value = scale * (code as i32 - 32) as f32;
                    }
                }
            }
        }
    }
}

fn encode(values: &[f32], bytes: &mut [u8]) {
    for (values, block) in values.as_chunks::<256>().0.iter().zip(bytes.as_chunks_mut::<210>().0) {
        // What the format cannot reach is held at its ends first; so nothing below leaves the range of f32.
        let reach = 128.0 * 32.0 * F16_MAX;
        let held: [f32; 256] = std::array::from_fn(|index| values[index].clamp(-reach, reach));
        let sub_blocks = held.as_chunks::<16>().0;
        let mut found = [0.0f32; 16];
        for (found, values) in found.iter_mut().zip(sub_blocks) {
            *found = search::symmetric(values, 32.0);
        }
        // The largest scale gets -128, the one code more on the negative side.
        let largest_scale = largest(&found);
        let inverse = if largest_scale == 0.0 { 0.0 } else { -128.0 / largest_scale };
        let scale_of_scales = write_f16(largest_scale / -128.0);
        let mut codes = [32u8; 256];
        let mut scales = [0u8; 16];
        for (index, (codes, values)) in codes.as_chunks_mut::<16>().0.iter_mut().zip(sub_blocks).enumerate() {
            let scale = nearest(inverse * found[index], -128.0, 127.0);
            scales[index] = scale as i8 as u8;
            // Codes for the scales as they are stored, not as they were found.
            let stored = read_f16(scale_of_scales) * scale;
            if stored != 0.0 {
                for (code, &value) in codes.iter_mut().zip(values) {
                    *code = (nearest(value / stored, -32.0, 31.0) + 32.0) as u8;
                }
            }
        }
        let (low, rest) = block.split_at_mut(128);
        let (high, rest) = rest.split_at_mut(64);
        let (scale_bytes, last) = rest.split_at_mut(16);
        scale_bytes.copy_from_slice(&scales);
        last.copy_from_slice(&scale_of_scales);
        for (codes, (low, high)) in codes
            .as_chunks::<128>()
            .0
            .iter()
            .zip(low.as_chunks_mut::<64>().0.iter_mut().zip(high.as_chunks_mut::<32>().0))
        {
            for index in 0..64 {
                low[index] = codes[index] & 15 | codes[index + 64] << 4;
            }
            for index in 0..32 {
                let upper = |quarter: usize| codes[index + 32 * quarter] >> 4 << (2 * quarter);
                high[index] = upper(0) | upper(1) | upper(2) | upper(3);
            }
        }
    }
}

/// The search's step, then what rounding scales to 8 bits of a half adds, times the largest code. (A whole unit and not
/// half of one: a scale just opposite to the largest finds no code 128.)
fn error_bound(min: f32, max: f32) -> f32 {
    let step = magnitude(min, max) / 32.0;
    let scale_of_scales = SCALE_GROWTH * step / 128.0;
    if scale_of_scales > F16_MAX {
        return span(min, max).max(magnitude(min, max));
    }
    with_slack(step + 32.0 * (scale_of_scales + 128.0 * f16_rounding(scale_of_scales)))
}
