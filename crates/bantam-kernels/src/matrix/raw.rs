//! Codes of sixteen columns together, for the formats that most files are made of: the words of a file's blocks are put side by
//! side, and what is done to a code is done to those of all columns at once.
//!
//! The same as [`super::unpack`] for a column. Layouts: the files of `bantam-tensor`, one for each format.

use super::panels::{COLUMNS, STEPS, Words};
use bantam_tensor::TensorType;

/// Most words of codes in a block.
const MOST: usize = 48;
const ONES: u32 = 0x0101_0101;

/// The words of a file's block that hold codes, for each column.
pub(super) struct Raw {
    tensor_type: TensorType,
    first: usize,
    count: usize,
    words: [Words; MOST],
}

/// Bits of words: `(words >> right) & mask`.
#[inline(always)]
fn bits(words: &Words, right: usize, mask: u32) -> Words {
    let mut out = *words;
    for out in &mut out {
        *out = *out >> right & mask;
    }
    out
}

/// Adds bits of other words: `into | (words >> right & mask) << left`.
#[inline(always)]
fn with(into: Words, words: &Words, right: usize, mask: u32, left: usize) -> Words {
    let mut out = into;
    for (out, word) in out.iter_mut().zip(words) {
        *out |= (word >> right & mask) << left;
    }
    out
}

/// Adds the fifth bits: four from bit `right` on, one to each byte.
#[inline(always)]
fn with_fifth(into: Words, words: &Words, right: usize) -> Words {
    let mut out = into;
    for (out, word) in out.iter_mut().zip(words) {
        *out |= ((word >> right & 15).wrapping_mul(0x0020_4081) & ONES) << 4;
    }
    out
}

impl Raw {
    /// For the formats that are turned so.
    pub(super) fn new(tensor_type: TensorType) -> Option<Self> {
        let (first, count) = match tensor_type {
            TensorType::Q8_0 => (2, 8),
            TensorType::Q4_0 | TensorType::IQ4_NL => (2, 4),
            TensorType::Q4_1 => (4, 4),
            TensorType::Q5_0 => (2, 5),
            TensorType::Q5_1 => (4, 5),
            TensorType::IQ4_XS => (8, 32),
            TensorType::Q4_K => (16, 32),
            TensorType::Q5_K => (16, 40),
            TensorType::Q6_K => (0, 48),
            _ => return None,
        };
        Some(Self { tensor_type, first, count, words: [[0; COLUMNS]; MOST] })
    }

    /// Takes the block that begins at `start` of every row; columns without a row are left zero.
    #[inline(always)]
    pub(super) fn take(&mut self, rows: &[u8], row_bytes: usize, start: usize) {
        let start = start + self.first;
        match self.count {
            4 => self.turn::<4>(rows, row_bytes, start),
            5 => self.turn::<5>(rows, row_bytes, start),
            8 => self.turn::<8>(rows, row_bytes, start),
            32 => self.turn::<32>(rows, row_bytes, start),
            40 => self.turn::<40>(rows, row_bytes, start),
            _ => self.turn::<MOST>(rows, row_bytes, start),
        }
    }

    #[inline(always)]
    fn turn<const N: usize>(&mut self, rows: &[u8], row_bytes: usize, start: usize) {
        for (column, row) in rows.chunks_exact(row_bytes).enumerate().take(COLUMNS) {
            let bytes = row[start..start + 4 * N].as_chunks::<4>().0;
            for (words, four) in self.words.iter_mut().zip(bytes) {
                words[column] = u32::from_le_bytes(*four);
            }
        }
    }

    /// Codes of one of its blocks of 32 inputs.
    #[inline(always)]
    pub(super) fn codes(&self, block: usize) -> [Words; STEPS] {
        let (raw, mut codes) = (&self.words, [[0; COLUMNS]; STEPS]);
        for (s, codes) in codes.iter_mut().enumerate() {
            // Inputs 0 .. 16 in the low and 16 .. 32 in the high four bits of sixteen bytes.
            let (quarter, upper) = (s % 4, 4 * (s / 4));
            *codes = match self.tensor_type {
                TensorType::Q8_0 => bits(&raw[s], 0, u32::MAX),
                TensorType::Q4_0 | TensorType::IQ4_NL | TensorType::Q4_1 => bits(&raw[quarter], upper, 15 * ONES),
                TensorType::Q5_0 | TensorType::Q5_1 => {
                    with_fifth(bits(&raw[1 + quarter], upper, 15 * ONES), &raw[0], 4 * s)
                }
                TensorType::IQ4_XS => bits(&raw[4 * block + quarter], upper, 15 * ONES),
                TensorType::Q4_K => bits(&raw[8 * (block / 2) + s], 4 * (block % 2), 15 * ONES),
                TensorType::Q5_K => {
                    let low = bits(&raw[8 + 8 * (block / 2) + s], 4 * (block % 2), 15 * ONES);
                    with(low, &raw[s], block, ONES, 4)
                }
                _ => {
                    let (half, quarter) = (block / 4, block % 4);
                    let low = bits(&raw[16 * half + 8 * (quarter % 2) + s], 4 * (quarter / 2), 15 * ONES);
                    with(low, &raw[32 + 8 * half + s], 2 * quarter, 3 * ONES, 4)
                }
            };
            if self.tensor_type == TensorType::Q8_0 {
                for code in codes.iter_mut() {
                    *code ^= 128 * ONES;
                }
            }
        }
        codes
    }
}
