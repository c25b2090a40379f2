//! Weights that are places in a table times a scale for each run of numbers, whatever rows they belong to: bitsandbytes'
//! four-bit blocks.

use std::ops::Range;

use bantam_tensor::{MakeBytes, SharedBytes, TensorType};

use super::scaled::by_rows;

/// The scales of the runs.
pub(super) enum Scales {
    /// As they are.
    Plain(SharedBytes),
    /// Quantized once more: places in a table of 256 times a scale for each run of them, plus an offset.
    Nested {
        /// Places, one byte each.
        codes: SharedBytes,
        /// The table.
        table: Vec<f32>,
        /// Scales of runs of scales.
        scales: SharedBytes,
        /// Scales in a run.
        run: usize,
        /// Added to each.
        offset: f32,
    },
}

impl Scales {
    fn get(&self, index: usize) -> f32 {
        match self {
            Self::Plain(scales) => f32_at(scales, index),
            Self::Nested { codes, table, scales, run, offset } => {
                let code = codes.get(index).copied().unwrap_or(0);
                table.get(usize::from(code)).copied().unwrap_or(0.0) * f32_at(scales, index / run) + offset
            }
        }
    }
}

fn f32_at(bytes: &[u8], index: usize) -> f32 {
    bytes.get(index * 4..index * 4 + 4).and_then(|four| four.try_into().ok()).map_or(0.0, f32::from_le_bytes)
}

/// A matrix of such numbers, the first of each pair in the upper half of its byte, rounded once to `output`.
pub(super) struct Codebook {
    pub(super) rows: usize,
    pub(super) width: usize,
    pub(super) codes: SharedBytes,
    pub(super) table: [f32; 16],
    pub(super) scales: Scales,
    /// Numbers in a run.
    pub(super) run: usize,
    pub(super) output: TensorType,
}

impl MakeBytes for Codebook {
    fn length(&self) -> usize {
        self.output.bytes(self.rows, self.width).unwrap_or(0)
    }

    fn make(&self, range: Range<usize>) -> Vec<u8> {
        let mut values = vec![0.0; self.width];
        let codes: &[u8] = &self.codes;
        by_rows(range, self.length() / self.rows.max(1), |row, out| {
            let (mut run, mut scale) = (usize::MAX, 0.0);
            for (column, value) in values.iter_mut().enumerate() {
                let index = row * self.width + column;
                if index / self.run != run {
                    run = index / self.run;
                    scale = self.scales.get(run);
                }
                let pair = codes.get(index / 2).copied().unwrap_or(0);
                let code = if index.is_multiple_of(2) { pair >> 4 } else { pair & 15 };
                *value = self.table[usize::from(code)] * scale;
            }
            let encoded = self.output.encode(&values, out);
            debug_assert!(encoded.is_ok(), "plain numbers of a row fit a row");
        })
    }
}
