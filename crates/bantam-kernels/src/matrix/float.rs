//! Products in f32.
//!
//! The dot product of a row and a weight row has 2 × 16 partial sums: chunk c of 16 inputs goes to sum c mod 2, a last
//! part of a chunk is filled up with zeros, and at the end the lanes of each are added in a fixed tree, then the two. F32,
//! F16 and BF16 weights are read where they are; other formats, and 16-bit ones when many rows use them, are decoded
//! into a tile of f32 first. All of that is exact, so it leaves the result alone.

use super::{Matrix, Store};
use crate::simd::read::{BF16, F16, F32, Read};
use crate::simd::{LANES, Simd, Task, dispatch};
use bantam_tensor::TensorType;

/// Bytes of decoded weights that are used before they leave the cache.
const TILE_BYTES: usize = 256 * 1024;
/// Numbers in a cache line, for its alignment.
const LINE: usize = 16;

/// Weight rows decoded together.
pub(super) fn tile_outputs(inputs: usize) -> usize {
    (TILE_BYTES / 4 / inputs).clamp(4, 64) / 4 * 4
}

/// f32 of scratch that products with such a matrix need.
pub(super) fn scratch_length(inputs: usize) -> usize {
    tile_outputs(inputs) * inputs.next_multiple_of(LINE) + LINE
}

/// Rows from which decoding 16-bit weights once is cheaper than converting them for every few rows.
const WORTH_DECODING: usize = 6;

/// Where the results of `row` and the `count` outputs from `first` go.
pub(super) trait Sink {
    /// Takes them.
    fn take(&self, row: usize, first: usize, results: &[f32]);
}

/// Products of `rows` rows with the outputs `first .. first + count`, at most [`tile_outputs`].
pub(super) struct Tile<'a, T> {
    pub(super) matrix: &'a Matrix,
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) x: &'a [f32],
    pub(super) rows: usize,
    pub(super) scratch: &'a mut Vec<f32>,
    pub(super) sink: T,
}

impl<T: Sink> Tile<'_, T> {
    pub(super) fn run(self) {
        let Self { matrix, first, count, x, rows, scratch, sink } = self;
        let Store::InPlace { bytes, row_bytes } = &matrix.store else {
            return;
        };
        let inputs = matrix.inputs;
        let weights = &bytes[first * row_bytes..][..count * row_bytes];
        let direct = match matrix.tensor_type {
            TensorType::F32 => true,
            TensorType::F16 | TensorType::BF16 => rows < WORTH_DECODING,
            _ => false,
        };
        if direct {
            let dot =
                Dots { x, rows, inputs, weights: weights.as_ptr(), stride: *row_bytes, count, first, sink: &sink };
            match matrix.tensor_type {
                TensorType::F16 => dispatch(matrix.isa, All(dot, F16)),
                TensorType::BF16 => dispatch(matrix.isa, All(dot, BF16)),
                _ => dispatch(matrix.isa, All(dot, F32)),
            }
            return;
        }
        let needed = scratch_length(inputs);
        if scratch.len() < needed {
            // Only for a pool that the matrix was not made with.
            scratch.resize(needed, 0.0);
        }
        let aligned = scratch.as_ptr().align_offset(LINE * 4).min(LINE);
        let stride = inputs.next_multiple_of(LINE);
        let decoded = &mut scratch[aligned..][..count * stride];
        for (bytes, out) in weights.chunks_exact(*row_bytes).zip(decoded.chunks_exact_mut(stride)) {
            let out = &mut out[..inputs];
            match matrix.tensor_type {
                TensorType::F16 => dispatch(matrix.isa, Widen(bytes, out, F16)),
                TensorType::BF16 => dispatch(matrix.isa, Widen(bytes, out, BF16)),
                _ => matrix.decode_in_place(bytes, out),
            }
        }
        let weights = decoded.as_ptr().cast::<u8>();
        let dot = Dots { x, rows, inputs, weights, stride: stride * 4, count, first, sink: &sink };
        dispatch(matrix.isa, All(dot, F32));
    }
}

/// A row of 16-bit numbers as f32.
struct Widen<'a, W>(&'a [u8], &'a mut [f32], W);

impl<W: Read> Task for Widen<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(bytes, out, w) = self;
        assert_eq!(bytes.len(), out.len() * W::BYTES, "bytes of a row");
        for (bytes, out) in bytes.chunks(LANES * W::BYTES).zip(out.chunks_mut(LANES)) {
            let mut padded = [0u8; 4 * LANES];
            let from = if out.len() == LANES {
                bytes.as_ptr()
            } else {
                padded[..bytes.len()].copy_from_slice(bytes);
                padded.as_ptr()
            };
            // SAFETY: sixteen numbers are there, in the row or in the copy.
            let values = unsafe { w.load(s, from) };
            match out.as_mut_array::<LANES>() {
                Some(out) => s.store(values, out),
                None => s.store_part(values, out),
            }
        }
    }
}

/// All rows times `count` weight rows, `stride` bytes apart. `weights` is readable that far, `x` is `[rows, inputs]`.
struct Dots<'a, T> {
    x: &'a [f32],
    rows: usize,
    inputs: usize,
    weights: *const u8,
    stride: usize,
    count: usize,
    first: usize,
    sink: &'a T,
}

struct All<'a, T, W>(Dots<'a, T>, W);

impl<T: Sink, W: Read> Task for All<'_, T, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(dots, w) = self;
        assert_eq!(dots.x.len(), dots.rows * dots.inputs, "length of activations");
        let mut row = 0;
        while row < dots.rows {
            // SAFETY: rows and weights stay within `dots.rows` and `dots.count`.
            let done = unsafe {
                match (S::MANY_REGISTERS, dots.rows - row) {
                    (true, 1) => strip::<S, T, W, 1, 4>(s, &dots, w, row),
                    (true, 2) => strip::<S, T, W, 2, 4>(s, &dots, w, row),
                    (true, 6..) if dots.count <= MOST => strip_by_halves::<S, T, W>(s, &dots, w, row),
                    (true, _) => strip::<S, T, W, 3, 4>(s, &dots, w, row),
                    (false, 1) => strip::<S, T, W, 1, 2>(s, &dots, w, row),
                    (false, _) => strip::<S, T, W, 2, 1>(s, &dots, w, row),
                }
            };
            row += done;
        }
    }
}

/// `ROWS` rows times all weight rows, `COLUMNS` at a time.
///
/// # Safety
/// `row + ROWS` must not exceed the rows, and the weights must be readable.
#[inline(always)]
unsafe fn strip<S: Simd, T: Sink, W: Read, const ROWS: usize, const COLUMNS: usize>(
    s: S,
    dots: &Dots<'_, T>,
    w: W,
    row: usize,
) -> usize {
    let mut column = 0;
    while column + COLUMNS <= dots.count {
        // SAFETY: the caller's promise; the columns are inside.
        unsafe { block::<S, T, W, ROWS, COLUMNS>(s, dots, w, row, column) };
        column += COLUMNS;
    }
    while column < dots.count {
        // SAFETY: as above.
        unsafe { block::<S, T, W, ROWS, 1>(s, dots, w, row, column) };
        column += 1;
    }
    ROWS
}

/// Weight rows that [`strip_by_halves`] takes at most.
const MOST: usize = 64;
/// Rows that it takes.
const WIDE: usize = 6;

/// Six rows times all weight rows, first the even chunks and then the odd ones: half of six rows stays in the first-level
/// cache while the weights pass from the second, and one sum instead of two leaves registers for twice the rows.
///
/// # Safety
/// As [`strip`], with six rows and no more than [`MOST`] weight rows.
#[inline(always)]
unsafe fn strip_by_halves<S: Simd, T: Sink, W: Read>(s: S, dots: &Dots<'_, T>, w: W, row: usize) -> usize {
    let mut even = [[0f32; MOST]; WIDE];
    for half in 0..2 {
        let mut column = 0;
        while column < dots.count {
            // SAFETY: the caller's promise; the columns are inside.
            column += unsafe {
                if column + 4 <= dots.count {
                    half_block::<S, T, W, 4>(s, dots, w, row, column, half, &mut even)
                } else {
                    half_block::<S, T, W, 1>(s, dots, w, row, column, half, &mut even)
                }
            };
        }
    }
    WIDE
}

/// The even chunks, into `even`, or the odd ones, whose sums go out together with the even ones.
///
/// # Safety
/// As [`strip_by_halves`], for the weight rows from `column`.
#[inline(always)]
unsafe fn half_block<S: Simd, T: Sink, W: Read, const COLUMNS: usize>(
    s: S,
    dots: &Dots<'_, T>,
    w: W,
    row: usize,
    column: usize,
    half: usize,
    even: &mut [[f32; MOST]; WIDE],
) -> usize {
    let inputs = dots.inputs;
    let mut sums = [[s.splat(0.0); COLUMNS]; WIDE];
    // SAFETY: as in `block`.
    unsafe {
        let x = dots.x.as_ptr().add(row * inputs);
        let weights = dots.weights.add(column * dots.stride);
        let mut at = half * LANES;
        while at + LANES <= inputs {
            let mut ws = [s.splat(0.0); COLUMNS];
            for c in 0..COLUMNS {
                ws[c] = w.load(s, weights.add(c * dots.stride + at * W::BYTES));
            }
            for r in 0..WIDE {
                let x = s.load_at(x.add(r * inputs + at));
                for c in 0..COLUMNS {
                    sums[r][c] = s.mul_add(x, ws[c], sums[r][c]);
                }
            }
            at += 2 * LANES;
        }
        if at < inputs {
            let length = inputs - at;
            for c in 0..COLUMNS {
                let mut padded = [0u8; 4 * LANES];
                let from = weights.add(c * dots.stride + at * W::BYTES);
                std::ptr::copy_nonoverlapping(from, padded.as_mut_ptr(), length * W::BYTES);
                let weight = w.load(s, padded.as_ptr());
                for r in 0..WIDE {
                    let x = s.load_part(std::slice::from_raw_parts(x.add(r * inputs + at), length));
                    sums[r][c] = s.mul_add(x, weight, sums[r][c]);
                }
            }
        }
    }
    for (r, sums) in sums.into_iter().enumerate() {
        let mut results = [0f32; COLUMNS];
        for c in 0..COLUMNS {
            results[c] = s.sum(sums[c]);
        }
        let even = &mut even[r][column..column + COLUMNS];
        if half == 0 {
            even.copy_from_slice(&results);
        } else {
            for (result, even) in results.iter_mut().zip(even) {
                *result += *even;
            }
            dots.sink.take(row + r, dots.first + column, &results);
        }
    }
    COLUMNS
}

/// # Safety
/// `row + ROWS` and `column + COLUMNS` must not exceed the rows and weights, and the weights must be readable.
#[inline(always)]
unsafe fn block<S: Simd, T: Sink, W: Read, const ROWS: usize, const COLUMNS: usize>(
    s: S,
    dots: &Dots<'_, T>,
    w: W,
    row: usize,
    column: usize,
) {
    let inputs = dots.inputs;
    // SAFETY: `x` has the rows, by the assertion in `run`; the weights by the caller's promise. Chunks stay below
    // `inputs`, and the last part goes through a padded copy.
    unsafe {
        let x = dots.x.as_ptr().add(row * inputs);
        let weights = dots.weights.add(column * dots.stride);
        let mut sums = [[[s.splat(0.0); 2]; COLUMNS]; ROWS];
        let mut at = 0;
        while at + 2 * LANES <= inputs {
            for half in 0..2 {
                let at = at + half * LANES;
                let mut ws = [s.splat(0.0); COLUMNS];
                for c in 0..COLUMNS {
                    ws[c] = w.load(s, weights.add(c * dots.stride + at * W::BYTES));
                }
                for r in 0..ROWS {
                    let x = s.load_at(x.add(r * inputs + at));
                    for c in 0..COLUMNS {
                        sums[r][c][half] = s.mul_add(x, ws[c], sums[r][c][half]);
                    }
                }
            }
            at += 2 * LANES;
        }
        let mut half = 0;
        while at < inputs {
            let length = (inputs - at).min(LANES);
            for c in 0..COLUMNS {
                let mut padded = [0u8; 4 * LANES];
                let from = weights.add(c * dots.stride + at * W::BYTES);
                std::ptr::copy_nonoverlapping(from, padded.as_mut_ptr(), length * W::BYTES);
                let weight = w.load(s, padded.as_ptr());
                for r in 0..ROWS {
                    let x = s.load_part(std::slice::from_raw_parts(x.add(r * inputs + at), length));
                    sums[r][c][half] = s.mul_add(x, weight, sums[r][c][half]);
                }
            }
            half = 1;
            at += length;
        }
        for (r, sums) in sums.iter().enumerate() {
            let mut results = [0f32; COLUMNS];
            for c in 0..COLUMNS {
                results[c] = s.sum(sums[c][0]) + s.sum(sums[c][1]);
            }
            dots.sink.take(row + r, dots.first + column, &results);
        }
    }
}
