//! Quantizing tiles of 4 to 8 rows with AVX-512: one block of all rows at a time, so that greatest numbers, sums and codes of
//! the rows are found together and a record is written by whole vectors.

use super::int8_rows::{HALVES, RECORD, TINY};
use super::panels::BLOCK;
use crate::simd::{LANES, ask_for};
use std::arch::x86_64::*;

/// Fewest rows that this pays for.
pub(super) const LEAST: usize = 4;
/// Most rows of a tile.
pub(super) const MOST: usize = super::int8_avx512::ALONE;

/// A tile's rows, and where its blocks go.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    /// The first number of the first row's first block.
    pub(super) first: *const f32,
    /// From one row to the next.
    pub(super) width: usize,
    /// How many ([`LEAST`] to [`MOST`]).
    pub(super) count: usize,
    /// How many there are of each row, and how many of them share a scale.
    pub(super) blocks: usize,
    pub(super) span: usize,
    /// `blocks` records and as many pairs of halves, for `count` rows each.
    pub(super) records: *mut u8,
    pub(super) halves: *mut u8,
    /// Numbers of a row that are asked for ahead of those in use.
    pub(super) ahead: usize,
}

/// Quantizes.
///
/// # Safety
/// The machine must have these features; the rows and places must be there, and `blocks` a multiple of `span`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn quantize(rows: Rows) {
    // SAFETY: the caller's promise.
    unsafe {
        match rows.count {
            4 => by::<4>(rows),
            5 => by::<5>(rows),
            6 => by::<6>(rows),
            7 => by::<7>(rows),
            8 => by::<8>(rows),
            count => unreachable!("a tile of {count} rows, of {LEAST} to {MOST}"),
        }
    }
}

/// # Safety
/// As [`quantize`], of `ROWS` rows.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn by<const ROWS: usize>(rows: Rows) {
    const { assert!(ROWS >= LEAST && ROWS <= MOST) };
    let places = const { Places::of(ROWS) };
    let present = const { ((1u16 << ROWS) - 1) as __mmask8 };
    let most = _mm256_set1_ps(127.0);
    // SAFETY: blocks are inside their rows, records and halves inside their places.
    unsafe {
        for first in (0..rows.blocks).step_by(rows.span) {
            let block_of = |row: usize, block: usize| rows.first.add(row * rows.width + block * BLOCK);
            let mut greatest = [_mm512_setzero_si512(); MOST];
            for block in first..first + rows.span {
                for row in 0..ROWS {
                    let x = block_of(row, block);
                    ask_for(x.wrapping_add(rows.ahead).cast());
                    ask_for(x.wrapping_add(rows.ahead + LANES).cast());
                    // As integers, so that what is not a number is the greatest.
                    for half in 0..2 {
                        let bits = _mm512_castps_si512(_mm512_abs_ps(_mm512_loadu_ps(x.add(half * LANES))));
                        greatest[row] = _mm512_max_epi32(greatest[row], bits);
                    }
                }
            }
            let bits = greatest_of_each(greatest);
            let greatest = _mm256_castsi256_ps(bits);
            let finite = _mm256_cmplt_epi32_mask(bits, _mm256_set1_epi32(0x7f80_0000));
            let usable = finite & _mm256_cmp_ps_mask::<_CMP_GE_OQ>(greatest, _mm256_set1_ps(TINY));
            let scales = _mm256_maskz_div_ps(usable, greatest, most);
            let scales = _mm256_mask_blend_ps(finite, _mm256_set1_ps(f32::NAN), scales);
            let mut inverses = [0f32; MOST];
            _mm256_storeu_ps(inverses.as_mut_ptr(), _mm256_maskz_div_ps(usable, most, greatest));
            for block in first..first + rows.span {
                let mut lines = [_mm512_setzero_si512(); MOST / 2];
                for pair in 0..ROWS.div_ceil(2) {
                    let mut wholes = [_mm512_setzero_si512(); 2];
                    for row in 2 * pair..ROWS.min(2 * pair + 2) {
                        let x = block_of(row, block);
                        // Nothing of a row that has no scale.
                        let some = 0u16.wrapping_sub(u16::from(usable >> row & 1));
                        let factor = _mm512_set1_ps(inverses[row]);
                        let code = |half: usize| {
                            let numbers = _mm512_loadu_ps(x.add(half * LANES));
                            _mm512_maskz_cvtps_epi32(some, _mm512_mul_ps(numbers, factor))
                        };
                        wholes[row - 2 * pair] = _mm512_packs_epi32(code(0), code(1));
                    }
                    lines[pair] = _mm512_packs_epi16(wholes[0], wholes[1]);
                }
                let record = rows.records.add(block * ROWS * RECORD);
                let [upper, lower] = sums_of_halves(lines);
                let halves = rows.halves.add(block * ROWS * HALVES).cast::<i32>();
                _mm256_mask_storeu_epi32(halves, present, by_minus::<6>(upper));
                _mm256_mask_storeu_epi32(halves.add(ROWS), present, by_minus::<6>(lower));
                let sums = _mm256_add_epi32(upper, lower);
                let words = record.cast::<i32>();
                _mm256_mask_storeu_epi32(words, present, by_minus::<3>(sums));
                _mm256_mask_storeu_epi32(words.add(ROWS), present, by_minus::<7>(sums));
                _mm256_mask_storeu_ps(words.add(2 * ROWS).cast(), present, scales);
                let codes = words.add(3 * ROWS);
                for line in 0..(8 * ROWS).div_ceil(16) {
                    let from = |place: &[i32; 16]| _mm512_loadu_si512(place.as_ptr().cast());
                    let first = _mm512_permutex2var_epi32(lines[0], from(&places.first[line]), lines[1]);
                    let second = _mm512_permutex2var_epi32(lines[2], from(&places.second[line]), lines[3]);
                    let both = _mm512_mask_blend_epi32(places.of_second[line], first, second);
                    let here = if 16 * (line + 1) > 8 * ROWS { 0xff } else { 0xffff };
                    _mm512_mask_storeu_epi32(codes.add(16 * line), here, both);
                }
            }
        }
    }
}

/// Where the words of a record's codes come from: of rows 0 to 3, or of rows 4 to 7.
struct Places {
    first: [[i32; 16]; MOST / 2],
    second: [[i32; 16]; MOST / 2],
    of_second: [u16; MOST / 2],
}

impl Places {
    /// Word `step · rows + row` of a record's codes is the row's step. Packing leaves, in the line of a pair of rows, each
    /// row's steps of one half a quarter apart: 0, 4 of the first row, 0, 4 of the second, then 1, 5, 1, 5.
    const fn of(rows: usize) -> Self {
        let mut places = Self { first: [[0; 16]; MOST / 2], second: [[0; 16]; MOST / 2], of_second: [0; MOST / 2] };
        let mut word = 0;
        while word < 8 * rows {
            let (step, row) = (word / rows, word % rows);
            let place = 4 * (step % 4) + 2 * (row % 2) + step / 4 + 16 * (row / 2 % 2);
            let (line, lane) = (word / 16, word % 16);
            if row < 4 {
                places.first[line][lane] = place as i32;
            } else {
                places.second[line][lane] = place as i32;
                places.of_second[line] |= 1 << lane;
            }
            word += 1;
        }
        places
    }
}

/// The greatest lane of each row.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
fn greatest_of_each(rows: [__m512i; MOST]) -> __m256i {
    let [a, b, c, d, e, f, g, h] = rows;
    macro_rules! four {
        ($a:ident $b:ident $c:ident $d:ident) => {{
            let ab = _mm512_max_epi32(_mm512_unpacklo_epi32($a, $b), _mm512_unpackhi_epi32($a, $b));
            let cd = _mm512_max_epi32(_mm512_unpacklo_epi32($c, $d), _mm512_unpackhi_epi32($c, $d));
            _mm512_max_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd))
        }};
    }
    // Four quarters of rows 0 to 3, and of rows 4 to 7.
    let (first, second) = (four!(a b c d), four!(e f g h));
    let quarters = _mm512_max_epi32(
        _mm512_shuffle_i32x4::<0b01_00_01_00>(first, second),
        _mm512_shuffle_i32x4::<0b11_10_11_10>(first, second),
    );
    let even = _mm512_shuffle_i32x4::<0b10_00_10_00>(quarters, quarters);
    let odd = _mm512_shuffle_i32x4::<0b11_01_11_01>(quarters, quarters);
    _mm512_castsi512_si256(_mm512_max_epi32(even, odd))
}

/// Sums of each row's first 16 codes, and of the others.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
fn sums_of_halves(lines: [__m512i; MOST / 2]) -> [__m256i; 2] {
    // Words of a quarter: of the first row steps s and s + 4, of the second the same.
    let [a, b, c, d] = lines;
    macro_rules! words {
        ($line:ident) => {
            _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), $line)
        };
    }
    macro_rules! quarters {
        ($line:ident) => {{
            let words = words!($line);
            let halves = _mm256_add_epi32(_mm512_castsi512_si256(words), _mm512_extracti64x4_epi64::<1>(words));
            _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves))
        }};
    }
    // Of each pair: first half and second half of the first row, then of the second.
    let first = _mm256_set_m128i(quarters!(b), quarters!(a));
    let second = _mm256_set_m128i(quarters!(d), quarters!(c));
    let all = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(first), second);
    let upper = _mm512_maskz_compress_epi32(0x5555, all);
    let lower = _mm512_maskz_compress_epi32(0xaaaa, all);
    [_mm512_castsi512_si256(upper), _mm512_castsi512_si256(lower)]
}

/// Times -2^`BY`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
fn by_minus<const BY: i32>(x: __m256i) -> __m256i {
    _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_slli_epi32::<BY>(x))
}
