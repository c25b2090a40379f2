//! Functions of sixteen lanes. Error bounds are held by the tests, against f64.
//!
//! Polynomials of `exp` and `tanh`: Cephes (Moshier), `expf` and `tanhf`. `erfc`: a polynomial fitted to
//! `erfc(x) * exp(x²)` over `1 / (1 + x/2)`.

use crate::simd::Simd;

/// e^x: within 2 ulp; 0 below -104, infinite above 88.73; NaN stays NaN.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    // Operand order keeps NaN.
    let x = s.min(s.splat(89.0), s.max(s.splat(-104.0), x));
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let r = s.mul_add(n, s.splat(-355.0 / 512.0), x);
    let r = s.mul_add(n, s.splat(2.121_944_4e-4), r);
    let mut p = s.splat(1.987_569_1e-4);
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = s.mul_add(p, r, s.splat(coefficient));
    }
    let p = s.add(s.mul_add(s.mul(r, r), p, r), s.splat(1.0));
    // In two steps, because 2^n alone overflows at both ends.
    let half = s.round(s.mul(n, s.splat(0.5)));
    s.mul(s.mul(p, s.exp2_whole(half)), s.exp2_whole(s.sub(n, half)))
}

/// 2^x for x of at most 0.5: within 2 ulp, 1 for 0, at least 2^-126, and NaN stays NaN. Its polynomial has the least greatest
/// relative error of all of degree 5 that are 1 at 0 (found by weighted least squares).
#[allow(clippy::approx_constant, reason = "fitted: near ln 2, not it")]
#[inline(always)]
pub(crate) fn exp2_below<S: Simd>(s: S, x: S::F) -> S::F {
    // Operand order keeps NaN.
    let x = s.max(s.splat(-126.0), x);
    let n = s.round(x);
    let f = s.sub(x, n);
    let mut p = s.splat(1.326_472_7e-3);
    for coefficient in [9.671_513e-3, 5.550_733_7e-2, 0.240_222_42, 0.693_147, 1.0] {
        p = s.mul_add(p, f, s.splat(coefficient));
    }
    s.scale_whole(p, n)
}

/// For the greatest of two sets of exponents to base 2: by how much the weights of each shrink beside the greater, and that one.
/// Of two that are equal (both may be minus infinity) neither shrinks.
#[inline(always)]
pub(crate) fn shares<S: Simd>(s: S, a: S::F, b: S::F) -> (S::F, S::F, S::F) {
    let greatest = s.max(b, a);
    (share(s, a, greatest), share(s, b, greatest), greatest)
}

/// 2^(x - greatest), 1 where they are equal.
#[inline(always)]
pub(crate) fn share<S: Simd>(s: S, x: S::F, greatest: S::F) -> S::F {
    s.select_less(x, greatest, exp2_below(s, s.sub(x, greatest)), s.splat(1.0))
}

/// tanh x: within 4 ulp.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::F) -> S::F {
    let magnitude = s.abs(x);
    let square = s.mul(x, x);
    let mut p = s.splat(-5.704_988_7e-3);
    for coefficient in [2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -0.333_332_8] {
        p = s.mul_add(p, square, s.splat(coefficient));
    }
    let near = s.mul_add(s.mul(p, square), x, x);
    let e = exp(s, s.add(magnitude, magnitude));
    let far = s.sub(s.splat(1.0), s.div(s.splat(2.0), s.add(e, s.splat(1.0))));
    let far = s.select_less(x, s.splat(0.0), s.sub(s.splat(0.0), far), far);
    s.select_less(magnitude, s.splat(0.625), near, far)
}

/// x / (1 + e^-x): within 4 ulp, or 1e-37 absolutely.
#[inline(always)]
pub(crate) fn silu<S: Simd>(s: S, x: S::F) -> S::F {
    s.div(x, s.add(s.splat(1.0), exp(s, s.sub(s.splat(0.0), x))))
}

/// x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))), as x · sigmoid of twice that: within 1.5e-6 relative for |x| < 3.
#[inline(always)]
pub(crate) fn gelu_tanh<S: Simd>(s: S, x: S::F) -> S::F {
    let cubic = s.mul_add(s.mul(x, x), s.splat(0.044_715), s.splat(1.0));
    let twice = s.mul(s.mul(x, cubic), s.splat(1.595_769_2));
    s.div(x, s.add(s.splat(1.0), exp(s, s.sub(s.splat(0.0), twice))))
}

/// x/2 · (1 + erf(x/√2)): within 1e-6 · max(|result|, 1e-3 |x|).
#[inline(always)]
pub(crate) fn gelu_erf<S: Simd>(s: S, x: S::F) -> S::F {
    let z = s.min(s.splat(10.0), s.mul(s.abs(x), s.splat(std::f32::consts::FRAC_1_SQRT_2)));
    let t = s.div(s.splat(1.0), s.mul_add(z, s.splat(0.5), s.splat(1.0)));
    let mut p = s.splat(-0.060_245_007);
    for coefficient in
        [0.290_092_32, -0.498_125_22, 0.289_944_7, -0.034_344_576, 0.205_742_7, 0.242_387_52, 0.282_465_8, 0.282_081_72]
    {
        p = s.mul_add(p, t, s.splat(coefficient));
    }
    let half_erfc = s.mul(s.mul(s.mul(p, t), s.splat(0.5)), exp(s, s.mul(s.mul(x, x), s.splat(-0.5))));
    let share = s.select_less(x, s.splat(0.0), half_erfc, s.sub(s.splat(1.0), half_erfc));
    s.mul(x, share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;
    use crate::simd::{Task, dispatch};

    /// Which function to apply.
    #[derive(Clone, Copy, Debug)]
    enum Function {
        Exp,
        Exp2Below,
        Tanh,
        Silu,
        GeluTanh,
        GeluErf,
    }

    struct Apply<'a>(Function, &'a [f32; 16]);

    impl Task for Apply<'_> {
        type Output = [f32; 16];

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> [f32; 16] {
            let x = s.load(self.1);
            let y = match self.0 {
                Function::Exp => exp(s, x),
                Function::Exp2Below => exp2_below(s, x),
                Function::Tanh => tanh(s, x),
                Function::Silu => silu(s, x),
                Function::GeluTanh => gelu_tanh(s, x),
                Function::GeluErf => gelu_erf(s, x),
            };
            let mut lanes = [0f32; 16];
            s.store(y, &mut lanes);
            lanes
        }
    }

    /// erfc by its series and, further out, its continued fraction; both converge to f64 precision there.
    fn erfc(x: f64) -> f64 {
        if x < 0.0 {
            return 2.0 - erfc(-x);
        }
        let root = std::f64::consts::PI.sqrt();
        if x < 2.5 {
            let (mut term, mut sum) = (x, x);
            for n in 1..200 {
                term *= -x * x / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            return 1.0 - 2.0 / root * sum;
        }
        let mut fraction = x;
        for k in (1..120).rev() {
            fraction = x + f64::from(k) / 2.0 / fraction;
        }
        (-x * x).exp() / (root * fraction)
    }

    fn exact(function: Function, x: f64) -> f64 {
        match function {
            Function::Exp => x.exp(),
            Function::Exp2Below => x.exp2(),
            Function::Tanh => x.tanh(),
            Function::Silu => x / (1.0 + (-x).exp()),
            Function::GeluTanh => {
                0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh())
            }
            Function::GeluErf => 0.5 * x * erfc(-x / std::f64::consts::SQRT_2),
        }
    }

    /// Greatest error over a range, relative to the greater of the exact value and `floor · |x|`.
    fn check(function: Function, range: std::ops::Range<f32>, floor: f64, bound: f64) {
        let steps = 16 * 4000;
        for &isa in Isa::available() {
            let mut worst = (0.0, 0.0);
            for chunk in 0..steps / 16 {
                let x: [f32; 16] = std::array::from_fn(|lane| {
                    range.start + (range.end - range.start) * (chunk * 16 + lane) as f32 / steps as f32
                });
                for (x, y) in x.into_iter().zip(dispatch(isa, Apply(function, &x))) {
                    let exact = exact(function, f64::from(x));
                    let scale = exact.abs().max(floor * f64::from(x).abs()).max(1e-37);
                    let error = (f64::from(y) - exact).abs() / scale;
                    if error > worst.0 || error.is_nan() {
                        worst = (error, x);
                    }
                }
            }
            assert!(worst.0 <= bound, "{function:?} on {}: {:e} at {}", isa.name(), worst.0, worst.1);
        }
    }

    #[test]
    fn functions_keep_their_bounds() {
        const ULP: f64 = 1.2e-7;
        check(Function::Exp, -87.0..88.7, 0.0, 2.0 * ULP);
        check(Function::Exp, -0.5..0.5, 0.0, 2.0 * ULP);
        check(Function::Exp2Below, -126.0..0.5, 0.0, 2.0 * ULP);
        check(Function::Exp2Below, -1.0..0.5, 0.0, 2.0 * ULP);
        check(Function::Tanh, -12.0..12.0, 0.0, 4.0 * ULP);
        check(Function::Tanh, -0.01..0.7, 0.0, 4.0 * ULP);
        check(Function::Silu, -80.0..80.0, 0.0, 4.0 * ULP);
        check(Function::GeluTanh, -3.0..3.0, 0.0, 1.5e-6);
        check(Function::GeluTanh, -12.0..12.0, 1e-3, 2e-6);
        check(Function::GeluErf, -12.0..12.0, 1e-3, 1e-6);
    }

    #[test]
    fn ends_and_odd_values() {
        let x = [
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            0.0,
            -0.0,
            89.5,
            -103.5,
            -104.5,
            1e30,
            -1e30,
            -90.0,
            88.0,
            1.0,
            -1.0,
            2.0,
            3.0,
        ];
        for &isa in Isa::available() {
            let e = dispatch(isa, Apply(Function::Exp, &x));
            assert_eq!((e[0], e[1], e[3], e[5], e[7], e[9]), (f32::INFINITY, 0.0, 1.0, f32::INFINITY, 0.0, 0.0));
            assert!(e[2].is_nan() && e[6] > 0.0 && e[10] > 0.0);
            let e = dispatch(isa, Apply(Function::Exp2Below, &x));
            assert_eq!((e[1], e[3], e[4], e[13]), (2f32.powi(-126), 1.0, 1.0, 0.5));
            assert!(e[2].is_nan());
            let t = dispatch(isa, Apply(Function::Tanh, &x));
            assert_eq!((t[0], t[1], t[3], t[8], t[9]), (1.0, -1.0, 0.0, 1.0, -1.0));
            assert!(t[2].is_nan());
            for function in [Function::Silu, Function::GeluTanh, Function::GeluErf] {
                let y = dispatch(isa, Apply(function, &x));
                assert_eq!((y[0], y[3], y[8], y[9].abs()), (f32::INFINITY, 0.0, 1e30, 0.0), "{function:?}");
                assert!(y[2].is_nan(), "{function:?}");
            }
        }
    }
}
