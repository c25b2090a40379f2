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
    norm(pool, isa, x, rows, width, groups, Kind { weight, bias: None, eps, center: false }, out);
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
    norm(pool, isa, x, rows, width, groups, Kind { weight, bias, eps, center: true }, out);
}

#[derive(Clone, Copy)]
struct Kind<'a> {
    weight: Option<&'a [f32]>,
    bias: Option<&'a [f32]>,
    eps: f32,
    center: bool,
}

fn norm(pool: &Pool, isa: Isa, x: &[f32], rows: usize, width: usize, groups: usize, kind: Kind<'_>, out: &mut [f32]) {
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
    kind: Kind<'a>,
    out: &'a mut [f32],
}

impl Task for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let parts = self.x.chunks_exact(self.group).zip(self.out.chunks_exact_mut(self.group));
        for (i, (x, out)) in parts.enumerate() {
            let count = self.group as f32;
            let mean = if self.kind.center { sum(s, x) / count } else { 0.0 };
            let factor = 1.0 / (sum_of_squares(s, x, mean) / count + self.kind.eps).sqrt();
            let start = (i % self.groups) * self.group;
            let weight =
                self.kind.weight.map(|w| if w.len() == self.group { w } else { &w[start..start + self.group] });
            let bias = self.kind.bias.map(|b| if b.len() == self.group { b } else { &b[start..start + self.group] });
            apply(s, x, mean, factor, weight, bias, out);
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
fn apply<S: Simd>(
    s: S,
    x: &[f32],
    mean: f32,
    factor: f32,
    weight: Option<&[f32]>,
    bias: Option<&[f32]>,
    out: &mut [f32],
) {
    let (m, f) = (s.splat(mean), s.splat(factor));
    let mut at = 0;
    while at < x.len() {
        let end = (at + LANES).min(x.len());
        let mut y = s.mul(s.sub(load(s, x, at, end), m), f);
        if let Some(weight) = weight {
            y = s.mul(y, load(s, weight, at, end));
        }
        if let Some(bias) = bias {
            y = s.add(y, load(s, bias, at, end));
        }
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
