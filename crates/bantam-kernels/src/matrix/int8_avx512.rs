//! Panels × tile with AVX-512 VNNI.
//!
//! Few rows go along one panel: its codes come from memory as one stream. Many go along two panels side by side, up to
//! five at a time: a number of a row then serves both, which matters because twelve rows of one panel ask for more loads
//! than the processor has places for (96 of numbers in 48 cycles of products, besides those of the codes).

use super::forms::{Correction, FORMS, Form, PanelKind, Scales, by_form, minimum_factor, number};
use super::int8_rows::{HALVES, RECORD};
use super::panels::{COLUMNS, STEPS};
use std::arch::x86_64::*;
use std::ops::Range;

/// Most rows that go along a panel alone.
pub(super) const ALONE: usize = 8;
/// Panels that more rows go along together, and most rows of a tile then.
pub(super) const PAIR: usize = 2;
pub(super) const OF_MANY: usize = 5;

/// Bytes ahead of the codes in use that are asked for: more than memory has on the way to one core at a time (its latency
/// times its bandwidth, some 3.5 KB), and more yet for some rows, which go through codes more slowly. Measured with the bench
/// example on Zen 5: 1024 left Q6_K 15% short of what 4096 gives for one row.
const fn ahead(rows: usize) -> usize {
    if rows <= 2 { 4096 } else { 8192 }
}

/// Rows that every form has kernels for. For more only the forms that most files are made of have some (each is one more
/// to compile); the others go over a panel, which is in a cache then, twice.
const FEW: usize = 4;

/// Adds the products of one panel with a tile of `sums.len()` (1 ..= 8) rows to `sums[row][column]`.
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
    let mut sums = sums.as_chunks_mut::<1>().0;
    macro_rules! by_rows {
        ($sums:ident, $form:expr, $($rows:literal)+) => {
            match $sums.len() {
                $($rows => {
                    let sums = $sums.as_mut_array().expect("its length is matched");
                    // SAFETY: the caller's promise.
                    unsafe { rows_by_panels::<$rows, 1, { $form }>(kind, [panel], blocks, records, halves, rows, sums) }
                })+
                rows => unreachable!("a tile of {rows} rows, of {ALONE} at most"),
            }
        };
    }
    macro_rules! more_rows {
        ($form:expr) => {
            by_rows!(sums, $form, 5 6 7 8)
        };
    }
    if rows > FEW {
        match kind.number {
            number::Q8 => return more_rows!(number::Q8),
            number::Q4 => return more_rows!(number::Q4),
            number::Q5 => return more_rows!(number::Q5),
            number::Q4_SIX => return more_rows!(number::Q4_SIX),
            number::Q5_SIX => return more_rows!(number::Q5_SIX),
            number::Q6_EIGHT => return more_rows!(number::Q6_EIGHT),
            number::TABLE4_SIX => return more_rows!(number::TABLE4_SIX),
            _ => {}
        }
    }
    while let Some((some, rest)) = sums.split_at_mut_checked(FEW.min(sums.len()).max(1)) {
        macro_rules! few_rows {
            ($form:literal) => {
                by_rows!(some, $form, 1 2 3 4)
            };
        }
        by_form!(kind.number, few_rows);
        records = records.wrapping_add(4 * FEW);
        halves = halves.wrapping_add(4 * FEW);
        sums = rest;
    }
}

/// The forms that most files are made of.
const fn is_common(number: u8) -> bool {
    matches!(
        number,
        number::Q8 | number::Q4 | number::Q5 | number::Q4_SIX | number::Q5_SIX | number::Q6_EIGHT | number::TABLE4_SIX
    )
}

/// Adds the products of two panels with a tile of 4 or 5 rows to `sums[row][panel][column]`.
///
/// # Safety
/// As [`tile`], of both panels.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(super) unsafe fn pair(
    kind: &PanelKind,
    panels: [*const u8; PAIR],
    blocks: usize,
    records: *const u8,
    sums: &mut [[[f32; COLUMNS]; PAIR]],
) {
    let halves = records.wrapping_add(blocks * sums.len() * RECORD);
    macro_rules! of_form {
        ($form:literal) => {
            // SAFETY: the caller's promise.
            unsafe {
                if let Some(sums) = sums.as_mut_array() {
                    rows_by_panels::<4, PAIR, $form>(kind, panels, blocks, records, halves, 4, sums);
                } else {
                    let sums = sums.as_mut_array().expect("four rows or five");
                    rows_by_panels::<5, PAIR, $form>(kind, panels, blocks, records, halves, 5, sums);
                }
            }
        };
    }
    by_form!(kind.number, of_form)
}

/// As [`pair`], of whole units that [`expand_units`] took apart, with the sums of halves apart from the records.
///
/// # Safety
/// As [`pair`]; the panels are of the form [`Form::wide_unit`] and `blocks` whole units.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(super) unsafe fn wide_pair(
    kind: &PanelKind,
    panels: [*const u8; PAIR],
    blocks: usize,
    (records, halves): (*const u8, *const u8),
    sums: &mut [[[f32; COLUMNS]; PAIR]],
) {
    macro_rules! by {
        ($($form:ident)+) => {
            match kind.form().wide_unit() {
                $(number::$form => {
                    // SAFETY: the caller's promise.
                    unsafe {
                        if let Some(sums) = sums.as_mut_array() {
                            rows_by_panels::<4, PAIR, { number::$form }>(kind, panels, blocks, records, halves, 4, sums);
                        } else {
                            let sums = sums.as_mut_array().expect("four rows or five");
                            rows_by_panels::<5, PAIR, { number::$form }>(kind, panels, blocks, records, halves, 5, sums);
                        }
                    }
                })+
                other => unreachable!("form {other} is none of units taken apart"),
            }
        };
    }
    by!(WIDE_UNIT WIDE_UNIT_MINIMUM WIDE_UNIT16 WIDE_UNIT16_MINIMUM)
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
            unsafe { expand_form::<$form, { FORMS[$form].wide() }>(kind, panel, blocks, to) }
        };
    }
    by_form!(kind.number, of_form)
}

/// Takes blocks of a panel apart, from the beginning of a unit on, as a panel of the form [`Form::wide_unit`].
///
/// # Safety
/// As [`expand`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(super) unsafe fn expand_units(kind: &PanelKind, panel: *const u8, blocks: Range<usize>, to: *mut u8) {
    macro_rules! of_form {
        ($form:literal) => {
            if const { FORMS[$form].span() > 1 } {
                // SAFETY: the caller's promise.
                unsafe { expand_form::<$form, { FORMS[$form].wide_unit() }>(kind, panel, blocks, to) }
            } else {
                unreachable!("units of {:?}, whose blocks share no scale, are taken apart", kind.tensor_type)
            }
        };
    }
    by_form!(kind.number, of_form)
}

/// # Safety
/// As [`expand`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn expand_form<const FORM: u8, const WIDE: u8>(
    kind: &PanelKind,
    panel: *const u8,
    blocks: Range<usize>,
    to: *mut u8,
) {
    let form: Form = const { FORMS[FORM as usize] };
    let wide: Form = const { FORMS[WIDE as usize] };
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
            let (wide_header, wide_codes, wide_index) = wide.places(block - blocks.start);
            if index == 0 || block == blocks.start {
                scales = prepare::<FORM>(kind, panel.add(header), 0, &mut sub_scales);
            }
            for part in 0..form.parts() {
                let (scale, minimum) = scale_and_minimum::<FORM>(&scales, form.parts() * index + part);
                let at = to.add(wide_header + 64 * (form.parts() * wide_index + part));
                _mm512_storeu_ps(at.cast(), scale);
                if form.has_minimum() {
                    _mm512_storeu_ps(at.add(64 * form.parts() * wide.unit_blocks()).cast(), minimum);
                }
            }
            let to = to.add(wide_codes);
            let codes = panel.add(codes);
            macro_rules! step {
                ($($step:literal)+) => {$(
                    prefetch(&form, codes.wrapping_add(2 * form.unit_bytes()), $step);
                    let mut w = unsigned::<FORM, $step>(codes, table);
                    if !form.table && wide.offset != form.offset {
                        w = _mm512_add_epi8(w, more);
                    }
                    _mm512_storeu_si512(to.add(64 * $step).cast(), w);
                )+};
            }
            step!(0 1 2 3 4 5 6 7);
        }
    }
}

/// A tile of rows times one or two panels, in registers: all of its rows or, where the format has no kernels for so many,
/// `ROWS` of `rows` from that on which the records and halves begin with.
///
/// Parts and steps of a block are written out by macros, because the compiler keeps sums in registers only where it has
/// unrolled everything that walks over them, and does not do so by itself for loops this large.
///
/// # Safety
/// As [`tile`] and [`pair`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn rows_by_panels<const ROWS: usize, const PANELS: usize, const FORM: u8>(
    kind: &PanelKind,
    panels: [*const u8; PANELS],
    blocks: usize,
    records: *const u8,
    halves: *const u8,
    rows: usize,
    sums: &mut [[[f32; COLUMNS]; PANELS]; ROWS],
) {
    const { assert!(ROWS >= 1 && ROWS * PANELS <= 2 * OF_MANY && PANELS >= 1 && PANELS <= PAIR) };
    let form: Form = const { FORMS[FORM as usize] };
    // Known when compiled, wherever it can be.
    let rows = if const { is_common(FORM) || PANELS == PAIR } { ROWS } else { rows };
    let (unit_blocks, unit_bytes, span) = (form.unit_blocks(), form.unit_bytes(), form.span());
    // Of the blocks that share a scale of activations.
    let mut products = [[_mm512_setzero_ps(); PANELS]; ROWS];
    let mut totals = [[_mm512_setzero_ps(); PANELS]; ROWS];
    let mut sub_scales = [const { SubScales([0; 256]) }; PANELS];
    // SAFETY: units and records are whole, as the caller promises; a last unit has a whole header and the blocks that are
    // left.
    unsafe {
        if span == 1 {
            for row in 0..ROWS {
                for p in 0..PANELS {
                    totals[row][p] = _mm512_loadu_ps(sums[row][p].as_ptr());
                }
            }
        }
        let table = _mm512_broadcast_i32x4(_mm_loadu_si128(kind.table.as_ptr().cast()));
        let (mut headers, mut record, mut halves) = (panels, records, halves);
        let mut left = blocks;
        while left > 0 {
            let mut scales = [UnitScales::none(headers[0]); PANELS];
            let mut codes = headers;
            for p in 0..PANELS {
                scales[p] = prepare::<FORM>(kind, headers[p], const { ahead(ROWS) }, &mut sub_scales[p]);
                codes[p] = headers[p].add(form.header_bytes());
            }
            for index in 0..left.min(unit_blocks) {
                let words = record.cast::<i32>();
                macro_rules! step {
                    ($part:literal, $step:literal, $wholes:ident) => {
                        if const { $step * FORMS[FORM as usize].parts() / STEPS == $part } {
                            let mut w = [_mm512_setzero_si512(); PANELS];
                            for p in 0..PANELS {
                                let codes = codes[p];
                                // Many rows take so long that the processor's own asking is enough.
                                if PANELS == 1 {
                                    prefetch(&form, codes.wrapping_add(ahead(ROWS)), $step);
                                }
                                w[p] = unsigned::<FORM, $step>(codes, table);
                            }
                            for row in 0..ROWS {
                                let a = _mm512_set1_epi32(words.add((3 + $step) * rows + row).read_unaligned());
                                for p in 0..PANELS {
                                    $wholes[row][p] = _mm512_dpbusd_epi32($wholes[row][p], w[p], a);
                                }
                            }
                        }
                    };
                }
                macro_rules! part {
                    ($part:literal) => {
                        if const { $part < FORMS[FORM as usize].parts() } {
                            let part_sums =
                                if form.parts() == 1 { words } else { halves.cast::<i32>().add($part * rows) };
                            let mut wholes = [[_mm512_setzero_si512(); PANELS]; ROWS];
                            for row in 0..ROWS {
                                wholes[row] = [start::<FORM>(words.add(rows + row), part_sums.add(row)); PANELS];
                            }
                            step!($part, 0, wholes);
                            step!($part, 1, wholes);
                            step!($part, 2, wholes);
                            step!($part, 3, wholes);
                            step!($part, 4, wholes);
                            step!($part, 5, wholes);
                            step!($part, 6, wholes);
                            step!($part, 7, wholes);
                            let mut factors = [(_mm512_setzero_ps(), _mm512_setzero_ps()); PANELS];
                            for p in 0..PANELS {
                                factors[p] = scale_and_minimum::<FORM>(&scales[p], form.parts() * index + $part);
                            }
                            for row in 0..ROWS {
                                for p in 0..PANELS {
                                    let (scale, minimum) = factors[p];
                                    let whole = _mm512_cvtepi32_ps(wholes[row][p]);
                                    let product = &mut products[row][p];
                                    *product = _mm512_fmadd_ps(whole, scale, *product);
                                    if form.has_minimum() {
                                        let sum = _mm512_set1_epi32(part_sums.add(row).read_unaligned());
                                        *product = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), minimum, *product);
                                    }
                                }
                            }
                        }
                    };
                }
                part!(0);
                part!(1);
                if span == 1 {
                    for row in 0..ROWS {
                        let a_scale = _mm512_set1_ps(words.add(2 * rows + row).cast::<f32>().read_unaligned());
                        for p in 0..PANELS {
                            totals[row][p] = _mm512_fmadd_ps(products[row][p], a_scale, totals[row][p]);
                            products[row][p] = _mm512_setzero_ps();
                        }
                    }
                }
                for codes in &mut codes {
                    *codes = codes.add(form.code_bytes());
                }
                record = record.wrapping_add(rows * RECORD);
                halves = halves.wrapping_add(rows * HALVES);
            }
            if span > 1 {
                // A unit has as many blocks. Sums stay in memory meanwhile: the compiler is not to keep them in registers, of
                // which there are no more.
                let sums = std::hint::black_box(&mut *sums);
                let last = record.wrapping_sub(rows * RECORD).cast::<f32>();
                for row in 0..ROWS {
                    let a_scale = _mm512_set1_ps(last.add(2 * rows + row).read_unaligned());
                    for p in 0..PANELS {
                        let sum = _mm512_loadu_ps(sums[row][p].as_ptr());
                        let sum = _mm512_fmadd_ps(products[row][p], a_scale, sum);
                        _mm512_storeu_ps(sums[row][p].as_mut_ptr(), sum);
                        products[row][p] = _mm512_setzero_ps();
                    }
                }
            }
            for header in &mut headers {
                *header = header.wrapping_add(unit_bytes);
            }
            left = left.saturating_sub(unit_blocks);
        }
        if span == 1 {
            for row in 0..ROWS {
                for p in 0..PANELS {
                    _mm512_storeu_ps(sums[row][p].as_mut_ptr(), totals[row][p]);
                }
            }
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
#[derive(Clone, Copy)]
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

/// Asks for codes to come: of a block, as many lines as there are bits, spread over the steps.
#[inline(always)]
fn prefetch(form: &Form, codes: *const u8, step: usize) {
    if (step + 1) * form.bits / STEPS > step * form.bits / STEPS {
        let line = step * form.bits / STEPS;
        // SAFETY: prefetching reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(codes.wrapping_add(64 * line).cast()) };
    }
}

/// Reads a header.
///
/// # Safety
/// A whole header is there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn prepare<const FORM: u8>(
    kind: &PanelKind,
    header: *const u8,
    ahead: usize,
    sub_scales: &mut SubScales,
) -> UnitScales {
    let form: Form = const { FORMS[FORM as usize] };
    let mut scales =
        UnitScales { header, sub_scales: header, scale: _mm512_setzero_ps(), minimum: _mm512_setzero_ps() };
    // SAFETY: the header is there; prefetching reads nothing.
    unsafe {
        for line in 0..form.header_bytes() / 64 {
            _mm_prefetch::<_MM_HINT_T0>(header.wrapping_add(64 * line + ahead).cast());
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
            Scales::Wide(parts, minimum, blocks) => {
                let wide = |number: usize| _mm512_loadu_ps(header.add(64 * number).cast());
                (wide(part), if minimum { wide(parts * blocks + part) } else { zero })
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
