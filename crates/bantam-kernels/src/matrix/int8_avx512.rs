//! Panel × tile with AVX-512 VNNI.

use super::int8_rows::{RECORD, TILE};
use super::panels::{COLUMNS, PanelKind, SCALES};
use std::arch::x86_64::*;

/// Bytes ahead of the codes in use that are asked for. One or two rows go through codes as fast as memory gives them, and
/// longer distances lose; with more rows the processor sees less far ahead by itself (see the bench example).
const fn ahead(rows: usize) -> usize {
    if rows <= 2 { 1024 } else { 8192 }
}

/// Products of one panel with a tile of `sums.len()` (1 ..= 12) rows: `sums[row][column]`.
///
/// # Safety
/// The machine must have AVX-512 F, BW and VNNI; `panel` must be a whole panel of `kind` and `blocks`, `records` a whole
/// tile of as many blocks.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(super) unsafe fn tile(
    kind: PanelKind,
    panel: *const u8,
    blocks: usize,
    records: *const u8,
    sums: &mut [[f32; COLUMNS]],
) {
    macro_rules! by_rows {
        ($q4:literal, $($rows:literal)+) => {
            match sums.len() {
                $($rows => {
                    let sums: &mut [[f32; COLUMNS]; $rows] = sums.try_into().expect("its length is matched");
                    // SAFETY: the caller's promise.
                    unsafe { rows_by_panel::<$rows, $q4>(panel, blocks, records, sums) }
                })+
                rows => unreachable!("a tile of {rows} rows, of {TILE} at most"),
            }
        };
    }
    match kind {
        PanelKind::Q8 => by_rows!(false, 1 2 3 4 5 6 7 8 9 10 11 12),
        PanelKind::Q4 => by_rows!(true, 1 2 3 4 5 6 7 8 9 10 11 12),
    }
}

/// # Safety
/// As [`tile`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn rows_by_panel<const ROWS: usize, const Q4: bool>(
    panel: *const u8,
    blocks: usize,
    records: *const u8,
    sums: &mut [[f32; COLUMNS]; ROWS],
) {
    let code_bytes = if Q4 { 256 } else { 512 };
    let (mut scales, mut record) = (panel, records);
    let mut totals = [_mm512_setzero_ps(); ROWS];
    for _ in 0..blocks / 2 {
        // SAFETY: a pair of blocks is there: a line of scales, the codes of both, and two records.
        unsafe {
            block::<ROWS, Q4>(scales, scales.add(SCALES), record, &mut totals);
            record = record.add(ROWS * RECORD);
            block::<ROWS, Q4>(scales.add(SCALES / 2), scales.add(SCALES + code_bytes), record, &mut totals);
            record = record.add(ROWS * RECORD);
            scales = scales.add(SCALES + 2 * code_bytes);
        }
    }
    if blocks % 2 == 1 {
        // SAFETY: a last single block is there.
        unsafe { block::<ROWS, Q4>(scales, scales.add(SCALES), record, &mut totals) }
    }
    for (sums, total) in sums.iter_mut().zip(totals) {
        // SAFETY: sixteen f32 are writable.
        unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), total) }
    }
}

/// One block of 32 inputs.
///
/// # Safety
/// As [`tile`], for one block's scales (32 bytes), codes and record.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn block<const ROWS: usize, const Q4: bool>(
    scales: *const u8,
    codes: *const u8,
    record: *const u8,
    totals: &mut [__m512; ROWS],
) {
    // SAFETY: the caller gives 32 bytes of scales, 256 or 512 of codes and a record of ROWS rows.
    unsafe {
        let words = record.cast::<i32>();
        let corrections = words.add(if Q4 { 0 } else { ROWS });
        let by = words.add(2 * ROWS).cast::<f32>();
        let steps = words.add(3 * ROWS);
        let mut wholes = [_mm512_setzero_si512(); ROWS];
        for row in 0..ROWS {
            wholes[row] = _mm512_set1_epi32(corrections.add(row).read_unaligned());
        }
        if Q4 {
            let low_nibbles = _mm512_set1_epi8(15);
            for line in 0..4 {
                let both = _mm512_loadu_si512(codes.add(64 * line).cast());
                _mm_prefetch::<_MM_HINT_T0>(codes.wrapping_add(64 * line + const { ahead(ROWS) }).cast());
                let low = _mm512_and_si512(both, low_nibbles);
                let high = _mm512_and_si512(_mm512_srli_epi16::<4>(both), low_nibbles);
                for row in 0..ROWS {
                    let a = _mm512_set1_epi32(steps.add(line * ROWS + row).read_unaligned());
                    wholes[row] = _mm512_dpbusd_epi32(wholes[row], low, a);
                }
                for row in 0..ROWS {
                    let a = _mm512_set1_epi32(steps.add((line + 4) * ROWS + row).read_unaligned());
                    wholes[row] = _mm512_dpbusd_epi32(wholes[row], high, a);
                }
            }
        } else {
            for step in 0..8 {
                let w = _mm512_loadu_si512(codes.add(64 * step).cast());
                _mm_prefetch::<_MM_HINT_T0>(codes.wrapping_add(64 * step + const { ahead(ROWS) }).cast());
                for row in 0..ROWS {
                    let a = _mm512_set1_epi32(steps.add(step * ROWS + row).read_unaligned());
                    wholes[row] = _mm512_dpbusd_epi32(wholes[row], w, a);
                }
            }
        }
        let scale = _mm512_cvtph_ps(_mm256_loadu_si256(scales.cast()));
        for row in 0..ROWS {
            let factor = _mm512_mul_ps(scale, _mm512_set1_ps(by.add(row).read_unaligned()));
            totals[row] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(wholes[row]), factor, totals[row]);
        }
    }
}
