//! Activation rows as int8 with a scale per 32, or per 256 for weights whose blocks of 256 have whole sub-scales: with those
//! a product needs no activation scale before all 256 are added up.
//!
//! Rows are kept in tiles of up to 12 (with AVX-512 up to 8, or up to 5 of many), because a product goes through a tile's rows
//! together. For each block of 32 columns a tile of R rows has one record, which a kernel reads front to back:
//!
//! | what | bytes |
//! |---|---|
//! | -8 · Σa, R × i32 | 4R |
//! | -128 · Σa, R × i32 | 4R |
//! | scales, R × f32 | 4R |
//! | codes, 8 steps × R rows × 4 columns | 32R |
//!
//! After all records of a tile stand, for each block, -64 · Σa of its first 16 columns, R × i32, and of the others: what
//! only weights with a scale for 16 inputs ask for.
//!
//! With a scale per 256, its eight records all have it. A block (or 256) that holds something infinite or not a number gets
//! the scale NaN and codes 0, so every product with it is NaN.

use super::ActivationKind;
use super::forms::SPAN;
#[cfg(target_arch = "x86_64")]
use super::int8_rows_avx512;
use super::panels::BLOCK;
use crate::buffer::{Buffer, Shared};
use crate::elementwise::{expect_length, spread};
use crate::simd::{LANES, Simd, Task, ask_for, dispatch};
use crate::{Isa, KernelError, Pool};
use std::ops::Range;

/// Most rows of a tile.
pub(super) const TILE: usize = 12;
/// Bytes of a record for each row.
pub(super) const RECORD: usize = 3 * 4 + BLOCK;
/// Bytes of the sums of halves of a block for each row.
pub(super) const HALVES: usize = 2 * 4;

/// Activation rows quantized to int8, in memory kept from one use to the next.
pub struct Int8Rows {
    buffer: Buffer,
    rows: usize,
    width: usize,
    kind: ActivationKind,
    /// Most rows of a tile.
    most: usize,
}

/// A tile of rows: its first row and how many it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) first: usize,
    pub(super) rows: usize,
}

/// Most rows of a tile of int8 for an instruction set, and as many rows as there are.
#[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables, reason = "only AVX-512 asks"))]
fn most_rows(isa: Isa, rows: usize) -> usize {
    match isa.usable() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 if rows > TILE => super::int8_avx512::OF_MANY,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => super::int8_avx512::ALONE,
        _ => TILE,
    }
}

/// How many tiles of at most `most` rows there are.
pub(super) fn tiles(rows: usize, most: usize) -> usize {
    rows.div_ceil(most)
}

/// One of the tiles, all within one row of the same size: a last tile of one row would cost as much as a full one.
pub(super) fn tile(rows: usize, most: usize, index: usize) -> Tile {
    let tiles = tiles(rows, most);
    let (each, more) = (rows / tiles, rows % tiles);
    Tile { first: index * each + index.min(more), rows: each + usize::from(index < more) }
}

fn bytes(rows: usize, width: usize) -> Option<usize> {
    rows.checked_mul(width.div_ceil(BLOCK))?.checked_mul(RECORD + HALVES)
}

impl Int8Rows {
    /// Room for as many rows of that width (or any that need no more).
    ///
    /// # Errors
    /// No memory.
    pub fn with_capacity(rows: usize, width: usize) -> Result<Self, KernelError> {
        let total = bytes(rows, width).ok_or(KernelError::TooLarge("quantized activations"))?;
        let buffer = Buffer::zeroed(total, "quantized activations")?;
        Ok(Self { buffer, rows: 0, width: 0, kind: ActivationKind::Int8, most: TILE })
    }

    /// Bytes that [`Int8Rows::with_capacity`] takes.
    pub fn bytes(rows: usize, width: usize) -> usize {
        bytes(rows, width).unwrap_or(usize::MAX)
    }

    /// Rows it holds now.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns it holds now.
    pub fn width(&self) -> usize {
        self.width
    }

    /// What it is.
    pub fn kind(&self) -> ActivationKind {
        self.kind
    }

    /// Takes in `x`, `[rows, width]`: each block of 32 columns (for [`ActivationKind::Int8By256`], of 256) by its own scale,
    /// max|x| / 127, to the nearest code.
    ///
    /// # Panics
    /// Where the length does not fit, `width` is no multiple of the block, the kind is none of int8, or there is no room.
    pub fn quantize(&mut self, pool: &Pool, isa: Isa, kind: ActivationKind, x: &[f32], rows: usize, width: usize) {
        expect_length("rows to quantize", x.len(), rows, width);
        let span = match kind {
            ActivationKind::Int8 => 1,
            ActivationKind::Int8By256 => SPAN,
            ActivationKind::F32 | ActivationKind::Bf16 => panic!("rows of {kind:?} are not quantized"),
        };
        assert!(
            width.is_multiple_of(span * BLOCK),
            "rows of {width} cannot be quantized in blocks of {}",
            span * BLOCK
        );
        let total = bytes(rows, width).unwrap_or(usize::MAX);
        assert!(total <= self.buffer.len(), "room for {} bytes of quantized rows, {total} needed", self.buffer.len());
        (self.rows, self.width, self.kind, self.most) = (rows, width, kind, most_rows(isa, rows));
        if total == 0 {
            return;
        }
        let (blocks, most) = (width / BLOCK, self.most);
        let tiles = tiles(rows, most);
        // Few tiles are cut by columns too, so that every thread has work; what a block becomes does not depend on it.
        let parts = if tiles >= 2 * pool.threads() { 1 } else { (rows * width / PART).clamp(1, 4 * pool.threads()) };
        let each = blocks.div_ceil(parts).next_multiple_of(span);
        let parts = blocks.div_ceil(each);
        let target = Shared::new(self.buffer.as_mut());
        spread(pool, tiles * parts, width.div_ceil(parts) * rows.min(most), |range| {
            for item in range {
                let Tile { first, rows: count } = tile(rows, most, item / parts);
                let some = item % parts * each..(item % parts * each + each).min(blocks);
                let start = first * blocks * (RECORD + HALVES);
                // SAFETY: tiles are disjoint runs of rows, and each takes RECORD + HALVES bytes a row and block: first all
                // records, then all halves, of which every item has those of its own blocks.
                let (records, halves) = unsafe {
                    let halves = start + count * (blocks * RECORD + some.start * HALVES);
                    (
                        target.part(start + count * some.start * RECORD, count * some.len() * RECORD),
                        target.part(halves, count * some.len() * HALVES),
                    )
                };
                dispatch(isa, Quantize { x, width, first, rows: count, blocks: some, span, records, halves });
            }
        });
    }

    /// The tiles it is kept in.
    pub(super) fn tiles(&self) -> impl ExactSizeIterator<Item = Tile> + Clone + use<> {
        let (rows, most) = (self.rows, self.most);
        (0..tiles(rows, most)).map(move |index| tile(rows, most, index))
    }

    /// The records of a tile.
    pub(super) fn tile(&self, tile: Tile) -> &[u8] {
        let row = self.width / BLOCK * (RECORD + HALVES);
        &self.buffer.as_ref()[tile.first * row..][..tile.rows * row]
    }
}

impl std::fmt::Debug for Int8Rows {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Int8Rows([{}, {}])", self.rows, self.width)
    }
}

/// Numbers in a piece of a tile that is cut.
const PART: usize = 4096;

/// The block of a row, as an array; and asks for what comes of the row, since the processor, seeing the rows of a tile in turns,
/// does not.
#[inline(always)]
fn part(x: &[f32], at: usize) -> &[f32; BLOCK] {
    let ahead = x.as_ptr().wrapping_add(at + AHEAD);
    ask_for(ahead.cast());
    ask_for(ahead.wrapping_add(LANES).cast());
    x[at..].first_chunk().expect("lengths have been compared")
}

/// Numbers of a row that are asked for ahead of those in use.
const AHEAD: usize = 256;

/// Four blocks, quantized.
#[repr(C, align(64))]
struct Four {
    codes: [[u8; BLOCK]; AT_ONCE],
    scales: [f32; AT_ONCE],
    /// What numbers are multiplied by to become codes; 0 where there is nothing, or nothing finite.
    inverses: [f32; AT_ONCE],
    /// Sums of the codes of each block's halves.
    sums: [[i32; 2]; AT_ONCE],
}

impl Four {
    const NONE: Self = Self {
        codes: [[0; BLOCK]; AT_ONCE],
        scales: [0.0; AT_ONCE],
        inverses: [0.0; AT_ONCE],
        sums: [[0; 2]; AT_ONCE],
    };
}

/// Blocks that are quantized together, since one alone leaves most lanes of its sums empty.
const AT_ONCE: usize = 4;

/// Before there is something.
const NOTHING: [f32; BLOCK] = [0.0; BLOCK];

struct Quantize<'a> {
    x: &'a [f32],
    width: usize,
    /// The tile's first row, and how many it has.
    first: usize,
    rows: usize,
    blocks: Range<usize>,
    /// Blocks that share a scale.
    span: usize,
    records: &'a mut [u8],
    halves: &'a mut [u8],
}

impl Task for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        #[cfg(target_arch = "x86_64")]
        if S::MANY_REGISTERS && (int8_rows_avx512::LEAST..=int8_rows_avx512::MOST).contains(&self.rows) {
            return self.by_rows();
        }
        if self.span == 1 { self.by_block(s) } else { self.by_span(s) }
    }
}

impl Quantize<'_> {
    /// All rows of a block together, by whole vectors.
    #[cfg(target_arch = "x86_64")]
    fn by_rows(self) {
        let (rows, blocks) = (self.rows, self.blocks.len());
        let start = self.first * self.width + self.blocks.start * BLOCK;
        assert!(self.x[start..].len() >= (rows - 1) * self.width + blocks * BLOCK, "rows to quantize");
        assert!(blocks.is_multiple_of(self.span), "blocks that share a scale");
        assert_eq!((self.records.len(), self.halves.len()), (blocks * rows * RECORD, blocks * rows * HALVES));
        // SAFETY: lengths have been compared; on this architecture only AVX-512 has many registers, and the lanes in use are the
        // proof that the machine has it.
        unsafe {
            int8_rows_avx512::quantize(int8_rows_avx512::Rows {
                first: self.x[start..].as_ptr(),
                width: self.width,
                count: rows,
                blocks,
                span: self.span,
                records: self.records.as_mut_ptr(),
                halves: self.halves.as_mut_ptr(),
                ahead: AHEAD,
            });
        }
    }

    #[inline(always)]
    fn by_block<S: Simd>(mut self, s: S) {
        let rows = self.rows;
        let count = rows * self.blocks.len();
        let mut four = Four::NONE;
        // Row after row of a block, block after block.
        let (mut row, mut block) = (0, 0);
        for from in (0..count).step_by(AT_ONCE) {
            let here = AT_ONCE.min(count - from);
            let mut places = [(row, block); AT_ONCE];
            for place in &mut places[..here] {
                *place = (row, block);
                row += 1;
                if row == rows {
                    (row, block) = (0, block + 1);
                }
            }
            // No closures: the compiler may leave them functions of their own, without the instructions in use here.
            let mut x = [&NOTHING; AT_ONCE];
            for (x, &(row, block)) in x.iter_mut().zip(&places) {
                *x = part(self.x, (self.first + row) * self.width + (self.blocks.start + block) * BLOCK);
            }
            scale_four(s, x, &mut four);
            code_four(s, x, &mut four);
            for (i, &(row, block)) in places[..here].iter().enumerate() {
                self.put(&four, i, row, block);
            }
        }
    }

    /// Row after row of the blocks that share a scale.
    #[inline(always)]
    fn by_span<S: Simd>(mut self, s: S) {
        let mut four = Four::NONE;
        for first in (0..self.blocks.len()).step_by(SPAN) {
            for row in 0..self.rows {
                let at = (self.first + row) * self.width + (self.blocks.start + first) * BLOCK;
                let mut x = [&NOTHING; SPAN];
                for (block, x) in x.iter_mut().enumerate() {
                    *x = part(self.x, at + block * BLOCK);
                }
                scale_span(s, x, &mut four);
                for (number, x) in x.as_chunks::<AT_ONCE>().0.iter().enumerate() {
                    code_four(s, *x, &mut four);
                    for i in 0..AT_ONCE {
                        self.put(&four, i, row, first + number * AT_ONCE + i);
                    }
                }
            }
        }
    }

    /// Puts a quantized block to its place.
    #[inline(always)]
    fn put(&mut self, four: &Four, i: usize, row: usize, block: usize) {
        let rows = self.rows;
        let record = &mut self.records[block * rows * RECORD..][..rows * RECORD];
        let halves = &mut self.halves[block * rows * HALVES..][..rows * HALVES];
        let [first, second] = four.sums[i];
        let sum = first + second;
        put(halves, row, (-64 * first).to_ne_bytes());
        put(halves, rows + row, (-64 * second).to_ne_bytes());
        put(record, row, (-8 * sum).to_ne_bytes());
        put(record, rows + row, (-128 * sum).to_ne_bytes());
        put(record, 2 * rows + row, four.scales[i].to_ne_bytes());
        let steps = record[12 * rows..].as_chunks_mut::<4>().0;
        for (step, codes) in four.codes[i].as_chunks::<4>().0.iter().enumerate() {
            steps[step * rows + row] = *codes;
        }
    }
}

#[inline(always)]
fn put(bytes: &mut [u8], place: usize, four: [u8; 4]) {
    bytes.as_chunks_mut::<4>().0[place] = four;
}

/// The scale of what reaches so far, and what numbers are multiplied by to become codes.
#[inline(always)]
fn scale_and_inverse(greatest: f32) -> (f32, f32) {
    if !greatest.is_finite() {
        (f32::NAN, 0.0)
    } else if greatest < TINY {
        (0.0, 0.0)
    } else {
        (greatest / 127.0, 127.0 / greatest)
    }
}

/// Scales of four blocks.
#[inline(always)]
fn scale_four<S: Simd>(s: S, x: [&[f32; BLOCK]; AT_ONCE], four: &mut Four) {
    #[cfg(target_arch = "x86_64")]
    if S::MANY_REGISTERS {
        // SAFETY: on this architecture only AVX-512 has so many, and `s` is the proof that the machine has it.
        return unsafe { scale_four_avx512(x, four) };
    }
    for (i, x) in x.into_iter().enumerate() {
        let (halves, _) = x.as_chunks::<LANES>();
        let (low, high) = (s.load(&halves[0]), s.load(&halves[1]));
        let bits = s.greatest_i(s.max_abs_bits(s.max_abs_bits(s.zero_i(), low), high));
        (four.scales[i], four.inverses[i]) = scale_and_inverse(f32::from_bits(bits as u32));
    }
}

/// The scale of blocks that share one.
#[inline(always)]
fn scale_span<S: Simd>(s: S, x: [&[f32; BLOCK]; SPAN], four: &mut Four) {
    let mut greatest = [s.zero_i(); 2];
    for x in x {
        for (greatest, half) in greatest.iter_mut().zip(x.as_chunks::<LANES>().0) {
            *greatest = s.max_abs_bits(*greatest, s.load(half));
        }
    }
    let bits = s.greatest_i(greatest[0]).max(s.greatest_i(greatest[1]));
    let (scale, inverse) = scale_and_inverse(f32::from_bits(bits as u32));
    (four.scales, four.inverses) = ([scale; AT_ONCE], [inverse; AT_ONCE]);
}

/// Codes of four blocks with known scales.
#[inline(always)]
fn code_four<S: Simd>(s: S, x: [&[f32; BLOCK]; AT_ONCE], four: &mut Four) {
    #[cfg(target_arch = "x86_64")]
    if S::MANY_REGISTERS {
        // SAFETY: on this architecture only AVX-512 has so many, and `s` is the proof that the machine has it.
        return unsafe { code_four_avx512(x, four) };
    }
    for (i, x) in x.into_iter().enumerate() {
        (four.codes[i], four.sums[i]) = ([0; BLOCK], [0; 2]);
        let inverse = four.inverses[i];
        if inverse != 0.0 {
            let (halves, _) = x.as_chunks::<LANES>();
            let factor = s.splat(inverse);
            let (low, high) = (s.load(&halves[0]), s.load(&halves[1]));
            let (low, high) = (s.to_whole(s.mul(low, factor)), s.to_whole(s.mul(high, factor)));
            let first = s.sum_i(low);
            four.sums[i] = [first, s.sum_i(s.add_i(low, high)) - first];
            let codes = [s.low_bytes(low), s.low_bytes(high)];
            for (to, code) in four.codes[i].iter_mut().zip(codes.as_flattened()) {
                *to = *code as u8;
            }
        }
    }
}

/// Below it there is nothing to see, and 127 / greatest would overflow.
pub(super) const TINY: f32 = 1e-30;

/// The same with the four blocks' greatest numbers found together.
///
/// # Safety
/// The machine must have these features.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
unsafe fn scale_four_avx512(x: [&[f32; BLOCK]; AT_ONCE], four: &mut Four) {
    use std::arch::x86_64::*;
    // SAFETY: each block is 128 readable bytes.
    let x = x.map(|x| unsafe { [_mm512_loadu_ps(x.as_ptr()), _mm512_loadu_ps(x.as_ptr().add(LANES))] });
    // As integers, so that what is not a number is the greatest.
    let [a, b, c, d] = x.map(|[low, high]| {
        _mm512_max_epi32(_mm512_castps_si512(_mm512_abs_ps(low)), _mm512_castps_si512(_mm512_abs_ps(high)))
    });
    let ab = _mm512_max_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let cd = _mm512_max_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    let all = _mm512_max_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    let half = _mm256_max_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64::<1>(all));
    let bits = _mm_max_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half));
    let greatest = _mm_castsi128_ps(bits);
    let finite = _mm_cmplt_epi32_mask(bits, _mm_set1_epi32(0x7f80_0000));
    let usable = finite & _mm_cmp_ps_mask::<_CMP_GE_OQ>(greatest, _mm_set1_ps(TINY));
    let most = _mm_set1_ps(127.0);
    let scales = _mm_maskz_div_ps(usable, greatest, most);
    let scales = _mm_mask_blend_ps(finite, _mm_set1_ps(f32::NAN), scales);
    // SAFETY: each array is 16 writable bytes.
    unsafe {
        _mm_storeu_ps(four.scales.as_mut_ptr(), scales);
        _mm_storeu_ps(four.inverses.as_mut_ptr(), _mm_maskz_div_ps(usable, most, greatest));
    }
}

/// The same with the four blocks' sums found together.
///
/// # Safety
/// The machine must have these features.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
unsafe fn code_four_avx512(x: [&[f32; BLOCK]; AT_ONCE], four: &mut Four) {
    use std::arch::x86_64::*;
    // SAFETY: each block is 128 readable bytes.
    let x = x.map(|x| unsafe { [_mm512_loadu_ps(x.as_ptr()), _mm512_loadu_ps(x.as_ptr().add(LANES))] });
    for pair in 0..AT_ONCE / 2 {
        // What is not finite times zero has all its set bits above the low byte.
        let codes = |block: usize, half: usize| {
            let whole = _mm512_cvtps_epi32(_mm512_mul_ps(x[block][half], _mm512_set1_ps(four.inverses[block])));
            _mm512_cvtepi32_epi8(whole)
        };
        let (first, second) = (2 * pair, 2 * pair + 1);
        let line = _mm512_castsi128_si512(codes(first, 0));
        let line = _mm512_inserti32x4::<1>(line, codes(first, 1));
        let line = _mm512_inserti32x4::<2>(line, codes(second, 0));
        let line = _mm512_inserti32x4::<3>(line, codes(second, 1));
        let sums = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), line);
        let sums = _mm512_add_epi32(sums, _mm512_shuffle_epi32::<0b01_00_11_10>(sums));
        let sums = _mm512_add_epi32(sums, _mm512_shuffle_epi32::<0b10_11_00_01>(sums));
        // Number 0 of each quarter: a half's sum.
        let sums = _mm512_maskz_compress_epi32(0x1111, sums);
        // SAFETY: two blocks' codes are 64 bytes, their sums 16.
        unsafe {
            _mm512_storeu_si512(four.codes[first..].as_mut_ptr().cast(), line);
            _mm_storeu_si128(four.sums[first..].as_mut_ptr().cast(), _mm512_castsi512_si128(sums));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_the_rows_evenly() {
        for (rows, most) in (1..200).flat_map(|rows| [(rows, 5), (rows, TILE)]) {
            let mut next = 0;
            for index in 0..tiles(rows, most) {
                let tile = tile(rows, most, index);
                assert_eq!(tile.first, next);
                assert!(tile.rows <= most && tile.rows + 1 >= rows.div_ceil(tiles(rows, most)));
                next += tile.rows;
            }
            assert_eq!(next, rows);
        }
    }

    fn check(x: &[f32; 32], scale: f32, codes: &[(usize, i8)]) {
        let pool = Pool::new(1);
        for &isa in Isa::available() {
            let mut rows = Int8Rows::with_capacity(1, 32).expect("small");
            rows.quantize(&pool, isa, ActivationKind::Int8, x, 1, 32);
            let record = rows.tile(tile(1, TILE, 0));
            let found = f32::from_ne_bytes(record[8..12].try_into().expect("four"));
            assert!(found == scale || (found.is_nan() && scale.is_nan()), "{found} for {scale}");
            let sum = |range: Range<usize>| record[range].iter().map(|&code: &u8| i32::from(code as i8)).sum::<i32>();
            for (at, expected) in
                [(0, -8 * sum(12..44)), (4, -128 * sum(12..44)), (44, -64 * sum(12..28)), (48, -64 * sum(28..44))]
            {
                assert_eq!(i32::from_ne_bytes(record[at..at + 4].try_into().expect("four")), expected);
            }
            for &(i, code) in codes {
                assert_eq!(record[12 + i] as i8, code, "code {i} on {}", isa.name());
            }
        }
    }

    #[test]
    fn blocks_are_scaled_by_their_greatest() {
        let mut x = [0f32; 32];
        check(&x, 0.0, &[(0, 0), (31, 0)]);
        (x[3], x[17], x[31]) = (-127.0, 63.5, 1.4);
        check(&x, 1.0, &[(3, -127), (17, 64), (31, 1), (0, 0)]);
        x[5] = f32::NAN;
        check(&x, f32::NAN, &[(3, 0), (17, 0)]);
        x[5] = f32::NEG_INFINITY;
        check(&x, f32::NAN, &[(3, 0)]);
        x = [1e-39; 32];
        check(&x, 0.0, &[(3, 0)]);
        x = [3e38; 32];
        check(&x, 3e38 / 127.0, &[(3, 127)]);
    }

    /// Numbers of all sizes, with blocks of zeros, of what is infinite and of what is no number.
    fn numbers(count: usize) -> Vec<f32> {
        let mut state = 5u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        let mut x: Vec<f32> = (0..count).map(|_| (next() as f32 / 8_388_608.0 - 1.0) * 3.0).collect();
        for (block, x) in x.chunks_mut(BLOCK).enumerate() {
            match block % 23 {
                3 => x.fill(0.0),
                7 => x[5] = f32::INFINITY,
                11 => x[31] = f32::NAN,
                13 => x.iter_mut().for_each(|x| *x *= 1e-33),
                17 => x[0] = 1e30,
                _ => {}
            }
        }
        x
    }

    /// What one way of quantizing makes, row after row whatever the tiles are.
    fn made(rows: usize, width: usize, quantize: impl FnOnce(&mut Int8Rows)) -> Vec<[u8; 4]> {
        let mut int8 = Int8Rows::with_capacity(rows, width).expect("small");
        quantize(&mut int8);
        let blocks = width / BLOCK;
        let mut made = Vec::new();
        for tile in int8.tiles() {
            let words = int8.tile(tile).as_chunks::<4>().0;
            let (records, halves) = words.split_at(blocks * tile.rows * RECORD / 4);
            for row in 0..tile.rows {
                for words in [records, halves] {
                    made.extend(words.iter().skip(row).step_by(tile.rows));
                }
            }
        }
        made
    }

    #[test]
    fn eight_blocks_share_the_scale_of_their_greatest() {
        let mut x = numbers(2 * 256);
        x[..256].iter_mut().for_each(|x| *x = x.clamp(-3.0, 3.0));
        (x[11], x[77], x[200]) = (1.0, -12.7, -0.0);
        (x[256], x[511]) = (1.0, f32::INFINITY);
        for &isa in Isa::available() {
            let mut rows = Int8Rows::with_capacity(1, 512).expect("small");
            rows.quantize(&Pool::new(1), isa, ActivationKind::Int8By256, &x, 1, 512);
            let records = rows.tile(tile(1, TILE, 0)).chunks_exact(RECORD);
            for (block, record) in records.take(16).enumerate() {
                let scale = f32::from_ne_bytes(record[8..12].try_into().expect("four"));
                if block >= SPAN {
                    assert!(scale.is_nan() && record[12..].iter().all(|&code| code == 0));
                    continue;
                }
                assert_eq!(scale, 12.7f32 / 127.0);
                for (&code, x) in record[12..].iter().zip(&x[block * BLOCK..]) {
                    assert_eq!(
                        code as i8,
                        if x.is_nan() { 0 } else { (x * (127.0f32 / 12.7)).round_ties_even() as i8 }
                    );
                }
            }
        }
    }

    #[test]
    fn every_instruction_set_and_number_of_threads_makes_the_same_bytes() {
        for (rows, width) in [
            (1, 32),
            (1, 2080),
            (2, 96),
            (3, 64),
            (4, 416),
            (5, 512),
            (6, 96),
            (7, 8192),
            (8, 768),
            (9, 256),
            (12, 256),
            (13, 544),
            (40, 1024),
        ] {
            let x = numbers(rows * width);
            for kind in [ActivationKind::Int8, ActivationKind::Int8By256] {
                if kind == ActivationKind::Int8By256 && width % 256 > 0 {
                    continue;
                }
                let make =
                    |pool: &Pool, isa: Isa| made(rows, width, |int8| int8.quantize(pool, isa, kind, &x, rows, width));
                let expected = make(&Pool::new(1), Isa::Portable);
                for &isa in Isa::available() {
                    for threads in [1, 3] {
                        let found = make(&Pool::new(threads), isa);
                        assert!(found == expected, "{rows} rows of {width} as {kind:?} on {}", isa.name());
                    }
                }
            }
        }
    }
}
