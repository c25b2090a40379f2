//! One column's block as its format stores it, taken apart into codes and scales.
//!
//! Codes are handled four at a time: word `s` of a block of 32 holds the codes of inputs 4s .. 4s + 3, the first lowest.
//! Layouts: the files of `bantam-tensor`, one for each format.

use super::forms::PanelKind;
use bantam_tensor::{TensorType, f16_to_f32};

/// What a block of a format holds for one column.
#[derive(Default)]
pub(super) struct Parts {
    /// Codes of each block of 32.
    pub(super) codes: [[u32; 8]; 8],
    /// The scale, an f16.
    pub(super) scale: [u8; 2],
    /// The offset or the scale of the minima, an f16.
    pub(super) minimum: [u8; 2],
    /// Sub-scales as the header holds them.
    pub(super) scales: [u8; 16],
    /// Sub-minima.
    pub(super) minima: [u8; 16],
}

const ONES: u32 = 0x0101_0101;

/// Four bits as the lowest of four bytes.
fn spread(bits: u32) -> u32 {
    (bits & 15).wrapping_mul(0x0020_4081) & ONES
}

fn word(bytes: &[u8], index: usize) -> u32 {
    // Looked at as four at once: a check for each byte would cost more than all the rest.
    bytes[4 * index..].first_chunk().map_or(0, |four| u32::from_le_bytes(*four))
}

fn two(bytes: &[u8], at: usize) -> [u8; 2] {
    [bytes[at], bytes[at + 1]]
}

/// Sixteen bytes with inputs 0 .. 16 in their low and 16 .. 32 in their high four bits.
fn halves(bytes: &[u8]) -> [u32; 8] {
    std::array::from_fn(|s| word(bytes, s % 4) >> (4 * (s / 4)) & (15 * ONES))
}

/// Two bits of the block `eighth` as Q2_K, Q3_K and TQ2_0 have them: 32 bytes hold four blocks.
fn quarters(bytes: &[u8], eighth: usize) -> [u32; 8] {
    std::array::from_fn(|s| word(bytes, 8 * (eighth / 4) + s) >> (2 * (eighth % 4)) & (3 * ONES))
}

/// Scales of one block of a format whose codes [`super::raw`] takes.
pub(super) fn unpack_scales(kind: &PanelKind, bytes: &[u8], parts: &mut Parts) {
    let Parts { scale, minimum, scales, minima, .. } = parts;
    match kind.tensor_type {
        TensorType::Q4_1 | TensorType::Q5_1 => (*scale, *minimum) = (two(bytes, 0), two(bytes, 2)),
        TensorType::IQ4_XS => {
            *scale = two(bytes, 0);
            let (upper, lower) = (u32::from(u16::from_le_bytes(two(bytes, 2))), word(&bytes[4..], 0));
            for (block, scale) in scales[..8].iter_mut().enumerate() {
                *scale = (lower >> (4 * block) & 15 | (upper >> (2 * block) & 3) << 4) as u8;
            }
        }
        TensorType::Q4_K | TensorType::Q5_K => sub_scales(bytes, scale, minimum, scales, minima),
        TensorType::Q6_K => {
            *scale = two(bytes, 208);
            scales.copy_from_slice(&bytes[192..208]);
        }
        _ => *scale = two(bytes, 0),
    }
}

/// Takes one block of the other formats apart; `bytes` is as long as it says.
pub(super) fn unpack(kind: &PanelKind, bytes: &[u8], parts: &mut Parts) {
    let Parts { codes, scale, minimum, scales, minima } = parts;
    match kind.tensor_type {
        TensorType::MXFP4 => {
            scales[0] = bytes[0];
            codes[0] = halves(&bytes[1..]);
        }
        TensorType::NVFP4 => {
            for (sub, codes) in codes.as_flattened_mut()[..16].as_chunks_mut::<4>().0.iter_mut().enumerate() {
                // Without its sign; what is not a number counts as zero.
                scales[sub] = if bytes[sub] == 127 { 0 } else { bytes[sub] & 127 };
                *codes = std::array::from_fn(|s| word(&bytes[4 + 8 * sub..], s % 2) >> (4 * (s / 2)) & (15 * ONES));
            }
        }
        TensorType::Q3_K => {
            *scale = two(bytes, 108);
            for (sub, scale) in scales.iter_mut().enumerate() {
                let lower = bytes[96 + sub % 8] >> (4 * (sub / 8)) & 15;
                *scale = lower | (bytes[104 + sub % 4] >> (2 * (sub / 4)) & 3) << 4;
            }
            for (block, codes) in codes.iter_mut().enumerate() {
                let low = quarters(&bytes[32..], block);
                *codes = std::array::from_fn(|s| low[s] | (word(bytes, s) >> block & ONES) << 2);
            }
        }
        TensorType::Q2_K => {
            (*scale, *minimum) = (two(bytes, 80), two(bytes, 82));
            *scales = std::array::from_fn(|sub| bytes[sub] & 15);
            *minima = std::array::from_fn(|sub| bytes[sub] >> 4);
            *codes = std::array::from_fn(|block| quarters(&bytes[16..], block));
        }
        TensorType::TQ2_0 => {
            *scale = two(bytes, 64);
            *codes = std::array::from_fn(|block| quarters(bytes, block));
        }
        TensorType::TQ1_0 => {
            *scale = two(bytes, 52);
            ternary(bytes, codes);
        }
        TensorType::Q2_0 => {
            *scale = two(bytes, 0);
            for (codes, &byte) in codes.as_flattened_mut().iter_mut().zip(&bytes[2..18]) {
                let byte = u32::from(byte);
                *codes = (byte | byte << 6 | byte << 12 | byte << 18) & (3 * ONES);
            }
        }
        TensorType::Q1_0 => {
            *scale = two(bytes, 0);
            for (codes, &byte) in codes.as_flattened_mut().as_chunks_mut::<2>().0.iter_mut().zip(&bytes[2..18]) {
                *codes = [spread(u32::from(byte)), spread(u32::from(byte) >> 4)];
            }
        }
        _ => codebook(kind, bytes, parts),
    }
}

/// The head of Q4_K and Q5_K.
fn sub_scales(bytes: &[u8], scale: &mut [u8; 2], minimum: &mut [u8; 2], scales: &mut [u8; 16], minima: &mut [u8; 16]) {
    (*scale, *minimum) = (two(bytes, 0), two(bytes, 2));
    for index in 0..4 {
        let (a, b, c) = (bytes[4 + index], bytes[8 + index], bytes[12 + index]);
        (scales[index], minima[index]) = (a & 63, b & 63);
        (scales[4 + index], minima[4 + index]) = (c & 15 | a >> 6 << 4, c >> 4 | b >> 6 << 4);
    }
}

/// TQ1_0: five numbers a byte, to base 3.
fn ternary(bytes: &[u8], codes: &mut [[u32; 8]; 8]) {
    let mut made = [0u8; 256];
    let (first, rest) = made.split_at_mut(160);
    let (second, third) = rest.split_at_mut(80);
    for (out, bytes) in [(first, &bytes[..32]), (second, &bytes[32..48]), (third, &bytes[48..52])] {
        for (out, power) in out.chunks_mut(bytes.len()).zip([1u8, 3, 9, 27, 81]) {
            for (code, byte) in out.iter_mut().zip(bytes) {
                *code = ((u16::from(byte.wrapping_mul(power)) * 3) >> 8) as u8;
            }
        }
    }
    for (codes, made) in codes.as_flattened_mut().iter_mut().zip(made.as_chunks::<4>().0) {
        *codes = u32::from_le_bytes(*made);
    }
}

/// The formats with codebooks. Each entry's numbers are read off the decoded values, with 1 for the scale: they are whole
/// multiples of the sub-scale, and all of it is exact.
fn codebook(kind: &PanelKind, bytes: &[u8], parts: &mut Parts) {
    const ONE: [u8; 2] = [0x00, 0x3c];
    let mut block = [0u8; 128];
    let block = &mut block[..bytes.len()];
    block.copy_from_slice(bytes);
    let half = |at: usize| u16::from_le_bytes(two(bytes, at));
    let nibble = |at: usize, sub: usize| bytes[at + sub / 2] >> (4 * (sub % 2)) & 15;
    parts.scale = two(bytes, 0);
    let sub_scale: &dyn Fn(usize) -> u8 = match kind.tensor_type {
        TensorType::IQ2_XXS => &|sub| bytes[9 + 8 * sub] >> 4,
        TensorType::IQ2_XS => &|sub| nibble(66, sub),
        TensorType::IQ2_S => &|sub| nibble(74, sub),
        TensorType::IQ3_XXS => &|sub| bytes[69 + 4 * sub] >> 4,
        TensorType::IQ3_S => &|sub| nibble(106, sub),
        TensorType::IQ1_S => &|sub| (half(34 + 2 * sub) >> 12 & 7) as u8,
        _ => &|sub| (half(48 + sub / 4 * 2) >> (3 * (sub % 4)) & 7) as u8,
    };
    if kind.tensor_type == TensorType::IQ1_M {
        // Four bits of the scale above those of each four sub-scales.
        let fours = [49, 51, 53, 55].map(|at| bytes[at] >> 4);
        parts.scale = [fours[0] | fours[1] << 4, fours[2] | fours[3] << 4];
        for (at, four) in [49, 51, 53, 55].into_iter().zip([0, 0, 0xc, 0x3]) {
            block[at] = block[at] & 15 | four << 4;
        }
    } else {
        block[..2].copy_from_slice(&ONE);
    }
    let mut values = [0f32; 256];
    let decoded = kind.tensor_type.decode(block, &mut values);
    debug_assert!(decoded.is_ok(), "a block of 256");
    // Codes by level.
    let mut code_of = [0u8; 256];
    for (code, level) in kind.levels.iter().enumerate() {
        code_of[*level as u8 as usize] = code as u8;
    }
    let each = 32 / kind.form().parts();
    for (sub, (values, codes)) in
        values.chunks_exact(each).zip(parts.codes.as_flattened_mut().chunks_exact_mut(each / 4)).enumerate()
    {
        let odd = 2 * sub_scale(sub) + 1;
        parts.scales[sub] = 32 + odd;
        let inverse = 1.0 / (kind.unit * f32::from(odd));
        for (codes, values) in codes.iter_mut().zip(values.as_chunks::<4>().0) {
            // Rounded, because the inverse is not exact.
            *codes = u32::from_le_bytes(values.map(|value| code_of[(value * inverse).round() as i8 as u8 as usize]));
        }
    }
}

/// The f16 at a place.
pub(super) fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16_to_f32(u16::from_le_bytes(two(bytes, at)))
}
