//! Weights that are small codes times a scale for each group of columns: what most schemes are.

use std::ops::Range;
use std::sync::Arc;

use bantam_tensor::{MakeBytes, SharedBytes, TensorType, f32_to_f16};

use super::codes::Codes;
use super::grid::{Grid, Number};
use crate::Tensor;

/// Numbers in a block of the block formats used here.
const BLOCK: usize = 32;

/// Which group a column belongs to.
pub(super) enum Groups {
    /// So many columns each.
    Even(usize),
    /// A number for each column.
    Listed(Vec<u32>),
}

impl Groups {
    #[inline]
    fn of(&self, column: usize) -> usize {
        match self {
            Self::Even(size) => column / size,
            Self::Listed(groups) => groups.get(column).map_or(0, |group| *group as usize),
        }
    }

    /// Whether no block of a row has columns of two groups.
    fn are_blocks(&self, width: usize) -> bool {
        width.is_multiple_of(BLOCK)
            && match self {
                Self::Even(size) => size.is_multiple_of(BLOCK) || *size >= width,
                Self::Listed(groups) => {
                    groups.chunks(BLOCK).all(|block| block.iter().all(|group| Some(group) == block.first()))
                }
            }
    }
}

/// What is taken from a code before it is scaled.
pub(super) enum Zero {
    /// The same everywhere.
    Constant(i32),
    /// One for each row and group: lines by group, one code a row, with this added.
    ByGroup(Codes, i32),
    /// One for each row and group: lines by row.
    ByRow(Codes),
}

impl Zero {
    #[inline]
    fn get(&self, row: usize, group: usize) -> i32 {
        match self {
            Self::Constant(zero) => *zero,
            Self::ByGroup(codes, plus) => codes.get(group, row) + plus,
            Self::ByRow(codes) => codes.get(row, group),
        }
    }

    fn is_always(&self, expected: i32, rows: usize, groups: usize) -> bool {
        match self {
            Self::Constant(zero) => *zero == expected,
            Self::ByGroup(..) | Self::ByRow(_) => {
                (0..groups).all(|group| (0..rows).all(|row| self.get(row, group) == expected))
            }
        }
    }
}

/// What a code stands for.
pub(super) enum Base {
    /// A whole number, less a zero.
    Whole(Zero),
    /// A place in a table.
    Table(Vec<f32>),
}

/// A matrix `[rows, width]` of values `base(code) · (scale / divisor) · factor + offset`, computed in f32 in that order.
pub(super) struct Scaled {
    pub(super) rows: usize,
    pub(super) width: usize,
    pub(super) codes: Codes,
    /// Whether a line of codes is a column of the matrix.
    pub(super) lines_are_columns: bool,
    pub(super) base: Base,
    pub(super) scale: Grid,
    pub(super) divisor: f32,
    pub(super) factor: f32,
    pub(super) offset: Option<Grid>,
    pub(super) groups: Groups,
    /// How many groups there are.
    pub(super) group_count: usize,
}

impl Scaled {
    /// The matrix as a tensor that is decoded when it is looked at: in the smallest block format that holds every value
    /// exactly, else rounded once to `otherwise`.
    pub(super) fn tensor(self, file_name: String, otherwise: TensorType) -> Option<Tensor> {
        let output = self.block_format().unwrap_or(otherwise);
        let (rows, width) = (self.rows, self.width);
        let length = output.bytes(rows, width).ok()?;
        let maker = Made { scaled: self, output, length, row_bytes: output.row_bytes(width).ok()? };
        let bytes = SharedBytes::from_maker(Arc::new(maker));
        Some(Tensor { file_name, tensor_type: Ok(output), shape: vec![rows, width], bytes })
    }

    /// The block format whose values are these, bit for bit in f32.
    fn block_format(&self) -> Option<TensorType> {
        let plain = self.divisor == 1.0 && self.factor == 1.0;
        if !plain || !self.groups.are_blocks(self.width) {
            return None;
        }
        let bits = self.codes.bits();
        let zero = match &self.base {
            Base::Whole(zero) => zero,
            Base::Table(_) => {
                let shared = self.scale.number == Number::E8m0 && self.offset.is_none();
                return (shared && bits == 4 && !self.scale.has_nan()).then_some(TensorType::MXFP4);
            }
        };
        let halves = self.scale.is_f16() && self.offset.as_ref().is_none_or(Grid::is_f16);
        if !halves {
            return None;
        }
        let always = |expected| zero.is_always(expected, self.rows, self.group_count);
        match (&self.offset, bits) {
            (Some(_), 1..=4) => always(0).then_some(TensorType::Q4_1),
            (Some(_), 5) => always(0).then_some(TensorType::Q5_1),
            (Some(_), _) => None,
            (None, 4) if always(8) => Some(TensorType::Q4_0),
            // A code less its zero lies between -128 and 127.
            (None, 1..=7) => Some(TensorType::Q8_0),
            (None, _) => always(if self.codes.is_signed() { 0 } else { 128 }).then_some(TensorType::Q8_0),
        }
    }

    fn codes_of(&self, row: usize, out: &mut [i32]) {
        if self.lines_are_columns {
            self.codes.fill_across(0..self.width, row, out)
        } else {
            self.codes.fill(row, 0, out)
        }
    }

    /// One row in f32.
    fn row(&self, row: usize, codes: &[i32], out: &mut [f32]) {
        let (mut group, mut scale, mut zero, mut offset) = (usize::MAX, 0.0, 0, 0.0);
        for (column, (value, code)) in out.iter_mut().zip(codes).enumerate() {
            let here = self.groups.of(column);
            if here != group {
                group = here;
                scale = self.scale.get(row, group) / self.divisor;
                offset = self.offset.as_ref().map_or(0.0, |grid| grid.get(row, group));
                if let Base::Whole(zeros) = &self.base {
                    zero = zeros.get(row, group);
                }
            }
            let base = match &self.base {
                Base::Whole(_) => (code - zero) as f32,
                Base::Table(table) => table.get(*code as usize).copied().unwrap_or(0.0),
            };
            *value = base * scale * self.factor;
            // Adding nothing would turn -0 into 0.
            if self.offset.is_some() {
                *value += offset;
            }
        }
    }

    /// One row in blocks of a format that [`Scaled::block_format`] named.
    fn blocks(&self, row: usize, codes: &[i32], format: TensorType, out: &mut [u8]) {
        let zeros = match &self.base {
            Base::Whole(zero) => Some(zero),
            Base::Table(_) => None,
        };
        for (index, (codes, out)) in
            codes.chunks_exact(BLOCK).zip(out.chunks_exact_mut(format.block_bytes())).enumerate()
        {
            let group = self.groups.of(index * BLOCK);
            let scale = f32_to_f16(self.scale.get(row, group)).to_le_bytes();
            let offset = self.offset.as_ref().map_or(0.0, |grid| grid.get(row, group));
            let offset = f32_to_f16(offset).to_le_bytes();
            // One code of the first half below, one of the second above.
            let (low, high) = codes.split_at(BLOCK / 2);
            let nibbles = |out: &mut [u8]| {
                let pairs = low.iter().zip(high);
                out.iter_mut()
                    .zip(pairs)
                    .for_each(|(out, (low, high))| *out = (low & 15) as u8 | ((high & 15) as u8) << 4);
            };
            let fifths = || codes.iter().enumerate().fold(0u32, |bits, (n, code)| bits | ((code >> 4 & 1) as u32) << n);
            match (format, out) {
                (TensorType::Q8_0, [a, b, out @ ..]) => {
                    [*a, *b] = scale;
                    let zero = zeros.map_or(0, |zeros| zeros.get(row, group));
                    out.iter_mut().zip(codes).for_each(|(out, code)| *out = (code - zero) as i8 as u8);
                }
                (TensorType::Q4_0, [a, b, out @ ..]) => {
                    [*a, *b] = scale;
                    nibbles(out);
                }
                (TensorType::Q4_1, [a, b, c, d, out @ ..]) => {
                    ([*a, *b], [*c, *d]) = (scale, offset);
                    nibbles(out);
                }
                (TensorType::Q5_1, [a, b, c, d, e, f, g, h, out @ ..]) => {
                    ([*a, *b], [*c, *d]) = (scale, offset);
                    [*e, *f, *g, *h] = fifths().to_le_bytes();
                    nibbles(out);
                }
                (TensorType::MXFP4, [exponent, out @ ..]) => {
                    *exponent = self.scale.bytes.get(self.scale.index(row, group)).copied().unwrap_or(0);
                    nibbles(out);
                }
                (_, _) => {}
            }
        }
    }
}

struct Made {
    scaled: Scaled,
    output: TensorType,
    length: usize,
    row_bytes: usize,
}

impl MakeBytes for Made {
    fn length(&self) -> usize {
        self.length
    }

    fn make(&self, range: Range<usize>) -> Vec<u8> {
        let width = self.scaled.width;
        let (mut codes, mut values) = (vec![0; width], vec![0.0; width]);
        by_rows(range, self.row_bytes, |row, out| {
            self.scaled.codes_of(row, &mut codes);
            if self.output.is_quantized() {
                self.scaled.blocks(row, &codes, self.output, out);
            } else {
                self.scaled.row(row, &codes, &mut values);
                let encoded = self.output.encode(&values, out);
                debug_assert!(encoded.is_ok(), "plain numbers of a row fit a row");
            }
        })
    }
}

/// The bytes of a range, of rows that are made whole.
pub(super) fn by_rows(range: Range<usize>, row_bytes: usize, mut make: impl FnMut(usize, &mut [u8])) -> Vec<u8> {
    let mut out = Vec::with_capacity(range.len());
    if range.is_empty() || row_bytes == 0 {
        return out;
    }
    let mut whole = vec![0; row_bytes];
    for row in range.start / row_bytes..range.end.div_ceil(row_bytes) {
        make(row, &mut whole);
        let start = range.start.saturating_sub(row * row_bytes);
        let end = (range.end - row * row_bytes).min(row_bytes);
        out.extend_from_slice(whole.get(start..end).unwrap_or(&[]));
    }
    out
}
