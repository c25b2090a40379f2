//! `exp` with the same bits on every machine; the mathematics library of the system differs from one to the other.

/// `e^x` for `x ≤ 0`, within two units in the last place; 0 below -708 and for NaN.
///
/// Splits `x = n ln 2 + r` with ln 2 in two parts (Cody and Waite, 1980) and sums the Taylor series of `e^r` for
/// `|r| ≤ ln 2 / 2`. Plain products and sums without branches, so that loops over it are vectorised.
pub(crate) fn exponential(x: f64) -> f64 {
    const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    /// Adding and subtracting 1.5 · 2^52 rounds to a whole number.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    const TERMS: [f64; 13] = [
        1.0 / 6_227_020_800.0,
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
    ];
    let bounded = x.clamp(-708.0, 0.0);
    // The sum's lowest bits are n, so shifting them to the exponent's place makes 2^n without a conversion.
    let shifted = bounded * std::f64::consts::LOG2_E + ROUND;
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
    let n = shifted - ROUND;
    let r = (bounded - n * LN_2_HIGH) - n * LN_2_LOW;
    let mut sum = TERMS[0];
    for term in &TERMS[1..] {
        sum = sum * r + term;
    }
    // Not "below": a NaN takes the other way.
    if x >= -708.0 { (sum * r + 1.0) * power } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::exponential;

    #[test]
    fn it_is_the_exponential() {
        let mut x = 0.0f64;
        while x > -708.0 {
            let (found, expected) = (exponential(x), x.exp());
            assert!((found - expected).abs() <= expected * 5e-16, "e^{x}: {found} for {expected}");
            x -= 0.0137;
        }
        assert_eq!(exponential(0.0), 1.0);
        assert_eq!(exponential(-709.0), 0.0);
        assert_eq!(exponential(f64::NEG_INFINITY), 0.0);
        assert_eq!(exponential(f64::NAN), 0.0);
    }
}
