//! The two 16-bit floats, exact and free of branches so that loops over them vectorise.
//!
//! `f16` is IEEE 754 binary16 (1 sign, 5 exponent, 10 fraction bits); `bf16` is the upper half of a binary32.
//! Narrowing rounds to nearest, ties to even; NaN stays NaN (made quiet), infinity stays infinity.

/// The largest finite `f16`.
pub const F16_MAX: f32 = 65504.0;

/// Half the distance between neighbouring subnormal `f16`: what rounding can lose near zero.
const F16_TINY: f32 = 1.0 / (1u32 << 25) as f32;

/// Widens an IEEE half; exact.
#[inline(always)]
pub fn f16_to_f32(half: u16) -> f32 {
    let magnitude = (half as u32 & 0x7fff) << 13;
    let sign = (half as u32 & 0x8000) << 16;
    // The fields now stand where a binary32 has them, with an exponent bias 112 too small. Multiplying by 2^112
    // mends the bias and normalises subnormals at once; infinity and NaN get their all-ones exponent by hand.
    let scaled = (f32::from_bits(magnitude) * f32::from_bits((127 + 112) << 23)).to_bits();
    let special = magnitude | 0x7f80_0000;
    f32::from_bits(sign | if magnitude >= 0x7c00 << 13 { special } else { scaled })
}

/// Narrows to an IEEE half, to nearest, ties to even; magnitudes of 65520 and more become infinite.
#[inline(always)]
pub fn f32_to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16) & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    // Normal halves: move the bias, then round to even on the 13 bits that fall away; a carry moves the exponent.
    let odd = (magnitude >> 13) & 1;
    let normal = (magnitude.wrapping_sub(112 << 23).wrapping_add(0xfff + odd)) >> 13;
    // Below 2^-14: adding 0.5 makes the adder round to multiples of 2^-24, the step of subnormal halves.
    let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits());
    let finite = if magnitude < 113 << 23 { subnormal } else { normal };
    let special = if magnitude > 0x7f80_0000 { 0x7e00 | ((magnitude >> 13) & 0x3ff) } else { 0x7c00 };
    (sign | if magnitude >= 143 << 23 { special } else { finite }) as u16
}

/// Narrows a block's scale or offset: as [`f32_to_f16`], but what leaves the range stays at its end, so that no
/// infinity (and from it no NaN) gets into a block.
#[inline]
pub(crate) fn f32_to_f16_saturating(value: f32) -> u16 {
    f32_to_f16(value.clamp(-F16_MAX, F16_MAX))
}

/// The most that [`f32_to_f16`] moves a value of at most this magnitude (within the finite range).
#[inline]
pub(crate) fn f16_rounding(magnitude: f32) -> f32 {
    (magnitude * (1.0 / 2048.0)).max(F16_TINY)
}

/// Widens a bfloat16; exact.
#[inline(always)]
pub fn bf16_to_f32(half: u16) -> f32 {
    f32::from_bits((half as u32) << 16)
}

/// Narrows to a bfloat16, to nearest, ties to even.
#[inline(always)]
pub fn f32_to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = (bits.wrapping_add(0x7fff + ((bits >> 16) & 1))) >> 16;
    let quiet = (bits >> 16) | 0x40;
    (if bits & 0x7fff_ffff > 0x7f80_0000 { quiet } else { rounded }) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slow, plain reading of the format's definition.
    fn f16_by_definition(half: u16) -> f64 {
        let sign = if half & 0x8000 != 0 { -1.0 } else { 1.0 };
        let exponent = (half >> 10 & 31) as i32;
        let fraction = (half & 1023) as f64;
        match exponent {
            0 => sign * fraction * 2f64.powi(-24),
            31 if fraction == 0.0 => sign * f64::INFINITY,
            31 => f64::NAN,
            _ => sign * (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
        }
    }

    #[test]
    fn every_half_widens_by_definition_and_comes_back() {
        for half in 0..=u16::MAX {
            let wide = f16_to_f32(half);
            let expected = f16_by_definition(half);
            if expected.is_nan() {
                assert!(wide.is_nan(), "{half:#x}");
                assert_eq!(f32_to_f16(wide), half | 0x200, "{half:#x}");
            } else {
                assert_eq!(wide as f64, expected, "{half:#x}");
                assert_eq!(f32_to_f16(wide), half, "{half:#x}");
            }
        }
    }

    #[test]
    fn narrowing_rounds_to_nearest_even() {
        // Between every two neighbours: just below the middle, the middle, just above.
        for half in 0..0x7bffu16 {
            let (low, high) = (f16_to_f32(half), f16_to_f32(half + 1));
            let middle = (low as f64 + high as f64) / 2.0;
            let even = if half & 1 == 0 { half } else { half + 1 };
            let middle = middle as f32; // exact: one more bit than a half has
            for (value, expected) in [
                (f32::from_bits(middle.to_bits() - 1), half),
                (middle, even),
                (f32::from_bits(middle.to_bits() + 1), half + 1),
            ] {
                assert_eq!(f32_to_f16(value), expected, "{value:e}");
                assert_eq!(f32_to_f16(-value), expected | 0x8000, "{value:e}");
            }
        }
        let check = |value: f32, expected: u16| assert_eq!(f32_to_f16(value), expected, "{value:e}");
        check(65519.996, 0x7bff);
        check(65520.0, 0x7c00);
        check(f32::MAX, 0x7c00);
        check(f32::INFINITY, 0x7c00);
        check(f32::from_bits(1), 0);
        assert_eq!(f32_to_f16_saturating(1e30), 0x7bff);
        assert_eq!(f32_to_f16_saturating(f32::NEG_INFINITY), 0xfbff);
    }

    #[test]
    fn bfloat_rounds_to_nearest_even() {
        for half in 0..=u16::MAX {
            let wide = bf16_to_f32(half);
            let expected = if wide.is_nan() { half | 0x40 } else { half };
            assert_eq!(f32_to_bf16(wide), expected, "{half:#x}");
        }
        let check = |bits: u32, expected: u16| assert_eq!(f32_to_bf16(f32::from_bits(bits)), expected, "{bits:#x}");
        check(0x3f80_7fff, 0x3f80);
        check(0x3f80_8000, 0x3f80);
        check(0x3f80_8001, 0x3f81);
        check(0x3f81_8000, 0x3f82);
        check(0x7f7f_ffff, 0x7f80);
        check(0x7f80_0001, 0x7fc0);
    }
}
