//! TQ1_0: blocks of 256 numbers -1, 0 or 1 with one scale, five numbers a byte; 1.6875 bits an element.
//!
//! | bytes | what |
//! |---|---|
//! | 0..32 | elements 0..160: byte `i` has elements `i`, `i + 32`, …, `i + 128` |
//! | 32..48 | elements 160..240: byte `i` has elements `i`, `i + 16`, …, `i + 64` of them |
//! | 48..52 | elements 240..256: byte `i` has elements `i`, `i + 4`, `i + 8`, `i + 12` of them and one zero |
//! | 52..54 | scale `d`, f16 |
//!
//! `x = d · (q - 1)`, `d = max |x|`. A byte is the fraction `0.qqqqq` to base 3 in 256ths, rounded up: the first number is
//! what three times the byte carries beyond 8 bits, and the byte times three (modulo 256) has the next one first. Source:
//! ggml's `block_tq1_0`.

use super::TensorType;
use super::format::{BlockFormat, read_f16};
use super::tq2_0::{error_bound, ternary};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "TQ1_0",
    ggml_id: 34,
    block_len: 256,
    block_bytes: 54,
    decode,
    encode: Some(encode),
    error_bound,
    fallback: Some(TensorType::Q4_0),
};

const POWERS: [u8; 5] = [1, 3, 9, 27, 81];

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (values, block) in values.as_chunks_mut::<256>().0.iter_mut().zip(bytes.as_chunks::<54>().0) {
        let [body @ .., d0, d1] = block;
        let scale = read_f16([*d0, *d1]);
        let (first, rest) = values.split_at_mut(160);
        let (second, third) = rest.split_at_mut(80);
        let (first_bytes, rest) = body.split_at(32);
        let (second_bytes, third_bytes) = rest.split_at(16);
        unpack::<32>(first, first_bytes, scale);
        unpack::<16>(second, second_bytes, scale);
        unpack::<4>(third, third_bytes, scale);
    }
}

/// Rows of `LEN` elements from `LEN` bytes, a power of three a row.
#[inline(always)]
fn unpack<const LEN: usize>(values: &mut [f32], bytes: &[u8], scale: f32) {
    let Some(bytes) = bytes.first_chunk::<LEN>() else { return };
    for (values, power) in values.as_chunks_mut::<LEN>().0.iter_mut().zip(POWERS) {
        for (value, &byte) in values.iter_mut().zip(bytes) {
            let code = (byte.wrapping_mul(power) as u16 * 3) >> 8;
            *value = scale * (code as i32 - 1) as f32;
        }
    }
}

fn encode(values: &[f32], bytes: &mut [u8]) {
    for (values, block) in values.as_chunks::<256>().0.iter().zip(bytes.as_chunks_mut::<54>().0) {
        let (scale, codes) = ternary(values);
        let [body @ .., d0, d1] = block;
        [*d0, *d1] = scale;
        let (first, rest) = codes.split_at(160);
        let (second, third) = rest.split_at(80);
        let (first_bytes, rest) = body.split_at_mut(32);
        let (second_bytes, third_bytes) = rest.split_at_mut(16);
        pack(first, first_bytes);
        pack(second, second_bytes);
        pack(third, third_bytes);
    }
}

/// The inverse of [`unpack`].
fn pack(codes: &[u8], bytes: &mut [u8]) {
    let len = bytes.len();
    for (index, byte) in bytes.iter_mut().enumerate() {
        let places = codes.iter().skip(index).step_by(len).zip(POWERS.iter().rev());
        let number: u16 = places.map(|(&code, &power)| code as u16 * power as u16).sum();
        *byte = (number * 256).div_ceil(243) as u8;
    }
}
