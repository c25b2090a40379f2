//! Panel × tile with AVX2: `vpdpbusd` of AVX-VNNI where it is there, else `vpmaddubsw`.
//!
//! `vpmaddubsw` adds two products of an unsigned and a signed byte into 16 bits and saturates. 4-bit codes are safe (all
//! eight steps of a block stay below 2^15 together); 8-bit codes are taken as |w| and a·sign(w), whose pairs reach at
//! most 2 · 128 · 127 = 32512.

use super::int8_rows::{RECORD, TILE};
use super::panels::{COLUMNS, PanelKind, SCALES};
use std::arch::x86_64::*;

/// How bytes are multiplied.
pub(super) const VNNI: bool = true;
/// The other way.
pub(super) const MADD: bool = false;

/// Products of one panel with a tile of `sums.len()` rows, by `vpdpbusd`: `sums[row][column]`.
///
/// # Safety
/// The machine must have AVX2, FMA, F16C and AVX-VNNI; `panel` must be a whole panel of `kind` and `blocks`, `records` a
/// whole tile of as many blocks.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
pub(super) unsafe fn tile_vnni(
    kind: PanelKind,
    panel: *const u8,
    blocks: usize,
    records: *const u8,
    sums: &mut [[f32; COLUMNS]],
) {
    // SAFETY: the caller's promise.
    unsafe {
        match kind {
            PanelKind::Q8 => rows_by_panel::<false, VNNI>(panel, blocks, records, sums),
            PanelKind::Q4 => rows_by_panel::<true, VNNI>(panel, blocks, records, sums),
        }
    }
}

/// As [`tile_vnni`], by `vpmaddubsw`.
///
/// # Safety
/// As [`tile_vnni`], without AVX-VNNI.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn tile_madd(
    kind: PanelKind,
    panel: *const u8,
    blocks: usize,
    records: *const u8,
    sums: &mut [[f32; COLUMNS]],
) {
    // SAFETY: the caller's promise.
    unsafe {
        match kind {
            PanelKind::Q8 => rows_by_panel::<false, MADD>(panel, blocks, records, sums),
            PanelKind::Q4 => rows_by_panel::<true, MADD>(panel, blocks, records, sums),
        }
    }
}

/// # Safety
/// As [`tile_vnni`] or [`tile_madd`], inlined into either.
#[inline(always)]
unsafe fn rows_by_panel<const Q4: bool, const BY_VNNI: bool>(
    panel: *const u8,
    blocks: usize,
    records: *const u8,
    sums: &mut [[f32; COLUMNS]],
) {
    let rows = sums.len();
    debug_assert!(rows <= TILE);
    // Eight columns and up to four rows at a time fill the sixteen registers.
    for half in 0..2 {
        let mut row = 0;
        while row < rows {
            // SAFETY: the caller's promise; `row` and the rows after it are inside the tile.
            unsafe {
                let count = match rows - row {
                    1 => group::<1, Q4, BY_VNNI>(panel, blocks, records, rows, row, half, sums),
                    2 => group::<2, Q4, BY_VNNI>(panel, blocks, records, rows, row, half, sums),
                    3 => group::<3, Q4, BY_VNNI>(panel, blocks, records, rows, row, half, sums),
                    _ => group::<4, Q4, BY_VNNI>(panel, blocks, records, rows, row, half, sums),
                };
                row += count;
            }
        }
    }
}

/// `COUNT` rows from `first`, eight columns.
///
/// # Safety
/// As [`rows_by_panel`].
#[inline(always)]
unsafe fn group<const COUNT: usize, const Q4: bool, const BY_VNNI: bool>(
    panel: *const u8,
    blocks: usize,
    records: *const u8,
    rows: usize,
    first: usize,
    half: usize,
    sums: &mut [[f32; COLUMNS]],
) -> usize {
    let code_bytes = if Q4 { 256 } else { 512 };
    // SAFETY: all places lie inside the panel, the records and `sums`, whose sizes the caller vouches for.
    unsafe {
        let mut totals = [_mm256_setzero_ps(); COUNT];
        for block in 0..blocks {
            let pair = panel.add(block / 2 * (SCALES + 2 * code_bytes));
            let scales = pair.add(block % 2 * (SCALES / 2) + half * 16);
            let codes = pair.add(SCALES + block % 2 * code_bytes + half * 32);
            let words = records.add(block * rows * RECORD).cast::<i32>();
            let by = words.add(2 * rows + first).cast::<f32>();
            let steps = words.add(3 * rows + first);
            let mut wholes = [_mm256_setzero_si256(); COUNT];
            if Q4 {
                let low_nibbles = _mm256_set1_epi8(15);
                for line in 0..4 {
                    let both = _mm256_loadu_si256(codes.add(64 * line).cast());
                    let low = _mm256_and_si256(both, low_nibbles);
                    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(both), low_nibbles);
                    for row in 0..COUNT {
                        let a = _mm256_set1_epi32(steps.add(line * rows + row).read_unaligned());
                        let b = _mm256_set1_epi32(steps.add((line + 4) * rows + row).read_unaligned());
                        wholes[row] = if BY_VNNI {
                            _mm256_dpbusd_avx_epi32(_mm256_dpbusd_avx_epi32(wholes[row], low, a), high, b)
                        } else {
                            let pairs = _mm256_add_epi16(_mm256_maddubs_epi16(low, a), _mm256_maddubs_epi16(high, b));
                            _mm256_add_epi16(wholes[row], pairs)
                        };
                    }
                }
                if !BY_VNNI {
                    for whole in &mut wholes {
                        *whole = _mm256_madd_epi16(*whole, _mm256_set1_epi16(1));
                    }
                }
            } else {
                for step in 0..8 {
                    let w = _mm256_loadu_si256(codes.add(64 * step).cast());
                    let signed = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
                    let magnitude = _mm256_abs_epi8(signed);
                    for row in 0..COUNT {
                        let a = _mm256_set1_epi32(steps.add(step * rows + row).read_unaligned());
                        wholes[row] = if BY_VNNI {
                            _mm256_dpbusd_avx_epi32(wholes[row], w, a)
                        } else {
                            let pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(a, signed));
                            _mm256_add_epi32(wholes[row], _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
                        };
                    }
                }
            }
            let scale = _mm256_cvtph_ps(_mm_loadu_si128(scales.cast()));
            for row in 0..COUNT {
                if Q4 || BY_VNNI {
                    let correction = words.add(if Q4 { 0 } else { rows } + first + row).read_unaligned();
                    wholes[row] = _mm256_add_epi32(wholes[row], _mm256_set1_epi32(correction));
                }
                let factor = _mm256_mul_ps(scale, _mm256_set1_ps(by.add(row).read_unaligned()));
                totals[row] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(wholes[row]), factor, totals[row]);
            }
        }
        for (row, total) in totals.into_iter().enumerate() {
            _mm256_storeu_ps(sums[first + row].as_mut_ptr().add(half * 8), total);
        }
    }
    COUNT
}

#[cfg(test)]
mod tests {
    use super::super::int8_portable;
    use super::super::int8_rows::{Int8Rows, tile};
    use super::super::panels::Panels;
    use super::*;
    use crate::isa::has_avx_vnni;
    use crate::{Isa, Pool};

    /// Both ways of multiplying give the same bits, and the portable ones within rounding.
    fn check(kind: PanelKind, rows: usize, blocks: usize) {
        if Isa::Avx2.usable() != Isa::Avx2 {
            return;
        }
        let pool = Pool::new(1);
        let file_block = 2 + kind.code_bytes() / COLUMNS;
        let mut source: Vec<u8> = (0..COLUMNS * blocks * file_block).map(|i| (i * i * 31 + i * 7) as u8).collect();
        for block in source.chunks_exact_mut(file_block) {
            block[..2].copy_from_slice(&[0x00, 0x2c]);
        }
        let panels = Panels::pack(kind, COLUMNS, blocks * 32, &source, &pool).expect("small");
        let x: Vec<f32> = (0..rows * blocks * 32).map(|i| ((i * 37) % 255) as f32 - 127.0).collect();
        let mut int8 = Int8Rows::with_capacity(rows, blocks * 32).expect("small");
        int8.quantize(&pool, Isa::Avx2, &x, rows, blocks * 32);
        let records = int8.tile(tile(rows, 0)).as_ptr();
        let mut sums = [[[0f32; COLUMNS]; TILE]; 3];
        let [plain, madd, vnni] = &mut sums;
        // SAFETY: a whole panel and tile; AVX2 is there by the check above, AVX-VNNI by the one here.
        unsafe {
            int8_portable::tile(kind, panels.panel(0), blocks, records, &mut plain[..rows]);
            tile_madd(kind, panels.panel(0), blocks, records, &mut madd[..rows]);
            if has_avx_vnni() {
                tile_vnni(kind, panels.panel(0), blocks, records, &mut vnni[..rows]);
                assert_eq!(madd, vnni);
            }
        }
        for (plain, madd) in plain.as_flattened().iter().zip(madd.as_flattened()) {
            assert!((plain - madd).abs() <= 1e-4 * plain.abs().max(100.0), "{plain} {madd}");
        }
    }

    #[test]
    fn ways_of_multiplying_agree() {
        for kind in [PanelKind::Q8, PanelKind::Q4] {
            for rows in 1..=TILE {
                check(kind, rows, 3);
            }
        }
    }
}
