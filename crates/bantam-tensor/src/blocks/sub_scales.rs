//! What Q4_K and Q5_K share (and Q2_K in part): super-blocks of 256 in eight sub-blocks of 32, each with a 6-bit scale and a 6-bit minimum,
//! and a half for all scales and one for all minima.
//!
//! The twelve bytes hold scale `s[0..8]` and minimum `m[0..8]` of the sub-blocks:
//!
//! | byte (`i` in 0..4) | low bits | high bits |
//! |---|---|---|
//! | `i` | `s[i]`, six | upper two of `s[i + 4]` |
//! | `4 + i` | `m[i]`, six | upper two of `m[i + 4]` |
//! | `8 + i` | lower four of `s[i + 4]` | lower four of `m[i + 4]` |
//!
//! Source: `get_scale_min_k4` and `block_q4_K` of ggml.

use super::format::{magnitude, read_f16, span, with_slack, write_f16};
use super::search::{self, Affine, Grids, SCALE_GROWTH, nearest};
use crate::half::{F16_MAX, f16_rounding};

/// The scales and minima of a super-block, widened: `x = scale · code - min`.
pub(super) struct SubScales {
    pub scale: [f32; 8],
    pub min: [f32; 8],
}

/// Reads the first 16 bytes of a super-block.
#[inline(always)]
pub(super) fn read(head: &[u8; 16]) -> SubScales {
    let [d0, d1, m0, m1, packed @ ..] = head;
    let (scale_of_scales, scale_of_mins) = (read_f16([*d0, *d1]), read_f16([*m0, *m1]));
    let (mut scale, mut min) = ([0.0; 8], [0.0; 8]);
    for index in 0..4 {
        let (a, b, c) = (packed[index], packed[4 + index], packed[8 + index]);
        scale[index] = scale_of_scales * (a & 63) as f32;
        min[index] = scale_of_mins * (b & 63) as f32;
        scale[4 + index] = scale_of_scales * (c & 15 | (a >> 6) << 4) as f32;
        min[4 + index] = scale_of_mins * (c >> 4 | (b >> 6) << 4) as f32;
    }
    SubScales { scale, min }
}

/// Scales and minima of a super-block as they are stored: each code times its scale of scales.
pub(super) struct Stored<const COUNT: usize> {
    pub scale_of_scales: [u8; 2],
    pub scale_of_mins: [u8; 2],
    pub scale: [u8; COUNT],
    pub min: [u8; COUNT],
}

/// Holds values at the ends of what the format can reach, where scales and minima have codes up to `top`; so nothing
/// that is done with them leaves the range of f32.
pub(super) fn held(values: &[f32; 256], levels: f32, top: f32) -> [f32; 256] {
    let (low, high) = (-top * F16_MAX, top * levels * F16_MAX);
    values.map(|value| value.clamp(low, high))
}

/// Finds scales and minima of a super-block's sub-blocks, with codes up to `top`.
pub(super) fn find<const LEN: usize, const COUNT: usize>(
    sub_blocks: &[[f32; LEN]],
    grids: Grids,
    top: f32,
) -> Stored<COUNT> {
    let mut found = [Affine::default(); COUNT];
    for (found, values) in found.iter_mut().zip(sub_blocks) {
        *found = search::affine(values, grids);
    }
    let largest_scale = found.iter().fold(0.0f32, |largest, each| largest.max(each.scale));
    let largest_min = found.iter().fold(0.0f32, |largest, each| largest.max(-each.min));
    let inverse = |largest: f32| if largest > 0.0 { top / largest } else { 0.0 };
    let (inverse_scale, inverse_min) = (inverse(largest_scale), inverse(largest_min));
    Stored {
        scale_of_scales: write_f16(largest_scale / top),
        scale_of_mins: write_f16(largest_min / top),
        scale: found.map(|each| nearest(inverse_scale * each.scale, 0.0, top) as u8),
        min: found.map(|each| nearest(inverse_min * -each.min, 0.0, top) as u8),
    }
}

/// Codes for a sub-block whose scale and minimum are as stored.
pub(super) fn assign<const LEN: usize>(codes: &mut [u8; LEN], values: &[f32; LEN], scale: f32, min: f32, levels: f32) {
    if scale != 0.0 {
        for (code, &value) in codes.iter_mut().zip(values) {
            *code = nearest((value + min) / scale, 0.0, levels) as u8;
        }
    }
}

/// Finds scales, minima and codes of a super-block of Q4_K or Q5_K.
pub(super) fn encode(values: &[f32; 256], grids: Grids) -> ([u8; 16], [u8; 256]) {
    let held = held(values, grids.levels, 63.0);
    let sub_blocks = held.as_chunks::<32>().0;
    let Stored { scale_of_scales, scale_of_mins, scale, min } = find::<32, 8>(sub_blocks, grids, 63.0);
    let mut head = [0u8; 16];
    let [d0, d1, m0, m1, packed @ ..] = &mut head;
    [*d0, *d1] = scale_of_scales;
    [*m0, *m1] = scale_of_mins;
    for index in 0..4 {
        packed[index] = scale[index] | (scale[4 + index] >> 4) << 6;
        packed[4 + index] = min[index] | (min[4 + index] >> 4) << 6;
        packed[8 + index] = scale[4 + index] & 15 | (min[4 + index] & 15) << 4;
    }
    // Codes for the scales as they are stored, not as they were found.
    let stored = read(&head);
    let mut codes = [0u8; 256];
    for (index, (codes, values)) in codes.as_chunks_mut::<32>().0.iter_mut().zip(sub_blocks).enumerate() {
        assign(codes, values, stored.scale[index], stored.min[index], grids.levels);
    }
    (head, codes)
}

/// The search's step, then what rounding scales and minima to codes up to `top`, times a half, adds: for scales times the
/// largest code.
pub(super) fn error_bound(min: f32, max: f32, levels: f32, top: f32) -> f32 {
    let extent = span(min, max);
    let step = extent / levels;
    let scale_of_scales = SCALE_GROWTH * step / top;
    let scale_of_mins = (min.min(0.0).abs() + step) / top;
    if scale_of_scales > F16_MAX || scale_of_mins > F16_MAX || magnitude(min, max) > top * F16_MAX {
        return extent;
    }
    let from_scales = levels * (0.5 * scale_of_scales + top * f16_rounding(scale_of_scales));
    let from_mins = 0.5 * scale_of_mins + top * f16_rounding(scale_of_mins);
    with_slack(step + from_scales + from_mins) + magnitude(min, max) * 1e-6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_six_bits_each() {
        // One sub-block at a time carries all of one scale and of one minimum.
        for index in 0..8 {
            let mut values = [0.0f32; 256];
            for (each, value) in values[32 * index..][..32].iter_mut().enumerate() {
                *value = each as f32 - 8.0;
            }
            let (head, _) = encode(&values, Grids { levels: 15.0, first: -1.0, step: 0.1, count: 20 });
            let sub_scales = read(&head);
            for other in 0..8 {
                assert_eq!(sub_scales.scale[other] > 0.0, other == index, "{other}");
                assert_eq!(sub_scales.min[other] > 0.0, other == index, "{other}");
            }
        }
    }
}
