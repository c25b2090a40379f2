//! IQ1_S: super-blocks of 256 in eight sub-blocks of 32, groups of eight from a codebook of 2048; 1.5625 bits an element.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | scale `d`, f16 |
//! | 2..34 | lower eight bits of each group's entry |
//! | 34..50 | eight little-endian u16, one a sub-block: four times the upper three bits of an entry, then three bits of scale `s`, then the sign of the shift |
//!
//! `x = d · (2 s + 1) · (entry ± 1/8)`. Only read. Source: ggml's `block_iq1_s`.

use super::TensorType;
use super::codebooks::IQ1_S;
use super::format::{BlockFormat, read_f16, unbounded};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "IQ1_S",
    ggml_id: 19,
    block_len: 256,
    block_bytes: 50,
    decode,
    encode: None,
    error_bound: unbounded,
    fallback: Some(TensorType::IQ4_NL),
};

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (values, block) in values.as_chunks_mut::<256>().0.iter_mut().zip(bytes.as_chunks::<50>().0) {
        let [d0, d1, rest @ ..] = block;
        let d = read_f16([*d0, *d1]);
        let (low, high) = rest.split_at(32);
        let sub_blocks = low.as_chunks::<4>().0.iter().zip(high.as_chunks::<2>().0);
        for (values, (low, high)) in values.as_chunks_mut::<32>().0.iter_mut().zip(sub_blocks) {
            let high = u16::from_le_bytes(*high) as usize;
            let scale = d * (2 * (high >> 12 & 7) + 1) as f32;
            let shift = if high & 0x8000 == 0 { 0.125 } else { -0.125 };
            for (index, (values, &low)) in values.as_chunks_mut::<8>().0.iter_mut().zip(low).enumerate() {
                shifted(values, scale, IQ1_S[low as usize | (high >> (3 * index) & 7) << 8], shift);
            }
        }
    }
}

/// Eight elements `scale · (entry + shift)`.
#[inline(always)]
pub(super) fn shifted(values: &mut [f32; 8], scale: f32, entry: [i8; 8], shift: f32) {
    for (value, element) in values.iter_mut().zip(entry) {
        *value = scale * (element as f32 + shift);
    }
}
