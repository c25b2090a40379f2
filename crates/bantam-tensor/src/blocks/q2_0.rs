//! Q2_0: blocks of 64 with one scale and codes of two bits; 2.25 bits an element.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | scale `d`, f16 |
//! | 2..18 | codes: byte `i` has elements `4 i` to `4 i + 3`, two bits each, the first lowest |
//!
//! `x = d · (q - 1)`. For models trained to it; only read. Some files were made before the number 42 was given out and use
//! it for blocks of 128: their tensors are shorter than this layout asks for. Source: ggml's `block_q2_0`.

use super::format::{BlockFormat, read_f16, unbounded};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "Q2_0",
    ggml_id: 42,
    block_len: 64,
    block_bytes: 18,
    decode,
    encode: None,
    error_bound: unbounded,
    fallback: None,
};

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (values, block) in values.as_chunks_mut::<64>().0.iter_mut().zip(bytes.as_chunks::<18>().0) {
        let [d0, d1, codes @ ..] = block;
        let scale = read_f16([*d0, *d1]);
        for (values, &code) in values.as_chunks_mut::<4>().0.iter_mut().zip(codes) {
            for (value, shift) in values.iter_mut().zip([0, 2, 4, 6]) {
                *value = scale * ((code >> shift & 3) as i32 - 1) as f32;
            }
        }
    }
}
