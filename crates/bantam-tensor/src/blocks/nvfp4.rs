//! NVFP4: blocks of 64, four sub-blocks of 16 with an 8-bit float as scale each; 4.5 bits an element.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | scales `s` of the sub-blocks: floats without sign, four bits of exponent (bias 7), three of fraction |
//! | 4..36 | codes: of each eight bytes (a sub-block), byte `i` has element `i` low and element `i + 8` high |
//!
//! `x = s · e2m1(q)`, with `e2m1` the 4-bit float 0, ½, 1, 1½, 2, 3, 4, 6 and its negatives. Scale 127 (NaN) counts as
//! zero, and the sign bit of a scale as nothing. The scale that such checkpoints have for a whole tensor is a tensor of
//! its own and no part of the blocks. Only read. Source: `NVFP4` of gguf's `quants.py`; ggml's `block_nvfp4`.

use super::codebooks::E2M1_TWICE;
use super::format::{BlockFormat, unbounded};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "NVFP4",
    ggml_id: 40,
    block_len: 64,
    block_bytes: 36,
    decode,
    encode: None,
    error_bound: unbounded,
    fallback: None,
};

/// Half of a scale (the values are kept doubled).
#[inline(always)]
fn half_scale(bits: u8) -> f32 {
    let (exponent, fraction) = ((bits as u32 >> 3) & 15, bits as u32 & 7);
    match (bits, exponent) {
        (127, _) => 0.0,
        (_, 0) => fraction as f32 * (1.0 / 1024.0),
        _ => f32::from_bits((exponent + 127 - 7 - 1) << 23 | fraction << 20),
    }
}

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (values, block) in values.as_chunks_mut::<64>().0.iter_mut().zip(bytes.as_chunks::<36>().0) {
        let (scales, codes) = block.split_at(4);
        let sub_blocks = scales.iter().zip(codes.as_chunks::<8>().0);
        for (values, (&scale, codes)) in values.as_chunks_mut::<16>().0.iter_mut().zip(sub_blocks) {
            let table = E2M1_TWICE.map(|value| half_scale(scale) * value as f32);
            let (first, second) = values.split_at_mut(8);
            for ((first, second), &code) in first.iter_mut().zip(second).zip(codes) {
                *first = table[(code & 15) as usize];
                *second = table[(code >> 4) as usize];
            }
        }
    }
}
