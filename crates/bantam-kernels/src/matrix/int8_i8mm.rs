//! Panel × tile with `smmla` (FEAT_I8MM): two rows times two columns, eight inputs of each.
//!
//! A panel's steps have four inputs of a column next to each other, `smmla` takes eight: blocks are taken apart and put in
//! that order before they are multiplied, once for all tiles of a prompt. Sums of four results at a time belong to two rows;
//! they are put in order when a part of a block is done. The instruction has no stable intrinsic and is assembly.

use super::forms::{FORMS, Form, PanelKind, number};
use super::int8_neon::{Factors, Job, add_part};
use super::int8_rows::{HALVES, RECORD, TILE};
use super::panels::COLUMNS;
use std::arch::aarch64::*;
use std::arch::asm;

/// Adds the products of blocks that [`super::int8_neon::expand_by_eight`] took apart with a tile of `sums.len()` rows.
///
/// # Safety
/// The machine must have FEAT_I8MM; the blocks, `records` of as many blocks and their sums of `halves` must be whole.
#[target_feature(enable = "neon,i8mm")]
pub(super) unsafe fn wide_tile(
    kind: &PanelKind,
    panel: *const u8,
    blocks: usize,
    records: *const u8,
    halves: *const u8,
    sums: &mut [[f32; COLUMNS]],
) {
    let job = Job { kind, panel, blocks, records, halves, rows: sums.len() };
    // SAFETY: the caller's promise.
    unsafe {
        match kind.form().wide() {
            number::WIDE => rows_by_blocks::<{ number::WIDE }>(&job, sums),
            number::WIDE_MINIMUM => rows_by_blocks::<{ number::WIDE_MINIMUM }>(&job, sums),
            number::WIDE16 => rows_by_blocks::<{ number::WIDE16 }>(&job, sums),
            _ => rows_by_blocks::<{ number::WIDE16_MINIMUM }>(&job, sums),
        }
    }
}

/// # Safety
/// As [`wide_tile`], into which it is inlined.
#[inline(always)]
unsafe fn rows_by_blocks<const FORM: u8>(job: &Job<'_>, sums: &mut [[f32; COLUMNS]]) {
    debug_assert!(job.rows <= TILE && job.rows == sums.len());
    let mut row = 0;
    while row < job.rows {
        // SAFETY: the caller's promise; `row` and the rows after it are inside the tile.
        unsafe {
            row += match job.rows - row {
                1 => both_halves::<1, 1, FORM>(job, row, sums),
                2 | 3 => both_halves::<2, 1, FORM>(job, row, sums),
                4 | 5 => both_halves::<4, 2, FORM>(job, row, sums),
                6 | 7 => both_halves::<6, 3, FORM>(job, row, sums),
                8 | 9 => both_halves::<8, 4, FORM>(job, row, sums),
                10 | 11 => both_halves::<10, 5, FORM>(job, row, sums),
                _ => both_halves::<12, 6, FORM>(job, row, sums),
            };
        }
    }
}

/// # Safety
/// As [`group`].
#[inline(always)]
unsafe fn both_halves<const ROWS: usize, const PAIRS: usize, const FORM: u8>(
    job: &Job<'_>,
    first: usize,
    sums: &mut [[f32; COLUMNS]],
) -> usize {
    for half in 0..2 {
        // SAFETY: the caller's promise.
        unsafe { group::<ROWS, PAIRS, FORM>(job, first, half, sums) };
    }
    ROWS
}

/// `ROWS` rows from `first`, in `PAIRS` pairs, times eight columns.
///
/// # Safety
/// As [`rows_by_blocks`].
#[inline(always)]
unsafe fn group<const ROWS: usize, const PAIRS: usize, const FORM: u8>(
    job: &Job<'_>,
    first: usize,
    half: usize,
    sums: &mut [[f32; COLUMNS]],
) {
    let form: Form = const { FORMS[FORM as usize] };
    let Job { kind, panel, blocks, records, halves, rows } = *job;
    let (parts, span) = (form.parts(), kind.form().span());
    // SAFETY: all places lie inside the panel, the records and `sums`, whose sizes the caller vouches for.
    unsafe {
        let mut totals = [[vdupq_n_f32(0.0); 2]; ROWS];
        // Of the blocks that share a scale of activations.
        let mut products = [[vdupq_n_f32(0.0); 2]; ROWS];
        for row in 0..ROWS {
            for quad in 0..2 {
                totals[row][quad] = vld1q_f32(sums[first + row].as_ptr().add(8 * half + 4 * quad));
            }
        }
        for block in 0..blocks {
            let header = panel.add(block * form.unit_bytes());
            let codes = header.add(form.header_bytes() + 64 * half);
            let words = records.add(block * rows * RECORD).cast::<i32>().add(first);
            let by = words.add(2 * rows).cast::<f32>();
            let steps = words.add(3 * rows);
            for part in 0..parts {
                let mut wholes = [[vdupq_n_s32(0); 4]; PAIRS];
                let each = 4 / parts;
                for eight in part * each..(part + 1) * each {
                    let mut w = [vdupq_n_s8(0); 4];
                    for (two, w) in w.iter_mut().enumerate() {
                        *w = vld1q_s8(codes.add(128 * eight + 16 * two).cast());
                    }
                    let (even, odd) = (steps.add(2 * eight * rows), steps.add((2 * eight + 1) * rows));
                    for pair in 0..PAIRS {
                        // A pair that lacks its second row has the first in its place.
                        let (even, odd) = if ROWS % 2 == 1 && pair == PAIRS - 1 {
                            (vld1_dup_s32(even.add(2 * pair)), vld1_dup_s32(odd.add(2 * pair)))
                        } else {
                            (vld1_s32(even.add(2 * pair)), vld1_s32(odd.add(2 * pair)))
                        };
                        let a = vreinterpretq_s8_s32(vcombine_s32(vzip1_s32(even, odd), vzip2_s32(even, odd)));
                        for (whole, w) in wholes[pair].iter_mut().zip(w) {
                            *whole = two_by_two(*whole, a, w);
                        }
                    }
                }
                let part_sums = halves.add(block * rows * HALVES).cast::<i32>().add(part * rows + first);
                let factor =
                    |number: usize, quad: usize| vld1q_f32(header.add(64 * number + 32 * half + 16 * quad).cast());
                for quad in 0..2 {
                    let scale = factor(part, quad);
                    let minimum = if form.has_minimum() { factor(parts + part, quad) } else { scale };
                    for pair in 0..PAIRS {
                        let [a, b] =
                            [wholes[pair][2 * quad], wholes[pair][2 * quad + 1]].map(|x| vreinterpretq_s64_s32(x));
                        for (row, whole) in [(2 * pair, vzip1q_s64(a, b)), (2 * pair + 1, vzip2q_s64(a, b))] {
                            if row >= ROWS {
                                continue;
                            }
                            let sum =
                                if parts == 1 { words.add(row) } else { part_sums.add(row) }.read_unaligned() as f32;
                            let whole = vcvtq_f32_s32(vreinterpretq_s32_s64(whole));
                            let factors = Factors { scale, minimum, sum };
                            products[row][quad] = add_part(&form, products[row][quad], whole, factors);
                        }
                    }
                }
            }
            if (block + 1).is_multiple_of(span) {
                for row in 0..ROWS {
                    let a_scale = by.add(row).read_unaligned();
                    for quad in 0..2 {
                        totals[row][quad] = vfmaq_n_f32(totals[row][quad], products[row][quad], a_scale);
                        products[row][quad] = vdupq_n_f32(0.0);
                    }
                }
            }
        }
        for row in 0..ROWS {
            for quad in 0..2 {
                vst1q_f32(sums[first + row].as_mut_ptr().add(8 * half + 4 * quad), totals[row][quad]);
            }
        }
    }
}

/// Adds the products of two rows of eight bytes with two others: first row with both, second row with both.
///
/// # Safety
/// The machine must have FEAT_I8MM.
#[inline(always)]
unsafe fn two_by_two(mut sum: int32x4_t, a: int8x16_t, w: int8x16_t) -> int32x4_t {
    // SAFETY: the caller's promise; registers only.
    unsafe {
        asm!(
            "smmla {0:v}.4s, {1:v}.16b, {2:v}.16b",
            inout(vreg) sum, in(vreg) a, in(vreg) w,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}
