//! IQ2_XS: super-blocks of 256 in sixteen sub-blocks of 16, groups of eight from a codebook of 512; 2.3125 bits an element.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | scale `d`, f16 |
//! | 2..66 | a little-endian u16 a group: nine bits of entry, seven of signs |
//! | 66..74 | scales `s` of four bits, the even sub-block's low |
//!
//! `x = d · (s + 1/2) / 4 · ± entry`; each group has an even number of minus signs, which gives the eighth. Only read.
//! Source: ggml's `block_iq2_xs`.

use super::TensorType;
use super::codebooks::{EVEN_SIGNS, IQ2_XS, signed};
use super::format::{BlockFormat, read_f16, unbounded};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "IQ2_XS",
    ggml_id: 17,
    block_len: 256,
    block_bytes: 74,
    decode,
    encode: None,
    error_bound: unbounded,
    fallback: Some(TensorType::IQ4_NL),
};

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (values, block) in values.as_chunks_mut::<256>().0.iter_mut().zip(bytes.as_chunks::<74>().0) {
        let [d0, d1, rest @ ..] = block;
        let d = read_f16([*d0, *d1]);
        let (codes, scales) = rest.split_at(64);
        let pairs = codes.as_chunks::<8>().0.iter().zip(scales);
        for (values, (codes, &scales)) in values.as_chunks_mut::<32>().0.iter_mut().zip(pairs) {
            let scales = [scales & 15, scales >> 4].map(|scale| d * (0.5 + scale as f32) * 0.25);
            let groups = values.as_chunks_mut::<8>().0.iter_mut().zip(codes.as_chunks::<2>().0);
            for (index, (values, code)) in groups.enumerate() {
                let code = u16::from_le_bytes(*code) as usize;
                signed(values, scales[index / 2], IQ2_XS[code & 511], EVEN_SIGNS[code >> 9]);
            }
        }
    }
}
