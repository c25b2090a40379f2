//! Weights of plain numbers in panels of 32 output columns, as the float kernels read them ([`float_tile`](super::float_tile)).
//!
//! F32, F16 and BF16 keep their numbers; whole numbers and F64 become f32, which is what they decode to. A last panel of
//! fewer columns is filled up with zeros, and so is the second of an odd last pair of BF16 (which stands in pairs where rows
//! are rounded to bf16 too).

use super::float_rows::Precision;
use super::float_tile::{Element, PANEL};
use super::panels::AT_ONCE;
use crate::buffer::{Buffer, Shared};
use crate::{KernelError, Pool};
use bantam_tensor::{SharedBytes, TensorType, f16_to_f32};
use std::ops::Range;

/// What panels of a format hold.
pub(super) fn element(tensor_type: TensorType, precision: Precision) -> Element {
    match (tensor_type, precision) {
        (TensorType::F16, _) => Element::F16,
        (TensorType::BF16, Precision::F32) => Element::Bf16,
        (TensorType::BF16, Precision::Bf16) => Element::Bf16Pairs,
        _ => Element::F32,
    }
}

/// Bytes of all panels of a weight, or `None` where they exceed the address space.
pub(super) fn bytes(element: Element, outputs: usize, inputs: usize) -> Option<usize> {
    panel_bytes(element, inputs)?.checked_mul(outputs.div_ceil(PANEL))
}

fn panel_bytes(element: Element, inputs: usize) -> Option<usize> {
    element.precision().words(inputs).checked_mul(element.bytes() * PANEL)
}

/// A weight in panels.
pub(super) struct FloatPanels {
    pub(super) element: Element,
    pub(super) count: usize,
    pub(super) panel_bytes: usize,
    buffer: Buffer,
}

impl FloatPanels {
    /// Repacks the rows of a file; `source` has the right length.
    pub(super) fn pack(
        tensor_type: TensorType,
        precision: Precision,
        (outputs, inputs): (usize, usize),
        source: &SharedBytes,
        pool: &Pool,
    ) -> Result<Self, KernelError> {
        let element = element(tensor_type, precision);
        let total = bytes(element, outputs, inputs).ok_or(KernelError::TooLarge("repacked weights"))?;
        let count = outputs.div_ceil(PANEL);
        let panel_bytes = total / count;
        let mut buffer = Buffer::huge(total, "repacked weights")?;
        let target = Shared::new(buffer.as_mut());
        let (row_bytes, bytes) = (source.len() / outputs, &source[..]);
        let piece = |panel: usize| {
            // SAFETY: each panel belongs to one piece, and `total` is `count` panels.
            let target = unsafe { target.part(panel * panel_bytes, panel_bytes) };
            let rows = panel * PANEL..((panel + 1) * PANEL).min(outputs);
            let source = &bytes[rows.start * row_bytes..rows.end * row_bytes];
            match (element, tensor_type) {
                (Element::F16 | Element::Bf16, _) => interleave::<2>(source, row_bytes, target),
                (Element::Bf16Pairs, _) | (_, TensorType::F32) => interleave::<4>(source, row_bytes, target),
                (Element::F32, _) => {
                    let mut decoded = vec![0f32; inputs];
                    let mut bytes = vec![0u8; 4 * inputs * rows.len()];
                    for (source, bytes) in source.chunks_exact(row_bytes).zip(bytes.chunks_exact_mut(4 * inputs)) {
                        let result = tensor_type.decode(source, &mut decoded);
                        debug_assert!(result.is_ok(), "lengths of a row are checked when the matrix is made");
                        for (bytes, value) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(&decoded) {
                            *bytes = value.to_le_bytes();
                        }
                    }
                    interleave::<4>(&bytes, 4 * inputs, target);
                }
            }
        };
        let together = (AT_ONCE / panel_bytes).max(1);
        for start in (0..count).step_by(together) {
            let some = together.min(count - start);
            pool.pieces(some, |panel| piece(start + panel));
            source.done_with(start * PANEL * row_bytes..((start + some) * PANEL).min(outputs) * row_bytes);
        }
        Ok(Self { element, count, panel_bytes, buffer })
    }

    pub(super) fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The bytes of a panel.
    pub(super) fn panel(&self, panel: usize) -> &[u8] {
        &self.buffer.as_ref()[panel * self.panel_bytes..][..self.panel_bytes]
    }

    /// Some inputs of a row: the plain twin of [`decode::numbers`](super::decode::numbers).
    pub(super) fn decode(&self, row: usize, inputs: Range<usize>, out: &mut [f32]) {
        let (panel, column) = (self.panel(row / PANEL), row % PANEL);
        let two = |at: usize| u16::from_le_bytes([panel[at], panel[at + 1]]);
        for (out, input) in out.iter_mut().zip(inputs) {
            *out = match self.element {
                Element::F32 => {
                    let at = 4 * (input * PANEL + column);
                    f32::from_le_bytes(std::array::from_fn(|i| panel[at + i]))
                }
                Element::F16 => f16_to_f32(two(2 * (input * PANEL + column))),
                Element::Bf16 => f32::from_bits(u32::from(two(2 * (input * PANEL + column))) << 16),
                Element::Bf16Pairs => {
                    let word = input / 2 * PANEL + column;
                    f32::from_bits(u32::from(two(4 * word + 2 * (input % 2))) << 16)
                }
            };
        }
    }
}

/// Words of `N` bytes of up to [`PANEL`] rows, next to each other. Sixteen words of each row are taken together, because
/// rows whose lengths are powers of two push each other's lines out of the cache.
fn interleave<const N: usize>(source: &[u8], row_bytes: usize, target: &mut [u8]) {
    const TOGETHER: usize = 16;
    let (target, _) = target.as_chunks_mut::<N>();
    for (group, target) in target.chunks_mut(TOGETHER * PANEL).enumerate() {
        let mut words = [[[0u8; N]; TOGETHER]; PANEL];
        let first = group * TOGETHER * N;
        let length = (TOGETHER * N).min(row_bytes - first);
        for (words, row) in words.iter_mut().zip(source.chunks_exact(row_bytes)) {
            words.as_flattened_mut()[..length].copy_from_slice(&row[first..][..length]);
        }
        for (word, target) in target.chunks_exact_mut(PANEL).enumerate() {
            for (target, words) in target.iter_mut().zip(&words) {
                *target = words[word];
            }
        }
    }
}
