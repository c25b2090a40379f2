//! Panel × tile with AVX-512 VNNI.

use super::forms::{Correction, FORMS, Form, PanelKind, Scales, by_form, minimum_factor, number};
use super::int8_rows::{HALVES, RECORD, TILE};
use super::panels::{COLUMNS, STEPS};
use std::arch::x86_64::*;
use std::ops::Range;

/// Bytes ahead of the codes in use that are asked for: more than memory has on the way to one core at a time (its latency
/// times its bandwidth, some 3.5 KB), and more yet for many rows, which go through codes more slowly. Measured with the bench
/// example on Zen 5: 1024 left Q6_K 15% short of what 4096 gives for one row.
///
/// Blocks taken apart beforehand come from the caches: two of them ahead.
const fn ahead(form: &Form, rows: usize) -> usize {
    match form.scales {
        Scales::Wide(..) => 2 * form.unit_bytes(),
        _ if rows <= 2 => 4096,
        _ => 8192,
    }
}

/// Rows that every form has kernels for. For more only the forms that most files are made of have some (each is one more
/// to compile); the others go over a panel, which is in a cache then, several times.
const FEW: usize = 4;
const MORE: usize = FEW + 1;

/// Adds the products of one panel with a tile of `sums.len()` (1 ..= 12) rows to `sums[row][column]`.
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
    let rows = sums.len();
    let (mut records, mut halves) = (records, records.wrapping_add(blocks * rows * RECORD));
    macro_rules! by_rows {
        ($sums:ident, $form:expr, $($rows:literal)+) => {
            match $sums.len() {
                $($rows => {
                    let sums: &mut [[f32; COLUMNS]; $rows] = $sums.try_into().expect("its length is matched");
                    // SAFETY: the caller's promise.
                    unsafe { rows_by_panel::<$rows, { $form }>(kind, panel, blocks, records, halves, rows, sums) }
                })+
                rows => unreachable!("a tile of {rows} rows, of {TILE} at most"),
            }
        };
    }
    macro_rules! more_rows {
        ($form:expr) => {
            by_rows!(sums, $form, 5 6 7 8 9 10 11 12)
        };
    }
    match (kind.number, rows) {
        (number::Q8, MORE..) => more_rows!(number::Q8),
        (number::Q4, MORE..) => more_rows!(number::Q4),
        (number::Q5, MORE..) => more_rows!(number::Q5),
        (number::Q4_SIX, MORE..) => more_rows!(number::Q4_SIX),
        (number::Q5_SIX, MORE..) => more_rows!(number::Q5_SIX),
        (number::Q6_EIGHT, MORE..) => more_rows!(number::Q6_EIGHT),
        (number::TABLE4_SIX, MORE..) => more_rows!(number::TABLE4_SIX),
        _ => {
            for sums in sums.chunks_mut(FEW) {
                macro_rules! few_rows {
                    ($form:literal) => {
                        by_rows!(sums, $form, 1 2 3 4)
                    };
                }
                by_form!(kind.number, few_rows);
                records = records.wrapping_add(4 * FEW);
                halves = halves.wrapping_add(4 * FEW);
            }
        }
    }
}

/// Whether all numbers of rows have a kernel for the format's own codes.
pub(super) fn has_own(kind: &PanelKind) -> bool {
    is_common(kind.number)
}

/// The forms that most files are made of.
const fn is_common(number: u8) -> bool {
    matches!(
        number,
        number::Q8 | number::Q4 | number::Q5 | number::Q4_SIX | number::Q5_SIX | number::Q6_EIGHT | number::TABLE4_SIX
    )
}

/// As [`tile`], of blocks taken apart.
///
/// # Safety
/// As [`tile`], with the sums of halves apart from the records; 5 ..= 12 rows.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(super) unsafe fn wide_tile(
    kind: &PanelKind,
    panel: *const u8,
    blocks: usize,
    records: *const u8,
    halves: *const u8,
    sums: &mut [[f32; COLUMNS]],
) {
    macro_rules! by_rows {
        ($form:expr, $($rows:literal)+) => {
            match sums.len() {
                $($rows => {
                    let sums: &mut [[f32; COLUMNS]; $rows] = sums.try_into().expect("its length is matched");
                    // SAFETY: the caller's promise.
                    unsafe { rows_by_panel::<$rows, { $form }>(kind, panel, blocks, records, halves, $rows, sums) }
                })+
                rows => unreachable!("a tile of {rows} rows, of {TILE} at most"),
            }
        };
    }
    match kind.form().wide() {
        number::WIDE => by_rows!(number::WIDE, 5 6 7 8 9 10 11 12),
        number::WIDE_MINIMUM => by_rows!(number::WIDE_MINIMUM, 5 6 7 8 9 10 11 12),
        number::WIDE16 => by_rows!(number::WIDE16, 5 6 7 8 9 10 11 12),
        _ => by_rows!(number::WIDE16_MINIMUM, 5 6 7 8 9 10 11 12),
    }
}

/// Takes blocks of a panel apart, as a panel of the form [`Form::wide`].
///
/// # Safety
/// As [`tile`]; room for the blocks at `to`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(super) unsafe fn expand(kind: &PanelKind, panel: *const u8, blocks: Range<usize>, to: *mut u8) {
    macro_rules! of_form {
        ($form:literal) => {
            // SAFETY: the caller's promise.
            unsafe { expand_form::<$form>(kind, panel, blocks, to) }
        };
    }
    by_form!(kind.number, of_form)
}

/// # Safety
/// As [`expand`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn expand_form<const FORM: u8>(kind: &PanelKind, panel: *const u8, blocks: Range<usize>, mut to: *mut u8) {
    let form: Form = const { FORMS[FORM as usize] };
    let wide: Form = const { FORMS[FORMS[FORM as usize].wide() as usize] };
    let mut sub_scales = SubScales([0; 256]);
    // SAFETY: the blocks are in the panel, and there is room.
    unsafe {
        let mut table = _mm512_broadcast_i32x4(_mm_loadu_si128(kind.table.as_ptr().cast()));
        let more = _mm512_set1_epi8((wide.offset - form.offset) as i8);
        if form.table {
            table = _mm512_add_epi8(table, more);
        }
        let mut scales = UnitScales::none(panel);
        for block in blocks.clone() {
            let (header, codes, index) = form.places(block);
            if index == 0 || block == blocks.start {
                scales = prepare::<TILE, FORM>(kind, panel.add(header), &mut sub_scales);
            }
            for part in 0..form.parts() {
                let (scale, minimum) = scale_and_minimum::<FORM>(&scales, form.parts() * index + part);
                _mm512_storeu_ps(to.add(64 * part).cast(), scale);
                if form.has_minimum() {
                    _mm512_storeu_ps(to.add(64 * (form.parts() + part)).cast(), minimum);
                }
            }
            to = to.add(wide.header_bytes());
            let codes = panel.add(codes);
            macro_rules! step {
                ($($step:literal)+) => {$(
                    prefetch::<TILE>(&form, codes, $step);
                    let mut w = unsigned::<FORM, $step>(codes, table);
                    if !form.table && wide.offset != form.offset {
                        w = _mm512_add_epi8(w, more);
                    }
                    _mm512_storeu_si512(to.cast(), w);
                    to = to.add(64);
                )+};
            }
            step!(0 1 2 3 4 5 6 7);
        }
    }
}

/// Rows of a tile times a panel, in registers: all of its rows or, where the format has no kernels for many, `ROWS` of
/// `rows` from that on which the records and halves begin with.
///
/// Parts and steps of a block are written out by macros, because the compiler keeps sums in registers only where it has
/// unrolled everything that walks over them, and does not do so by itself for loops this large.
///
/// # Safety
/// As [`tile`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn rows_by_panel<const ROWS: usize, const FORM: u8>(
    kind: &PanelKind,
    panel: *const u8,
    blocks: usize,
    records: *const u8,
    halves: *const u8,
    rows: usize,
    sums: &mut [[f32; COLUMNS]; ROWS],
) {
    const { assert!(ROWS >= 1 && ROWS <= TILE) };
    let form: Form = const { FORMS[FORM as usize] };
    // Known when compiled, wherever it can be.
    let rows = if const { is_common(FORM) || FORM >= number::WIDE } { ROWS } else { rows };
    let (unit_blocks, unit_bytes) = (form.unit_blocks(), form.unit_bytes());
    let mut totals = [_mm512_setzero_ps(); ROWS];
    let mut sub_scales = SubScales([0; 256]);
    // SAFETY: units and records are whole, as the caller promises; a last unit has a whole header and the blocks that are
    // left.
    unsafe {
        for row in 0..ROWS {
            totals[row] = _mm512_loadu_ps(sums[row].as_ptr());
        }
        let table = _mm512_broadcast_i32x4(_mm_loadu_si128(kind.table.as_ptr().cast()));
        let (mut header, mut record, mut halves) = (panel, records, halves);
        let mut left = blocks;
        while left > 0 {
            let scales = prepare::<ROWS, FORM>(kind, header, &mut sub_scales);
            let mut codes = header.add(form.header_bytes());
            for index in 0..left.min(unit_blocks) {
                let words = record.cast::<i32>();
                macro_rules! step {
                    ($part:literal, $step:literal, $wholes:ident) => {
                        if const { $step * FORMS[FORM as usize].parts() / STEPS == $part } {
                            prefetch::<ROWS>(&form, codes, $step);
                            let w = unsigned::<FORM, $step>(codes, table);
                            for row in 0..ROWS {
                                let a = words.add((3 + $step) * rows + row).read_unaligned();
                                $wholes[row] = _mm512_dpbusd_epi32($wholes[row], w, _mm512_set1_epi32(a));
                            }
                        }
                    };
                }
                macro_rules! part {
                    ($part:literal) => {
                        if const { $part < FORMS[FORM as usize].parts() } {
                            let part_sums =
                                if form.parts() == 1 { words } else { halves.cast::<i32>().add($part * rows) };
                            let mut wholes = [_mm512_setzero_si512(); ROWS];
                            for row in 0..ROWS {
                                wholes[row] = start::<FORM>(words.add(rows + row), part_sums.add(row));
                            }
                            step!($part, 0, wholes);
                            step!($part, 1, wholes);
                            step!($part, 2, wholes);
                            step!($part, 3, wholes);
                            step!($part, 4, wholes);
                            step!($part, 5, wholes);
                            step!($part, 6, wholes);
                            step!($part, 7, wholes);
                            let (scale, minimum) = scale_and_minimum::<FORM>(&scales, form.parts() * index + $part);
                            for row in 0..ROWS {
                                let a_scale = words.add(2 * rows + row).cast::<f32>().read_unaligned();
                                let a_scale = _mm512_set1_ps(a_scale);
                                let whole = _mm512_cvtepi32_ps(wholes[row]);
                                totals[row] = if form.has_minimum() {
                                    let sum = _mm512_set1_epi32(part_sums.add(row).read_unaligned());
                                    let product = _mm512_mul_ps(whole, scale);
                                    let product = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), minimum, product);
                                    _mm512_fmadd_ps(product, a_scale, totals[row])
                                } else {
                                    _mm512_fmadd_ps(whole, _mm512_mul_ps(scale, a_scale), totals[row])
                                };
                            }
                        }
                    };
                }
                part!(0);
                part!(1);
                codes = codes.add(form.code_bytes());
                record = record.wrapping_add(rows * RECORD);
                halves = halves.wrapping_add(rows * HALVES);
            }
            header = header.add(unit_bytes);
            left = left.saturating_sub(unit_blocks);
        }
        for (sums, total) in sums.iter_mut().zip(totals) {
            _mm512_storeu_ps(sums.as_mut_ptr(), total);
        }
    }
}

/// What a row's integer sum starts from: what takes out the offset.
///
/// # Safety
/// A row's -128 Σa is there, and the sum of its part.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn start<const FORM: u8>(by_128: *const i32, part_sum: *const i32) -> __m512i {
    // SAFETY: the caller's promise.
    let all = |sum: *const i32| _mm512_set1_epi32(unsafe { sum.read_unaligned() });
    match const { FORMS[FORM as usize].correction() } {
        Correction::None => _mm512_setzero_si512(),
        Correction::By128 => all(by_128),
        Correction::By8(0) | Correction::Part(0) => all(part_sum),
        Correction::By8(1) => _mm512_slli_epi32::<1>(all(part_sum)),
        Correction::By8(_) => _mm512_srai_epi32::<3>(all(part_sum)),
        Correction::Part(_) => _mm512_srai_epi32::<1>(all(part_sum)),
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

impl UnitScales {
    /// Before the first header.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
    fn none(header: *const u8) -> Self {
        Self { header, sub_scales: header, scale: _mm512_setzero_ps(), minimum: _mm512_setzero_ps() }
    }
}

/// Asks for the codes to come: of a block, as many lines as there are bits, spread over the steps.
#[inline(always)]
fn prefetch<const ROWS: usize>(form: &Form, codes: *const u8, step: usize) {
    if (step + 1) * form.bits / STEPS > step * form.bits / STEPS {
        let line = step * form.bits / STEPS;
        // SAFETY: prefetching reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(codes.wrapping_add(64 * line + ahead(form, ROWS)).cast()) };
    }
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
            _mm_prefetch::<_MM_HINT_T0>(header.wrapping_add(64 * line + ahead(&form, ROWS)).cast());
        }
        match form.scales {
            Scales::Half(_) | Scales::HalfOffset | Scales::Exponent | Scales::Float8 | Scales::Wide(..) => {
                return scales;
            }
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
            Scales::Wide(parts, minimum) => {
                let wide = |number: usize| _mm512_loadu_ps(header.add(64 * number).cast());
                (wide(part), if minimum { wide(parts + part) } else { zero })
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
unsafe fn unsigned<const FORM: u8, const STEP: usize>(codes: *const u8, table: __m512i) -> __m512i {
    let step = STEP;
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

// The shifts of corrections above are those that forms have.
const _: () = {
    let mut number = 0;
    while number < FORMS.len() {
        assert!(matches!(
            FORMS[number].correction(),
            Correction::None | Correction::By128 | Correction::By8(-3 | 0 | 1) | Correction::Part(-1 | 0)
        ));
        number += 1;
    }
};
