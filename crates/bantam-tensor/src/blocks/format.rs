//! What a format has to say about itself, and small helpers shared by several.

use super::TensorType;

/// Whole blocks to numbers.
pub(crate) type Decode = fn(&[u8], &mut [f32]);
/// Numbers to whole blocks.
pub(crate) type Encode = fn(&[f32], &mut [u8]);

/// One tensor type: its layout and how to read and write it. Lengths are checked before `decode` and `encode` are
/// called: both slices hold the same whole number of blocks.
pub(crate) struct BlockFormat {
    /// Name as GGUF tools write it.
    pub name: &'static str,
    /// Number in GGUF files.
    pub ggml_id: u32,
    /// Elements in a block.
    pub block_len: usize,
    /// Bytes of a block.
    pub block_bytes: usize,
    /// Bytes to numbers.
    pub decode: Decode,
    /// Finite numbers to bytes, where known.
    pub encode: Option<Encode>,
    /// Worst error of an element of a block with this smallest and largest element.
    pub error_bound: fn(f32, f32) -> f32,
    /// The type to use where rows are no multiple of the block, if its own blocks fit.
    pub fallback: Option<TensorType>,
}

/// Reads the half at the start of `bytes`, widened.
#[inline(always)]
pub(crate) fn read_f16(bytes: [u8; 2]) -> f32 {
    crate::half::f16_to_f32(u16::from_le_bytes(bytes))
}

/// The bytes of a scale or offset as a half, held at the ends of the half's range.
#[inline(always)]
pub(crate) fn write_f16(value: f32) -> [u8; 2] {
    crate::half::f32_to_f16_saturating(value).to_le_bytes()
}

/// The largest magnitude of some finite numbers.
#[inline]
pub(crate) fn largest_magnitude(values: &[f32]) -> f32 {
    // Of finite numbers the larger has the larger bits, and a maximum of integers vectorises.
    f32::from_bits(values.iter().fold(0, |largest, value| largest.max(value.to_bits() & 0x7fff_ffff)))
}

/// The element of largest magnitude (the first of several).
#[inline]
pub(crate) fn largest(values: &[f32]) -> f32 {
    let magnitude = largest_magnitude(values);
    values.iter().copied().find(|value| value.abs() == magnitude).unwrap_or(0.0)
}

/// Smallest and largest element.
#[inline]
pub(crate) fn range(values: &[f32]) -> (f32, f32) {
    values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(min, max), &value| (min.min(value), max.max(value)))
}

/// One over a scale, and nothing over nothing.
#[inline]
pub(crate) fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// Largest magnitude of a block between `min` and `max`.
pub(crate) fn magnitude(min: f32, max: f32) -> f32 {
    min.abs().max(max.abs())
}

/// Distance between the ends of a block that is made to hold zero: no error of a code that was held at the end of its
/// range is larger.
pub(crate) fn span(min: f32, max: f32) -> f32 {
    max.max(0.0) - min.min(0.0)
}

/// The bound of a type that is only read.
pub(crate) fn unbounded(_min: f32, _max: f32) -> f32 {
    f32::INFINITY
}

/// Room for the rounding of `f32` arithmetic on the way.
pub(crate) fn with_slack(bound: f32) -> f32 {
    bound * (1.0 + 1e-5)
}
