//! IQ3_S: super-blocks of 256 in eight sub-blocks of 32, groups of four from a codebook of 512; 3.4375 bits an element.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | scale `d`, f16 |
//! | 2..66 | lower eight bits of each group's entry |
//! | 66..74 | ninth bits of the entries, eight groups (a sub-block) a byte, the first lowest |
//! | 74..106 | signs, a byte for eight elements |
//! | 106..110 | scales `s` of four bits, the even sub-block's low |
//!
//! `x = d · (2 s + 1) · ± entry`. Only read. Source: ggml's `block_iq3_s`.

use super::TensorType;
use super::codebooks::{IQ3_S, joined, signed};
use super::format::{BlockFormat, read_f16, unbounded};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "IQ3_S",
    ggml_id: 21,
    block_len: 256,
    block_bytes: 110,
    decode,
    encode: None,
    error_bound: unbounded,
    fallback: Some(TensorType::IQ4_NL),
};

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (values, block) in values.as_chunks_mut::<256>().0.iter_mut().zip(bytes.as_chunks::<110>().0) {
        let [d0, d1, rest @ ..] = block;
        let d = read_f16([*d0, *d1]);
        let (low, rest) = rest.split_at(64);
        let (ninth, rest) = rest.split_at(8);
        let (signs, scales) = rest.split_at(32);
        let sub_blocks = low.as_chunks::<8>().0.iter().zip(ninth.iter().zip(signs.as_chunks::<4>().0));
        for (sub_block, (values, (low, (&ninth, signs)))) in
            values.as_chunks_mut::<32>().0.iter_mut().zip(sub_blocks).enumerate()
        {
            let scale = d * (1 + 2 * (scales[sub_block / 2] >> (4 * (sub_block % 2)) & 15)) as f32;
            let groups = values.as_chunks_mut::<8>().0.iter_mut().zip(low.as_chunks::<2>().0).zip(signs);
            for (index, ((values, [first, second]), &signs)) in groups.enumerate() {
                let ninth = ninth as usize >> (2 * index);
                let first = IQ3_S[*first as usize | (ninth & 1) << 8];
                let second = IQ3_S[*second as usize | (ninth >> 1 & 1) << 8];
                signed(values, scale, joined(first, second), signs);
            }
        }
    }
}
