//! F32: IEEE 754 binary32, little-endian, one element a block.

use super::format::BlockFormat;

pub(super) const FORMAT: BlockFormat = BlockFormat {
    name: "F32",
    ggml_id: 0,
    block_len: 1,
    block_bytes: 4,
    decode,
    encode: Some(encode),
    error_bound: |_, _| 0.0,
    fallback: None,
};

fn decode(bytes: &[u8], values: &mut [f32]) {
    for (value, block) in values.iter_mut().zip(bytes.as_chunks().0) {
        *value = f32::from_le_bytes(*block);
    }
}

fn encode(values: &[f32], bytes: &mut [u8]) {
    for (block, value) in bytes.as_chunks_mut().0.iter_mut().zip(values) {
        *block = value.to_le_bytes();
    }
}
