//! Q1_0: blocks of 128 numbers of one magnitude, a bit each for the sign; 1.125 bits an element.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | magnitude `d`, f16 |
//! | 2..18 | bits: element `i` in bit `i mod 8` of byte `i / 8` |
//!
//! `x = d` where the bit is set, `-d` where not. For models trained to it; only read. Source: ggml's `block_q1_0`.

use super::format::{BlockFormat, read_f16, unbounded};

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "Q1_0",
    ggml_id: 41,
    block_len: 128,
    block_bytes: 18,
    decode,
    encode: None,
    error_bound: unbounded,
    fallback: None,
};

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (values, block) in values.as_chunks_mut::<128>().0.iter_mut().zip(bytes.as_chunks::<18>().0) {
        let [d0, d1, codes @ ..] = block;
        let scale = read_f16([*d0, *d1]);
        for (values, code) in values.as_chunks_mut::<8>().0.iter_mut().zip(codes) {
            for (value, bit) in values.iter_mut().zip([1u8, 2, 4, 8, 16, 32, 64, 128]) {
                *value = if code & bit == 0 { -scale } else { scale };
            }
        }
    }
}
