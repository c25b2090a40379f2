//! IQ2_XXS: super-blocks of 256 in eight sub-blocks of 32, groups of eight from a codebook of 256; 2.0625 bits an element.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | scale `d`, f16 |
//! | 2..66 | per sub-block eight bytes: the four groups' entries, then a little-endian u32: four times seven bits of signs, four bits of scale `s` |
//!
//! `x = d · (s + 1/2) / 4 · ± entry`; each group has an even number of minus signs, which gives the eighth. Only read.
//! Source: ggml's `block_iq2_xxs`.

use super::TensorType;
use super::codebooks::{EVEN_SIGNS, IQ2_XXS, signed};
use super::format::{BlockFormat, read_f16, unbounded};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "IQ2_XXS",
    ggml_id: 16,
    block_len: 256,
    block_bytes: 66,
    decode,
    encode: None,
    error_bound: unbounded,
    fallback: Some(TensorType::IQ4_NL),
};

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (values, block) in values.as_chunks_mut::<256>().0.iter_mut().zip(bytes.as_chunks::<66>().0) {
        let [d0, d1, rest @ ..] = block;
        let d = read_f16([*d0, *d1]);
        for (values, sub_block) in values.as_chunks_mut::<32>().0.iter_mut().zip(rest.as_chunks::<8>().0) {
            let [entries @ .., a0, a1, a2, a3] = *sub_block;
            let signs = u32::from_le_bytes([a0, a1, a2, a3]);
            let scale = d * (0.5 + (signs >> 28) as f32) * 0.25;
            let entries: [u8; 4] = entries;
            for (index, (values, entry)) in values.as_chunks_mut::<8>().0.iter_mut().zip(entries).enumerate() {
                let signs = EVEN_SIGNS[(signs >> (7 * index) & 127) as usize];
                signed(values, scale, IQ2_XXS[entry as usize], signs);
            }
        }
    }
}
