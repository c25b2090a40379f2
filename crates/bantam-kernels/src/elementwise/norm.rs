//! RMS norm (Zhang & Sennrich 2019) and layer norm (Ba et al. 2016).

use super::{expect_length, spread};
use crate::buffer::Shared;
use crate::simd::{LANES, Simd, Task, dispatch};
use crate::{Isa, Pool};

/// `out = x / sqrt(mean(x²) + eps) · weight`, over each of the `groups` equal parts of each row.
///
/// `x` and `out` are `[rows, width]`. The weight is as long as a group (then all groups share it, as in a norm per head)
/// or as a row; without one it is 1.
///
/// # Panics
/// Where a length does not fit, or `groups` does not divide `width`.
pub fn norm_rms(
    pool: &Pool,
    isa: Isa,
    x: &[f32],
    rows: usize,
    width: usize,
    groups: usize,
    weight: Option<&[f32]>,
    eps: f32,
    out: &mut [f32],
) {
    norm(pool, isa, x, rows, width, groups, RowNorm { weight, bias: None, eps, center: false }, out);
}

/// `out = (x - mean(x)) / sqrt(mean((x - mean(x))²) + eps) · weight + bias`, over each of the `groups` parts of each row.
///
/// Shapes and panics as [`norm_rms`]; the bias is as long as the weight would be.
pub fn norm_layer(
    pool: &Pool,
    isa: Isa,
    x: &[f32],
    rows: usize,
    width: usize,
    groups: usize,
    weight: Option<&[f32]>,
    bias: Option<&[f32]>,
    eps: f32,
    out: &mut [f32],
) {
    norm(pool, isa, x, rows, width, groups, RowNorm { weight, bias, eps, center: true }, out);
}

/// What a norm over rows does.
#[derive(Clone, Copy, Debug)]
struct RowNorm<'a> {
    /// One factor for each column, else 1.
    pub weight: Option<&'a [f32]>,
    /// What is added to each column.
    pub bias: Option<&'a [f32]>,
    /// Added to the mean square.
    pub eps: f32,
    /// Whether the mean is taken off (layer norm).
    pub center: bool,
}

impl RowNorm<'_> {
    /// What a row (or group of one) is shifted and multiplied by.
    #[inline(always)]
    pub(crate) fn moments<S: Simd>(&self, s: S, x: &[f32]) -> Moments {
        let count = x.len() as f32;
        let mean = if self.center { sum(s, x) / count } else { 0.0 };
        Moments { mean, factor: 1.0 / (sum_of_squares(s, x, mean) / count + self.eps).sqrt() }
    }
}

/// What a row is shifted and multiplied by.
#[derive(Clone, Copy, Default)]
pub(crate) struct Moments {
    mean: f32,
    factor: f32,
}

impl Moments {
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(&self, s: S, x: S::F, weight: Option<S::F>, bias: Option<S::F>) -> S::F {
        let mut y = s.mul(s.sub(x, s.splat(self.mean)), s.splat(self.factor));
        if let Some(weight) = weight {
            y = s.mul(y, weight);
        }
        if let Some(bias) = bias {
            y = s.add(y, bias);
        }
        y
    }
}

fn norm(
    pool: &Pool,
    isa: Isa,
    x: &[f32],
    rows: usize,
    width: usize,
    groups: usize,
    kind: RowNorm<'_>,
    out: &mut [f32],
) {
    expect_length("x of a norm", x.len(), rows, width);
    expect_length("out of a norm", out.len(), rows, width);
    assert!(groups > 0 && width.is_multiple_of(groups), "a norm of {groups} groups cannot part rows of {width}");
    let group = width / groups;
    for vector in [kind.weight, kind.bias].into_iter().flatten() {
        let length = vector.len();
        assert!(length == group || length == width, "a norm over {group} of {width} has a vector of {length}");
    }
    if group == 0 {
        return;
    }
    let out = Shared::new(out);
    spread(pool, rows, width, |range| {
        // SAFETY: ranges are disjoint and inside `rows`.
        let out = unsafe { out.part(range.start * width, range.len() * width) };
        dispatch(isa, Rows { x: &x[range.start * width..range.end * width], groups, group, kind, out });
    });
}

struct Rows<'a> {
    x: &'a [f32],
    groups: usize,
    group: usize,
    kind: RowNorm<'a>,
    out: &'a mut [f32],
}

impl Task for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let parts = self.x.chunks_exact(self.group).zip(self.out.chunks_exact_mut(self.group));
        for (i, (x, out)) in parts.enumerate() {
            let moments = self.kind.moments(s, x);
            let start = (i % self.groups) * self.group;
            let weight =
                self.kind.weight.map(|w| if w.len() == self.group { w } else { &w[start..start + self.group] });
            let bias = self.kind.bias.map(|b| if b.len() == self.group { b } else { &b[start..start + self.group] });
            apply(s, x, moments, weight, bias, out);
        }
    }
}

#[inline(always)]
fn sum<S: Simd>(s: S, x: &[f32]) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut sums = [s.splat(0.0); 2];
    for (i, chunk) in chunks.iter().enumerate() {
        sums[i % 2] = s.add(sums[i % 2], s.load(chunk));
    }
    if !rest.is_empty() {
        sums[0] = s.add(sums[0], s.load_part(rest));
    }
    s.sum(s.add(sums[0], sums[1]))
}

#[inline(always)]
fn sum_of_squares<S: Simd>(s: S, x: &[f32], mean: f32) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let (pairs, single) = chunks.as_chunks::<2>();
    let m = s.splat(mean);
    let mut sums = [s.splat(0.0); 2];
    for pair in pairs {
        for lane in 0..2 {
            let d = s.sub(s.load(&pair[lane]), m);
            sums[lane] = s.mul_add(d, d, sums[lane]);
        }
    }
    for chunk in single {
        let d = s.sub(s.load(chunk), m);
        sums[0] = s.mul_add(d, d, sums[0]);
    }
    if !rest.is_empty() {
        // Lanes beyond the end must not count: they hold the mean itself.
        let mut padded = [mean; LANES];
        padded[..rest.len()].copy_from_slice(rest);
        let d = s.sub(s.load(&padded), m);
        sums[1] = s.mul_add(d, d, sums[1]);
    }
    s.sum(s.add(sums[0], sums[1]))
}

#[inline(always)]
fn apply<S: Simd>(s: S, x: &[f32], moments: Moments, weight: Option<&[f32]>, bias: Option<&[f32]>, out: &mut [f32]) {
    let mut at = 0;
    while at < x.len() {
        let end = (at + LANES).min(x.len());
        let of = |vector: Option<&[f32]>| vector.map(|vector| load(s, vector, at, end));
        let y = moments.apply(s, load(s, x, at, end), of(weight), of(bias));
        match out[at..end].as_mut_array::<LANES>() {
            Some(whole) => s.store(y, whole),
            None => s.store_part(y, &mut out[at..end]),
        }
        at = end;
    }
}

#[inline(always)]
fn load<S: Simd>(s: S, x: &[f32], at: usize, end: usize) -> S::F {
    match x[at..end].as_array::<LANES>() {
        Some(whole) => s.load(whole),
        None => s.load_part(&x[at..end]),
    }
}
