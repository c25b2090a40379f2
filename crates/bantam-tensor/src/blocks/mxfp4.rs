//! MXFP4: blocks of 32 4-bit floats with a power of two as scale; 4.25 bits an element.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | exponent `e` of the scale, biased by 127 |
//! | 1..17 | codes: byte `i` has element `i` in its low and element `i + 16` in its high four bits |
//!
//! `x = 2^(e - 127) · e2m1(q)`, with `e2m1` the 4-bit float 0, ½, 1, 1½, 2, 3, 4, 6 and its negatives. The exponent is that
//! of the largest magnitude less 2, so that it falls between 4 and 8 of the scale; each element gets the nearest value, of
//! two as near the smaller. Source: OCP Microscaling Formats (MX) 1.0, sections 5.3.3 and 6.3; ggml's `block_mxfp4`. (Where
//! the reference takes a logarithm in f32, the exponent here is read off the number, which differs within a rounding of a
//! power of two; and it stays at 0 where the reference's wraps around below 2^-125.)

use super::codebooks::E2M1_TWICE;
use super::format::{BlockFormat, largest_magnitude, magnitude};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "MXFP4",
    ggml_id: 39,
    block_len: 32,
    block_bytes: 17,
    decode,
    encode: Some(encode),
    error_bound,
    fallback: None,
};

/// Half of the scale (the values are kept doubled): `2^(e - 128)`.
#[inline(always)]
fn half_scale(exponent: u8) -> f32 {
    // The two smallest are subnormal.
    let bits = if exponent < 2 { 0x0020_0000 << exponent } else { (exponent as u32 - 1) << 23 };
    f32::from_bits(bits)
}

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (values, block) in values.as_chunks_mut::<32>().0.iter_mut().zip(bytes.as_chunks::<17>().0) {
        let [exponent, codes @ ..] = block;
        let scale = half_scale(*exponent);
        let table = E2M1_TWICE.map(|value| scale * value as f32);
        let (first, second) = values.split_at_mut(16);
        for ((first, second), &code) in first.iter_mut().zip(second).zip(codes) {
            *first = table[(code & 15) as usize];
            *second = table[(code >> 4) as usize];
        }
    }
}

fn encode(values: &[f32], bytes: &mut [u8]) {
    for (values, block) in values.as_chunks::<32>().0.iter().zip(bytes.as_chunks_mut::<17>().0) {
        let biased = (largest_magnitude(values).to_bits() >> 23) as u8;
        let exponent = biased.saturating_sub(2);
        // A code begins where it is nearer than the one before: halfway between doubled values.
        let middles = [0.5, 1.5, 2.5, 3.5, 5.0, 7.0, 10.0].map(|middle: f32| middle * half_scale(exponent));
        let code = |value: f32| {
            let magnitude: u8 = middles.iter().map(|&middle| (value.abs() > middle) as u8).sum();
            magnitude | ((value < 0.0 && magnitude > 0) as u8) << 3
        };
        let [first_byte, codes @ ..] = block;
        *first_byte = exponent;
        let (first, second) = values.split_at(16);
        for ((&first, &second), byte) in first.iter().zip(second).zip(codes) {
            *byte = code(first) | code(second) << 4;
        }
    }
}

/// Half the widest gap is 1 where the largest is at least 4, and 8 lies 2 beyond the last value; below the smallest scale,
/// half of the narrowest gap.
fn error_bound(min: f32, max: f32) -> f32 {
    (magnitude(min, max) * 0.25).max(f32::from_bits(1 << 20))
}
