//! Numbers of eight bits and fewer, as checkpoints store them.
//!
//! Source: OCP 8-bit Floating Point Specification 1.0 (E4M3, E5M2) and OCP Microscaling Formats 1.0 (E8M0, E2M1).

/// E4M3 as in `torch.float8_e4m3fn`: bias 7, no infinities, all ones is no number.
pub fn e4m3_to_f32(byte: u8) -> f32 {
    if byte & 0x7f == 0x7f { f32::NAN } else { small_float(byte, 3, 7) }
}

/// E5M2 as in `torch.float8_e5m2`: bias 15, infinities and not-a-numbers as in a half.
pub fn e5m2_to_f32(byte: u8) -> f32 {
    crate::half::f16_to_f32(u16::from(byte) << 8)
}

/// E8M0, the exponent of a shared scale: 2^(byte - 127); all ones is no number.
pub fn e8m0_to_f32(byte: u8) -> f32 {
    match byte {
        // 2^-127 is subnormal.
        0 => f32::from_bits(0x0040_0000),
        0xff => f32::NAN,
        exponent => f32::from_bits(u32::from(exponent) << 23),
    }
}

/// E2M1, the number of FP4: the low four bits of `code`, sign highest.
pub fn e2m1_to_f32(code: u8) -> f32 {
    small_float((code & 7) | (code & 8) << 4, 1, 1)
}

/// A sign, an exponent with a bias and a mantissa of so many bits, without special values.
fn small_float(byte: u8, mantissa_bits: u32, bias: i32) -> f32 {
    let magnitude = u32::from(byte & 0x7f);
    let (exponent, mantissa) = (magnitude >> mantissa_bits, magnitude & ((1 << mantissa_bits) - 1));
    let unit = f32::from_bits(((127 + 1 - bias - mantissa_bits as i32) as u32) << 23);
    let value = if exponent == 0 {
        mantissa as f32 * unit
    } else {
        ((1u32 << mantissa_bits) | mantissa) as f32 * unit * f32::from_bits((126 + exponent) << 23)
    };
    if byte & 0x80 == 0 { value } else { -value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_specifications() {
        let check = |found: f32, expected: f32| assert_eq!(found.to_bits(), expected.to_bits(), "{found} {expected}");
        check(e4m3_to_f32(0x7e), 448.0);
        check(e4m3_to_f32(0xfe), -448.0);
        check(e4m3_to_f32(0x38), 1.0);
        check(e4m3_to_f32(0x01), 2f32.powi(-9));
        check(e4m3_to_f32(0x08), 2f32.powi(-6));
        check(e4m3_to_f32(0x80), -0.0);
        assert!(e4m3_to_f32(0x7f).is_nan() && e4m3_to_f32(0xff).is_nan());
        check(e5m2_to_f32(0x7b), 57344.0);
        check(e5m2_to_f32(0x01), 2f32.powi(-16));
        check(e5m2_to_f32(0xfc), f32::NEG_INFINITY);
        assert!(e5m2_to_f32(0x7d).is_nan());
        check(e8m0_to_f32(127), 1.0);
        check(e8m0_to_f32(0), 2f32.powi(-126) / 2.0);
        check(e8m0_to_f32(254), 2f32.powi(127));
        assert!(e8m0_to_f32(255).is_nan());
        for (code, expected) in [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0].into_iter().enumerate() {
            check(e2m1_to_f32(code as u8), expected);
            check(e2m1_to_f32(code as u8 | 8), -expected);
        }
    }
}
