//! Panel × tile with AVX-512 VNNI.

use super::forms::{Correction, FORMS, Form, PanelKind, Scales, by_form, minimum_factor};
use super::int8_rows::{HALVES, RECORD, TILE};
use super::panels::{COLUMNS, STEPS};
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
    kind: &PanelKind,
    panel: *const u8,
    blocks: usize,
    records: *const u8,
    sums: &mut [[f32; COLUMNS]],
) {
    macro_rules! by_rows {
        ($form:literal, $($rows:literal)+) => {
            match sums.len() {
                $($rows => {
                    let sums: &mut [[f32; COLUMNS]; $rows] = sums.try_into().expect("its length is matched");
                    // SAFETY: the caller's promise.
                    unsafe { rows_by_panel::<$rows, $form>(kind, panel, blocks, records, sums) }
                })+
                rows => unreachable!("a tile of {rows} rows, of {TILE} at most"),
            }
        };
    }
    macro_rules! of_form {
        ($form:literal) => {
            by_rows!($form, 1 2 3 4 5 6 7 8 9 10 11 12)
        };
    }
    by_form!(kind.number, of_form)
}

/// # Safety
/// As [`tile`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn rows_by_panel<const ROWS: usize, const FORM: u8>(
    kind: &PanelKind,
    panel: *const u8,
    blocks: usize,
    records: *const u8,
    sums: &mut [[f32; COLUMNS]; ROWS],
) {
    const { assert!(ROWS >= 1 && ROWS <= TILE) };
    let form: Form = const { FORMS[FORM as usize] };
    let (unit_blocks, unit_bytes) = (form.unit_blocks(), form.unit_bytes());
    let mut totals = [_mm512_setzero_ps(); ROWS];
    let mut sub_scales = SubScales([0; 256]);
    // SAFETY: units and records are whole, as the caller promises; a last unit has a whole header and the blocks that are
    // left.
    unsafe {
        let table = _mm512_broadcast_i32x4(_mm_loadu_si128(kind.table.as_ptr().cast()));
        let (mut header, mut record, mut halves) = (panel, records, records.add(blocks * ROWS * RECORD));
        let mut left = blocks;
        while left > 0 {
            let scales = prepare::<ROWS, FORM>(kind, header, &mut sub_scales);
            let codes = header.add(form.header_bytes());
            if left >= unit_blocks {
                for index in 0..unit_blocks {
                    let at = (codes.add(index * form.code_bytes()), record.add(index * ROWS * RECORD));
                    block::<ROWS, FORM>(&scales, index, table, at, halves.add(index * ROWS * HALVES), &mut totals);
                }
            } else {
                for index in 0..left {
                    let at = (codes.add(index * form.code_bytes()), record.add(index * ROWS * RECORD));
                    block::<ROWS, FORM>(&scales, index, table, at, halves.add(index * ROWS * HALVES), &mut totals);
                }
            }
            header = header.add(unit_bytes);
            record = record.add(unit_blocks * ROWS * RECORD);
            halves = halves.add(unit_blocks * ROWS * HALVES);
            left = left.saturating_sub(unit_blocks);
        }
        for (sums, total) in sums.iter_mut().zip(totals) {
            _mm512_storeu_ps(sums.as_mut_ptr(), total);
        }
    }
}

/// Sub-scales of a unit as bytes, 16 columns next to each other.
#[repr(align(64))]
struct SubScales([u8; 256]);

/// What a unit's header says.
struct UnitScales {
    header: *const u8,
    /// Sub-scales, where there are any: in the header, or unpacked from it.
    sub_scales: *const u8,
    /// What sub-scales are multiplied by.
    scale: __m512,
    /// What sub-minima are multiplied by.
    minimum: __m512,
}

/// Reads a header.
///
/// # Safety
/// A whole header is there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn prepare<const ROWS: usize, const FORM: u8>(
    kind: &PanelKind,
    header: *const u8,
    sub_scales: &mut SubScales,
) -> UnitScales {
    let form: Form = const { FORMS[FORM as usize] };
    let mut scales =
        UnitScales { header, sub_scales: header, scale: _mm512_setzero_ps(), minimum: _mm512_setzero_ps() };
    // SAFETY: the header is there; prefetching reads nothing.
    unsafe {
        for line in 0..form.header_bytes() / 64 {
            _mm_prefetch::<_MM_HINT_T0>(header.wrapping_add(64 * line + const { ahead(ROWS) }).cast());
        }
        match form.scales {
            Scales::Half(_) | Scales::HalfOffset | Scales::Exponent | Scales::Float8 => return scales,
            Scales::Six32 | Scales::Six16 | Scales::Six32Minimum | Scales::Eight16 | Scales::Four16Minimum => (),
        }
        scales.scale = _mm512_mul_ps(halves(header), _mm512_set1_ps(kind.unit));
        if form.has_minimum() {
            scales.minimum = _mm512_mul_ps(halves(header.add(32)), _mm512_set1_ps(minimum_factor(&form)));
        }
        let line = |line: usize| _mm512_loadu_si512(header.add(64 * line).cast());
        let to = sub_scales.0.as_mut_ptr();
        let store = |line: usize, lower: __m512i, upper: __m512i| {
            let (lower, upper) =
                (_mm512_and_si512(lower, _mm512_set1_epi8(15)), _mm512_and_si512(upper, _mm512_set1_epi8(0x30)));
            let less = if matches!(form.scales, Scales::Six32Minimum) { 0 } else { 32 };
            let six = _mm512_sub_epi8(_mm512_or_si512(lower, upper), _mm512_set1_epi8(less));
            _mm512_store_si512(to.add(64 * line).cast(), six);
        };
        match form.scales {
            Scales::Six32 => {
                let upper = _mm256_loadu_si256(header.add(32).cast());
                let shifted = _mm256_srli_epi16::<2>(upper);
                let upper = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(upper), shifted);
                let lower = line(1);
                store(0, lower, _mm512_slli_epi16::<4>(upper));
                store(1, _mm512_srli_epi16::<4>(lower), upper);
                scales.sub_scales = to;
            }
            Scales::Six16 | Scales::Six32Minimum => {
                let (first, second, upper) = (line(1), line(2), line(3));
                store(0, first, _mm512_slli_epi16::<4>(upper));
                store(1, _mm512_srli_epi16::<4>(first), _mm512_slli_epi16::<2>(upper));
                store(2, second, upper);
                store(3, _mm512_srli_epi16::<4>(second), _mm512_srli_epi16::<2>(upper));
                scales.sub_scales = to;
            }
            _ => scales.sub_scales = header.add(64),
        }
    }
    scales
}

/// Sixteen f16.
///
/// # Safety
/// They are there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn halves(from: *const u8) -> __m512 {
    // SAFETY: the caller's promise.
    unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
}

/// Scales and (where there are any) minima of a part of a block, counted through the unit.
///
/// # Safety
/// As [`prepare`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn scale_and_minimum<const FORM: u8>(scales: &UnitScales, part: usize) -> (__m512, __m512) {
    let form: Form = const { FORMS[FORM as usize] };
    let zero = _mm512_setzero_ps();
    // SAFETY: the part is in the unit.
    unsafe {
        let header = scales.header;
        let bytes = |from: *const u8| _mm_loadu_si128(from.cast());
        let signed = |sub: usize| _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes(scales.sub_scales.add(16 * sub))));
        match form.scales {
            Scales::Half(span) => (halves(header.add(32 * (part / span))), zero),
            Scales::HalfOffset => {
                let by = _mm512_set1_ps(-minimum_factor(&form));
                (halves(header), _mm512_mul_ps(halves(header.add(32)), by))
            }
            Scales::Exponent => {
                let exponents = _mm512_cvtepu8_epi32(bytes(header.add(16 * part)));
                let normal = _mm512_slli_epi32::<23>(_mm512_sub_epi32(exponents, _mm512_set1_epi32(1)));
                // The two smallest are subnormal; from the third on this is at most as much.
                let by = _mm512_min_epi32(exponents, _mm512_set1_epi32(2));
                let small = _mm512_sllv_epi32(_mm512_set1_epi32(0x0020_0000), by);
                (_mm512_castsi512_ps(_mm512_max_epi32(normal, small)), zero)
            }
            Scales::Float8 => {
                let fields = _mm256_slli_epi16::<7>(_mm256_cvtepu8_epi16(bytes(header.add(16 * part))));
                (_mm512_mul_ps(_mm512_cvtph_ps(fields), _mm512_set1_ps(128.0)), zero)
            }
            Scales::Six32 | Scales::Six16 | Scales::Eight16 => (_mm512_mul_ps(signed(part), scales.scale), zero),
            Scales::Six32Minimum => {
                (_mm512_mul_ps(signed(part), scales.scale), _mm512_mul_ps(signed(8 + part), scales.minimum))
            }
            Scales::Four16Minimum => {
                let both = _mm512_cvtepu8_epi32(bytes(scales.sub_scales.add(16 * part)));
                let scale = _mm512_cvtepi32_ps(_mm512_and_si512(both, _mm512_set1_epi32(15)));
                let minimum = _mm512_cvtepi32_ps(_mm512_srli_epi32::<4>(both));
                (_mm512_mul_ps(scale, scales.scale), _mm512_mul_ps(minimum, scales.minimum))
            }
        }
    }
}

/// Bytes shifted right as pairs, or left where `by` is negative; known when compiled.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn shifted(x: __m512i, by: isize) -> __m512i {
    match by {
        -4 => _mm512_slli_epi16::<4>(x),
        -3 => _mm512_slli_epi16::<3>(x),
        -2 => _mm512_slli_epi16::<2>(x),
        -1 => _mm512_slli_epi16::<1>(x),
        1 => _mm512_srli_epi16::<1>(x),
        2 => _mm512_srli_epi16::<2>(x),
        3 => _mm512_srli_epi16::<3>(x),
        4 => _mm512_srli_epi16::<4>(x),
        5 => _mm512_srli_epi16::<5>(x),
        6 => _mm512_srli_epi16::<6>(x),
        7 => _mm512_srli_epi16::<7>(x),
        _ => x,
    }
}

/// The unsigned bytes of a step.
///
/// # Safety
/// The block's codes are there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn unsigned<const FORM: u8>(codes: *const u8, step: usize, table: __m512i) -> __m512i {
    let form: Form = const { FORMS[FORM as usize] };
    let mask = |bits: i8| _mm512_set1_epi8(bits);
    // SAFETY: lines below the form's bits.
    let line = |line: usize| unsafe { _mm512_loadu_si512(codes.add(64 * line).cast()) };
    let four = || _mm512_and_si512(shifted(line(step / 2), 4 * (step % 2) as isize), mask(15));
    let two = || _mm512_and_si512(shifted(line(step / 4), 2 * (step % 4) as isize), mask(3));
    // Adds what `mask` lets through.
    let with = |lower: __m512i, upper: __m512i, mask: __m512i| _mm512_ternarylogic_epi32::<0xf8>(lower, upper, mask);
    let code = match form.bits {
        8 => line(step),
        6 => with(four(), shifted(line(4 + step / 4), 2 * (step % 4) as isize - 4), mask(0x30)),
        5 => with(four(), shifted(line(4), step as isize - 4), mask(0x10)),
        4 => four(),
        3 => with(two(), shifted(line(2), step as isize - 2), mask(0x04)),
        2 => two(),
        _ => _mm512_and_si512(shifted(line(0), step as isize), mask(1)),
    };
    if form.table { _mm512_shuffle_epi8(table, code) } else { code }
}

/// One block of 32 inputs.
///
/// # Safety
/// As [`tile`], for one block's unit, codes and record (`at`) and sums of halves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn block<const ROWS: usize, const FORM: u8>(
    scales: &UnitScales,
    index: usize,
    table: __m512i,
    at: (*const u8, *const u8),
    halves: *const u8,
    totals: &mut [__m512; ROWS],
) {
    let form: Form = const { FORMS[FORM as usize] };
    let parts = form.parts();
    let (codes, record) = at;
    // SAFETY: the caller gives the codes and records of ROWS rows.
    unsafe {
        let words = record.cast::<i32>();
        let by = words.add(2 * ROWS).cast::<f32>();
        let steps = words.add(3 * ROWS);
        let all = |word: i32| _mm512_set1_epi32(word);
        for part in 0..parts {
            let sums = halves.cast::<i32>().add(part * ROWS);
            let mut wholes = [_mm512_setzero_si512(); ROWS];
            for row in 0..ROWS {
                wholes[row] = match form.correction() {
                    Correction::None => wholes[row],
                    Correction::By128 => all(words.add(ROWS + row).read_unaligned()),
                    Correction::By8(0) => all(words.add(row).read_unaligned()),
                    Correction::By8(1) => _mm512_slli_epi32::<1>(all(words.add(row).read_unaligned())),
                    Correction::By8(_) => _mm512_srai_epi32::<3>(all(words.add(row).read_unaligned())),
                    Correction::Part(0) => all(sums.add(row).read_unaligned()),
                    Correction::Part(_) => _mm512_slli_epi32::<1>(all(sums.add(row).read_unaligned())),
                };
            }
            for step in part * STEPS / parts..(part + 1) * STEPS / parts {
                let w = unsigned::<FORM>(codes, step, table);
                // As many lines as there are bits, spread over the steps.
                if (step + 1) * form.bits / STEPS > step * form.bits / STEPS {
                    let line = step * form.bits / STEPS;
                    _mm_prefetch::<_MM_HINT_T0>(codes.wrapping_add(64 * line + const { ahead(ROWS) }).cast());
                }
                for row in 0..ROWS {
                    let a = all(steps.add(step * ROWS + row).read_unaligned());
                    wholes[row] = _mm512_dpbusd_epi32(wholes[row], w, a);
                }
            }
            let (scale, minimum) = scale_and_minimum::<FORM>(scales, parts * index + part);
            for row in 0..ROWS {
                let a_scale = _mm512_set1_ps(by.add(row).read_unaligned());
                let whole = _mm512_cvtepi32_ps(wholes[row]);
                totals[row] = if form.has_minimum() {
                    let sum = if parts == 1 { words } else { sums }.add(row).read_unaligned();
                    let product = _mm512_mul_ps(whole, scale);
                    let product = _mm512_fmadd_ps(_mm512_cvtepi32_ps(all(sum)), minimum, product);
                    _mm512_fmadd_ps(product, a_scale, totals[row])
                } else {
                    _mm512_fmadd_ps(whole, _mm512_mul_ps(scale, a_scale), totals[row])
                };
            }
        }
    }
}

// The shifts of corrections above are those that forms have.
const _: () = {
    let mut number = 0;
    while number < FORMS.len() {
        assert!(matches!(
            FORMS[number].correction(),
            Correction::None | Correction::By128 | Correction::By8(-3 | 0 | 1) | Correction::Part(0 | 1)
        ));
        number += 1;
    }
};
