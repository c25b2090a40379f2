//! IQ1_M: super-blocks of 256 in sixteen sub-blocks of 16, groups of eight from a codebook of 2048; 1.75 bits an element.
//!
//! | bytes | what |
//! |---|---|
//! | 0..32 | lower eight bits of each group's entry |
//! | 32..48 | four bits a group, the even one low: upper three bits of the entry, then the sign of the shift |
//! | 48..56 | four little-endian u16: each four 3-bit scales `s` and, highest, four bits of `d`, f16, the lowest first |
//!
//! `x = d · (2 s + 1) · (entry ± 1/8)`, codebook as IQ1_S. Only read. Source: ggml's `block_iq1_m`.

use super::TensorType;
use super::codebooks::IQ1_S;
use super::format::{BlockFormat, unbounded};
use super::iq1_s::shifted;
use crate::half::f16_to_f32;

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "IQ1_M",
    ggml_id: 29,
    block_len: 256,
    block_bytes: 56,
    decode,
    encode: None,
    error_bound: unbounded,
    fallback: Some(TensorType::IQ4_NL),
};

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (values, block) in values.as_chunks_mut::<256>().0.iter_mut().zip(bytes.as_chunks::<56>().0) {
        let [body @ .., s0, s1, s2, s3, s4, s5, s6, s7] = block;
        let (low, high) = body.split_at(32);
        let scales = [[*s0, *s1], [*s2, *s3], [*s4, *s5], [*s6, *s7]].map(u16::from_le_bytes);
        let d = scales[0] >> 12 | (scales[1] >> 12) << 4 | (scales[2] >> 12) << 8 | (scales[3] >> 12) << 12;
        let d = f16_to_f32(d);
        let sub_blocks = low.as_chunks::<2>().0.iter().zip(high);
        for (index, (values, (low, &high))) in values.as_chunks_mut::<16>().0.iter_mut().zip(sub_blocks).enumerate() {
            let scale = d * (2 * (scales[index / 4] >> (3 * (index % 4)) & 7) + 1) as f32;
            let groups = values.as_chunks_mut::<8>().0.iter_mut().zip(low).zip([high & 15, high >> 4]);
            for ((values, &low), high) in groups {
                let shift = if high & 8 == 0 { 0.125 } else { -0.125 };
                shifted(values, scale, IQ1_S[low as usize | (high as usize & 7) << 8], shift);
            }
        }
    }
}
