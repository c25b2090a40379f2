//! IQ3_XXS: super-blocks of 256 in eight sub-blocks of 32, groups of four from a codebook of 256; 3.0625 bits an element.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | scale `d`, f16 |
//! | 2..66 | each group's entry |
//! | 66..98 | a little-endian u32 a sub-block: four times seven bits of signs for eight elements, four bits of scale `s` |
//!
//! `x = d · (s + 1/2) / 2 · ± entry`; each eight elements have an even number of minus signs, which gives the eighth. Only
//! read. Source: ggml's `block_iq3_xxs`.

use super::TensorType;
use super::codebooks::{EVEN_SIGNS, IQ3_XXS, joined, signed};
use super::format::{BlockFormat, read_f16, unbounded};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "IQ3_XXS",
    ggml_id: 18,
    block_len: 256,
    block_bytes: 98,
    decode,
    encode: None,
    error_bound: unbounded,
    fallback: Some(TensorType::IQ4_NL),
};

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (values, block) in values.as_chunks_mut::<256>().0.iter_mut().zip(bytes.as_chunks::<98>().0) {
        let [d0, d1, rest @ ..] = block;
        let d = read_f16([*d0, *d1]);
        let (entries, signs) = rest.split_at(64);
        let sub_blocks = entries.as_chunks::<8>().0.iter().zip(signs.as_chunks::<4>().0);
        for (values, (entries, signs)) in values.as_chunks_mut::<32>().0.iter_mut().zip(sub_blocks) {
            let signs = u32::from_le_bytes(*signs);
            let scale = d * (0.5 + (signs >> 28) as f32) * 0.5;
            let groups = values.as_chunks_mut::<8>().0.iter_mut().zip(entries.as_chunks::<2>().0);
            for (index, (values, [first, second])) in groups.enumerate() {
                let entry = joined(IQ3_XXS[*first as usize], IQ3_XXS[*second as usize]);
                signed(values, scale, entry, EVEN_SIGNS[(signs >> (7 * index) & 127) as usize]);
            }
        }
    }
}
