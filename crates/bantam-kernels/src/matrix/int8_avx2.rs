//! Panel × tile with AVX2: `vpdpbusd` of AVX-VNNI where it is there, else `vpmaddubsw`.
//!
//! `vpmaddubsw` adds two products of an unsigned and a signed byte into 16 bits and saturates. As many steps as stay below
//! 2^15 together are added up there; bytes above 128 are taken as |w| and a·sign(w) with w = u - 128, whose pairs reach at
//! most 2 · 128 · 127 = 32512.

use super::forms::{Correction, FORMS, Form, PanelKind, Scales, by_form, minimum_factor, number};
use super::int8_rows::{HALVES, RECORD, TILE};
use super::panels::{COLUMNS, STEPS};
use super::wide::Wide;
use std::arch::x86_64::*;
use std::ops::Range;

/// How bytes are multiplied.
const VNNI: bool = true;
/// The other way.
const MADD: bool = false;

/// Adds the products of one panel with a tile of `sums.len()` rows to `sums[row][column]`, by `vpdpbusd`.
///
/// # Safety
/// The machine must have AVX2, FMA, F16C and AVX-VNNI; `panel` must be a whole panel of `kind` and `blocks`, `records` a whole tile
/// of as many blocks.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
pub(super) unsafe fn tile_vnni(
    kind: &PanelKind,
    panel: *const u8,
    blocks: usize,
    records: *const u8,
    sums: &mut [[f32; COLUMNS]],
) {
    let halves = records.wrapping_add(blocks * sums.len() * RECORD);
    // SAFETY: the caller's promise, and those functions are of the same instructions.
    unsafe {
        match kind.number {
            number::Q8 => rows_by_panel::<{ number::Q8 }, VNNI>(kind, panel, blocks, records, halves, sums),
            number::Q4 => rows_by_panel::<{ number::Q4 }, VNNI>(kind, panel, blocks, records, halves, sums),
            _ => Wide::of(kind).tile((expand, wide_tile_vnni), panel, blocks, records, sums),
        }
    }
}

/// As [`tile_vnni`], of blocks taken apart.
///
/// # Safety
/// As [`tile_vnni`], with the sums of halves apart from the records.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
pub(super) unsafe fn wide_tile_vnni(
    kind: &PanelKind,
    panel: *const u8,
    blocks: usize,
    records: *const u8,
    halves: *const u8,
    sums: &mut [[f32; COLUMNS]],
) {
    macro_rules! by {
        ($form:expr) => {
            // SAFETY: the caller's promise.
            unsafe { rows_by_panel::<{ $form }, VNNI>(kind, panel, blocks, records, halves, sums) }
        };
    }
    match kind.form().wide() {
        number::WIDE => by!(number::WIDE),
        number::WIDE_MINIMUM => by!(number::WIDE_MINIMUM),
        number::WIDE16 => by!(number::WIDE16),
        _ => by!(number::WIDE16_MINIMUM),
    }
}

/// Adds the products of one panel with a tile of `sums.len()` rows to `sums[row][column]`, by `vpmaddubsw`.
///
/// # Safety
/// The machine must have AVX2, FMA and F16C; `panel` must be a whole panel of `kind` and `blocks`, `records` a whole tile
/// of as many blocks.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn tile_madd(
    kind: &PanelKind,
    panel: *const u8,
    blocks: usize,
    records: *const u8,
    sums: &mut [[f32; COLUMNS]],
) {
    let halves = records.wrapping_add(blocks * sums.len() * RECORD);
    // SAFETY: the caller's promise, and those functions are of the same instructions.
    unsafe {
        match kind.number {
            number::Q8 => rows_by_panel::<{ number::Q8 }, MADD>(kind, panel, blocks, records, halves, sums),
            number::Q4 => rows_by_panel::<{ number::Q4 }, MADD>(kind, panel, blocks, records, halves, sums),
            _ => Wide::of(kind).tile((expand, wide_tile_madd), panel, blocks, records, sums),
        }
    }
}

/// As [`tile_madd`], of blocks taken apart.
///
/// # Safety
/// As [`tile_madd`], with the sums of halves apart from the records.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn wide_tile_madd(
    kind: &PanelKind,
    panel: *const u8,
    blocks: usize,
    records: *const u8,
    halves: *const u8,
    sums: &mut [[f32; COLUMNS]],
) {
    macro_rules! by {
        ($form:expr) => {
            // SAFETY: the caller's promise.
            unsafe { rows_by_panel::<{ $form }, MADD>(kind, panel, blocks, records, halves, sums) }
        };
    }
    match kind.form().wide() {
        number::WIDE => by!(number::WIDE),
        number::WIDE_MINIMUM => by!(number::WIDE_MINIMUM),
        number::WIDE16 => by!(number::WIDE16),
        _ => by!(number::WIDE16_MINIMUM),
    }
}

/// Takes blocks of a panel apart, as a panel of the form [`Form::wide`].
///
/// # Safety
/// As [`tile_madd`]; room for the blocks at `to`.
#[target_feature(enable = "avx2,fma,f16c")]
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
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn expand_form<const FORM: u8>(kind: &PanelKind, panel: *const u8, blocks: Range<usize>, to: *mut u8) {
    let form: Form = const { FORMS[FORM as usize] };
    let wide: Form = const { FORMS[FORMS[FORM as usize].wide() as usize] };
    let mut sub_scales = [0u8; 128];
    // SAFETY: the blocks are in the panel, and there is room.
    unsafe {
        let mut table = _mm256_broadcastsi128_si256(_mm_loadu_si128(kind.table.as_ptr().cast()));
        let more = _mm256_set1_epi8((wide.offset - form.offset) as i8);
        if form.table {
            table = _mm256_add_epi8(table, more);
        }
        for half in 0..2 {
            let mut to = to.add(32 * half);
            let mut scales = UnitScales::none(panel);
            for block in blocks.clone() {
                let (header, codes, index) = form.places(block);
                if index == 0 || block == blocks.start {
                    scales = prepare::<FORM>(kind, panel.add(header), half, &mut sub_scales);
                }
                for part in 0..form.parts() {
                    let at = form.parts() * index + part;
                    let (scale, minimum) = scale_and_minimum::<FORM>(&scales, &sub_scales, at, half);
                    _mm256_storeu_ps(to.add(64 * part).cast(), scale);
                    if form.has_minimum() {
                        _mm256_storeu_ps(to.add(64 * (form.parts() + part)).cast(), minimum);
                    }
                }
                to = to.add(wide.header_bytes());
                let codes = panel.add(codes + 32 * half);
                macro_rules! step {
                    ($($step:literal)+) => {$(
                        let mut w = unsigned::<FORM, $step>(codes, table);
                        if !form.table && wide.offset != form.offset {
                            w = _mm256_add_epi8(w, more);
                        }
                        _mm256_storeu_si256(to.add(64 * $step).cast(), w);
                    )+};
                }
                step!(0 1 2 3 4 5 6 7);
                to = to.add(64 * STEPS);
            }
        }
    }
}

/// # Safety
/// As [`wide_tile_vnni`] or [`wide_tile_madd`], inlined into either.
#[inline(always)]
unsafe fn rows_by_panel<const FORM: u8, const BY_VNNI: bool>(
    kind: &PanelKind,
    panel: *const u8,
    blocks: usize,
    records: *const u8,
    halves: *const u8,
    sums: &mut [[f32; COLUMNS]],
) {
    let rows = sums.len();
    debug_assert!(rows <= TILE);
    let job = Job { kind, panel, blocks, records, halves, rows };
    // Eight columns and up to four rows at a time fill the sixteen registers.
    for half in 0..2 {
        let mut row = 0;
        while row < rows {
            // SAFETY: the caller's promise; `row` and the rows after it are inside the tile.
            unsafe {
                let count = match rows - row {
                    1 => group::<1, FORM, BY_VNNI>(&job, row, half, sums),
                    2 => group::<2, FORM, BY_VNNI>(&job, row, half, sums),
                    3 => group::<3, FORM, BY_VNNI>(&job, row, half, sums),
                    _ => group::<4, FORM, BY_VNNI>(&job, row, half, sums),
                };
                row += count;
            }
        }
    }
}

/// A panel and a tile.
struct Job<'a> {
    kind: &'a PanelKind,
    panel: *const u8,
    blocks: usize,
    records: *const u8,
    halves: *const u8,
    rows: usize,
}

/// `COUNT` rows from `first`, eight columns.
///
/// # Safety
/// As [`rows_by_panel`].
#[inline(always)]
unsafe fn group<const COUNT: usize, const FORM: u8, const BY_VNNI: bool>(
    job: &Job<'_>,
    first: usize,
    half: usize,
    sums: &mut [[f32; COLUMNS]],
) -> usize {
    let form: Form = const { FORMS[FORM as usize] };
    let Job { kind, panel, blocks, records, halves, rows } = *job;
    let (parts, signed) = (form.parts(), !BY_VNNI && form.greatest() > 128);
    // Of blocks taken apart that of their format.
    let span = if matches!(form.scales, Scales::Wide(..)) { kind.form().span() } else { form.span() };
    let mut sub_scales = [0u8; 128];
    // SAFETY: all places lie inside the panel, the records and `sums`, whose sizes the caller vouches for.
    unsafe {
        let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(kind.table.as_ptr().cast()));
        let mut totals = [_mm256_setzero_ps(); COUNT];
        // Of the blocks that share a scale of activations.
        let mut products = [_mm256_setzero_ps(); COUNT];
        for row in 0..COUNT {
            totals[row] = _mm256_loadu_ps(sums[first + row].as_ptr().add(half * 8));
        }
        let mut scales = UnitScales::none(panel);
        for block in 0..blocks {
            let (header, codes, index) = form.places(block);
            let codes = panel.add(codes + 32 * half);
            if index == 0 {
                scales = prepare::<FORM>(kind, panel.add(header), half, &mut sub_scales);
            }
            let words = records.add(block * rows * RECORD).cast::<i32>();
            let by = words.add(2 * rows + first).cast::<f32>();
            let steps = words.add(3 * rows + first);
            // Written out, so that everything but the rows' places is known when compiled.
            macro_rules! step {
                ($part:literal, $step:literal, $wholes:ident, $pairs:ident) => {
                    if const { $step * FORMS[FORM as usize].parts() / STEPS == $part } {
                        let w = unsigned::<FORM, $step>(codes, table);
                        let signs = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
                        let magnitude = _mm256_abs_epi8(signs);
                        for row in 0..COUNT {
                            let a = _mm256_set1_epi32(steps.add($step * rows + row).read_unaligned());
                            if BY_VNNI {
                                $wholes[row] = _mm256_dpbusd_avx_epi32($wholes[row], w, a);
                            } else {
                                let products = if signed {
                                    _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(a, signs))
                                } else {
                                    _mm256_maddubs_epi16(w, a)
                                };
                                $pairs[row] = _mm256_add_epi16($pairs[row], products);
                            }
                        }
                        if !BY_VNNI && const { ($step + 1) % together(&FORMS[FORM as usize]) == 0 } {
                            for row in 0..COUNT {
                                let fours = _mm256_madd_epi16($pairs[row], _mm256_set1_epi16(1));
                                $wholes[row] = _mm256_add_epi32($wholes[row], fours);
                                $pairs[row] = _mm256_setzero_si256();
                            }
                        }
                    }
                };
            }
            macro_rules! part {
                ($part:literal) => {
                    if const { $part < FORMS[FORM as usize].parts() } {
                        let part_sums = halves.add(block * rows * HALVES).cast::<i32>().add($part * rows + first);
                        let mut wholes = [_mm256_setzero_si256(); COUNT];
                        let mut pairs = [_mm256_setzero_si256(); COUNT];
                        step!($part, 0, wholes, pairs);
                        step!($part, 1, wholes, pairs);
                        step!($part, 2, wholes, pairs);
                        step!($part, 3, wholes, pairs);
                        step!($part, 4, wholes, pairs);
                        step!($part, 5, wholes, pairs);
                        step!($part, 6, wholes, pairs);
                        step!($part, 7, wholes, pairs);
                        let (scale, minimum) =
                            scale_and_minimum::<FORM>(&scales, &sub_scales, parts * index + $part, half);
                        for row in 0..COUNT {
                            let word = |at: *const i32| at.add(row).read_unaligned();
                            let mut whole = wholes[row];
                            if !matches!(form.correction(), Correction::None) && !signed {
                                let correction = match form.correction() {
                                    Correction::None => 0,
                                    Correction::By128 => word(words.add(rows + first)),
                                    Correction::By8(shift) => power(word(words.add(first)), shift),
                                    Correction::Part(shift) => power(word(part_sums), shift),
                                };
                                whole = _mm256_add_epi32(whole, _mm256_set1_epi32(correction));
                            }
                            products[row] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), scale, products[row]);
                            if form.has_minimum() {
                                let sum = word(if parts == 1 { words.add(first) } else { part_sums });
                                products[row] = _mm256_fmadd_ps(_mm256_set1_ps(sum as f32), minimum, products[row]);
                            }
                        }
                    }
                };
            }
            part!(0);
            part!(1);
            if (block + 1).is_multiple_of(span) {
                for row in 0..COUNT {
                    let a_scale = _mm256_set1_ps(by.add(row).read_unaligned());
                    totals[row] = _mm256_fmadd_ps(products[row], a_scale, totals[row]);
                    products[row] = _mm256_setzero_ps();
                }
            }
        }
        for (row, total) in totals.into_iter().enumerate() {
            _mm256_storeu_ps(sums[first + row].as_mut_ptr().add(half * 8), total);
        }
    }
    COUNT
}

/// Steps whose pairs of products can be added up in 16 bits: a divisor of those of a part.
const fn together(form: &Form) -> usize {
    let mut together = STEPS / form.parts();
    while together > 1 && together * 2 * form.greatest() * 127 > i16::MAX as usize {
        together /= 2;
    }
    together
}

/// Times a power of two (an exact one).
#[inline(always)]
fn power(sum: i32, shift: i32) -> i32 {
    if shift < 0 { sum >> -shift } else { sum << shift }
}

/// What a unit's header says for eight columns.
struct UnitScales {
    header: *const u8,
    scale: __m256,
    minimum: __m256,
}

impl UnitScales {
    /// Before the first header.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn none(header: *const u8) -> Self {
        Self { header, scale: _mm256_setzero_ps(), minimum: _mm256_setzero_ps() }
    }
}

/// Reads a header; sub-scales of six bits go to `sub_scales`, 8 bytes a part.
///
/// # Safety
/// A whole header is there.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn prepare<const FORM: u8>(
    kind: &PanelKind,
    header: *const u8,
    half: usize,
    sub_scales: &mut [u8; 128],
) -> UnitScales {
    let form: Form = const { FORMS[FORM as usize] };
    // SAFETY: the header is there, and four times 32 bytes fit.
    unsafe {
        let mut scales = UnitScales::none(header);
        match form.scales {
            Scales::Half(_) | Scales::HalfOffset | Scales::Exponent | Scales::Float8 | Scales::Wide(..) => {
                return scales;
            }
            Scales::Six32 | Scales::Six16 | Scales::Six32Minimum | Scales::Eight16 | Scales::Four16Minimum => (),
        }
        scales.scale = _mm256_mul_ps(halves(header.add(16 * half)), _mm256_set1_ps(kind.unit));
        if form.has_minimum() {
            scales.minimum = _mm256_mul_ps(halves(header.add(32 + 16 * half)), _mm256_set1_ps(minimum_factor(&form)));
        }
        // Eight columns of four parts, which lie 16 bytes apart.
        let four = |at: usize| {
            let eight = |sub: usize| header.add(at + 16 * sub + 8 * half).cast::<i64>().read_unaligned();
            _mm256_set_epi64x(eight(3), eight(2), eight(1), eight(0))
        };
        let to = sub_scales.as_mut_ptr();
        let store = |line: usize, lower: __m256i, upper: __m256i| {
            let (lower, upper) =
                (_mm256_and_si256(lower, _mm256_set1_epi8(15)), _mm256_and_si256(upper, _mm256_set1_epi8(0x30)));
            let less = if matches!(form.scales, Scales::Six32Minimum) { 0 } else { 32 };
            let six = _mm256_sub_epi8(_mm256_or_si256(lower, upper), _mm256_set1_epi8(less));
            _mm256_storeu_si256(to.add(32 * line).cast(), six);
        };
        match form.scales {
            Scales::Six32 => {
                let eight = |sub: usize| header.add(32 + 16 * sub + 8 * half).cast::<i64>().read_unaligned();
                let (even, odd) = (eight(0), eight(1));
                let upper = _mm256_set_epi64x(odd >> 2, even >> 2, odd, even);
                let lower = four(64);
                store(0, lower, _mm256_slli_epi16::<4>(upper));
                store(1, _mm256_srli_epi16::<4>(lower), upper);
            }
            Scales::Six16 | Scales::Six32Minimum => {
                let (first, second, upper) = (four(64), four(128), four(192));
                store(0, first, _mm256_slli_epi16::<4>(upper));
                store(1, _mm256_srli_epi16::<4>(first), _mm256_slli_epi16::<2>(upper));
                store(2, second, upper);
                store(3, _mm256_srli_epi16::<4>(second), _mm256_srli_epi16::<2>(upper));
            }
            _ => (),
        }
        scales
    }
}

/// Eight f16.
///
/// # Safety
/// They are there.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn halves(from: *const u8) -> __m256 {
    // SAFETY: the caller's promise.
    unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
}

/// Scales and (where there are any) minima of eight columns for a part of a block, counted through the unit.
///
/// # Safety
/// As [`prepare`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn scale_and_minimum<const FORM: u8>(
    scales: &UnitScales,
    sub_scales: &[u8; 128],
    part: usize,
    half: usize,
) -> (__m256, __m256) {
    let form: Form = const { FORMS[FORM as usize] };
    let zero = _mm256_setzero_ps();
    // SAFETY: the part is in the unit.
    unsafe {
        let header = scales.header;
        let bytes = |from: *const u8| _mm_loadl_epi64(from.cast());
        let here = |at: usize| bytes(header.add(at + 16 * part + 8 * half));
        let six = |part: usize| _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes(sub_scales.as_ptr().add(8 * part))));
        match form.scales {
            Scales::Half(span) => (halves(header.add(32 * (part / span) + 16 * half)), zero),
            Scales::HalfOffset => {
                let by = _mm256_set1_ps(-minimum_factor(&form));
                (halves(header.add(16 * half)), _mm256_mul_ps(halves(header.add(32 + 16 * half)), by))
            }
            Scales::Exponent => {
                let exponents = _mm256_cvtepu8_epi32(here(0));
                let normal = _mm256_slli_epi32::<23>(_mm256_sub_epi32(exponents, _mm256_set1_epi32(1)));
                // The two smallest are subnormal; from the third on this is at most as much.
                let by = _mm256_min_epi32(exponents, _mm256_set1_epi32(2));
                let small = _mm256_sllv_epi32(_mm256_set1_epi32(0x0020_0000), by);
                (_mm256_castsi256_ps(_mm256_max_epi32(normal, small)), zero)
            }
            Scales::Float8 => {
                let fields = _mm_slli_epi16::<7>(_mm_cvtepu8_epi16(here(0)));
                (_mm256_mul_ps(_mm256_cvtph_ps(fields), _mm256_set1_ps(128.0)), zero)
            }
            Scales::Six32 | Scales::Six16 => (_mm256_mul_ps(six(part), scales.scale), zero),
            Scales::Eight16 => (_mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(here(64))), scales.scale), zero),
            Scales::Six32Minimum => {
                (_mm256_mul_ps(six(part), scales.scale), _mm256_mul_ps(six(8 + part), scales.minimum))
            }
            Scales::Four16Minimum => {
                let both = _mm256_cvtepu8_epi32(here(64));
                let scale = _mm256_cvtepi32_ps(_mm256_and_si256(both, _mm256_set1_epi32(15)));
                let minimum = _mm256_cvtepi32_ps(_mm256_srli_epi32::<4>(both));
                (_mm256_mul_ps(scale, scales.scale), _mm256_mul_ps(minimum, scales.minimum))
            }
            Scales::Wide(parts, minimum, blocks) => {
                let wide = |number: usize| _mm256_loadu_ps(header.add(64 * number + 32 * half).cast());
                (wide(part), if minimum { wide(parts * blocks + part) } else { zero })
            }
        }
    }
}

/// The unsigned bytes of a step for eight columns.
///
/// # Safety
/// The block's codes are there.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn unsigned<const FORM: u8, const STEP: usize>(codes: *const u8, table: __m256i) -> __m256i {
    let step = STEP;
    let form: Form = const { FORMS[FORM as usize] };
    // SAFETY: lines below the form's bits; instructions of AVX2, which whoever inlines this has.
    unsafe {
        let line = |line: usize| _mm256_loadu_si256(codes.add(64 * line).cast());
        let masked = |x: __m256i, bits: i8| _mm256_and_si256(x, _mm256_set1_epi8(bits));
        let right = |x: __m256i, by: usize| _mm256_srl_epi16(x, _mm_cvtsi32_si128(by as i32));
        let left = |x: __m256i, by: usize| _mm256_sll_epi16(x, _mm_cvtsi32_si128(by as i32));
        // The bits from `from` on to where `to` is.
        let moved =
            |x: __m256i, from: usize, to: usize| if from < to { left(x, to - from) } else { right(x, from - to) };
        let four = || masked(right(line(step / 2), 4 * (step % 2)), 15);
        let two = || masked(right(line(step / 4), 2 * (step % 4)), 3);
        let code = match form.bits {
            8 => line(step),
            6 => _mm256_or_si256(four(), masked(moved(line(4 + step / 4), 2 * (step % 4), 4), 0x30)),
            5 => _mm256_or_si256(four(), masked(moved(line(4), step, 4), 0x10)),
            4 => four(),
            3 => _mm256_or_si256(two(), masked(moved(line(2), step, 2), 0x04)),
            2 => two(),
            _ => masked(right(line(0), step), 1),
        };
        if form.table { _mm256_shuffle_epi8(table, code) } else { code }
    }
}

#[cfg(test)]
mod tests {
    use super::super::forms::KINDS;
    use super::super::int8_rows::Int8Rows;
    use super::super::panels::Panels;
    use super::super::{int8_avx512, int8_portable};
    use super::*;
    use crate::isa::has_avx_vnni;
    use crate::{Isa, Pool};

    /// All instruction sets give the same bits as plain Rust with fused sums, whatever the bytes.
    fn check(kind: &'static PanelKind, rows: usize, blocks: usize) {
        let pool = Pool::new(1);
        let (block_bytes, block_len) = (kind.tensor_type.block_bytes(), kind.tensor_type.block_len());
        let inputs = blocks * block_len;
        let mut state = (rows * 100 + blocks) as u64;
        let source: Vec<u8> = (0..COLUMNS * blocks * block_bytes)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        let source = bantam_tensor::SharedBytes::from_vec(source);
        let panels = Panels::waiting(kind, COLUMNS, inputs, source).expect("small");
        let mut room = Vec::new();
        let panels = panels.view(Isa::Portable, 0..1, &mut room);
        let x: Vec<f32> = (0..rows * inputs).map(|i| ((i * 37) % 255) as f32 - 127.0).collect();
        let mut int8 = Int8Rows::with_capacity(rows, inputs).expect("small");
        int8.quantize(&pool, Isa::Portable, kind.activation(), &x, rows, inputs);
        let records = int8.tile(int8.tiles().next().expect("one tile")).as_ptr();
        let (panel, blocks) = (panels.panel(0), inputs / 32);
        let mut expected = [[0f32; COLUMNS]; TILE];
        // SAFETY: a whole panel and tile.
        unsafe { int8_portable::tile_as::<true>(kind, panel, blocks, records, &mut expected[..rows]) };
        type TileFunction = unsafe fn(&PanelKind, *const u8, usize, *const u8, &mut [[f32; COLUMNS]]);
        let functions: [(bool, TileFunction); 3] = [
            (Isa::Avx2.usable() == Isa::Avx2, tile_madd),
            (Isa::Avx2.usable() == Isa::Avx2 && has_avx_vnni(), tile_vnni),
            (Isa::Avx512.usable() == Isa::Avx512 && rows <= int8_avx512::ALONE, int8_avx512::tile),
        ];
        let agree = |found: &[[f32; COLUMNS]], way: &str| {
            for (found, expected) in found.as_flattened().iter().zip(expected.as_flattened()) {
                let same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
                assert!(same, "{:?}, {rows} rows, {way}: {found} for {expected}", kind.tensor_type);
            }
        };
        for (number, (usable, function)) in functions.into_iter().enumerate() {
            let mut found = [[0f32; COLUMNS]; TILE];
            if !usable {
                continue;
            }
            // SAFETY: a whole panel and tile; the machine has been asked.
            unsafe { function(kind, panel, blocks, records, &mut found[..rows]) };
            agree(&found[..rows], &format!("way {number}"));
        }
        if Isa::Avx512.usable() == Isa::Avx512 && (4..=int8_avx512::OF_MANY).contains(&rows) {
            let mut pairs = [[[0f32; COLUMNS]; int8_avx512::PAIR]; int8_avx512::OF_MANY];
            // SAFETY: as above; the panel twice.
            unsafe { int8_avx512::pair(kind, [panel; int8_avx512::PAIR], blocks, records, &mut pairs[..rows]) };
            for panel in 0..int8_avx512::PAIR {
                agree(&pairs.map(|row| row[panel])[..rows], "in pairs");
            }
        }
    }

    #[test]
    fn ways_of_multiplying_agree() {
        for kind in &KINDS {
            for rows in 1..=TILE {
                check(kind, rows, 1 + rows % 4);
            }
        }
    }
}
