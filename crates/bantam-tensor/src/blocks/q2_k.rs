//! Q2_K: super-blocks of 256, sixteen sub-blocks of 16 with a 4-bit scale and minimum each; 2.625 bits an element.
//!
//! | bytes | what |
//! |---|---|
//! | 0..16 | a byte a sub-block: scale `s` in the low, minimum `m` in the high four bits |
//! | 16..80 | codes: of each 32 bytes (half a super-block), byte `i` has elements `i`, `i + 32`, `i + 64`, `i + 96`, two bits each, the first lowest |
//! | 80..82 | scale of the scales, f16 |
//! | 82..84 | scale of the minima, f16 |
//!
//! `x = (d · s) · q - (m_d · m)`. Source: ggml's `block_q2_K`.

use super::TensorType;
use super::format::{BlockFormat, inverse, range, read_f16};
use super::search::{Grids, nearest};
use super::sub_scales::{self, Stored};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "Q2_K",
    ggml_id: 10,
    block_len: 256,
    block_bytes: 84,
    decode,
    encode: Some(encode),
    error_bound: |min, max| sub_scales::error_bound(min, max, 3.0, TOP),
    fallback: Some(TensorType::IQ4_NL),
};

/// Largest code of a scale or minimum.
const TOP: f32 = 15.0;

const GRIDS: Grids = Grids { levels: 3.0, first: -0.5, step: 0.1, count: 15 };

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (values, block) in values.as_chunks_mut::<256>().0.iter_mut().zip(bytes.as_chunks::<84>().0) {
        let [body @ .., d0, d1, m0, m1] = block;
        let (scale_of_scales, scale_of_mins) = (read_f16([*d0, *d1]), read_f16([*m0, *m1]));
        let (scales, codes) = body.split_at(16);
        let halves = codes.as_chunks::<32>().0.iter().zip(scales.as_chunks::<8>().0);
        for (values, (codes, scales)) in values.as_chunks_mut::<128>().0.iter_mut().zip(halves) {
            for (quarter, values) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                let parts = values.as_chunks_mut::<16>().0.iter_mut().zip(codes.as_chunks::<16>().0);
                for (index, (values, codes)) in parts.enumerate() {
                    let packed = scales[2 * quarter + index];
                    let (scale, min) = (scale_of_scales * (packed & 15) as f32, scale_of_mins * (packed >> 4) as f32);
                    for (value, &code) in values.iter_mut().zip(codes) {
                        *value = scale * (code >> (2 * quarter) & 3) as f32 - min;
                    }
                }
            }
        }
    }
}

fn encode(values: &[f32], bytes: &mut [u8]) {
    for (values, block) in values.as_chunks::<256>().0.iter().zip(bytes.as_chunks_mut::<84>().0) {
        let held = sub_scales::held(values, GRIDS.levels, TOP);
        let sub_blocks = held.as_chunks::<16>().0;
        let stored: Stored<16> = sub_scales::find(sub_blocks, GRIDS, TOP);
        let (scale_of_scales, scale_of_mins) = (read_f16(stored.scale_of_scales), read_f16(stored.scale_of_mins));
        let [body @ .., d0, d1, m0, m1] = block;
        [*d0, *d1] = stored.scale_of_scales;
        [*m0, *m1] = stored.scale_of_mins;
        let (scale_bytes, code_bytes) = body.split_at_mut(16);
        let mut codes = [0u8; 256];
        for (index, (codes, values)) in codes.as_chunks_mut::<16>().0.iter_mut().zip(sub_blocks).enumerate() {
            let found = (stored.scale[index], stored.min[index]);
            let (scale, min) = best_neighbour(values, found, scale_of_scales, scale_of_mins);
            scale_bytes[index] = scale | min << 4;
            let (scale, min) = (scale_of_scales * scale as f32, scale_of_mins * min as f32);
            sub_scales::assign(codes, values, scale, min, GRIDS.levels);
        }
        pack_two_bits(&codes, code_bytes);
    }
}

/// The scale and minimum of a sub-block, at most one code from what was found, that lose least. Four bits are so few that
/// rounding each by itself loses more than the search has won. No element gets further off than a step of the even grid,
/// or than with the pair found.
fn best_neighbour(values: &[f32; 16], found: (u8, u8), scale_of_scales: f32, scale_of_mins: f32) -> (u8, u8) {
    let (low, high) = range(values);
    let step = (high - low.min(0.0)) / GRIDS.levels;
    let root = (values.iter().map(|x| x * x).sum::<f32>() / 16.0).sqrt();
    let weights = values.map(|x| root + x.abs());
    let errors = |(scale, min): (u8, u8)| {
        let (scale, min) = (scale_of_scales * scale as f32, scale_of_mins * min as f32);
        let inverse = inverse(scale);
        let (mut error, mut furthest) = ([0.0f32; 8], [0.0f32; 8]);
        for (values, weights) in values.as_chunks::<8>().0.iter().zip(weights.as_chunks::<8>().0) {
            for lane in 0..8 {
                let code = nearest((values[lane] + min) * inverse, 0.0, GRIDS.levels);
                let off = (scale * code - min - values[lane]).abs();
                error[lane] += weights[lane] * off * off;
                furthest[lane] = if off > furthest[lane] { off } else { furthest[lane] };
            }
        }
        (error.into_iter().sum::<f32>(), furthest.into_iter().fold(0.0, f32::max))
    };
    let (mut best, (mut best_error, furthest)) = (found, errors(found));
    let allowed = furthest.max(step);
    for scale in found.0.saturating_sub(1)..=(found.0 + 1).min(15) {
        for min in found.1.saturating_sub(1)..=(found.1 + 1).min(15) {
            let (error, furthest) = errors((scale, min));
            if error < best_error && furthest <= allowed {
                (best, best_error) = ((scale, min), error);
            }
        }
    }
    best
}

/// Puts codes of two bits where Q2_K, Q3_K and TQ2_0 have them.
pub(super) fn pack_two_bits(codes: &[u8; 256], bytes: &mut [u8]) {
    for (bytes, codes) in bytes.as_chunks_mut::<32>().0.iter_mut().zip(codes.as_chunks::<128>().0) {
        for (index, byte) in bytes.iter_mut().enumerate() {
            let part = |quarter: usize| (codes[index + 32 * quarter] & 3) << (2 * quarter);
            *byte = part(0) | part(1) | part(2) | part(3);
        }
    }
}
