//! Many query rows against a page, side by side in lanes.
//!
//! A chunk is up to 48 query rows in three vectors. Queries and results lie turned, `[width][48]`, weights as `[cell][48]`; keys
//! and values are spread to all lanes number by number. So softmax needs no sum across lanes, and a row has the same
//! arithmetic whichever lane it is in; `page.rs` does the same for few rows with cells side by side.

use super::PAGE_CELLS;
use super::page::Scoring;
use crate::math;
use crate::simd::{LANES, Simd};
use std::ops::Range;

/// Query rows of a chunk.
pub(super) const WIDE: usize = 3 * LANES;

/// A page as a chunk sees it.
pub(super) struct Seen<'a> {
    /// Keys in f32, `[key_width][64]`.
    pub(super) keys: *const f32,
    /// Values in f32, `[64][value_width]`.
    pub(super) values: *const f32,
    pub(super) key_width: usize,
    pub(super) value_width: usize,
    pub(super) scoring: Scoring,
    /// Cells that some lane sees.
    pub(super) cells: Range<usize>,
    /// Cells that every lane sees.
    pub(super) common: Range<usize>,
    /// Per lane, the first cell it sees and the first it no longer sees; read where `common` is not the whole page.
    pub(super) starts: &'a [f32; WIDE],
    pub(super) ends: &'a [f32; WIDE],
}

/// What a chunk has summed up: `[48]`, `[48]` and `[value_width][48]`.
pub(super) struct Sums<'a> {
    pub(super) greatest: &'a mut [f32],
    pub(super) sum: &'a mut [f32],
    pub(super) sums: &'a mut [f32],
}

/// Takes a page into what `vectors` vectors of query rows have summed up; `q` is `[key_width][48]`, `scores` is room.
///
/// # Safety
/// Keys and values must be whole pages of those widths.
#[inline(always)]
pub(super) unsafe fn step<S: Simd>(
    s: S,
    seen: &Seen<'_>,
    vectors: usize,
    q: &[f32],
    scores: &mut [f32],
    state: &mut Sums<'_>,
) {
    assert!(seen.cells.end <= PAGE_CELLS && vectors * LANES <= WIDE);
    assert!(q.len() >= seen.key_width * WIDE && scores.len() >= PAGE_CELLS * WIDE);
    assert!(state.greatest.len() >= WIDE && state.sum.len() >= WIDE && state.sums.len() >= seen.value_width * WIDE);
    // SAFETY: the caller's promise and the lengths above.
    unsafe {
        match (S::MANY_REGISTERS, vectors) {
            (true, 3) => step_of::<S, 3, 8>(s, seen, 0, q, scores, state),
            (true, 2) => step_of::<S, 2, 8>(s, seen, 0, q, scores, state),
            (true, _) => step_of::<S, 1, 8>(s, seen, 0, q, scores, state),
            (false, _) => {
                // No closure here: it would be compiled without the instructions that `s` stands for.
                for v in 0..vectors {
                    step_of::<S, 1, 4>(s, seen, v, q, scores, state);
                }
            }
        }
    }
}

/// # Safety
/// As [`step`], and the vectors from `first` on must be inside a chunk.
#[inline(always)]
unsafe fn step_of<S: Simd, const V: usize, const J: usize>(
    s: S,
    seen: &Seen<'_>,
    first: usize,
    q: &[f32],
    scores: &mut [f32],
    state: &mut Sums<'_>,
) {
    let at = first * LANES;
    // SAFETY: the caller's promise.
    unsafe {
        let scores = scores.as_mut_ptr().add(at);
        score::<S, V, J>(s, seen, q.as_ptr().add(at), scores);
        let mut factors = [s.splat(1.0); V];
        for v in 0..V {
            let lane = at + v * LANES;
            factors[v] = weigh(s, seen, lane, scores.add(v * LANES), state);
        }
        let sums = state.sums.as_mut_ptr().add(at);
        let (before, after) = (seen.cells.start..seen.common.start, seen.common.end..seen.cells.end);
        if !before.is_empty() {
            gather_some::<S, V, true>(s, seen, at, before, scores, &factors, sums);
            factors = [s.splat(1.0); V];
        }
        if !seen.common.is_empty() {
            let mut column = 0;
            while column + J <= seen.value_width {
                gather::<S, V, J>(s, seen, column, scores, &factors, sums);
                column += J;
            }
            while column < seen.value_width {
                gather::<S, V, 1>(s, seen, column, scores, &factors, sums);
                column += 1;
            }
            factors = [s.splat(1.0); V];
        }
        if !after.is_empty() {
            // All lanes see their first cell before these.
            gather_some::<S, V, false>(s, seen, at, after, scores, &factors, sums);
        }
    }
}

/// Scores of the cells, `J` at a time: each is one sum over the columns in order.
///
/// # Safety
/// As [`step_of`], pointers at the first lane.
#[inline(always)]
unsafe fn score<S: Simd, const V: usize, const J: usize>(s: S, seen: &Seen<'_>, q: *const f32, scores: *mut f32) {
    let mut cell = seen.cells.start / J * J;
    while cell < seen.cells.end {
        // SAFETY: J divides the cells of a page, so these are inside it.
        unsafe {
            let mut sums = [[s.splat(0.0); V]; J];
            let (mut k, mut q) = (seen.keys.add(cell), q);
            for _ in 0..seen.key_width {
                let mut x = [s.splat(0.0); V];
                for v in 0..V {
                    x[v] = s.load_at(q.add(v * LANES));
                }
                for j in 0..J {
                    let k = s.splat(*k.add(j));
                    for v in 0..V {
                        sums[j][v] = s.mul_add(x[v], k, sums[j][v]);
                    }
                }
                // Behind the last one they point nowhere.
                (k, q) = (k.wrapping_add(PAGE_CELLS), q.wrapping_add(WIDE));
            }
            for j in 0..J {
                for v in 0..V {
                    s.store_at(sums[j][v], scores.add((cell + j) * WIDE + v * LANES));
                }
            }
        }
        cell += J;
    }
}

/// `x` where the lane sees the cell, else `other`.
#[inline(always)]
fn where_seen<S: Simd>(s: S, cell: usize, (start, end): (S::F, S::F), x: S::F, other: S::F) -> S::F {
    let cell = s.splat(cell as f32);
    s.select_less(cell, start, other, s.select_less(cell, end, x, other))
}

/// Turns a vector's scores into weights and takes them into its running softmax; gives the factor by which what was summed before
/// must shrink.
///
/// # Safety
/// As [`step_of`]; `scores` at lane `lane`.
#[inline(always)]
unsafe fn weigh<S: Simd>(s: S, seen: &Seen<'_>, lane: usize, scores: *mut f32, state: &mut Sums<'_>) -> S::F {
    // SAFETY: the caller's promise.
    unsafe {
        let (start, end) = (s.load_at(seen.starts.as_ptr().add(lane)), s.load_at(seen.ends.as_ptr().add(lane)));
        // Four sums and maxima side by side, as `page::weigh` has them.
        let fours = seen.cells.start / 4..seen.cells.end.div_ceil(4);
        let masked = seen.common != (fours.start * 4..fours.end * 4);
        let bounds = (start, end);
        let before = s.load_at(state.greatest.as_ptr().add(lane));
        let mut most = [before; 4];
        for four in fours.clone() {
            for i in 0..4 {
                let cell = four * 4 + i;
                let at = scores.add(cell * WIDE);
                let mut x = s.load_at(at);
                if masked || seen.scoring.softcap.is_some() {
                    x = seen.scoring.cap(s, x);
                    if masked {
                        x = where_seen(s, cell, bounds, x, s.splat(f32::NEG_INFINITY));
                    }
                    s.store_at(x, at);
                }
                most[i] = s.max(x, most[i]);
            }
        }
        let greatest = s.max(s.max(most[0], most[1]), s.max(most[2], most[3]));
        let mut parts = [s.splat(0.0); 4];
        for four in fours {
            for i in 0..4 {
                let cell = four * 4 + i;
                let at = scores.add(cell * WIDE);
                let mut weight = math::exp2_below(s, s.sub(s.load_at(at), greatest));
                if masked {
                    weight = where_seen(s, cell, bounds, weight, s.splat(0.0));
                }
                parts[i] = s.add(parts[i], weight);
                s.store_at(weight, at);
            }
        }
        let factor = math::share(s, before, greatest);
        let part = s.add(s.add(parts[0], parts[1]), s.add(parts[2], parts[3]));
        let sum = state.sum.as_mut_ptr().add(lane);
        s.store_at(s.mul_add(s.load_at(sum), factor, part), sum);
        s.store_at(greatest, state.greatest.as_mut_ptr().add(lane));
        factor
    }
}

/// `sums[column] = sums[column] · factor + Σ weight · value` over the cells that all lanes see, in order, for `J` columns.
///
/// # Safety
/// As [`step_of`]; `column + J` columns, weights and sums at the first lane.
#[inline(always)]
unsafe fn gather<S: Simd, const V: usize, const J: usize>(
    s: S,
    seen: &Seen<'_>,
    column: usize,
    weights: *const f32,
    factors: &[S::F; V],
    sums: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let sums = sums.add(column * WIDE);
        let mut totals = [[s.splat(0.0); V]; J];
        for j in 0..J {
            for v in 0..V {
                totals[j][v] = s.mul(s.load_at(sums.add(j * WIDE + v * LANES)), factors[v]);
            }
        }
        let mut values = seen.values.add(seen.common.start * seen.value_width + column);
        let mut weights = weights.add(seen.common.start * WIDE);
        for _ in seen.common.clone() {
            let mut weight = [s.splat(0.0); V];
            for v in 0..V {
                weight[v] = s.load_at(weights.add(v * LANES));
            }
            for j in 0..J {
                let value = s.splat(*values.add(j));
                for v in 0..V {
                    totals[j][v] = s.mul_add(weight[v], value, totals[j][v]);
                }
            }
            (values, weights) = (values.wrapping_add(seen.value_width), weights.wrapping_add(WIDE));
        }
        for j in 0..J {
            for v in 0..V {
                s.store_at(totals[j][v], sums.add(j * WIDE + v * LANES));
            }
        }
    }
}

/// The same over cells that only some lanes see: not those that begin later, where `STARTS`, nor those that end before. A cell that
/// a lane does not see is not even multiplied with 0: it may hold what is not a number.
///
/// # Safety
/// As [`gather`]; `at` is the first lane.
#[inline(always)]
unsafe fn gather_some<S: Simd, const V: usize, const STARTS: bool>(
    s: S,
    seen: &Seen<'_>,
    at: usize,
    cells: Range<usize>,
    weights: *const f32,
    factors: &[S::F; V],
    sums: *mut f32,
) {
    let mut column = 0;
    while column < seen.value_width {
        for v in 0..V {
            // SAFETY: the caller's promise; four columns are there, or one.
            unsafe {
                if column + 4 <= seen.value_width {
                    gather_lanes::<S, 4, STARTS>(s, seen, at, v, column, cells.clone(), weights, factors[v], sums);
                } else {
                    for column in column..seen.value_width {
                        gather_lanes::<S, 1, STARTS>(s, seen, at, v, column, cells.clone(), weights, factors[v], sums);
                    }
                }
            }
        }
        column += 4;
    }
}

/// One vector's part of it, `J` columns.
///
/// # Safety
/// As [`gather_some`].
#[inline(always)]
unsafe fn gather_lanes<S: Simd, const J: usize, const STARTS: bool>(
    s: S,
    seen: &Seen<'_>,
    at: usize,
    v: usize,
    column: usize,
    cells: Range<usize>,
    weights: *const f32,
    factor: S::F,
    sums: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let lane = at + v * LANES;
        let (start, end) = (s.load_at(seen.starts.as_ptr().add(lane)), s.load_at(seen.ends.as_ptr().add(lane)));
        let place = sums.add(column * WIDE + v * LANES);
        let mut totals = [s.splat(0.0); J];
        for j in 0..J {
            totals[j] = s.mul(s.load_at(place.add(j * WIDE)), factor);
        }
        for cell in cells {
            let weight = s.load_at(weights.add(cell * WIDE + v * LANES));
            let number = s.splat(cell as f32);
            for j in 0..J {
                let value = s.splat(*seen.values.add(cell * seen.value_width + column + j));
                let new = s.select_less(number, end, s.mul_add(weight, value, totals[j]), totals[j]);
                totals[j] = if STARTS { s.select_less(number, start, totals[j], new) } else { new };
            }
        }
        for j in 0..J {
            s.store_at(totals[j], place.add(j * WIDE));
        }
    }
}

/// Takes what was summed over one span into the whole, as [`super::page::merge`] does.
#[inline(always)]
pub(super) fn merge<S: Simd>(s: S, vectors: usize, width: usize, one: &Sums<'_>, whole: &mut Sums<'_>) {
    assert!(vectors * LANES <= WIDE && one.sums.len() >= width * WIDE && whole.sums.len() >= width * WIDE);
    assert!(one.greatest.len().min(one.sum.len()).min(whole.greatest.len()).min(whole.sum.len()) >= WIDE);
    for v in 0..vectors {
        let at = v * LANES;
        // SAFETY: the lengths above.
        unsafe {
            let (one_sum, all_sum) = (s.load_at(one.sum.as_ptr().add(at)), s.load_at(whole.sum.as_ptr().add(at)));
            let one_greatest = s.load_at(one.greatest.as_ptr().add(at));
            let all_greatest = s.load_at(whole.greatest.as_ptr().add(at));
            let (before, now, greatest) = math::shares(s, all_greatest, one_greatest);
            // Rows that see nothing of the span stay as they are: the weight of the greatest score is 1.
            let half = s.splat(0.5);
            let sum = s.mul_add(one_sum, now, s.mul(all_sum, before));
            s.store_at(s.select_less(one_sum, half, all_sum, sum), whole.sum.as_mut_ptr().add(at));
            let greatest = s.select_less(one_sum, half, all_greatest, greatest);
            s.store_at(greatest, whole.greatest.as_mut_ptr().add(at));
            for column in 0..width {
                let to = whole.sums.as_mut_ptr().add(column * WIDE + at);
                let (old, new) = (s.load_at(to), s.load_at(one.sums.as_ptr().add(column * WIDE + at)));
                let new = s.mul_add(new, now, s.mul(old, before));
                s.store_at(s.select_less(one_sum, half, old, new), to);
            }
        }
    }
}

/// Turns queries, times `factor`, into lanes: `rows(lane)` is where that lane's query begins.
#[inline(always)]
pub(super) fn turn_in<S: Simd>(
    s: S,
    width: usize,
    vectors: usize,
    factor: f32,
    from: &[f32],
    rows: impl Fn(usize) -> usize,
    q: &mut [f32],
) {
    assert!(vectors * LANES <= WIDE && q.len() >= width * WIDE);
    for v in 0..vectors {
        let starts: [usize; LANES] = std::array::from_fn(|lane| rows(v * LANES + lane));
        assert!(starts.iter().all(|start| start + width <= from.len()));
        let mut column = 0;
        while column + LANES <= width {
            // SAFETY: sixteen columns of a row, and a place of sixteen lanes.
            unsafe {
                let mut block = [s.splat(0.0); LANES];
                for lane in 0..LANES {
                    block[lane] = s.mul(s.load_at(from.as_ptr().add(starts[lane] + column)), s.splat(factor));
                }
                let block = s.transpose(block);
                for j in 0..LANES {
                    s.store_at(block[j], q.as_mut_ptr().add((column + j) * WIDE + v * LANES));
                }
            }
            column += LANES;
        }
        for column in column..width {
            for lane in 0..LANES {
                q[column * WIDE + v * LANES + lane] = from[starts[lane] + column] * factor;
            }
        }
    }
}

/// Writes a chunk's results, divided by their sums of weights, to the places that `rows` says for each of `count` lanes.
///
/// # Safety
/// `rows` must give places of `width` numbers that may be written.
#[inline(always)]
pub(super) unsafe fn turn_out<S: Simd>(
    s: S,
    width: usize,
    count: usize,
    state: &Sums<'_>,
    rows: impl Fn(usize) -> *mut f32,
) {
    assert!(count <= WIDE && state.sum.len() >= WIDE && state.sums.len() >= width * WIDE);
    for first in (0..count).step_by(LANES) {
        let lanes = (count - first).min(LANES);
        let places: [*mut f32; LANES] = std::array::from_fn(|lane| rows(first + lane.min(lanes - 1)));
        // SAFETY: the lengths above and the caller's promise.
        unsafe {
            let inverse = s.div(s.splat(1.0), s.load_at(state.sum.as_ptr().add(first)));
            let mut column = 0;
            while column + LANES <= width {
                let mut block = [s.splat(0.0); LANES];
                for j in 0..LANES {
                    block[j] = s.mul(s.load_at(state.sums.as_ptr().add((column + j) * WIDE + first)), inverse);
                }
                let block = s.transpose(block);
                for lane in 0..lanes {
                    s.store_at(block[lane], places[lane].add(column));
                }
                column += LANES;
            }
            for column in column..width {
                for lane in 0..lanes {
                    let inverse = 1.0 / state.sum[first + lane];
                    *places[lane].add(column) = state.sums[column * WIDE + first + lane] * inverse;
                }
            }
        }
    }
}
