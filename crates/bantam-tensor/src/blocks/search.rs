//! Searches for the scale (and offset) of a few elements that lose least, for the formats with scales of scales.
//!
//! Both follow the published behaviour of ggml's reference quantizers (`make_qkx2_quants`, `make_qx_quants` in
//! `ggml-quants.c`): try a row of grids around the obvious one, round every element to each, refit the scale by weighted
//! least squares to the codes that came out, keep the best. What is added here is a promise for single elements: a grid
//! that puts one further off than a step of the obvious grid is not taken, however good its sum.

use super::codebooks::NON_LINEAR;

/// Sums run in this many lanes so that they vectorise; their order is fixed.
const LANES: usize = 8;

/// Added and taken away again, rounds magnitudes below 2^22 to integers, ties to even.
const ROUNDING: f32 = (3 << 22) as f32;

/// Rounds to the nearest integer within `low..=high`, ties to even; NaN becomes `low`.
#[inline(always)]
pub(super) fn nearest(value: f32, low: f32, high: f32) -> f32 {
    let held = if value > low { value } else { low };
    let held = if held < high { held } else { high };
    (held + ROUNDING) - ROUNDING
}

/// A scale may grow by this over the obvious one's.
pub(super) const SCALE_GROWTH: f32 = 1.25;

#[inline(always)]
fn total(lanes: [f32; LANES]) -> f32 {
    lanes.into_iter().sum()
}

/// `x ≈ scale · code + min` with codes `0..=levels`, `scale ≥ 0`, `min ≤ 0`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Affine {
    pub scale: f32,
    pub min: f32,
}

/// The grids [`affine`] tries: `1 / scale` is `(levels + first + each · step) / (max - min)`, for each of `0..=count`.
#[derive(Clone, Copy)]
pub(super) struct Grids {
    pub levels: f32,
    pub first: f32,
    pub step: f32,
    pub count: usize,
}

/// Weighted sums over rounded codes `l` of values `x`.
#[derive(Default)]
struct Sums {
    l: f32,
    ll: f32,
    xl: f32,
}

/// Finds scale and offset of a sub-block. Elements weigh their magnitude plus the root mean square. The promise: no
/// element is further from its code's value than one step of the grid that spans the values (and zero) evenly; the
/// scale is at most [`SCALE_GROWTH`] of that step.
pub(super) fn affine<const LEN: usize>(values: &[f32; LEN], grids: Grids) -> Affine {
    let (min, max) = super::format::range(values);
    let min = min.min(0.0);
    let extent = max - min;
    if extent <= 0.0 {
        // All alike and not positive: the offset alone holds them.
        return Affine { scale: 0.0, min };
    }
    let square: f32 = values.iter().map(|x| x * x).sum();
    let root = (square / LEN as f32).sqrt();
    let mut weights = [0.0f32; LEN];
    let mut sum_w = 0.0;
    let mut sum_x = 0.0;
    for (weight, x) in weights.iter_mut().zip(values) {
        *weight = root + x.abs();
        sum_w += *weight;
        sum_x += *weight * x;
    }
    let step = extent / grids.levels;
    let mut best = Affine { scale: step, min };
    let mut best_error = affine_error(values, &weights, best, grids.levels / extent, min, grids.levels).0;
    for each in 0..=grids.count {
        // The grids start at the best offset so far: a better one is a better place to look from.
        let start = best.min;
        let inverse = (grids.first + grids.step * each as f32 + grids.levels) / (max - start);
        let sums = affine_sums(values, &weights, inverse, start, grids.levels);
        let determinant = sum_w * sums.ll - sums.l * sums.l;
        if determinant.is_nan() || determinant <= 0.0 {
            continue;
        }
        let mut found = Affine {
            scale: (sum_w * sums.xl - sum_x * sums.l) / determinant,
            min: (sums.ll * sum_x - sums.l * sums.xl) / determinant,
        };
        if found.min > 0.0 {
            found = Affine { scale: sums.xl / sums.ll, min: 0.0 };
        }
        let (error, furthest) = affine_error(values, &weights, found, inverse, start, grids.levels);
        let promised = furthest <= step && found.scale >= 0.0 && found.scale <= SCALE_GROWTH * step;
        if error < best_error && promised && found.min >= min - step {
            (best, best_error) = (found, error);
        }
    }
    best
}

fn affine_sums<const LEN: usize>(
    values: &[f32; LEN],
    weights: &[f32; LEN],
    inverse: f32,
    min: f32,
    levels: f32,
) -> Sums {
    let (mut l, mut ll, mut xl) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
    for (values, weights) in values.as_chunks::<LANES>().0.iter().zip(weights.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            let code = nearest(inverse * (values[lane] - min), 0.0, levels);
            let weighted = weights[lane] * code;
            l[lane] += weighted;
            ll[lane] += weighted * code;
            xl[lane] += weighted * values[lane];
        }
    }
    Sums { l: total(l), ll: total(ll), xl: total(xl) }
}

/// Weighted squared error and the largest single error of `found`, with the codes the grid `inverse`, `min` gives.
fn affine_error<const LEN: usize>(
    values: &[f32; LEN],
    weights: &[f32; LEN],
    found: Affine,
    inverse: f32,
    min: f32,
    levels: f32,
) -> (f32, f32) {
    let (mut error, mut furthest) = ([0.0; LANES], [0.0f32; LANES]);
    for (values, weights) in values.as_chunks::<LANES>().0.iter().zip(weights.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            let code = nearest(inverse * (values[lane] - min), 0.0, levels);
            let difference = found.scale * code + found.min - values[lane];
            error[lane] += weights[lane] * difference * difference;
            let difference = difference.abs();
            furthest[lane] = if difference > furthest[lane] { difference } else { furthest[lane] };
        }
    }
    (total(error), furthest.into_iter().fold(0.0, f32::max))
}

/// Finds the scale of 16 values `x ≈ scale · code` with codes `-half..half`; the scale may be negative. Elements weigh
/// their square. The promise: no element is further from its code's value than one step of the grid whose code `-half` is
/// the largest element; the scale's magnitude is at most [`SCALE_GROWTH`] of that step.
pub(super) fn symmetric(values: &[f32; 16], half: f32) -> f32 {
    let largest = super::format::largest(values);
    if largest.abs() < 1e-15 {
        // Far below what the scale of scales can hold; and squares of squares would leave the range of f32.
        return 0.0;
    }
    let step = (largest / half).abs();
    // Error and gain measure the same: Σ w (x - s l)² = Σ w x² - (Σ w x l)² / Σ w l² at the best s.
    let (mut best, mut best_gain) = (-largest / half, f32::NEG_INFINITY);
    for each in [0, -9, -8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 7, 8, 9] {
        let inverse = -(half + 0.1 * each as f32) / largest;
        let (mut ll, mut xl) = ([0.0; LANES], [0.0; LANES]);
        for values in values.as_chunks::<LANES>().0 {
            for lane in 0..LANES {
                let x = values[lane];
                let code = nearest(inverse * x, -half, half - 1.0);
                let weighted = x * x * code;
                ll[lane] += weighted * code;
                xl[lane] += weighted * x;
            }
        }
        let (ll, xl) = (total(ll), total(xl));
        let scale = xl / ll;
        let gain = scale * xl;
        if gain > best_gain && scale.abs() <= SCALE_GROWTH * step {
            let furthest = values
                .iter()
                .fold(0.0f32, |furthest, &x| furthest.max((scale * nearest(inverse * x, -half, half - 1.0) - x).abs()));
            if furthest <= step {
                (best, best_gain) = (scale, gain);
            }
        }
    }
    best
}

/// A code's neighbours in [`NON_LINEAR`] meet halfway; there the upper one begins.
const MIDDLES: [f32; 15] = {
    let mut middles = [0.0; 15];
    let mut index = 0;
    while index < 15 {
        middles[index] = (NON_LINEAR[index] as f32 + NON_LINEAR[index + 1] as f32) / 2.0;
        index += 1;
    }
    middles
};

/// The code whose value in [`NON_LINEAR`] is nearest. Counted without branches, so that loops vectorise.
#[inline(always)]
pub(super) fn non_linear_code(value: f32) -> u8 {
    MIDDLES.iter().map(|&middle| (value >= middle) as u8).sum()
}

/// The value of [`non_linear_code`].
#[inline(always)]
fn non_linear_value(value: f32) -> f32 {
    let mut nearest = NON_LINEAR[0] as f32;
    for (index, &middle) in MIDDLES.iter().enumerate() {
        let step = (NON_LINEAR[index + 1] - NON_LINEAR[index]) as f32;
        nearest += if value >= middle { step } else { 0.0 };
    }
    nearest
}

/// No element is further from the nearest code's value of the scale that [`non_linear`] finds than this share of the
/// largest element. (It is one just opposite to the largest, at the end of values that go to 113 only, with
/// [`NON_LINEAR_SHRINKAGE`]. The widest gap of values has 12 on either side, which is less.)
pub(super) const NON_LINEAR_PROMISE: f32 = 0.2;

/// The scale may be this share of the one that puts the largest element at -127.
const NON_LINEAR_SHRINKAGE: f32 = 0.9;

/// Where [`non_linear`] puts the largest element: about -127 mostly, and near the other end, which is better where few
/// others are large.
const NON_LINEAR_ENDS: [f32; 19] = [
    -127.0, -134.0, -133.0, -132.0, -131.0, -130.0, -129.0, -128.0, -126.0, -125.0, -124.0, -123.0, -122.0, -121.0,
    -120.0, 113.0, 118.0, 123.0, 127.0,
];

/// Finds the scale of 32 values `x ≈ scale · NON_LINEAR[code]`; it may be negative. Elements weigh their square. The
/// promise: [`NON_LINEAR_PROMISE`]; the scale's magnitude is at most [`SCALE_GROWTH`] of the one that puts the largest
/// element at -127. As ggml's `quantize_row_iq4_nl_impl` searches.
pub(super) fn non_linear(values: &[f32; 32]) -> f32 {
    let largest = super::format::largest(values);
    if largest.abs() < 1e-15 {
        return 0.0;
    }
    let obvious = largest / -127.0;
    let (mut best, mut best_gain) = (obvious, f32::NEG_INFINITY);
    for end in NON_LINEAR_ENDS {
        let inverse = end / largest;
        let (mut ll, mut xl) = ([0.0; LANES], [0.0; LANES]);
        for values in values.as_chunks::<LANES>().0 {
            for lane in 0..LANES {
                let x = values[lane];
                let value = non_linear_value(inverse * x);
                let weighted = x * x * value;
                ll[lane] += weighted * value;
                xl[lane] += weighted * x;
            }
        }
        let (ll, xl) = (total(ll), total(xl));
        let scale = xl / ll;
        let gain = scale * xl;
        if gain > best_gain && (NON_LINEAR_SHRINKAGE..=SCALE_GROWTH).contains(&(scale / obvious).abs()) {
            (best, best_gain) = (scale, gain);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_to_nearest_even_within_limits() {
        let check = |value, expected| assert_eq!(nearest(value, -32.0, 31.0), expected, "{value}");
        check(0.5, 0.0);
        check(1.5, 2.0);
        check(-2.5, -2.0);
        check(-2.6, -3.0);
        check(1e30, 31.0);
        check(f32::NEG_INFINITY, -32.0);
        check(f32::NAN, -32.0);
    }

    #[test]
    fn non_linear_codes_are_the_nearest() {
        for twice in -400..400 {
            let value = twice as f32 / 2.0 + 0.125;
            let distance = |code: &i8| (*code as f32 - value).abs();
            let nearest = NON_LINEAR.iter().min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap();
            assert_eq!(NON_LINEAR[non_linear_code(value) as usize], *nearest, "{value}");
            assert_eq!(non_linear_value(value), *nearest as f32, "{value}");
        }
    }

    #[test]
    fn finds_the_grid_values_come_from() {
        let grids = Grids { levels: 15.0, first: -1.0, step: 0.1, count: 20 };
        let values: [f32; 32] = std::array::from_fn(|index| 0.25 * (index % 16) as f32 - 1.5);
        assert_eq!(affine(&values, grids), Affine { scale: 0.25, min: -1.5 });
        assert_eq!(affine(&[-0.75; 32], grids), Affine { scale: 0.0, min: -0.75 });
        assert_eq!(affine(&[0.0; 32], grids), Affine { scale: 0.0, min: 0.0 });
        let values: [f32; 16] = std::array::from_fn(|index| 0.5 * (4 * index as i32 - 32) as f32);
        assert_eq!(symmetric(&values, 32.0), 0.5);
        assert_eq!(symmetric(&[0.0; 16], 32.0), 0.0);
        let values: [f32; 32] = std::array::from_fn(|index| -0.25 * NON_LINEAR[index % 16] as f32);
        assert_eq!(non_linear(&values), -0.25);
        assert_eq!(non_linear(&[0.0; 32]), 0.0);
    }
}
