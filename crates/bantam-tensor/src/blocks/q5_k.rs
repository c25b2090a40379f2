//! Q5_K: super-blocks of 256, eight sub-blocks of 32 with a 6-bit scale and minimum each; 5.5 bits an element.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | scale of the scales, f16 |
//! | 2..4 | scale of the minima, f16 |
//! | 4..16 | eight 6-bit scales and minima, packed as `sub_scales.rs` says |
//! | 16..48 | fifth bits: bit `s` of byte `i` belongs to element `i` of sub-block `s` |
//! | 48..176 | lower four bits, as in Q4_K |
//!
//! `x = (d · s) · q - (m_d · m)`. Source: ggml's `block_q5_K`.

use super::format::BlockFormat;
use super::search::Grids;
use super::{TensorType, sub_scales};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "Q5_K",
    ggml_id: 13,
    block_len: 256,
    block_bytes: 176,
    decode,
    encode: Some(encode),
    error_bound: |min, max| sub_scales::error_bound(min, max, 31.0, 63.0),
    fallback: Some(TensorType::Q5_1),
};

const GRIDS: Grids = Grids { levels: 31.0, first: -0.5, step: 0.1, count: 15 };

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (values, block) in values.as_chunks_mut::<256>().0.iter_mut().zip(bytes.as_chunks::<176>().0) {
        let Some((head, rest)) = block.split_first_chunk::<16>() else { continue };
        let Some((fifth, codes)) = rest.split_first_chunk::<32>() else { continue };
        let sub_scales = sub_scales::read(head);
        for (pair, (values, codes)) in
            values.as_chunks_mut::<64>().0.iter_mut().zip(codes.as_chunks::<32>().0).enumerate()
        {
            let (first, second) = values.split_at_mut(32);
            let (scale, min) = (sub_scales.scale[2 * pair], sub_scales.min[2 * pair]);
            for ((value, &code), &fifth) in first.iter_mut().zip(codes).zip(fifth) {
                *value = scale * (code & 15 | (fifth >> (2 * pair) & 1) << 4) as f32 - min;
            }
            let (scale, min) = (sub_scales.scale[2 * pair + 1], sub_scales.min[2 * pair + 1]);
            for ((value, &code), &fifth) in second.iter_mut().zip(codes).zip(fifth) {
                *value = scale * (code >> 4 | (fifth >> (2 * pair + 1) & 1) << 4) as f32 - min;
            }
        }
    }
}

fn encode(values: &[f32], bytes: &mut [u8]) {
    for (values, block) in values.as_chunks::<256>().0.iter().zip(bytes.as_chunks_mut::<176>().0) {
        let (head, codes) = sub_scales::encode(values, GRIDS);
        let (head_bytes, rest) = block.split_at_mut(16);
        let (fifth_bytes, code_bytes) = rest.split_at_mut(32);
        head_bytes.copy_from_slice(&head);
        fifth_bytes.fill(0);
        for (sub_block, codes) in codes.as_chunks::<32>().0.iter().enumerate() {
            for (fifth, code) in fifth_bytes.iter_mut().zip(codes) {
                *fifth |= (code >> 4) << sub_block;
            }
        }
        for (bytes, codes) in code_bytes.as_chunks_mut::<32>().0.iter_mut().zip(codes.as_chunks::<64>().0) {
            let (first, second) = codes.split_at(32);
            for ((byte, first), second) in bytes.iter_mut().zip(first).zip(second) {
                *byte = first & 15 | second << 4;
            }
        }
    }
}
