//! Panels of bf16 pairs turned: from two inputs of each output in a word to two outputs of each input.
//!
//! A weight's panels stand ready for products along its inputs. Gradients go along its outputs, and want the same numbers in
//! the same kind of panels the other way round. Nothing is rounded on the way, so it is a matter of moving 16-bit numbers.

use super::float_panels::FloatPanels;
#[cfg(target_arch = "x86_64")]
use super::float_tile::PANEL;
use crate::Isa;
use std::ops::Range;

/// Words of a turned block: the outputs of a panel in pairs.
#[cfg(target_arch = "x86_64")]
const WORDS: usize = PANEL / 2;

/// Whether [`pairs`] is there.
pub(super) fn is_fast(isa: Isa) -> bool {
    isa.usable() == Isa::Avx512
}

/// Turns the outputs `outputs` (from a multiple of a panel on) and the inputs `inputs` (likewise) into panels of inputs, each
/// `panel_length` words long. What lies behind the last output or input is zero or is not looked at.
#[cfg(target_arch = "x86_64")]
pub(super) fn pairs(
    panels: &FloatPanels,
    outputs: Range<usize>,
    inputs: Range<usize>,
    packed: &mut [f32],
    panel_length: usize,
) {
    assert!(outputs.start.is_multiple_of(PANEL) && inputs.start.is_multiple_of(PANEL), "whole panels are turned");
    let row_words = panels.panel_bytes / (4 * PANEL);
    for (block, from) in (outputs.start / PANEL..outputs.end.div_ceil(PANEL)).enumerate() {
        let from = panels.panel(from);
        for (panel, to) in packed.chunks_exact_mut(panel_length).enumerate() {
            let word = inputs.start / 2 + panel * WORDS;
            let count = WORDS.min(row_words.saturating_sub(word));
            let from = &from[word.min(row_words) * 4 * PANEL..][..count * 4 * PANEL];
            let to = &mut to[block * WORDS * PANEL..][..WORDS * PANEL];
            // SAFETY: `is_fast` says that the machine has these instructions; both sides have just been cut to size.
            unsafe { block_avx512(from.as_ptr(), count, to.as_mut_ptr().cast()) };
        }
    }
}

/// There is none elsewhere.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn pairs(_: &FloatPanels, _: Range<usize>, _: Range<usize>, _: &mut [f32], _: usize) {}

/// Turns a block of `count` words (of 16) of 32 outputs: 16 words of 32 inputs.
///
/// # Safety
/// `from` holds `count` lines of 128 bytes, `to` has room for 16, and the machine has AVX-512 F and BW.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn block_avx512(from: *const u8, count: usize, to: *mut u8) {
    use std::arch::x86_64::*;
    // Numbers `c` and `32 + c` next to each other.
    let beside = |first: i32| {
        let mut words = [0i32; 16];
        (0..16).for_each(|c| words[c as usize] = (first + c) | (32 + first + c) << 16);
        // SAFETY: sixteen words are there.
        unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
    };
    let (lower, upper) = (beside(0), beside(16));
    for half in 0..2 {
        let mut rows = [_mm512_setzero_si512(); 16];
        for (n, row) in rows.iter_mut().enumerate().take(count) {
            // SAFETY: `count` lines are there.
            *row = unsafe { _mm512_loadu_si512(from.add(128 * n + 64 * half).cast()) };
        }
        let mut pairs = rows;
        for k in 0..8 {
            pairs[2 * k] = _mm512_unpacklo_epi32(rows[2 * k], rows[2 * k + 1]);
            pairs[2 * k + 1] = _mm512_unpackhi_epi32(rows[2 * k], rows[2 * k + 1]);
        }
        let mut fours = pairs;
        for k in 0..4 {
            let [a, b, c, d] = [pairs[4 * k], pairs[4 * k + 1], pairs[4 * k + 2], pairs[4 * k + 3]];
            fours[4 * k] = _mm512_unpacklo_epi64(a, c);
            fours[4 * k + 1] = _mm512_unpackhi_epi64(a, c);
            fours[4 * k + 2] = _mm512_unpacklo_epi64(b, d);
            fours[4 * k + 3] = _mm512_unpackhi_epi64(b, d);
        }
        let mut turned = fours;
        for j in 0..4 {
            let a = _mm512_shuffle_i32x4::<0x88>(fours[j], fours[4 + j]);
            let b = _mm512_shuffle_i32x4::<0x88>(fours[8 + j], fours[12 + j]);
            let c = _mm512_shuffle_i32x4::<0xdd>(fours[j], fours[4 + j]);
            let d = _mm512_shuffle_i32x4::<0xdd>(fours[8 + j], fours[12 + j]);
            turned[j] = _mm512_shuffle_i32x4::<0x88>(a, b);
            turned[4 + j] = _mm512_shuffle_i32x4::<0x88>(c, d);
            turned[8 + j] = _mm512_shuffle_i32x4::<0xdd>(a, b);
            turned[12 + j] = _mm512_shuffle_i32x4::<0xdd>(c, d);
        }
        for pair in 0..8 {
            let (first, second) = (turned[2 * pair], turned[2 * pair + 1]);
            let word = 128 * (8 * half + pair);
            // SAFETY: there is room for sixteen lines of 128 bytes.
            unsafe {
                _mm512_storeu_si512(to.add(word).cast(), _mm512_permutex2var_epi16(first, lower, second));
                _mm512_storeu_si512(to.add(word + 64).cast(), _mm512_permutex2var_epi16(first, upper, second));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{FloatRows, Isa, Matrix, Pool, Precision, multiply_through, multiply_tiles};
    use bantam_tensor::{SharedBytes, TensorType};
    use std::ops::Range;

    #[test]
    fn turned_panels_multiply_as_decoded_ones() {
        let pool = Pool::new(2);
        let isa = Isa::detect();
        for (outputs, inputs, rows) in [(1, 2, 1), (33, 31, 5), (300, 70, 13), (256, 256, 24), (600, 514, 30)] {
            let numbers: Vec<f32> = (0..outputs * inputs).map(|n| (n as f32 * 0.37).sin()).collect();
            let mut bytes = vec![0; 2 * numbers.len()];
            TensorType::BF16.encode(&numbers, &mut bytes).unwrap();
            let bytes = SharedBytes::from_vec(bytes);
            let matrix =
                Matrix::with_precision(Precision::Bf16, TensorType::BF16, outputs, inputs, bytes, isa, &pool).unwrap();
            let dy: Vec<f32> = (0..rows * outputs).map(|n| (n as f32 * 0.73).cos()).collect();
            let mut packed = FloatRows::with_capacity(Precision::Bf16, rows, outputs).unwrap();
            packed.pack(&pool, isa, &dy, rows, outputs);
            let decode = |outputs: Range<usize>, inputs: Range<usize>, tile: &mut [f32]| {
                matrix.decode_tile(outputs, inputs, tile)
            };
            let (mut found, mut expected) = (vec![0.5; rows * inputs], vec![0.5; rows * inputs]);
            multiply_through(&pool, isa, &packed, &matrix, &mut found, true);
            multiply_tiles(&pool, isa, &packed, inputs, &decode, &mut expected, true);
            let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&found), bits(&expected), "[{outputs}, {inputs}] by {rows} rows");
        }
    }
}
