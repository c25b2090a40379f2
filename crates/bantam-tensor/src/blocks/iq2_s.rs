//! IQ2_S: super-blocks of 256 in sixteen sub-blocks of 16, groups of eight from a codebook of 1024; 2.5625 bits an element.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | scale `d`, f16 |
//! | 2..34 | lower eight bits of each group's entry |
//! | 34..66 | signs, a byte a group |
//! | 66..74 | upper two bits of the entries, four groups a byte, the first lowest |
//! | 74..82 | scales `s` of four bits, the even sub-block's low |
//!
//! `x = d · (s + 1/2) / 4 · ± entry`. Only read. Source: ggml's `block_iq2_s`.

use super::TensorType;
use super::codebooks::{IQ2_S, signed};
use super::format::{BlockFormat, read_f16, unbounded};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "IQ2_S",
    ggml_id: 22,
    block_len: 256,
    block_bytes: 82,
    decode,
    encode: None,
    error_bound: unbounded,
    fallback: Some(TensorType::IQ4_NL),
};

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (values, block) in values.as_chunks_mut::<256>().0.iter_mut().zip(bytes.as_chunks::<82>().0) {
        let [d0, d1, rest @ ..] = block;
        let d = read_f16([*d0, *d1]);
        let (low, rest) = rest.split_at(32);
        let (signs, rest) = rest.split_at(32);
        let (high, scales) = rest.split_at(8);
        let groups = low.as_chunks::<4>().0.iter().zip(signs.as_chunks::<4>().0);
        let pairs = groups.zip(high.iter().zip(scales));
        for (values, ((low, signs), (&high, &scales))) in values.as_chunks_mut::<32>().0.iter_mut().zip(pairs) {
            let scales = [scales & 15, scales >> 4].map(|scale| d * (0.5 + scale as f32) * 0.25);
            for (index, values) in values.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                let entry = low[index] as usize | (high as usize >> (2 * index) & 3) << 8;
                signed(values, scales[index / 2], IQ2_S[entry], signs[index]);
            }
        }
    }
}
