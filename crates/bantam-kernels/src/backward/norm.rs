//! Gradients of RMS norm and layer norm.

use crate::buffer::Shared;
use crate::elementwise::{expect_length, spread};
use crate::simd::{LANES, Simd, Task, dispatch};
use crate::{Isa, Pool};

/// The gradient of a norm's rows. With `z = (x - mean) / σ` and `h = dy · weight`, over each group of a row:
/// `dx = (h - [mean h] - z · mean(h z)) / σ`, without the means where it is an RMS norm (`center` false).
///
/// Shapes as [`crate::norm_rms`]: `x`, `dy` and `dx` are `[rows, width]`, the weight is as long as a group or as a row.
///
/// # Panics
/// Where a length does not fit; likewise below.
pub fn norm_back(
    pool: &Pool,
    isa: Isa,
    x: &[f32],
    dy: &[f32],
    rows: usize,
    width: usize,
    groups: usize,
    weight: Option<&[f32]>,
    eps: f32,
    center: bool,
    dx: &mut [f32],
) {
    expect_length("x of a norm", x.len(), rows, width);
    expect_length("gradients of a norm", dy.len(), rows, width);
    expect_length("gradients of a norm's rows", dx.len(), rows, width);
    let group = width.checked_div(groups).filter(|group| group * groups == width && *group > 0);
    let group = group.unwrap_or_else(|| panic!("a norm of {groups} groups cannot part rows of {width}"));
    if let Some(length) = weight.map(<[f32]>::len) {
        assert!(length == group || length == width, "a norm over {group} of {width} has a vector of {length}");
    }
    let dx = Shared::new(dx);
    spread(pool, rows, width, |range| {
        // SAFETY: ranges are disjoint and inside `rows`.
        let dx = unsafe { dx.part(range.start * width, range.len() * width) };
        let here = range.start * width..range.end * width;
        dispatch(isa, Rows { x: &x[here.clone()], dy: &dy[here], groups, group, weight, eps, center, dx });
    });
}

/// Adds the gradients of a norm's weight (`Σ dy · z`) and bias (`Σ dy`), over all rows in order. Each is as long as a group
/// (then it also sums over groups) or as a row.
pub fn add_norm_gradients(
    pool: &Pool,
    isa: Isa,
    x: &[f32],
    dy: &[f32],
    rows: usize,
    width: usize,
    groups: usize,
    eps: f32,
    center: bool,
    weight: Option<&mut [f32]>,
    bias: Option<&mut [f32]>,
) {
    expect_length("x of a norm", x.len(), rows, width);
    expect_length("gradients of a norm", dy.len(), rows, width);
    let group = width / groups.max(1);
    let statistics: Vec<Statistics> = if weight.is_some() {
        x.chunks_exact(group).map(|x| dispatch(isa, Measure { x, eps, center })).collect()
    } else {
        Vec::new()
    };
    for (sums, is_weight) in [(weight, true), (bias, false)] {
        let Some(sums) = sums else { continue };
        let length = sums.len();
        assert!(length == group || length == width, "a norm over {group} of {width} has a vector of {length}");
        let sums = Shared::new(sums);
        pool.pieces(length.div_ceil(64), |piece| {
            let first = piece * 64;
            let here = 64.min(length - first);
            // SAFETY: each piece has columns of its own.
            let sums = unsafe { sums.part(first, here) };
            // A vector as long as a group is met once in every group.
            for (n, start) in (0..x.len()).step_by(length).enumerate() {
                let at = start + first;
                let (x, dy) = (&x[at..at + here], &dy[at..at + here]);
                if is_weight && length == group {
                    let Statistics { mean, inverse } = statistics[n];
                    for ((sum, x), dy) in sums.iter_mut().zip(x).zip(dy) {
                        *sum += dy * ((x - mean) * inverse);
                    }
                } else if is_weight {
                    for (i, ((sum, x), dy)) in sums.iter_mut().zip(x).zip(dy).enumerate() {
                        let Statistics { mean, inverse } = statistics[(at + i) / group];
                        *sum += dy * ((x - mean) * inverse);
                    }
                } else {
                    sums.iter_mut().zip(dy).for_each(|(sum, dy)| *sum += dy);
                }
            }
        });
    }
}

#[derive(Clone, Copy)]
struct Statistics {
    mean: f32,
    inverse: f32,
}

/// `Σ f(chunk)` in lanes, then over lanes; what is beyond the end counts nothing.
#[inline(always)]
fn sum_over<S: Simd>(s: S, length: usize, f: impl Fn(std::ops::Range<usize>, S::F) -> S::F) -> f32 {
    let mut sums = s.splat(0.0);
    for start in (0..length).step_by(LANES) {
        sums = f(start..(start + LANES).min(length), sums);
    }
    s.sum(sums)
}

#[inline(always)]
fn measure<S: Simd>(s: S, x: &[f32], eps: f32, center: bool) -> Statistics {
    let n = x.len() as f32;
    let mean = if center { sum_over(s, x.len(), |range, sum| s.add(sum, s.load_part(&x[range]))) / n } else { 0.0 };
    let squares = sum_over(s, x.len(), |range, sum| {
        let mut padded = [mean; LANES];
        padded[..range.len()].copy_from_slice(&x[range]);
        let d = s.sub(s.load(&padded), s.splat(mean));
        s.mul_add(d, d, sum)
    });
    Statistics { mean, inverse: 1.0 / (squares / n + eps).sqrt() }
}

struct Measure<'a> {
    x: &'a [f32],
    eps: f32,
    center: bool,
}

impl Task for Measure<'_> {
    type Output = Statistics;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Statistics {
        measure(s, self.x, self.eps, self.center)
    }
}

struct Rows<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    groups: usize,
    group: usize,
    weight: Option<&'a [f32]>,
    eps: f32,
    center: bool,
    dx: &'a mut [f32],
}

impl Task for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, dy, groups, group, weight, eps, center, dx } = self;
        let parts = x.chunks_exact(group).zip(dy.chunks_exact(group)).zip(dx.chunks_exact_mut(group));
        for (i, ((x, dy), dx)) in parts.enumerate() {
            let start = (i % groups) * group;
            let weight = weight.map(|w| if w.len() == group { w } else { &w[start..start + group] });
            let Statistics { mean, inverse } = measure(s, x, eps, center);
            // Lanes beyond the end have dy = 0, and so h = 0 and h · z = 0.
            let h = |range: std::ops::Range<usize>| {
                let dy = s.load_part(&dy[range.clone()]);
                weight.map_or(dy, |weight| s.mul(dy, s.load_part(&weight[range])))
            };
            let z = |range| s.mul(s.sub(s.load_part(&x[range]), s.splat(mean)), s.splat(inverse));
            let n = group as f32;
            let mean_hz = sum_over(s, group, |range, sum| s.mul_add(h(range.clone()), z(range), sum)) / n;
            let mean_h = if center { sum_over(s, group, |range, sum| s.add(sum, h(range))) / n } else { 0.0 };
            for start in (0..group).step_by(LANES) {
                let range = start..(start + LANES).min(group);
                let away = s.mul_add(z(range.clone()), s.splat(mean_hz), s.splat(mean_h));
                s.store_part(s.mul(s.splat(inverse), s.sub(h(range.clone()), away)), &mut dx[range]);
            }
        }
    }
}
