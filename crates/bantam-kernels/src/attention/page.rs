//! One page of one head against a few query rows, cells side by side in lanes: scores, softmax weights, and the weighted sum of
//! values. `wide.rs` does the same, with the same bits, for many rows.
//!
//! Queries come multiplied with the scale and log2 e, so that weights are powers of 2.

use super::PAGE_CELLS;
use super::memory::{BLOCK, KvFormat};
use crate::math;
use crate::simd::read::{F16, F32, Read};
use crate::simd::{LANES, Simd, ask_for, f16_to_f32};
use std::ops::Range;

/// Vectors of cells in a page.
const VECTORS: usize = PAGE_CELLS / LANES;
/// Query rows that go through a page together where there are registers for it.
const TILE: usize = 6;
/// Query rows of a block above which they go side by side in lanes.
pub(super) const NARROW: usize = 9;

/// Keys or values of a page as they are read: in place, or decoded to f32.
#[derive(Clone, Copy)]
pub(super) enum Cells<'a> {
    F32(&'a [u8]),
    F16(&'a [u8]),
    /// Codes of `q8_0`, and their scales in f32, in the page's order.
    Q8_0(&'a [u8], &'a [f32]),
}

/// How a page's numbers become lanes: sixteen from (`major`, `minor`) on, which is (column, cell) of keys and (cell, column)
/// of values.
trait Take: Copy {
    /// # Safety
    /// The sixteen numbers must be inside the page.
    unsafe fn take<S: Simd>(self, s: S, major: usize, minor: usize) -> S::F;

    /// Fewer than sixteen, the rest zero. Widths of whole blocks have none such.
    ///
    /// # Safety
    /// As many numbers must be inside the page.
    unsafe fn take_part<S: Simd>(self, s: S, major: usize, minor: usize, count: usize) -> S::F;
}

/// Numbers that stand as they are, so many to a major step.
#[derive(Clone, Copy)]
struct Plain<R>(R, *const u8, usize);

impl<R: Read> Take for Plain<R> {
    #[inline(always)]
    unsafe fn take<S: Simd>(self, s: S, major: usize, minor: usize) -> S::F {
        // SAFETY: the caller's promise.
        unsafe { self.0.load(s, self.1.add((major * self.2 + minor) * R::BYTES)) }
    }

    #[inline(always)]
    unsafe fn take_part<S: Simd>(self, s: S, major: usize, minor: usize, count: usize) -> S::F {
        let mut padded = [0u8; 4 * LANES];
        let count = count.min(LANES) * R::BYTES;
        // SAFETY: the caller's promise; 64 bytes are there to write and to read.
        unsafe {
            let from = self.1.add((major * self.2 + minor) * R::BYTES);
            std::ptr::copy_nonoverlapping(from, padded.as_mut_ptr(), count);
            self.0.load(s, padded.as_ptr())
        }
    }
}

/// Keys in `q8_0`: codes, and scales side by side as the cells are.
#[derive(Clone, Copy)]
struct Keys8(*const u8, *const f32);

impl Take for Keys8 {
    #[inline(always)]
    unsafe fn take<S: Simd>(self, s: S, column: usize, cell: usize) -> S::F {
        // SAFETY: the caller's promise; a block of columns has a scale for each cell.
        unsafe {
            let scales = s.load_at(self.1.add(column / BLOCK * PAGE_CELLS + cell));
            s.mul(s.load_i8_at(self.0.add(column * PAGE_CELLS + cell).cast()), scales)
        }
    }

    unsafe fn take_part<S: Simd>(self, _: S, _: usize, _: usize, _: usize) -> S::F {
        unreachable!("widths of q8_0 are whole blocks")
    }
}

/// Values in `q8_0`: codes, scales, columns of a cell.
#[derive(Clone, Copy)]
struct Values8(*const u8, *const f32, usize);

impl Take for Values8 {
    #[inline(always)]
    unsafe fn take<S: Simd>(self, s: S, cell: usize, column: usize) -> S::F {
        // SAFETY: the caller's promise; sixteen columns from a multiple of 16 on are of one block.
        unsafe {
            let scale = s.splat(*self.1.add(cell * (self.2 / BLOCK) + column / BLOCK));
            s.mul(s.load_i8_at(self.0.add(cell * self.2 + column).cast()), scale)
        }
    }

    unsafe fn take_part<S: Simd>(self, _: S, _: usize, _: usize, _: usize) -> S::F {
        unreachable!("widths of q8_0 are whole blocks")
    }
}

/// Parts a page's `q8_0` bytes into its codes and its scales, these turned to f32 in `made`.
#[inline(always)]
pub(super) fn scales<'a, S: Simd>(s: S, bytes: &'a [u8], width: usize, made: &'a mut [f32]) -> (&'a [u8], &'a [f32]) {
    let (halves, codes) = bytes.split_at(width / BLOCK * PAGE_CELLS * 2);
    let made = &mut made[..width / BLOCK * PAGE_CELLS];
    for (made, halves) in made.as_chunks_mut::<LANES>().0.iter_mut().zip(halves.as_chunks::<{ 2 * LANES }>().0) {
        // SAFETY: 32 bytes are read.
        s.store(unsafe { s.load_f16_at(halves.as_ptr()) }, made);
    }
    (codes, made)
}

/// What is done to a score that was taken with scaled queries.
#[derive(Clone, Copy)]
pub(super) struct Scoring {
    pub(super) softcap: Option<f32>,
}

impl Scoring {
    /// What queries are multiplied with: turns results of `exp` into powers of 2, unless the cap comes first.
    pub(super) fn factor(scale: f32, softcap: Option<f32>) -> f32 {
        if softcap.is_some() { scale } else { scale * std::f32::consts::LOG2_E }
    }

    /// A score as an exponent of 2.
    #[inline(always)]
    pub(super) fn cap<S: Simd>(self, s: S, x: S::F) -> S::F {
        match self.softcap {
            None => x,
            Some(cap) => {
                let capped = s.mul(s.splat(cap), math::tanh(s, s.div(x, s.splat(cap))));
                s.mul(capped, s.splat(std::f32::consts::LOG2_E))
            }
        }
    }
}

/// What comes after what is worked on, to be fetched meanwhile: `each` bytes a step, `length` in all.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    start: *const u8,
    length: usize,
    each: usize,
}

impl Ahead {
    /// Fetches `bytes` in `steps`.
    pub(super) fn new(bytes: &[u8], steps: usize) -> Self {
        let each = bytes.len().div_ceil(steps.max(1)).next_multiple_of(64);
        Self { start: bytes.as_ptr(), length: bytes.len(), each }
    }

    #[inline(always)]
    fn fetch(self, step: usize) {
        let (mut at, end) = (step * self.each, ((step + 1) * self.each).min(self.length));
        while at < end {
            ask_for(self.start.wrapping_add(at));
            at += 64;
        }
    }
}

/// Decodes the cells that are wanted of a page's keys (`[width][64]`, all cells) or values (`[64][width]`, those in
/// `wanted`) to f32; `factors` is room for scales.
#[inline(always)]
pub(super) fn decode<S: Simd>(
    s: S,
    format: KvFormat,
    bytes: &[u8],
    width: usize,
    keys: bool,
    wanted: Range<usize>,
    factors: &mut [f32],
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
            let (codes, scales) = scales(s, bytes, width, factors);
            let (vectors, _) = out.as_chunks_mut::<LANES>();
            for (i, out) in vectors.iter_mut().enumerate() {
                let at = range.start + i * LANES;
                // SAFETY: `range` lies inside the codes, and the scales of these 16 numbers inside the scales: 16 cells side
                // by side of one block, or one of one cell.
                let numbers = unsafe {
                    if keys {
                        Keys8(codes.as_ptr(), scales.as_ptr()).take(s, at / PAGE_CELLS, at % PAGE_CELLS)
                    } else {
                        Values8(codes.as_ptr(), scales.as_ptr(), width).take(s, at / width, at % width)
                    }
                };
                s.store(numbers, out);
            }
        }
    }
}

/// Scores of a few query rows (`[rows, width]`) with the page's cells: `scores[row][cell]`.
#[inline(always)]
pub(super) fn scores<S: Simd>(
    s: S,
    keys: Cells<'_>,
    width: usize,
    q: &[f32],
    ahead: Ahead,
    scores: &mut [[f32; PAGE_CELLS]],
) {
    let whole = |length: usize, bytes: usize| assert!(length >= width * PAGE_CELLS * bytes, "a page of keys");
    // SAFETY: each page is whole.
    unsafe {
        match keys {
            Cells::F32(keys) => {
                whole(keys.len(), 4);
                scores_of(s, Plain(F32, keys.as_ptr(), PAGE_CELLS), width, q, ahead, scores);
            }
            Cells::F16(keys) => {
                whole(keys.len(), 2);
                scores_of(s, Plain(F16, keys.as_ptr(), PAGE_CELLS), width, q, ahead, scores);
            }
            Cells::Q8_0(codes, scales) => {
                whole(codes.len().min(scales.len() * BLOCK), 1);
                scores_of(s, Keys8(codes.as_ptr(), scales.as_ptr()), width, q, ahead, scores);
            }
        }
    }
}

/// # Safety
/// `keys` must have `width` columns of 64 cells.
#[inline(always)]
unsafe fn scores_of<S: Simd, K: Take>(
    s: S,
    keys: K,
    width: usize,
    q: &[f32],
    ahead: Ahead,
    scores: &mut [[f32; PAGE_CELLS]],
) {
    assert!(q.len() == scores.len() * width);
    let (mut row, mut ahead) = (0, Some(ahead));
    while row < scores.len() {
        let q = &q[row * width..];
        let scores = &mut scores[row..];
        let ahead = ahead.take();
        // SAFETY: the caller's promise, the assertion, and as many rows are left as are taken.
        row += unsafe {
            match (S::MANY_REGISTERS, scores.len()) {
                (true, 1) => score_tile::<S, K, 1, VECTORS>(s, keys, width, q, ahead, scores),
                (true, 2) => score_tile::<S, K, 2, VECTORS>(s, keys, width, q, ahead, scores),
                (true, 3) => score_tile::<S, K, 3, VECTORS>(s, keys, width, q, ahead, scores),
                (true, 4) => score_tile::<S, K, 4, VECTORS>(s, keys, width, q, ahead, scores),
                (true, 5) => score_tile::<S, K, 5, VECTORS>(s, keys, width, q, ahead, scores),
                (true, 7) => score_tile::<S, K, 7, 2>(s, keys, width, q, ahead, scores),
                (true, 8) => score_tile::<S, K, 8, 2>(s, keys, width, q, ahead, scores),
                (true, _) => score_tile::<S, K, TILE, VECTORS>(s, keys, width, q, ahead, scores),
                (false, 1) => score_tile::<S, K, 1, VECTORS>(s, keys, width, q, ahead, scores),
                (false, _) => score_tile::<S, K, 2, 2>(s, keys, width, q, ahead, scores),
            }
        };
    }
}

/// `ROWS` query rows, `COLUMNS` vectors of cells at a time. Each score is one sum over the columns in order.
///
/// # Safety
/// `keys` must have `width` columns of 64 cells, `q` `ROWS` rows and `scores` `ROWS`.
#[inline(always)]
unsafe fn score_tile<S: Simd, K: Take, const ROWS: usize, const COLUMNS: usize>(
    s: S,
    keys: K,
    width: usize,
    q: &[f32],
    mut ahead: Option<Ahead>,
    scores: &mut [[f32; PAGE_CELLS]],
) -> usize {
    debug_assert!(q.len() >= ROWS * width && scores.len() >= ROWS);
    let mut vector = 0;
    while vector < VECTORS {
        let ahead = ahead.take();
        // SAFETY: the caller's promise.
        unsafe {
            let q = q.as_ptr();
            let mut sums = [[s.splat(0.0); COLUMNS]; ROWS];
            for column in 0..width {
                if let Some(ahead) = ahead {
                    ahead.fetch(column);
                }
                let mut k = [s.splat(0.0); COLUMNS];
                for c in 0..COLUMNS {
                    k[c] = keys.take(s, column, (vector + c) * LANES);
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
pub(super) fn weigh<S: Simd>(
    s: S,
    scoring: Scoring,
    scores: &mut [f32; PAGE_CELLS],
    seen: &Range<usize>,
    greatest: &mut f32,
    sum: &mut f32,
) -> f32 {
    let vectors = scores.as_chunks_mut::<LANES>().0;
    if scoring.softcap.is_some() {
        for vector in vectors {
            s.store(scoring.cap(s, s.load(vector)), vector);
        }
    }
    if *seen != (0..PAGE_CELLS) {
        scores[..seen.start].fill(f32::NEG_INFINITY);
        scores[seen.end..].fill(f32::NEG_INFINITY);
    }
    let vectors = scores.as_chunks_mut::<LANES>().0;
    let mut most = s.load(&vectors[0]);
    for vector in &vectors[1..] {
        most = s.max(s.load(vector), most);
    }
    let before = *greatest;
    let most = s.greatest(most);
    *greatest = if most > before { most } else { before };
    let level = s.splat(*greatest);
    for vector in vectors {
        s.store(math::exp2_below(s, s.sub(s.load(vector), level)), vector);
    }
    if *seen != (0..PAGE_CELLS) {
        scores[..seen.start].fill(0.0);
        scores[seen.end..].fill(0.0);
    }
    // The order of `wide::weigh`.
    let mut parts = [0f32; 4];
    for four in scores.as_chunks::<4>().0 {
        for i in 0..4 {
            parts[i] += four[i];
        }
    }
    let factor = if *greatest == before { 1.0 } else { share(s, before, *greatest) };
    *sum = mul_add(s, *sum, factor, (parts[0] + parts[1]) + (parts[2] + parts[3]));
    factor
}

/// [`math::share`] of one number.
#[inline(always)]
fn share<S: Simd>(s: S, x: f32, greatest: f32) -> f32 {
    let mut lanes = [0f32; LANES];
    s.store(math::share(s, s.splat(x), s.splat(greatest)), &mut lanes);
    lanes[0]
}

/// [`Simd::mul_add`] of one number.
#[inline(always)]
fn mul_add<S: Simd>(s: S, a: f32, b: f32, c: f32) -> f32 {
    let mut lanes = [0f32; LANES];
    s.store(s.mul_add(s.splat(a), s.splat(b), s.splat(c)), &mut lanes);
    lanes[0]
}

/// Takes what a row has summed over one span (`one`: greatest score, sum of weights, sums of values) into the whole.
#[inline(always)]
pub(super) fn merge<S: Simd>(s: S, one: (f32, f32, &[f32]), whole: (&mut f32, &mut f32, &mut [f32])) {
    let (one_greatest, one_sum, from) = one;
    let (greatest, sum, to) = whole;
    // Rows that see nothing of a span; the weight of the greatest score is 1.
    if one_sum < 0.5 {
        return;
    }
    let most = if one_greatest > *greatest { one_greatest } else { *greatest };
    let (before, now) = (share(s, *greatest, most), share(s, one_greatest, most));
    *greatest = most;
    *sum = mul_add(s, one_sum, now, *sum * before);
    let (to, to_rest) = to.as_chunks_mut::<LANES>();
    let (from, from_rest) = from.as_chunks::<LANES>();
    let (before, now) = (s.splat(before), s.splat(now));
    for (to, from) in to.iter_mut().zip(from) {
        s.store(s.mul_add(s.load(from), now, s.mul(s.load(to), before)), to);
    }
    if !to_rest.is_empty() {
        s.store_part(s.mul_add(s.load_part(from_rest), now, s.mul(s.load_part(to_rest), before)), to_rest);
    }
}

/// Query rows with their weights, what they see of this page, and the factors on what they have summed.
pub(super) struct Weighted<'a> {
    pub(super) weights: &'a [[f32; PAGE_CELLS]],
    pub(super) seen: &'a [Range<usize>],
    pub(super) factors: &'a [f32],
}

/// `sums[row] = sums[row] · factor + Σ weight · value` over the cells that the row sees, in order.
#[inline(always)]
pub(super) fn gather<S: Simd>(
    s: S,
    values: Cells<'_>,
    width: usize,
    rows: &Weighted<'_>,
    ahead: Ahead,
    sums: &mut [f32],
) {
    let whole = |length: usize, bytes: usize| assert!(length >= width * PAGE_CELLS * bytes, "a page of values");
    // SAFETY: each page is whole; `q8_0` has widths of whole blocks only.
    unsafe {
        match values {
            Cells::F32(values) => {
                whole(values.len(), 4);
                gather_of(s, Plain(F32, values.as_ptr(), width), width, rows, ahead, sums);
            }
            Cells::F16(values) => {
                whole(values.len(), 2);
                gather_of(s, Plain(F16, values.as_ptr(), width), width, rows, ahead, sums);
            }
            Cells::Q8_0(codes, scales) => {
                assert!(width.is_multiple_of(BLOCK));
                whole(codes.len().min(scales.len() * BLOCK), 1);
                gather_of(s, Values8(codes.as_ptr(), scales.as_ptr(), width), width, rows, ahead, sums);
            }
        }
    }
}

/// # Safety
/// `values` must have 64 cells of `width` columns.
#[inline(always)]
unsafe fn gather_of<S: Simd, V: Take>(
    s: S,
    values: V,
    width: usize,
    rows: &Weighted<'_>,
    ahead: Ahead,
    sums: &mut [f32],
) {
    let count = rows.weights.len();
    assert!(sums.len() == count * width);
    assert!(rows.seen.len() == count && rows.factors.len() == count);
    assert!(rows.seen.iter().all(|seen| seen.end <= PAGE_CELLS));
    let (mut row, mut ahead) = (0, Some(ahead));
    while row < count {
        let ahead = ahead.take();
        // SAFETY: the caller's promise, lengths are asserted above, and as many rows are left as are taken.
        row += unsafe {
            match (S::MANY_REGISTERS, count - row) {
                (true, 1) => gather_tile::<S, V, 1, 4>(s, values, width, rows, row, ahead, sums),
                (true, 2) => gather_tile::<S, V, 2, 4>(s, values, width, rows, row, ahead, sums),
                (true, 3) => gather_tile::<S, V, 3, 4>(s, values, width, rows, row, ahead, sums),
                (true, 4) => gather_tile::<S, V, 4, 4>(s, values, width, rows, row, ahead, sums),
                (true, 5) => gather_tile::<S, V, 5, 4>(s, values, width, rows, row, ahead, sums),
                (true, 7) => gather_tile::<S, V, 7, 2>(s, values, width, rows, row, ahead, sums),
                (true, 8) => gather_tile::<S, V, 8, 2>(s, values, width, rows, row, ahead, sums),
                (true, _) => gather_tile::<S, V, TILE, 4>(s, values, width, rows, row, ahead, sums),
                (false, 1) => gather_tile::<S, V, 1, 4>(s, values, width, rows, row, ahead, sums),
                (false, _) => gather_tile::<S, V, 2, 2>(s, values, width, rows, row, ahead, sums),
            }
        };
    }
}

/// # Safety
/// `values` must have 64 cells of `width` columns, `sums` and `rows` `row + ROWS` rows, and no row may see beyond the page.
#[inline(always)]
unsafe fn gather_tile<S: Simd, V: Take, const ROWS: usize, const COLUMNS: usize>(
    s: S,
    values: V,
    width: usize,
    rows: &Weighted<'_>,
    row: usize,
    mut ahead: Option<Ahead>,
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
        let ahead = ahead.take();
        // SAFETY: the caller's promise; columns stay below `width`.
        unsafe {
            if vectors >= COLUMNS {
                gather_columns::<S, V, ROWS, COLUMNS>(s, values, width, rows, row, column, start..end, ahead, sums);
                column += COLUMNS * LANES;
            } else if vectors >= 1 {
                gather_columns::<S, V, ROWS, 1>(s, values, width, rows, row, column, start..end, ahead, sums);
                column += LANES;
            } else {
                gather_rest::<S, V>(s, values, width, rows, row..row + ROWS, column, sums);
                column = width;
            }
        }
    }
    ROWS
}

/// # Safety
/// As [`gather_tile`]; `column + COLUMNS * 16` must not exceed `width`, and all rows must see the cells of `common`.
#[inline(always)]
unsafe fn gather_columns<S: Simd, V: Take, const ROWS: usize, const COLUMNS: usize>(
    s: S,
    values: V,
    width: usize,
    rows: &Weighted<'_>,
    row: usize,
    column: usize,
    common: Range<usize>,
    ahead: Option<Ahead>,
    sums: &mut [f32],
) {
    // SAFETY: the caller's promise: rows, cells and columns are inside.
    unsafe {
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
                    let v = values.take(s, cell, column + c * LANES);
                    totals[r][c] = s.mul_add(weight, v, totals[r][c]);
                }
            }
        }
        for cell in common.clone() {
            if let Some(ahead) = ahead {
                ahead.fetch(cell);
            }
            let mut v = [s.splat(0.0); COLUMNS];
            for c in 0..COLUMNS {
                v[c] = values.take(s, cell, column + c * LANES);
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
                    let v = values.take(s, cell, column + c * LANES);
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
unsafe fn gather_rest<S: Simd, V: Take>(
    s: S,
    values: V,
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
            // SAFETY: the caller's promise.
            let v = unsafe { values.take_part(s, cell, column, count) };
            total = s.mul_add(s.splat(rows.weights[row][cell]), v, total);
        }
        s.store_part(total, sums);
    }
}
