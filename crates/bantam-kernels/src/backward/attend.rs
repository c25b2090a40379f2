//! Attention within sequences that lie whole in a batch, and its gradient.
//!
//! Scores live for a strip of rows at a time, `[STRIP, positions]`, and never as a matrix of all rows: the backward makes a
//! strip's scores and their softmax anew (as FlashAttention does, Dao et al. 2022; a whole strip needs no saved sums). A key
//! head of a sequence is one piece of work, since its gradients are sums over rows and heads, in order.

use super::gemm::{Gemm, Left, PANEL, Unchecked, pack_columns, pack_rows, panels};
use crate::attention::AttentionShape;
use crate::buffer::Shared;
use crate::elementwise::expect_length;
use crate::simd::{LANES, Simd, Task, dispatch};
use crate::{Isa, Pool, math};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Rows of a strip.
const STRIP: usize = 48;

/// Rows of a batch by sequence: each range is one sequence, its rows in the order of positions without a gap.
pub type Sequences<'a> = &'a [Range<usize>];

/// Working memory of [`attend_sequences`], one part for each worker; grows to the longest sequence and is kept.
pub struct SequenceScratch {
    workers: Vec<Mutex<Worker>>,
}

#[derive(Default)]
struct Worker {
    /// Keys, turned: `[key_width, length]` in panels.
    keys_turned: Vec<f32>,
    values_turned: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    /// A strip of queries or of gradients, in panels.
    strip: Vec<f32>,
    /// `[STRIP, length]` each.
    weights: Vec<f32>,
    slopes: Vec<f32>,
    d_weights: Vec<f32>,
}

impl SequenceScratch {
    /// For a pool.
    pub fn new(pool: &Pool) -> Self {
        Self { workers: (0..pool.threads()).map(|_| Mutex::default()).collect() }
    }

    /// Bytes it takes at most, where `length` is the longest sequence.
    pub fn bytes(threads: usize, shapes: &[AttentionShape], length: usize) -> usize {
        let long = length.next_multiple_of(PANEL);
        let of = |shape: &AttentionShape| {
            let (kw, vw) = (shape.key_width, shape.value_width);
            let wide = kw.next_multiple_of(PANEL) + vw.next_multiple_of(PANEL);
            long * (kw + vw + wide) + STRIP * (wide + 3 * long)
        };
        4 * threads * shapes.iter().map(of).max().unwrap_or(0)
    }
}

/// Softmax attention of every row over the rows of its own sequence.
///
/// `q` and `out` are `[rows, heads · width]`, `k` and `v` `[rows, kv_heads · width]`. Row `i` of a sequence sees its rows
/// `j ≤ i` (all where not causal) with `i - j < window`.
///
/// # Panics
/// Where a length does not fit or a range reaches over the rows; likewise below.
pub fn attend_sequences(
    pool: &Pool,
    isa: Isa,
    scratch: &SequenceScratch,
    shape: &AttentionShape,
    sequences: Sequences<'_>,
    rows: usize,
    (q, k, v): (&[f32], &[f32], &[f32]),
    out: &mut [f32],
) {
    check(shape, sequences, rows, q, k, v);
    expect_length("results of attention", out.len(), rows, shape.heads * shape.value_width);
    let out = Shared::new(out);
    each(pool, scratch, shape, sequences, |worker, sequence, kv_head| {
        Forward { worker, shape, sequence, kv_head, q, k, v, out: out.pointer() }.run(isa);
    });
}

/// The gradients of [`attend_sequences`] by queries, keys and values, from the gradient `dy` of its result.
pub fn attend_sequences_back(
    pool: &Pool,
    isa: Isa,
    scratch: &SequenceScratch,
    shape: &AttentionShape,
    sequences: Sequences<'_>,
    rows: usize,
    (q, k, v): (&[f32], &[f32], &[f32]),
    dy: &[f32],
    (dq, dk, dv): (&mut [f32], &mut [f32], &mut [f32]),
) {
    check(shape, sequences, rows, q, k, v);
    expect_length("gradients of attention", dy.len(), rows, shape.heads * shape.value_width);
    for (what, d, x) in [("queries", &mut *dq, q), ("keys", &mut *dk, k), ("values", &mut *dv, v)] {
        expect_length(what, d.len(), 1, x.len());
        d.fill(0.0);
    }
    let (dq, dk, dv) = (Shared::new(dq), Shared::new(dk), Shared::new(dv));
    each(pool, scratch, shape, sequences, |worker, sequence, kv_head| {
        let results = (dq.pointer(), dk.pointer(), dv.pointer());
        Backward { worker, shape, sequence, kv_head, q, k, v, dy, results }.run(isa);
    });
}

fn check(shape: &AttentionShape, sequences: Sequences<'_>, rows: usize, q: &[f32], k: &[f32], v: &[f32]) {
    assert!(
        shape.kv_heads > 0 && shape.heads.is_multiple_of(shape.kv_heads),
        "{} query heads in groups of {} key heads",
        shape.heads,
        shape.kv_heads
    );
    expect_length("queries", q.len(), rows, shape.heads * shape.key_width);
    expect_length("keys", k.len(), rows, shape.kv_heads * shape.key_width);
    expect_length("values", v.len(), rows, shape.kv_heads * shape.value_width);
    let mut end = 0;
    for range in sequences {
        assert!(end <= range.start && range.start <= range.end, "sequences overlap at row {}", range.start);
        end = range.end;
    }
    assert!(end <= rows, "a sequence ends at row {end} of {rows}");
}

fn each(
    pool: &Pool,
    scratch: &SequenceScratch,
    shape: &AttentionShape,
    sequences: Sequences<'_>,
    piece: impl Fn(&mut Worker, Range<usize>, usize) + Sync,
) {
    assert!(scratch.workers.len() >= pool.threads(), "scratch for {} workers", scratch.workers.len());
    pool.pieces_with(sequences.len() * shape.kv_heads, |worker, index| {
        let mut worker = scratch.workers[worker].lock().unwrap_or_else(PoisonError::into_inner);
        piece(&mut worker, sequences[index / shape.kv_heads].clone(), index % shape.kv_heads);
    });
}

fn grown(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
    &mut buffer[..length]
}

/// What a strip of rows sees: positions `first .. end`, `first` on the border of a panel.
fn seen_by(shape: &AttentionShape, rows: &Range<usize>, length: usize) -> Range<usize> {
    let end = if shape.causal { rows.end } else { length };
    let first = shape.window.map_or(0, |window| (rows.start + 1).saturating_sub(window as usize));
    first / PANEL * PANEL..end
}

/// Makes a strip's attention weights (and, where asked for, the slopes of the softcap) for one head.
struct Weigh<'a> {
    shape: &'a AttentionShape,
    strip: &'a Range<usize>,
    seen: &'a Range<usize>,
    length: usize,
    weights: &'a mut [f32],
    slopes: Option<&'a mut [f32]>,
}

impl Task for Weigh<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { shape, strip, seen, length, weights, slopes } = self;
        weigh(s, shape, strip, seen, length, weights, slopes);
    }
}

#[inline(always)]
fn weigh<S: Simd>(
    s: S,
    shape: &AttentionShape,
    strip: &Range<usize>,
    seen: &Range<usize>,
    length: usize,
    weights: &mut [f32],
    mut slopes: Option<&mut [f32]>,
) {
    let stride = seen.len().next_multiple_of(PANEL);
    for (i, row) in strip.clone().enumerate() {
        let end = if shape.causal { row + 1 } else { length };
        let first = shape.window.map_or(0, |window| (row + 1).saturating_sub(window as usize));
        let visible = first - seen.start..end - seen.start;
        let weights = &mut weights[i * stride..][..stride];
        weights[..visible.start].fill(0.0);
        weights[visible.end..].fill(0.0);
        let mut top = s.splat(f32::NEG_INFINITY);
        for start in visible.clone().step_by(LANES) {
            let range = start..(start + LANES).min(visible.end);
            let mut score = s.mul(s.load_part(&weights[range.clone()]), s.splat(shape.scale));
            if let Some(cap) = shape.softcap {
                let tanh = math::tanh(s, s.div(score, s.splat(cap)));
                score = s.mul(s.splat(cap), tanh);
                if let Some(slopes) = &mut slopes {
                    let slope = s.sub(s.splat(1.0), s.mul(tanh, tanh));
                    s.store_part(slope, &mut slopes[i * stride..][range.clone()]);
                }
            }
            s.store_part(score, &mut weights[range.clone()]);
            if range.len() == LANES {
                top = s.max(score, top);
            } else {
                let mut padded = [f32::NEG_INFINITY; LANES];
                padded[..range.len()].copy_from_slice(&weights[range]);
                top = s.max(s.load(&padded), top);
            }
        }
        let top = s.splat(s.greatest(top));
        let mut sum = s.splat(0.0);
        for start in visible.clone().step_by(LANES) {
            let range = start..(start + LANES).min(visible.end);
            let count = range.len();
            let e = math::exp(s, s.sub(s.load_part(&weights[range.clone()]), top));
            s.store_part(e, &mut weights[range.clone()]);
            sum = s.add(sum, if count == LANES { e } else { s.load_part(&weights[range]) });
        }
        let factor = s.splat(1.0 / s.sum(sum));
        for start in visible.clone().step_by(LANES) {
            let range = start..(start + LANES).min(visible.end);
            let weight = s.mul(s.load_part(&weights[range.clone()]), factor);
            s.store_part(weight, &mut weights[range]);
        }
    }
}

/// Runs a product of parts of one piece's own places.
///
/// # Safety
/// As [`Unchecked::new`].
unsafe fn multiply(isa: Isa, gemm: Gemm<'_>) {
    // SAFETY: the caller's promise.
    dispatch(isa, unsafe { Unchecked::new(gemm) });
}

/// A strip's raw scores with all it sees: `[strip, seen]`, rows `stride` apart.
fn score(isa: Isa, a: Left<'_>, rows: usize, depth: usize, turned: &[f32], seen: &Range<usize>, into: &mut [f32]) {
    let stride = seen.len().next_multiple_of(PANEL);
    let b = &turned[seen.start / PANEL * depth * PANEL..];
    assert!(into.len() >= rows * stride, "a strip of scores");
    let (c, columns) = (into.as_mut_ptr(), seen.len());
    // SAFETY: `into` holds the rows.
    unsafe {
        multiply(isa, Gemm { a, rows, depth, b, panel_depth: depth, columns, c, c_stride: stride, accumulate: false });
    }
}

struct Forward<'a> {
    worker: &'a mut Worker,
    shape: &'a AttentionShape,
    sequence: Range<usize>,
    kv_head: usize,
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    /// `[rows, heads · value_width]`; the sequence's rows of the group's heads are this task's alone.
    out: *mut f32,
}

impl Forward<'_> {
    fn run(self, isa: Isa) {
        let Self { worker, shape, sequence, kv_head, q, k, v, out } = self;
        let (kw, vw, length) = (shape.key_width, shape.value_width, sequence.len());
        let (q_row, k_row, v_row) = (shape.heads * kw, shape.kv_heads * kw, shape.kv_heads * vw);
        if length == 0 || kw == 0 || vw == 0 {
            return;
        }
        let long = length.next_multiple_of(PANEL);
        let Worker { keys_turned, values, weights, .. } = worker;
        let keys_turned = grown(keys_turned, kw * long);
        pack_columns(&k[sequence.start * k_row + kv_head * kw..], k_row, kw, length, kw, keys_turned);
        let values = grown(values, panels(vw) * PANEL * length);
        pack_rows(&v[sequence.start * v_row + kv_head * vw..], v_row, length, vw, length, values);
        let weights = grown(weights, STRIP * long);
        let group = shape.heads / shape.kv_heads;
        for first in (0..length).step_by(STRIP) {
            let strip = first..(first + STRIP).min(length);
            let seen = seen_by(shape, &strip, length);
            let stride = seen.len().next_multiple_of(PANEL);
            for head in kv_head * group..(kv_head + 1) * group {
                let q = &q[(sequence.start + strip.start) * q_row + head * kw..];
                let a = Left { numbers: q, row_stride: q_row, step: 1 };
                score(isa, a, strip.len(), kw, keys_turned, &seen, weights);
                dispatch(
                    isa,
                    Weigh { shape, strip: &strip, seen: &seen, length, weights: &mut *weights, slopes: None },
                );
                let at = (sequence.start + strip.start) * shape.heads * vw + head * vw;
                let a = Left { numbers: weights, row_stride: stride, step: 1 };
                // SAFETY: `out` has the sequence's rows, and this head's columns of them are this task's alone.
                unsafe {
                    multiply(
                        isa,
                        Gemm {
                            a,
                            rows: strip.len(),
                            depth: seen.len(),
                            b: &values[seen.start * PANEL..],
                            panel_depth: length,
                            columns: vw,
                            c: out.add(at),
                            c_stride: shape.heads * vw,
                            accumulate: false,
                        },
                    );
                }
            }
        }
    }
}

struct Backward<'a> {
    worker: &'a mut Worker,
    shape: &'a AttentionShape,
    sequence: Range<usize>,
    kv_head: usize,
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    dy: &'a [f32],
    /// Gradients of queries, keys and values, zero at the start; the sequence's rows of the group's heads and of the key head
    /// are this task's alone.
    results: (*mut f32, *mut f32, *mut f32),
}

impl Backward<'_> {
    fn run(self, isa: Isa) {
        let Self { worker, shape, sequence, kv_head, q, k, v, dy, results: (dq, dk, dv) } = self;
        let (kw, vw, length) = (shape.key_width, shape.value_width, sequence.len());
        let (q_row, k_row, v_row) = (shape.heads * kw, shape.kv_heads * kw, shape.kv_heads * vw);
        let y_row = shape.heads * vw;
        if length == 0 || kw == 0 || vw == 0 {
            return;
        }
        let long = length.next_multiple_of(PANEL);
        let Worker { keys_turned, values_turned, keys, strip: packed, weights, slopes, d_weights, .. } = worker;
        let keys_turned = grown(keys_turned, kw * long);
        let of_keys = &k[sequence.start * k_row + kv_head * kw..];
        let of_values = &v[sequence.start * v_row + kv_head * vw..];
        pack_columns(of_keys, k_row, kw, length, kw, keys_turned);
        let values_turned = grown(values_turned, vw * long);
        pack_columns(of_values, v_row, vw, length, vw, values_turned);
        let keys = grown(keys, panels(kw) * PANEL * length);
        pack_rows(of_keys, k_row, length, kw, length, keys);
        let packed = grown(packed, panels(kw).max(panels(vw)) * PANEL * STRIP);
        let weights = grown(weights, STRIP * long);
        let slopes = grown(slopes, if shape.softcap.is_some() { STRIP * long } else { 0 });
        let d_weights = grown(d_weights, STRIP * long);
        let group = shape.heads / shape.kv_heads;
        for first in (0..length).step_by(STRIP) {
            let strip = first..(first + STRIP).min(length);
            let seen = seen_by(shape, &strip, length);
            let stride = seen.len().next_multiple_of(PANEL);
            let rows = strip.len();
            for head in kv_head * group..(kv_head + 1) * group {
                let row = sequence.start + strip.start;
                let q = &q[row * q_row + head * kw..];
                let dy = &dy[row * y_row + head * vw..];
                score(isa, Left { numbers: q, row_stride: q_row, step: 1 }, rows, kw, keys_turned, &seen, weights);
                let capped = shape.softcap.map(|_| &mut *slopes);
                let task = Weigh { shape, strip: &strip, seen: &seen, length, weights: &mut *weights, slopes: capped };
                dispatch(isa, task);
                let a = Left { numbers: dy, row_stride: y_row, step: 1 };
                score(isa, a, rows, vw, values_turned, &seen, d_weights);
                // dV += weightsᵀ · dy
                pack_rows(dy, y_row, rows, vw, STRIP, packed);
                let turned = |numbers| Left { numbers, row_stride: 1, step: stride };
                let key_row = sequence.start + seen.start;
                // SAFETY: the gradients have the sequence's rows, and the key head's columns of them are this task's alone.
                unsafe {
                    multiply(
                        isa,
                        Gemm {
                            a: turned(&*weights),
                            rows: seen.len(),
                            depth: rows,
                            b: packed,
                            panel_depth: STRIP,
                            columns: vw,
                            c: dv.add(key_row * v_row + kv_head * vw),
                            c_stride: v_row,
                            accumulate: true,
                        },
                    );
                }
                dispatch(
                    isa,
                    ThroughSoftmax {
                        shape,
                        rows,
                        stride,
                        weights: &*weights,
                        slopes: &*slopes,
                        d_weights: &mut *d_weights,
                    },
                );
                // dK += dSᵀ · q, dQ = dS · K
                pack_rows(q, q_row, rows, kw, STRIP, packed);
                // SAFETY: as above; the head's columns of the gradient of queries are this task's alone too.
                unsafe {
                    multiply(
                        isa,
                        Gemm {
                            a: turned(&*d_weights),
                            rows: seen.len(),
                            depth: rows,
                            b: packed,
                            panel_depth: STRIP,
                            columns: kw,
                            c: dk.add(key_row * k_row + kv_head * kw),
                            c_stride: k_row,
                            accumulate: true,
                        },
                    );
                    multiply(
                        isa,
                        Gemm {
                            a: Left { numbers: d_weights, row_stride: stride, step: 1 },
                            rows,
                            depth: seen.len(),
                            b: &keys[seen.start * PANEL..],
                            panel_depth: length,
                            columns: kw,
                            c: dq.add(row * q_row + head * kw),
                            c_stride: q_row,
                            accumulate: false,
                        },
                    );
                }
            }
        }
    }
}

/// `d score = weight · (d weight - Σ weight · d weight) · slope · scale`, over `d_weights`.
struct ThroughSoftmax<'a> {
    shape: &'a AttentionShape,
    rows: usize,
    stride: usize,
    weights: &'a [f32],
    slopes: &'a [f32],
    d_weights: &'a mut [f32],
}

impl Task for ThroughSoftmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { shape, rows, stride, weights, slopes, d_weights } = self;
        through_softmax(s, shape, rows, stride, weights, slopes, d_weights);
    }
}

#[inline(always)]
fn through_softmax<S: Simd>(
    s: S,
    shape: &AttentionShape,
    rows: usize,
    stride: usize,
    weights: &[f32],
    slopes: &[f32],
    d_weights: &mut [f32],
) {
    for row in 0..rows {
        let here = row * stride..(row + 1) * stride;
        let (weights, _) = weights[here.clone()].as_chunks::<LANES>();
        let slopes = if shape.softcap.is_some() { slopes[here.clone()].as_chunks::<LANES>().0 } else { &[] };
        let (d_weights, _) = d_weights[here].as_chunks_mut::<LANES>();
        let zero = s.splat(0.0);
        let mut sum = zero;
        // What is not seen weighs nothing, and what its d_weights say (from an earlier strip perhaps) must not count.
        for (weight, d) in weights.iter().zip(&*d_weights) {
            let weight = s.load(weight);
            sum = s.add(sum, s.select_less(zero, weight, s.mul(weight, s.load(d)), zero));
        }
        let mean = s.splat(s.sum(sum));
        for (i, (weight, d)) in weights.iter().zip(d_weights).enumerate() {
            let weight = s.load(weight);
            let mut score = s.mul(s.mul(weight, s.sub(s.load(d), mean)), s.splat(shape.scale));
            if let Some(slope) = slopes.get(i) {
                score = s.mul(score, s.load(slope));
            }
            s.store(s.select_less(zero, weight, score, zero), d);
        }
    }
}
