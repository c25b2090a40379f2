//! Activation rows as int8 with a scale per 32.
//!
//! Rows are kept in tiles of up to 12, because a product goes through a tile's rows together. For each block of 32
//! columns a tile of R rows has one record, which a kernel reads front to back:
//!
//! | what | bytes |
//! |---|---|
//! | -8 · Σa, R × i32 | 4R |
//! | -128 · Σa, R × i32 | 4R |
//! | scales, R × f32 | 4R |
//! | codes, 8 steps × R rows × 4 columns | 32R |
//!
//! After all records of a tile stand, for each block, -64 · Σa of its first 16 columns, R × i32, and of the others: what
//! only weights with a scale for 16 inputs ask for.
//!
//! A block that holds something infinite or not a number gets the scale NaN and codes 0, so every product with it is NaN.

use super::ActivationKind;
use super::panels::BLOCK;
use crate::buffer::{Buffer, Shared};
use crate::elementwise::{expect_length, spread};
use crate::simd::{LANES, Simd, Task, dispatch};
use crate::{Isa, KernelError, Pool};

/// Most rows of a tile.
pub(super) const TILE: usize = 12;
/// Bytes of a record for each row.
pub(super) const RECORD: usize = 3 * 4 + BLOCK;
/// Bytes of the sums of halves of a block for each row.
pub(super) const HALVES: usize = 2 * 4;

/// Activation rows quantized to int8, in memory kept from one use to the next.
pub struct Int8Rows {
    buffer: Buffer,
    rows: usize,
    width: usize,
}

/// A tile of rows: its first row and how many it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) first: usize,
    pub(super) rows: usize,
}

/// How many tiles rows are parted into.
pub(super) fn tiles(rows: usize) -> usize {
    rows.div_ceil(TILE)
}

/// One of the tiles, all within one row of the same size: a last tile of one row would cost as much as a full one.
pub(super) fn tile(rows: usize, index: usize) -> Tile {
    let tiles = tiles(rows);
    let (each, more) = (rows / tiles, rows % tiles);
    Tile { first: index * each + index.min(more), rows: each + usize::from(index < more) }
}

fn bytes(rows: usize, width: usize) -> Option<usize> {
    rows.checked_mul(width.div_ceil(BLOCK))?.checked_mul(RECORD + HALVES)
}

impl Int8Rows {
    /// Room for as many rows of that width (or any that need no more).
    ///
    /// # Errors
    /// No memory.
    pub fn with_capacity(rows: usize, width: usize) -> Result<Self, KernelError> {
        let total = bytes(rows, width).ok_or(KernelError::TooLarge("quantized activations"))?;
        Ok(Self { buffer: Buffer::zeroed(total, "quantized activations")?, rows: 0, width: 0 })
    }

    /// Bytes that [`Int8Rows::with_capacity`] takes.
    pub fn bytes(rows: usize, width: usize) -> usize {
        bytes(rows, width).unwrap_or(usize::MAX)
    }

    /// Rows it holds now.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns it holds now.
    pub fn width(&self) -> usize {
        self.width
    }

    /// What it is.
    pub fn kind(&self) -> ActivationKind {
        ActivationKind::Int8
    }

    /// Takes in `x`, `[rows, width]`: each block of 32 columns by its own scale, max|x| / 127, to the nearest code.
    ///
    /// # Panics
    /// Where the length does not fit, `width` is no multiple of 32, or there is no room.
    pub fn quantize(&mut self, pool: &Pool, isa: Isa, x: &[f32], rows: usize, width: usize) {
        expect_length("rows to quantize", x.len(), rows, width);
        assert!(width.is_multiple_of(BLOCK), "rows of {width} cannot be quantized in blocks of {BLOCK}");
        let total = bytes(rows, width).unwrap_or(usize::MAX);
        assert!(total <= self.buffer.len(), "room for {} bytes of quantized rows, {total} needed", self.buffer.len());
        (self.rows, self.width) = (rows, width);
        if total == 0 {
            return;
        }
        let blocks = width / BLOCK;
        let target = Shared::new(self.buffer.as_mut());
        spread(pool, tiles(rows), width * rows.min(TILE), |range| {
            for index in range {
                let Tile { first, rows: count } = tile(rows, index);
                const EACH: usize = RECORD + HALVES;
                // SAFETY: tiles are disjoint runs of rows, and each takes EACH bytes a row and block.
                let target = unsafe { target.part(first * blocks * EACH, count * blocks * EACH) };
                let x = &x[first * width..][..count * width];
                dispatch(isa, Quantize { x, rows: count, width, target });
            }
        });
    }

    /// The records of a tile.
    pub(super) fn tile(&self, tile: Tile) -> &[u8] {
        let row = self.width / BLOCK * (RECORD + HALVES);
        &self.buffer.as_ref()[tile.first * row..][..tile.rows * row]
    }
}

impl std::fmt::Debug for Int8Rows {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Int8Rows([{}, {}])", self.rows, self.width)
    }
}

struct Quantize<'a> {
    x: &'a [f32],
    rows: usize,
    width: usize,
    target: &'a mut [u8],
}

impl Task for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rows = self.rows;
        let (records, sums) = self.target.split_at_mut(rows * (self.width / BLOCK) * RECORD);
        for (row, x) in self.x.chunks_exact(self.width).enumerate() {
            let records = records.chunks_exact_mut(rows * RECORD).zip(sums.chunks_exact_mut(rows * HALVES));
            for (block, (record, sums)) in x.as_chunks::<BLOCK>().0.iter().zip(records) {
                let (halves, _) = block.as_chunks::<LANES>();
                let (low, high) = (s.load(&halves[0]), s.load(&halves[1]));
                let bits = s.greatest_i(s.max_abs_bits(s.max_abs_bits(s.zero_i(), low), high));
                let greatest = f32::from_bits(bits as u32);
                let (scale, inverse) = if !greatest.is_finite() {
                    (f32::NAN, 0.0)
                } else if greatest < 1e-30 {
                    // Nothing to see (and 127 / greatest would overflow).
                    (0.0, 0.0)
                } else {
                    (greatest / 127.0, 127.0 / greatest)
                };
                let mut codes = [[0i8; LANES]; 2];
                let (mut first, mut second) = (0, 0);
                if inverse != 0.0 {
                    let factor = s.splat(inverse);
                    let (low, high) = (s.to_whole(s.mul(low, factor)), s.to_whole(s.mul(high, factor)));
                    first = s.sum_i(low);
                    second = s.sum_i(s.add_i(low, high)) - first;
                    codes = [s.low_bytes(low), s.low_bytes(high)];
                }
                let sum = first + second;
                sums[4 * row..][..4].copy_from_slice(&(-64 * first).to_ne_bytes());
                sums[4 * (rows + row)..][..4].copy_from_slice(&(-64 * second).to_ne_bytes());
                record[4 * row..][..4].copy_from_slice(&(-8 * sum).to_ne_bytes());
                record[4 * (rows + row)..][..4].copy_from_slice(&(-128 * sum).to_ne_bytes());
                record[4 * (2 * rows + row)..][..4].copy_from_slice(&scale.to_ne_bytes());
                let steps = &mut record[12 * rows..];
                for (step, four) in codes.as_flattened().as_chunks::<4>().0.iter().enumerate() {
                    steps[4 * (step * rows + row)..][..4].copy_from_slice(&four.map(|code| code as u8));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_the_rows_evenly() {
        for rows in 1..200 {
            let mut next = 0;
            for index in 0..tiles(rows) {
                let tile = tile(rows, index);
                assert_eq!(tile.first, next);
                assert!(tile.rows <= TILE && tile.rows + 1 >= rows.div_ceil(tiles(rows)));
                next += tile.rows;
            }
            assert_eq!(next, rows);
        }
    }

    fn check(x: &[f32; 32], scale: f32, codes: &[(usize, i8)]) {
        let pool = Pool::new(1);
        for &isa in Isa::available() {
            let mut rows = Int8Rows::with_capacity(1, 32).expect("small");
            rows.quantize(&pool, isa, x, 1, 32);
            let record = rows.tile(tile(1, 0));
            let found = f32::from_ne_bytes(record[8..12].try_into().expect("four"));
            assert!(found == scale || (found.is_nan() && scale.is_nan()), "{found} for {scale}");
            let sum = |range: std::ops::Range<usize>| {
                record[range].iter().map(|&code: &u8| i32::from(code as i8)).sum::<i32>()
            };
            for (at, expected) in
                [(0, -8 * sum(12..44)), (4, -128 * sum(12..44)), (44, -64 * sum(12..28)), (48, -64 * sum(28..44))]
            {
                assert_eq!(i32::from_ne_bytes(record[at..at + 4].try_into().expect("four")), expected);
            }
            for &(i, code) in codes {
                assert_eq!(record[12 + i] as i8, code, "code {i} on {}", isa.name());
            }
        }
    }

    #[test]
    fn blocks_are_scaled_by_their_greatest() {
        let mut x = [0f32; 32];
        check(&x, 0.0, &[(0, 0), (31, 0)]);
        (x[3], x[17], x[31]) = (-127.0, 63.5, 1.4);
        check(&x, 1.0, &[(3, -127), (17, 64), (31, 1), (0, 0)]);
        x[5] = f32::NAN;
        check(&x, f32::NAN, &[(3, 0), (17, 0)]);
        x[5] = f32::NEG_INFINITY;
        check(&x, f32::NAN, &[(3, 0)]);
        x = [1e-39; 32];
        check(&x, 0.0, &[(3, 0)]);
        x = [3e38; 32];
        check(&x, 3e38 / 127.0, &[(3, 127)]);
    }
}
