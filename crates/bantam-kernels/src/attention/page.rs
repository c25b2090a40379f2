//! One page of one head against a few query rows: scores, softmax weights, and the weighted sum of values.

use super::PAGE_CELLS;
use super::memory::{BLOCK, KvFormat};
use crate::math;
use crate::simd::read::{F16, F32, Read};
use crate::simd::{LANES, Simd, f16_to_f32};
use std::ops::Range;

/// Vectors of cells in a page.
const VECTORS: usize = PAGE_CELLS / LANES;
/// Query rows that go through a page together where there are registers for it.
pub(super) const TILE: usize = 6;

/// Keys and values of a page as they are read: in place, or decoded to f32.
#[derive(Clone, Copy)]
pub(super) enum Cells<'a> {
    F32(&'a [u8]),
    F16(&'a [u8]),
}

/// The running softmax of one query row: greatest score, sum of weights.
#[derive(Clone, Copy, Debug)]
pub(super) struct Softmax {
    pub(super) greatest: f32,
    pub(super) sum: f32,
}

impl Softmax {
    pub(super) const EMPTY: Self = Self { greatest: f32::NEG_INFINITY, sum: 0.0 };
}

/// What is done to a score.
#[derive(Clone, Copy)]
pub(super) struct Scoring {
    pub(super) scale: f32,
    pub(super) softcap: Option<f32>,
}

/// Decodes the cells that are wanted of a page's keys (`[width][64]`, all cells) or values (`[64][width]`, those in
/// `wanted`) to f32.
#[inline(always)]
pub(super) fn decode<S: Simd>(
    s: S,
    format: KvFormat,
    bytes: &[u8],
    width: usize,
    keys: bool,
    wanted: Range<usize>,
    out: &mut [f32],
) {
    let range = if keys { 0..width * PAGE_CELLS } else { wanted.start * width..wanted.end * width };
    let out = &mut out[range.clone()];
    match format {
        KvFormat::F32 => {
            for (out, four) in out.iter_mut().zip(bytes.as_chunks::<4>().0[range].iter()) {
                *out = f32::from_ne_bytes(*four);
            }
        }
        KvFormat::F16 => {
            let (halves, rest) = bytes[range.start * 2..range.end * 2].as_chunks::<{ 2 * LANES }>();
            let (vectors, out_rest) = out.as_chunks_mut::<LANES>();
            for (out, halves) in vectors.iter_mut().zip(halves) {
                // SAFETY: 32 bytes are read.
                s.store(unsafe { s.load_f16_at(halves.as_ptr()) }, out);
            }
            for (out, half) in out_rest.iter_mut().zip(rest.as_chunks::<2>().0) {
                *out = f16_to_f32(u16::from_ne_bytes(*half));
            }
        }
        KvFormat::Q8_0 => {
            let blocks = width / BLOCK;
            let (scales, codes) = bytes.split_at(blocks * PAGE_CELLS * 2);
            let (vectors, _) = out.as_chunks_mut::<LANES>();
            for (i, out) in vectors.iter_mut().enumerate() {
                let at = range.start + i * LANES;
                // SAFETY: `range` lies inside the codes (16 bytes are read), and the scales of these 16 numbers inside the
                // scales: 16 cells side by side of one block, or one of one cell.
                let (codes, scale) = unsafe {
                    let scale = if keys {
                        s.load_f16_at(
                            scales[(at / PAGE_CELLS / BLOCK * PAGE_CELLS + at % PAGE_CELLS) * 2..][..2 * LANES]
                                .as_ptr(),
                        )
                    } else {
                        let scale = at / BLOCK * 2;
                        s.splat(f16_to_f32(u16::from_ne_bytes([scales[scale], scales[scale + 1]])))
                    };
                    (s.load_i8_at(codes[at..][..LANES].as_ptr().cast()), scale)
                };
                s.store(s.mul(codes, scale), out);
            }
        }
    }
}

/// Scores of `rows` query rows (`[rows, width]`) with the page's cells: `scores[row][cell]`.
#[inline(always)]
pub(super) fn scores<S: Simd>(
    s: S,
    keys: Cells<'_>,
    width: usize,
    q: &[f32],
    scoring: Scoring,
    scores: &mut [[f32; PAGE_CELLS]],
) {
    match keys {
        Cells::F32(keys) => scores_of(s, F32, keys, width, q, scores),
        Cells::F16(keys) => scores_of(s, F16, keys, width, q, scores),
    }
    let scale = s.splat(scoring.scale);
    for score in scores.iter_mut().flat_map(|row| row.as_chunks_mut::<LANES>().0) {
        let mut x = s.mul(s.load(score), scale);
        if let Some(cap) = scoring.softcap {
            x = s.mul(s.splat(cap), math::tanh(s, s.div(x, s.splat(cap))));
        }
        s.store(x, score);
    }
}

#[inline(always)]
fn scores_of<S: Simd, R: Read>(s: S, read: R, keys: &[u8], width: usize, q: &[f32], scores: &mut [[f32; PAGE_CELLS]]) {
    assert!(keys.len() >= width * PAGE_CELLS * R::BYTES && q.len() == scores.len() * width);
    let mut row = 0;
    while row < scores.len() {
        let q = &q[row * width..];
        let scores = &mut scores[row..];
        // SAFETY: the keys are long enough by the assertion, and as many rows are left as are taken.
        row += unsafe {
            match (S::MANY_REGISTERS, scores.len()) {
                (true, 1) => score_tile::<S, R, 1, VECTORS>(s, read, keys, width, q, scores),
                (true, 2) => score_tile::<S, R, 2, VECTORS>(s, read, keys, width, q, scores),
                (true, 3) => score_tile::<S, R, 3, VECTORS>(s, read, keys, width, q, scores),
                (true, 4) => score_tile::<S, R, 4, VECTORS>(s, read, keys, width, q, scores),
                (true, 5) => score_tile::<S, R, 5, VECTORS>(s, read, keys, width, q, scores),
                (true, _) => score_tile::<S, R, TILE, VECTORS>(s, read, keys, width, q, scores),
                (false, 1) => score_tile::<S, R, 1, VECTORS>(s, read, keys, width, q, scores),
                (false, _) => score_tile::<S, R, 2, 2>(s, read, keys, width, q, scores),
            }
        };
    }
}

/// `ROWS` query rows, `COLUMNS` vectors of cells at a time. Each score is one sum over the columns in order.
///
/// # Safety
/// `keys` must hold `width * 64` numbers, `q` `ROWS` rows and `scores` `ROWS`.
#[inline(always)]
unsafe fn score_tile<S: Simd, R: Read, const ROWS: usize, const COLUMNS: usize>(
    s: S,
    read: R,
    keys: &[u8],
    width: usize,
    q: &[f32],
    scores: &mut [[f32; PAGE_CELLS]],
) -> usize {
    debug_assert!(q.len() >= ROWS * width && scores.len() >= ROWS);
    let mut vector = 0;
    while vector < VECTORS {
        // SAFETY: the caller's promise.
        unsafe {
            let (q, keys) = (q.as_ptr(), keys.as_ptr().add(vector * LANES * R::BYTES));
            let mut sums = [[s.splat(0.0); COLUMNS]; ROWS];
            for column in 0..width {
                let mut k = [s.splat(0.0); COLUMNS];
                for c in 0..COLUMNS {
                    k[c] = read.load(s, keys.add((column * PAGE_CELLS + c * LANES) * R::BYTES));
                }
                for r in 0..ROWS {
                    let q = s.splat(*q.add(r * width + column));
                    for c in 0..COLUMNS {
                        sums[r][c] = s.mul_add(q, k[c], sums[r][c]);
                    }
                }
            }
            for (r, sums) in sums.into_iter().enumerate() {
                for (c, sum) in sums.into_iter().enumerate() {
                    s.store_at(sum, scores[r].as_mut_ptr().add((vector + c) * LANES));
                }
            }
        }
        vector += COLUMNS;
    }
    ROWS
}

/// Turns a row's scores into weights, 0 outside `seen`, and takes them into its running softmax; gives the factor by
/// which what was summed before must shrink.
#[inline(always)]
pub(super) fn weigh<S: Simd>(s: S, scores: &mut [f32; PAGE_CELLS], seen: &Range<usize>, state: &mut Softmax) -> f32 {
    scores[..seen.start].fill(f32::NEG_INFINITY);
    scores[seen.end..].fill(f32::NEG_INFINITY);
    let (vectors, _) = scores.as_chunks_mut::<LANES>();
    let mut most = s.load(&vectors[0]);
    for vector in &vectors[1..] {
        most = s.max(s.load(vector), most);
    }
    let before = state.greatest;
    let most = s.greatest(most);
    let greatest = if most > before { most } else { before };
    let level = s.splat(greatest);
    let mut sums = s.splat(0.0);
    for vector in vectors {
        let weight = math::exp(s, s.sub(s.load(vector), level));
        sums = s.add(sums, weight);
        s.store(weight, vector);
    }
    let factor = if greatest == before { 1.0 } else { exp_one(s, before - greatest) };
    *state = Softmax { greatest, sum: state.sum * factor + s.sum(sums) };
    factor
}

/// e^x of one number, as the lanes compute it.
#[inline(always)]
pub(super) fn exp_one<S: Simd>(s: S, x: f32) -> f32 {
    let mut lanes = [0f32; LANES];
    s.store(math::exp(s, s.splat(x)), &mut lanes);
    lanes[0]
}

/// Query rows with their weights, what they see of this page, and the factors on what they have summed.
pub(super) struct Weighted<'a> {
    pub(super) weights: &'a [[f32; PAGE_CELLS]],
    pub(super) seen: &'a [Range<usize>],
    pub(super) factors: &'a [f32],
}

/// `sums[row] = sums[row] · factor + Σ weight · value` over the cells that the row sees, in order.
#[inline(always)]
pub(super) fn gather<S: Simd>(s: S, values: Cells<'_>, width: usize, rows: &Weighted<'_>, sums: &mut [f32]) {
    match values {
        Cells::F32(values) => gather_of(s, F32, values, width, rows, sums),
        Cells::F16(values) => gather_of(s, F16, values, width, rows, sums),
    }
}

#[inline(always)]
fn gather_of<S: Simd, R: Read>(s: S, read: R, values: &[u8], width: usize, rows: &Weighted<'_>, sums: &mut [f32]) {
    let count = rows.weights.len();
    assert!(values.len() >= width * PAGE_CELLS * R::BYTES && sums.len() == count * width);
    assert!(rows.seen.len() == count && rows.factors.len() == count);
    assert!(rows.seen.iter().all(|seen| seen.end <= PAGE_CELLS));
    let mut row = 0;
    while row < count {
        // SAFETY: lengths are asserted above, and as many rows are left as are taken.
        row += unsafe {
            match (S::MANY_REGISTERS, count - row) {
                (true, 1) => gather_tile::<S, R, 1, 4>(s, read, values, width, rows, row, sums),
                (true, 2) => gather_tile::<S, R, 2, 4>(s, read, values, width, rows, row, sums),
                (true, 3) => gather_tile::<S, R, 3, 4>(s, read, values, width, rows, row, sums),
                (true, 4) => gather_tile::<S, R, 4, 4>(s, read, values, width, rows, row, sums),
                (true, 5) => gather_tile::<S, R, 5, 4>(s, read, values, width, rows, row, sums),
                (true, _) => gather_tile::<S, R, TILE, 4>(s, read, values, width, rows, row, sums),
                (false, 1) => gather_tile::<S, R, 1, 4>(s, read, values, width, rows, row, sums),
                (false, _) => gather_tile::<S, R, 2, 2>(s, read, values, width, rows, row, sums),
            }
        };
    }
}

/// # Safety
/// `values` must hold `64 * width` numbers, `sums` and `rows` `row + ROWS` rows, and no row may see beyond the page.
#[inline(always)]
unsafe fn gather_tile<S: Simd, R: Read, const ROWS: usize, const COLUMNS: usize>(
    s: S,
    read: R,
    values: &[u8],
    width: usize,
    rows: &Weighted<'_>,
    row: usize,
    sums: &mut [f32],
) -> usize {
    let seen = &rows.seen[row..row + ROWS];
    // Cells that all of these rows see; what a row sees before and after them, it goes through alone. A cell that a row
    // does not see is not even multiplied with 0: it may hold what is not a number.
    let start = seen.iter().map(|seen| seen.start).max().unwrap_or(0);
    let end = seen.iter().map(|seen| seen.end).min().unwrap_or(0).max(start);
    let mut column = 0;
    while column < width {
        let vectors = (width - column) / LANES;
        // SAFETY: the caller's promise; columns stay below `width`.
        unsafe {
            if vectors >= COLUMNS {
                gather_columns::<S, R, ROWS, COLUMNS>(s, read, values, width, rows, row, column, start..end, sums);
                column += COLUMNS * LANES;
            } else if vectors >= 1 {
                gather_columns::<S, R, ROWS, 1>(s, read, values, width, rows, row, column, start..end, sums);
                column += LANES;
            } else {
                gather_rest::<S, R>(s, read, values, width, rows, row..row + ROWS, column, sums);
                column = width;
            }
        }
    }
    ROWS
}

/// # Safety
/// As [`gather_tile`]; `column + COLUMNS * 16` must not exceed `width`, and all rows must see the cells of `common`.
#[inline(always)]
unsafe fn gather_columns<S: Simd, R: Read, const ROWS: usize, const COLUMNS: usize>(
    s: S,
    read: R,
    values: &[u8],
    width: usize,
    rows: &Weighted<'_>,
    row: usize,
    column: usize,
    common: Range<usize>,
    sums: &mut [f32],
) {
    // SAFETY: the caller's promise: rows, cells and columns are inside.
    unsafe {
        let values = values.as_ptr().add(column * R::BYTES);
        let sums = sums.as_mut_ptr().add(row * width + column);
        let mut totals = [[s.splat(0.0); COLUMNS]; ROWS];
        for r in 0..ROWS {
            let factor = s.splat(*rows.factors.get_unchecked(row + r));
            for c in 0..COLUMNS {
                totals[r][c] = s.mul(s.load_at(sums.add(r * width + c * LANES)), factor);
            }
        }
        let weights = rows.weights.as_ptr().add(row).cast::<f32>();
        for r in 0..ROWS {
            let seen = rows.seen.get_unchecked(row + r);
            for cell in seen.start..seen.end.min(common.start) {
                let weight = s.splat(*weights.add(r * PAGE_CELLS + cell));
                for c in 0..COLUMNS {
                    let v = read.load(s, values.add((cell * width + c * LANES) * R::BYTES));
                    totals[r][c] = s.mul_add(weight, v, totals[r][c]);
                }
            }
        }
        for cell in common.clone() {
            let mut v = [s.splat(0.0); COLUMNS];
            for c in 0..COLUMNS {
                v[c] = read.load(s, values.add((cell * width + c * LANES) * R::BYTES));
            }
            for r in 0..ROWS {
                let weight = s.splat(*weights.add(r * PAGE_CELLS + cell));
                for c in 0..COLUMNS {
                    totals[r][c] = s.mul_add(weight, v[c], totals[r][c]);
                }
            }
        }
        for r in 0..ROWS {
            let seen = rows.seen.get_unchecked(row + r);
            for cell in seen.start.max(common.end)..seen.end {
                let weight = s.splat(*weights.add(r * PAGE_CELLS + cell));
                for c in 0..COLUMNS {
                    let v = read.load(s, values.add((cell * width + c * LANES) * R::BYTES));
                    totals[r][c] = s.mul_add(weight, v, totals[r][c]);
                }
            }
        }
        for (r, totals) in totals.into_iter().enumerate() {
            for (c, total) in totals.into_iter().enumerate() {
                s.store_at(total, sums.add(r * width + c * LANES));
            }
        }
    }
}

/// The last columns of a width that is no multiple of 16.
///
/// # Safety
/// As [`gather_tile`].
#[inline(always)]
unsafe fn gather_rest<S: Simd, R: Read>(
    s: S,
    read: R,
    values: &[u8],
    width: usize,
    rows: &Weighted<'_>,
    range: Range<usize>,
    column: usize,
    sums: &mut [f32],
) {
    let count = width - column;
    for row in range {
        let sums = &mut sums[row * width + column..][..count];
        let mut total = s.mul(s.load_part(sums), s.splat(rows.factors[row]));
        for cell in rows.seen[row].clone() {
            let mut padded = [0u8; 4 * LANES];
            let bytes = &values[(cell * width + column) * R::BYTES..][..count * R::BYTES];
            padded[..bytes.len()].copy_from_slice(bytes);
            // SAFETY: 64 bytes are there.
            let v = unsafe { read.load(s, padded.as_ptr()) };
            total = s.mul_add(s.splat(rows.weights[row][cell]), v, total);
        }
        s.store_part(total, sums);
    }
}
