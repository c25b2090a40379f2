//! What the formats with codebooks share: the codebooks of the IQ formats unpacked, signs, and the two lists of 16 values.

use super::grids;

/// The values of IQ4_NL and IQ4_XS by code: finer near zero, as weights are denser there. Source: ggml's
/// `kvalues_iq4nl`.
pub(super) const NON_LINEAR: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// Twice the values of a 4-bit float (sign, two bits of exponent, one of fraction) by code. Negative zero counts as zero.
/// Source: OCP Microscaling Formats (MX) 1.0, section 5.3.3; ggml's `kvalues_mxfp4`.
pub(super) const E2M1_TWICE: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

const fn unpack<const WIDTH: usize, const ENTRIES: usize>(
    packed: [u16; ENTRIES],
    levels: &[i8],
) -> [[i8; WIDTH]; ENTRIES] {
    let bits = 16 / WIDTH;
    let mut grid = [[0; WIDTH]; ENTRIES];
    let mut entry = 0;
    while entry < ENTRIES {
        let mut element = 0;
        while element < WIDTH {
            grid[entry][element] = levels[(packed[entry] >> (bits * element)) as usize & ((1 << bits) - 1)];
            element += 1;
        }
        entry += 1;
    }
    grid
}

pub(super) static IQ1_S: [[i8; 8]; 2048] = unpack(grids::IQ1S, &grids::IQ1S_LEVELS);
pub(super) static IQ2_XXS: [[i8; 8]; 256] = unpack(grids::IQ2XXS, &grids::IQ2XXS_LEVELS);
pub(super) static IQ2_XS: [[i8; 8]; 512] = unpack(grids::IQ2XS, &grids::IQ2XS_LEVELS);
pub(super) static IQ2_S: [[i8; 8]; 1024] = unpack(grids::IQ2S, &grids::IQ2S_LEVELS);
pub(super) static IQ3_XXS: [[i8; 4]; 256] = unpack(grids::IQ3XXS, &grids::IQ3XXS_LEVELS);
pub(super) static IQ3_S: [[i8; 4]; 512] = unpack(grids::IQ3S, &grids::IQ3S_LEVELS);

/// Signs of eight elements by their lower seven: IQ2_XXS, IQ2_XS and IQ3_XXS store groups with an even number of minus
/// signs, so that the eighth follows from the others. Source: ggml's `ksigns_iq2xs`.
pub(super) static EVEN_SIGNS: [u8; 128] = {
    let mut signs = [0; 128];
    let mut index: u8 = 0;
    while index < 128 {
        signs[index as usize] = index | ((index.count_ones() as u8 & 1) << 7);
        index += 1;
    }
    signs
};

/// Eight elements `scale · entry`, negated where `signs` has a bit.
#[inline(always)]
pub(super) fn signed(values: &mut [f32; 8], scale: f32, entry: [i8; 8], signs: u8) {
    for ((value, magnitude), bit) in values.iter_mut().zip(entry).zip([1u8, 2, 4, 8, 16, 32, 64, 128]) {
        let magnitude = scale * magnitude as f32;
        *value = if signs & bit == 0 { magnitude } else { -magnitude };
    }
}

/// Two entries of four as one of eight.
#[inline(always)]
pub(super) fn joined(first: [i8; 4], second: [i8; 4]) -> [i8; 8] {
    let ([a, b, c, d], [e, f, g, h]) = (first, second);
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<const WIDTH: usize>(name: &str, grid: &[[i8; WIDTH]], expected: u64) {
        let bytes = grid.as_flattened().iter().map(|&element| element as u8);
        let sum = bytes.fold(0xcbf2_9ce4_8422_2325u64, |sum, byte| (sum ^ byte as u64).wrapping_mul(0x100_0000_01b3));
        assert_eq!(sum, expected, "{name}");
    }

    #[test]
    fn codebooks_unpack_to_the_reference() {
        check("IQ1_S", &IQ1_S, grids::IQ1S_SUM);
        check("IQ2_XXS", &IQ2_XXS, grids::IQ2XXS_SUM);
        check("IQ2_XS", &IQ2_XS, grids::IQ2XS_SUM);
        check("IQ2_S", &IQ2_S, grids::IQ2S_SUM);
        check("IQ3_XXS", &IQ3_XXS, grids::IQ3XXS_SUM);
        check("IQ3_S", &IQ3_S, grids::IQ3S_SUM);
    }

    #[test]
    fn signs_are_even() {
        for (index, signs) in EVEN_SIGNS.iter().enumerate() {
            assert_eq!(*signs as usize & 127, index);
            assert_eq!(signs.count_ones() % 2, 0);
        }
    }
}
