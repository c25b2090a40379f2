//! The repacked form of Q8_0 and Q4_0 weights: panels of 16 output columns.
//!
//! A panel holds, for each pair of blocks of 32 inputs, one line of 64 bytes with their 2 × 16 scales (f16), then the
//! codes of the first block and those of the second. A load of 64 bytes carries 4 inputs × 16 columns as unsigned bytes
//! (column c's four at byte 4c), as `vpdpbusd` takes them:
//!
//! * Q8_0: 8 such loads a block, code + 128.
//! * Q4_0: 4 such loads a block; low nibbles are inputs 4l .. 4l+3, high nibbles inputs 16+4l .. 16+4l+3, code as stored
//!   (value + 8). That is the file's own order of nibbles within a block.
//!
//! The offset (128 or 8) is taken out by the activations' correction, -offset · Σa, from which accumulation starts.
//! A last panel of fewer columns is filled up with scale 0. All lines are aligned; a last single block keeps a whole
//! line of scales.

use super::half_at;
use crate::buffer::{Buffer, Shared};
use crate::{KernelError, Pool};
use bantam_tensor::TensorType;

/// Output columns of a panel.
pub(super) const COLUMNS: usize = 16;
/// Inputs of a block.
pub(super) const BLOCK: usize = 32;
/// Bytes of the scales of two blocks.
pub(super) const SCALES: usize = 2 * COLUMNS * 2;

/// Which codes a panel holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PanelKind {
    Q8,
    Q4,
}

impl PanelKind {
    pub(super) fn of(tensor_type: TensorType) -> Option<Self> {
        match tensor_type {
            TensorType::Q8_0 => Some(Self::Q8),
            TensorType::Q4_0 => Some(Self::Q4),
            _ => None,
        }
    }

    /// Bytes of the codes of one block.
    pub(super) const fn code_bytes(self) -> usize {
        match self {
            Self::Q8 => COLUMNS * BLOCK,
            Self::Q4 => COLUMNS * BLOCK / 2,
        }
    }

    /// Codes of one column and block as they stand in the file, after the scale.
    const fn file_code_bytes(self) -> usize {
        self.code_bytes() / COLUMNS
    }

    /// Bytes of one panel.
    pub(super) fn panel_bytes(self, blocks: usize) -> usize {
        blocks.div_ceil(2) * SCALES + blocks * self.code_bytes()
    }

    /// Where a block's scales and its codes begin.
    fn places(self, block: usize) -> (usize, usize) {
        let pair = block / 2 * (SCALES + 2 * self.code_bytes());
        (pair + block % 2 * (SCALES / 2), pair + SCALES + block % 2 * self.code_bytes())
    }
}

/// Bytes of all panels of a weight, or `None` where they exceed the address space.
pub(super) fn bytes(kind: PanelKind, outputs: usize, inputs: usize) -> Option<usize> {
    let blocks = inputs / BLOCK;
    let codes = blocks.checked_mul(kind.code_bytes())?;
    let panel = blocks.div_ceil(2).checked_mul(SCALES)?.checked_add(codes)?;
    outputs.div_ceil(COLUMNS).checked_mul(panel)
}

/// A weight in panels.
pub(super) struct Panels {
    pub(super) kind: PanelKind,
    pub(super) blocks: usize,
    pub(super) count: usize,
    pub(super) panel_bytes: usize,
    buffer: Buffer,
}

impl Panels {
    /// Repacks the rows of a file; `inputs` is a multiple of 32 and `bytes` has the right length.
    pub(super) fn pack(
        kind: PanelKind,
        outputs: usize,
        inputs: usize,
        source: &[u8],
        pool: &Pool,
    ) -> Result<Self, KernelError> {
        let total = bytes(kind, outputs, inputs).ok_or(KernelError::TooLarge("repacked weights"))?;
        let (blocks, count) = (inputs / BLOCK, outputs.div_ceil(COLUMNS));
        let panel_bytes = kind.panel_bytes(blocks);
        let mut buffer = Buffer::zeroed(total, "repacked weights")?;
        let target = Shared::new(buffer.as_mut());
        let row_bytes = source.len() / outputs;
        pool.pieces(count, |panel| {
            // SAFETY: each panel belongs to one piece, and `total` is `count` panels.
            let target = unsafe { target.part(panel * panel_bytes, panel_bytes) };
            let first = panel * COLUMNS;
            let last = (first + COLUMNS).min(outputs);
            pack_panel(kind, blocks, &source[first * row_bytes..last * row_bytes], row_bytes, target);
        });
        Ok(Self { kind, blocks, count, panel_bytes, buffer })
    }

    pub(super) fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The first byte of a panel.
    pub(super) fn panel(&self, panel: usize) -> *const u8 {
        debug_assert!(panel < self.count);
        self.buffer.as_ptr().wrapping_add(panel * self.panel_bytes)
    }

    pub(super) fn decode_row(&self, row: usize, out: &mut [f32]) {
        let column = row % COLUMNS;
        let panel = &self.buffer.as_ref()[row / COLUMNS * self.panel_bytes..][..self.panel_bytes];
        for (block, out) in out.chunks_exact_mut(BLOCK).enumerate() {
            let (scales, codes) = self.kind.places(block);
            let scale = half_at(panel, scales + 2 * column);
            for (i, out) in out.iter_mut().enumerate() {
                let code = match self.kind {
                    PanelKind::Q8 => i32::from(panel[codes + i / 4 * 64 + column * 4 + i % 4]) - 128,
                    PanelKind::Q4 => {
                        let byte = panel[codes + i % 16 / 4 * 64 + column * 4 + i % 4];
                        i32::from(if i < 16 { byte & 15 } else { byte >> 4 }) - 8
                    }
                };
                *out = code as f32 * scale;
            }
        }
    }
}

fn pack_panel(kind: PanelKind, blocks: usize, rows: &[u8], row_bytes: usize, target: &mut [u8]) {
    let flip = match kind {
        PanelKind::Q8 => 0x8080_8080u32,
        PanelKind::Q4 => 0,
    };
    let file_block = 2 + kind.file_code_bytes();
    for (column, row) in rows.chunks_exact(row_bytes).enumerate() {
        for (block, bytes) in row.chunks_exact(file_block).take(blocks).enumerate() {
            let (scales, codes) = kind.places(block);
            target[scales + 2 * column..][..2].copy_from_slice(&bytes[..2]);
            let target = &mut target[codes..][..kind.code_bytes()];
            for (four, line) in bytes[2..].as_chunks::<4>().0.iter().zip(target.chunks_exact_mut(64)) {
                let flipped = u32::from_ne_bytes(*four) ^ flip;
                line[4 * column..][..4].copy_from_slice(&flipped.to_ne_bytes());
            }
        }
    }
}
