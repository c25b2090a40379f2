//! Cross-entropy of rows of logits.

use crate::buffer::Shared;
use crate::elementwise::expect_length;
use crate::simd::{LANES, Simd, Task, dispatch};
use crate::{Isa, Pool, math};

/// Logarithm of the least share of a row that has a gradient.
const LEAST_LOG: f32 = -60.0;
/// Columns summed in f32 before the sum goes into f64: a vocabulary is long.
const SPAN: usize = 4096;

/// `out[r] = weight[r] · (log Σ exp(x[r]) - x[r][token[r]])` for rows of `width` logits.
///
/// # Panics
/// Where a length does not fit or a token is not below `width`; likewise below.
pub fn cross_entropy(pool: &Pool, isa: Isa, x: &[f32], width: usize, tokens: &[u32], weights: &[f32], out: &mut [f32]) {
    check(x.len(), width, tokens, weights);
    expect_length("losses", out.len(), tokens.len(), 1);
    let out = Shared::new(out);
    pool.pieces(tokens.len(), |row| {
        let logits = &x[row * width..][..width];
        // SAFETY: a row belongs to one piece.
        let out = unsafe { out.part(row, 1) };
        // A row that does not count may hold anything.
        out[0] = if weights[row] == 0.0 {
            0.0
        } else {
            let total = dispatch(isa, LogSum(logits));
            (f64::from(weights[row]) * (total - f64::from(logits[tokens[row] as usize]))) as f32
        };
    });
}

/// `dx[r] = gradient[r] · weight[r] · (softmax(x[r]) - onehot(token[r]))`; without `gradient` it is 1.
pub fn cross_entropy_back(
    pool: &Pool,
    isa: Isa,
    x: &[f32],
    width: usize,
    tokens: &[u32],
    weights: &[f32],
    gradient: Option<&[f32]>,
    dx: &mut [f32],
) {
    check(x.len(), width, tokens, weights);
    expect_length("gradients of logits", dx.len(), tokens.len(), width);
    if let Some(gradient) = gradient {
        expect_length("gradients of losses", gradient.len(), tokens.len(), 1);
    }
    let dx = Shared::new(dx);
    pool.pieces(tokens.len(), |row| {
        let logits = &x[row * width..][..width];
        // SAFETY: a row belongs to one piece.
        let dx = unsafe { dx.part(row * width, width) };
        let factor = weights[row] * gradient.map_or(1.0, |gradient| gradient[row]);
        if factor == 0.0 {
            dx.fill(0.0);
            return;
        }
        let total = dispatch(isa, LogSum(logits));
        dispatch(isa, Shares { logits, total: total as f32, factor, dx });
        dx[tokens[row] as usize] -= factor;
    });
}

/// As [`cross_entropy_back`], written over the logits.
pub fn cross_entropy_back_in_place(
    pool: &Pool,
    isa: Isa,
    x: &mut [f32],
    width: usize,
    tokens: &[u32],
    weights: &[f32],
    gradient: Option<&[f32]>,
) {
    check(x.len(), width, tokens, weights);
    if let Some(gradient) = gradient {
        expect_length("gradients of losses", gradient.len(), tokens.len(), 1);
    }
    let x = Shared::new(x);
    pool.pieces(tokens.len(), |row| {
        // SAFETY: a row belongs to one piece.
        let logits = unsafe { x.part(row * width, width) };
        let factor = weights[row] * gradient.map_or(1.0, |gradient| gradient[row]);
        if factor == 0.0 {
            logits.fill(0.0);
            return;
        }
        let total = dispatch(isa, LogSum(logits)) as f32;
        dispatch(isa, SharesInPlace { logits, total, factor });
        logits[tokens[row] as usize] -= factor;
    });
}

fn check(length: usize, width: usize, tokens: &[u32], weights: &[f32]) {
    expect_length("logits of a loss", length, tokens.len(), width);
    expect_length("weights of a loss", weights.len(), tokens.len(), 1);
    if let Some(token) = tokens.iter().find(|token| **token as usize >= width) {
        panic!("target {token} is outside the vocabulary of {width}");
    }
}

/// `log Σ exp(x)`.
struct LogSum<'a>(&'a [f32]);

impl Task for LogSum<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let mut tops = s.splat(f32::NEG_INFINITY);
        let (chunks, rest) = self.0.as_chunks::<LANES>();
        for chunk in chunks {
            tops = s.max(s.load(chunk), tops);
        }
        let top = rest.iter().copied().fold(s.greatest(tops), f32::max);
        let mut sum = 0f64;
        for span in self.0.chunks(SPAN) {
            let mut sums = s.splat(0.0);
            let (chunks, rest) = span.as_chunks::<LANES>();
            for chunk in chunks {
                sums = s.add(sums, math::exp(s, s.sub(s.load(chunk), s.splat(top))));
            }
            if !rest.is_empty() {
                let mut padded = [f32::NEG_INFINITY; LANES];
                padded[..rest.len()].copy_from_slice(rest);
                sums = s.add(sums, math::exp(s, s.sub(s.load(&padded), s.splat(top))));
            }
            sum += f64::from(s.sum(sums));
        }
        f64::from(top) + sum.ln()
    }
}

/// `dx = factor · exp(logits - total)`.
struct Shares<'a> {
    logits: &'a [f32],
    total: f32,
    factor: f32,
    dx: &'a mut [f32],
}

impl Task for Shares<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (from, rest) = self.logits.as_chunks::<LANES>();
        let (to, to_rest) = self.dx.as_chunks_mut::<LANES>();
        for (x, y) in from.iter().zip(to) {
            s.store(share(s, s.load(x), self.total, self.factor), y);
        }
        if !rest.is_empty() {
            s.store_part(share(s, s.load_part(rest), self.total, self.factor), to_rest);
        }
    }
}

/// As [`Shares`], over the logits themselves.
struct SharesInPlace<'a> {
    logits: &'a mut [f32],
    total: f32,
    factor: f32,
}

impl Task for SharesInPlace<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (whole, rest) = self.logits.as_chunks_mut::<LANES>();
        for x in whole {
            s.store(share(s, s.load(x), self.total, self.factor), x);
        }
        if !rest.is_empty() {
            s.store_part(share(s, s.load_part(rest), self.total, self.factor), rest);
        }
    }
}

/// A share times the factor. One too small to count is none: below what normal numbers hold, arithmetic is slow.
#[inline(always)]
fn share<S: Simd>(s: S, x: S::F, total: f32, factor: f32) -> S::F {
    let (log, least) = (s.sub(x, s.splat(total)), s.splat(LEAST_LOG));
    let share = s.mul(s.splat(factor), math::exp(s, s.max(least, log)));
    s.select_less(log, least, s.splat(0.0), share)
}
