//! Panel × tile with NEON: `sdot` where it is there, else `smull` and sums of pairs.
//!
//! Both multiply signed bytes, so the panel's unsigned ones are taken as they are where they stay below 128 (the offset comes
//! out of the sums, from which accumulation starts), and with the offset of 128 taken off where they do not; a table
//! holds signed values from the start. Instructions for these products have no stable intrinsic and are assembly.

use super::forms::{Correction, FORMS, Form, PanelKind, Scales, by_form, minimum_factor, number};
use super::int8_rows::{HALVES, RECORD, TILE};
use super::panels::{COLUMNS, STEPS};
use super::wide::Wide;
use crate::simd::neon::widen_halves;
use std::arch::aarch64::*;
use std::arch::asm;
use std::ops::Range;

/// Products by `sdot`.
const DOTPROD: bool = true;
/// Products by `smull`.
const BASE: bool = false;

/// Whether a format has kernels of its own for `sdot`, for its panels as they are.
pub(super) fn has_own(kind: &PanelKind) -> bool {
    use number::*;
    matches!(kind.number, Q8 | Q4 | Q5 | TABLE4_SIX | Q4_SIX | Q5_SIX | Q6_EIGHT)
}

/// Adds the products of one panel with a tile of `sums.len()` rows to `sums[row][column]`, by `sdot`.
///
/// # Safety
/// The machine must have FEAT_DotProd; `panel` must be a whole panel of `kind` and `blocks`, `records` a whole tile of as many
/// blocks.
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn tile_dotprod(
    kind: &PanelKind,
    panel: *const u8,
    blocks: usize,
    records: *const u8,
    sums: &mut [[f32; COLUMNS]],
) {
    let halves = records.wrapping_add(blocks * sums.len() * RECORD);
    let job = Job { kind, panel, blocks, records, halves, rows: sums.len() };
    macro_rules! own {
        ($($form:ident)+) => {
            match kind.number {
                // SAFETY: the caller's promise.
                $(number::$form => unsafe { rows_by_panel::<{ number::$form }, DOTPROD>(&job, sums) },)+
                // SAFETY: as above.
                _ => unsafe { Wide::of(kind).tile((expand, wide_tile_dotprod), panel, blocks, records, sums) },
            }
        };
    }
    own!(Q8 Q4 Q5 TABLE4_SIX Q4_SIX Q5_SIX Q6_EIGHT)
}

/// As [`tile_dotprod`], by `smull`.
///
/// # Safety
/// As [`tile_dotprod`], on any aarch64.
#[target_feature(enable = "neon")]
pub(super) unsafe fn tile_base(
    kind: &PanelKind,
    panel: *const u8,
    blocks: usize,
    records: *const u8,
    sums: &mut [[f32; COLUMNS]],
) {
    let halves = records.wrapping_add(blocks * sums.len() * RECORD);
    let job = Job { kind, panel, blocks, records, halves, rows: sums.len() };
    // SAFETY: the caller's promise.
    unsafe {
        match kind.number {
            number::Q8 => rows_by_panel::<{ number::Q8 }, BASE>(&job, sums),
            number::Q4 => rows_by_panel::<{ number::Q4 }, BASE>(&job, sums),
            _ => Wide::of(kind).tile((expand, wide_tile_base), panel, blocks, records, sums),
        }
    }
}

macro_rules! wide_tile {
    ($(#[$doc:meta])* $name:ident, $features:literal, $way:ident) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// As [`tile_dotprod`], with blocks that [`expand`] made and the sums of halves apart from the records.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn $name(
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
                    number::WIDE => rows_by_panel::<{ number::WIDE }, $way>(&job, sums),
                    number::WIDE_MINIMUM => rows_by_panel::<{ number::WIDE_MINIMUM }, $way>(&job, sums),
                    number::WIDE16 => rows_by_panel::<{ number::WIDE16 }, $way>(&job, sums),
                    _ => rows_by_panel::<{ number::WIDE16_MINIMUM }, $way>(&job, sums),
                }
            }
        }
    };
}

wide_tile!(
    /// As [`tile_dotprod`], of blocks taken apart.
    wide_tile_dotprod,
    "neon,dotprod",
    DOTPROD
);
wide_tile!(
    /// As [`tile_base`], of blocks taken apart.
    wide_tile_base,
    "neon",
    BASE
);

/// Takes blocks of a panel apart, as a panel of the form [`Form::wide`] whose codes are signed, with no offset.
///
/// # Safety
/// As [`tile_base`]; room for the blocks at `to`.
#[target_feature(enable = "neon")]
pub(super) unsafe fn expand(kind: &PanelKind, panel: *const u8, blocks: Range<usize>, to: *mut u8) {
    macro_rules! of_form {
        ($form:literal) => {
            // SAFETY: the caller's promise.
            unsafe { expand_form::<$form, false>(kind, panel, blocks, to) }
        };
    }
    by_form!(kind.number, of_form)
}

/// As [`expand`]; of two steps, the eight codes of a column lie next to each other.
///
/// # Safety
/// As [`expand`].
#[target_feature(enable = "neon")]
pub(super) unsafe fn expand_by_eight(kind: &PanelKind, panel: *const u8, blocks: Range<usize>, to: *mut u8) {
    macro_rules! of_form {
        ($form:literal) => {
            // SAFETY: the caller's promise.
            unsafe { expand_form::<$form, true>(kind, panel, blocks, to) }
        };
    }
    by_form!(kind.number, of_form)
}

/// # Safety
/// As [`expand`].
#[target_feature(enable = "neon")]
unsafe fn expand_form<const FORM: u8, const BY_EIGHT: bool>(
    kind: &PanelKind,
    panel: *const u8,
    blocks: Range<usize>,
    to: *mut u8,
) {
    let form: Form = const { FORMS[FORM as usize] };
    let wide: Form = const { FORMS[FORMS[FORM as usize].wide() as usize] };
    let table = signed_table(kind, &form);
    let offset = vdupq_n_u8(form.offset as u8);
    // SAFETY: the blocks are in the panel, and there is room.
    unsafe {
        let mut to = to;
        let mut scales = UnitScales::<4>::none(panel);
        for block in blocks.clone() {
            let (header, codes, index) = form.places(block);
            if index == 0 || block == blocks.start {
                scales.prepare::<FORM>(kind, panel.add(header), 0);
            }
            for part in 0..form.parts() {
                let (scale, minimum) = scales.of_part::<FORM>(form.parts() * index + part);
                for quad in 0..4 {
                    vst1q_f32(to.add(64 * part + 16 * quad).cast(), scale[quad]);
                    if form.has_minimum() {
                        vst1q_f32(to.add(64 * (form.parts() + part) + 16 * quad).cast(), minimum[quad]);
                    }
                }
            }
            to = to.add(wide.header_bytes());
            let codes = panel.add(codes);
            let step = |code: uint8x16_t| if form.table { code } else { vsubq_u8(code, offset) };
            macro_rules! two_steps {
                ($even:literal $odd:literal) => {
                    for quad in 0..4 {
                        let even = step(code::<FORM, $even>(codes.add(16 * quad), table));
                        let odd = step(code::<FORM, $odd>(codes.add(16 * quad), table));
                        if BY_EIGHT {
                            let (even, odd) = (vreinterpretq_u32_u8(even), vreinterpretq_u32_u8(odd));
                            let at = to.add(64 * $even + 32 * quad);
                            vst1q_u8(at, vreinterpretq_u8_u32(vzip1q_u32(even, odd)));
                            vst1q_u8(at.add(16), vreinterpretq_u8_u32(vzip2q_u32(even, odd)));
                        } else {
                            vst1q_u8(to.add(64 * $even + 16 * quad), even);
                            vst1q_u8(to.add(64 * $odd + 16 * quad), odd);
                        }
                    }
                };
            }
            two_steps!(0 1);
            two_steps!(2 3);
            two_steps!(4 5);
            two_steps!(6 7);
            to = to.add(64 * STEPS);
        }
    }
}

/// A panel and a tile.
pub(super) struct Job<'a> {
    pub(super) kind: &'a PanelKind,
    pub(super) panel: *const u8,
    pub(super) blocks: usize,
    pub(super) records: *const u8,
    pub(super) halves: *const u8,
    pub(super) rows: usize,
}

/// # Safety
/// As [`tile_dotprod`] or [`tile_base`], inlined into either.
#[inline(always)]
unsafe fn rows_by_panel<const FORM: u8, const WAY: bool>(job: &Job<'_>, sums: &mut [[f32; COLUMNS]]) {
    debug_assert!(job.rows <= TILE && job.rows == sums.len());
    let mut row = 0;
    while row < job.rows {
        // SAFETY: the caller's promise; `row` and the rows after it are inside the tile.
        unsafe {
            row += match job.rows - row {
                1 => columns::<1, 4, FORM, WAY>(job, row, sums),
                2 | 3 => columns::<2, 4, FORM, WAY>(job, row, sums),
                4..8 => columns::<4, 4, FORM, WAY>(job, row, sums),
                8..12 => columns::<8, 2, FORM, WAY>(job, row, sums),
                _ => columns::<12, 2, FORM, WAY>(job, row, sums),
            };
        }
    }
}

/// All columns: sixteen of up to four rows, or eight of up to twelve, fill the registers with sums.
///
/// # Safety
/// As [`group`].
#[inline(always)]
unsafe fn columns<const ROWS: usize, const QUADS: usize, const FORM: u8, const WAY: bool>(
    job: &Job<'_>,
    first: usize,
    sums: &mut [[f32; COLUMNS]],
) -> usize {
    for quad in (0..4).step_by(QUADS) {
        // SAFETY: the caller's promise.
        unsafe { group::<ROWS, QUADS, FORM, WAY>(job, first, quad, sums) };
    }
    ROWS
}

/// `ROWS` rows from `first` (one, two, or a multiple of four), `QUADS` times four columns from the quad `quad`.
///
/// # Safety
/// As [`rows_by_panel`].
#[inline(always)]
unsafe fn group<const ROWS: usize, const QUADS: usize, const FORM: u8, const WAY: bool>(
    job: &Job<'_>,
    first: usize,
    quad: usize,
    sums: &mut [[f32; COLUMNS]],
) {
    let form: Form = const { FORMS[FORM as usize] };
    let Job { kind, panel, blocks, records, halves, rows } = *job;
    let parts = form.parts();
    // Of blocks taken apart that of their format.
    let span = if matches!(form.scales, Scales::Wide(..)) { kind.form().span() } else { form.span() };
    // SAFETY: all places lie inside the panel, the records and `sums`, whose sizes the caller vouches for.
    unsafe {
        let table = signed_table(kind, &form);
        let mut totals = [[vdupq_n_f32(0.0); QUADS]; ROWS];
        // Of the blocks that share a scale of activations.
        let mut products = [[vdupq_n_f32(0.0); QUADS]; ROWS];
        for row in 0..ROWS {
            for q in 0..QUADS {
                totals[row][q] = vld1q_f32(sums[first + row].as_ptr().add(4 * (quad + q)));
            }
        }
        let mut scales = UnitScales::<QUADS>::none(panel);
        for block in 0..blocks {
            let (header, codes, index) = form.places(block);
            let codes = panel.add(codes + 16 * quad);
            if index == 0 {
                scales.prepare::<FORM>(kind, panel.add(header), quad);
            }
            let words = records.add(block * rows * RECORD).cast::<i32>();
            let by = words.add(2 * rows + first).cast::<f32>();
            let steps = words.add(3 * rows + first);
            macro_rules! step {
                ($part:literal, $step:literal, $wholes:ident) => {
                    if const { $step * FORMS[FORM as usize].parts() / STEPS == $part } {
                        let mut w = [vdupq_n_s8(0); QUADS];
                        for q in 0..QUADS {
                            w[q] = signed::<FORM, $step>(codes.add(16 * q), table);
                        }
                        let steps = steps.add($step * rows);
                        if const { ROWS % 4 == 0 } {
                            for four in (0..ROWS).step_by(4) {
                                let a = vreinterpretq_s8_s32(vld1q_s32(steps.add(four)));
                                for q in 0..QUADS {
                                    $wholes[four][q] = dot_lane::<WAY, 0>($wholes[four][q], w[q], a);
                                    $wholes[four + 1][q] = dot_lane::<WAY, 1>($wholes[four + 1][q], w[q], a);
                                    $wholes[four + 2][q] = dot_lane::<WAY, 2>($wholes[four + 2][q], w[q], a);
                                    $wholes[four + 3][q] = dot_lane::<WAY, 3>($wholes[four + 3][q], w[q], a);
                                }
                            }
                        } else {
                            for row in 0..ROWS {
                                let a = vreinterpretq_s8_s32(vld1q_dup_s32(steps.add(row)));
                                for q in 0..QUADS {
                                    $wholes[row][q] = dot::<WAY>($wholes[row][q], w[q], a);
                                }
                            }
                        }
                    }
                };
            }
            macro_rules! part {
                ($part:literal) => {
                    if const { $part < FORMS[FORM as usize].parts() } {
                        let word = |at: *const i32, row: usize| at.add(row).read_unaligned();
                        let part_sums = halves.add(block * rows * HALVES).cast::<i32>().add($part * rows + first);
                        let mut wholes = [[vdupq_n_s32(0); QUADS]; ROWS];
                        for row in 0..ROWS {
                            let start = match start(&form) {
                                Correction::None | Correction::By128 => 0,
                                Correction::By8(shift) => power(word(words.add(first), row), shift),
                                Correction::Part(shift) => power(word(part_sums, row), shift),
                            };
                            wholes[row] = [vdupq_n_s32(start); QUADS];
                        }
                        step!($part, 0, wholes);
                        step!($part, 1, wholes);
                        step!($part, 2, wholes);
                        step!($part, 3, wholes);
                        step!($part, 4, wholes);
                        step!($part, 5, wholes);
                        step!($part, 6, wholes);
                        step!($part, 7, wholes);
                        let (scale, minimum) = scales.of_part::<FORM>(parts * index + $part);
                        for row in 0..ROWS {
                            let sum = word(if parts == 1 { words.add(first) } else { part_sums }, row) as f32;
                            for q in 0..QUADS {
                                let whole = vcvtq_f32_s32(wholes[row][q]);
                                let factors = Factors { scale: scale[q], minimum: minimum[q], sum };
                                products[row][q] = add_part(&form, products[row][q], whole, factors);
                            }
                        }
                    }
                };
            }
            part!(0);
            part!(1);
            if (block + 1).is_multiple_of(span) {
                for row in 0..ROWS {
                    let a_scale = by.add(row).read_unaligned();
                    for q in 0..QUADS {
                        totals[row][q] = vfmaq_n_f32(totals[row][q], products[row][q], a_scale);
                        products[row][q] = vdupq_n_f32(0.0);
                    }
                }
            }
        }
        for row in 0..ROWS {
            for q in 0..QUADS {
                vst1q_f32(sums[first + row].as_mut_ptr().add(4 * (quad + q)), totals[row][q]);
            }
        }
    }
}

/// What whole sums are multiplied by.
pub(super) struct Factors {
    pub(super) scale: float32x4_t,
    pub(super) minimum: float32x4_t,
    /// What the minimum is multiplied by.
    pub(super) sum: f32,
}

/// Products and a part's whole sums, with the roundings that every instruction set has.
///
/// # Safety
/// The machine must have NEON.
#[inline(always)]
pub(super) unsafe fn add_part(
    form: &Form,
    products: float32x4_t,
    whole: float32x4_t,
    Factors { scale, minimum, sum }: Factors,
) -> float32x4_t {
    // SAFETY: the caller's promise.
    unsafe {
        let products = vfmaq_f32(products, whole, scale);
        if form.has_minimum() { vfmaq_n_f32(products, minimum, sum) } else { products }
    }
}

/// Where sums start from, of the bytes that [`signed`] gives.
const fn start(form: &Form) -> Correction {
    if form.table || matches!(form.scales, Scales::Wide(..)) { Correction::None } else { form.correction() }
}

/// Times a power of two (an exact one).
#[inline(always)]
fn power(sum: i32, shift: i32) -> i32 {
    if shift < 0 { sum >> -shift } else { sum << shift }
}

/// Adds to each lane its four products of bytes.
///
/// # Safety
/// The machine must have NEON, and FEAT_DotProd for [`DOTPROD`].
#[inline(always)]
unsafe fn dot<const WAY: bool>(mut sum: int32x4_t, w: int8x16_t, a: int8x16_t) -> int32x4_t {
    // SAFETY: the caller's promise; registers only.
    unsafe {
        if WAY {
            asm!(
                "sdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
                inout(vreg) sum, in(vreg) w, in(vreg) a,
                options(pure, nomem, nostack, preserves_flags),
            );
            sum
        } else {
            // Two products of at most 128 · 127 stay below 2^15.
            let (low, high) = (vmull_s8(vget_low_s8(w), vget_low_s8(a)), vmull_high_s8(w, a));
            vpadalq_s16(sum, vpaddq_s16(low, high))
        }
    }
}

/// As [`dot`], with the four bytes of one lane of `a`.
///
/// # Safety
/// As [`dot`].
#[inline(always)]
unsafe fn dot_lane<const WAY: bool, const LANE: i32>(mut sum: int32x4_t, w: int8x16_t, a: int8x16_t) -> int32x4_t {
    // SAFETY: the caller's promise; registers only.
    unsafe {
        if WAY {
            asm!(
                "sdot {0:v}.4s, {1:v}.16b, {2:v}.4b[{3}]",
                inout(vreg) sum, in(vreg) w, in(vreg) a, const LANE,
                options(pure, nomem, nostack, preserves_flags),
            );
            sum
        } else {
            dot::<WAY>(sum, w, vreinterpretq_s8_s32(vdupq_laneq_s32::<LANE>(vreinterpretq_s32_s8(a))))
        }
    }
}

/// What a unit's header says for some columns.
struct UnitScales<const QUADS: usize> {
    header: *const u8,
    quad: usize,
    scale: [float32x4_t; QUADS],
    minimum: [float32x4_t; QUADS],
    /// Whole sub-scales where they are packed in six bits, sixteen columns a part.
    six: [u8; 16 * COLUMNS],
}

impl<const QUADS: usize> UnitScales<QUADS> {
    /// Before the first header.
    #[inline(always)]
    unsafe fn none(header: *const u8) -> Self {
        // SAFETY: the caller has NEON.
        let zero = unsafe { [vdupq_n_f32(0.0); QUADS] };
        Self { header, quad: 0, scale: zero, minimum: zero, six: [0; 16 * COLUMNS] }
    }

    /// Reads a header.
    ///
    /// # Safety
    /// A whole header of the form is there, and the machine has NEON.
    #[inline(always)]
    unsafe fn prepare<const FORM: u8>(&mut self, kind: &PanelKind, header: *const u8, quad: usize) {
        let form: Form = const { FORMS[FORM as usize] };
        (self.header, self.quad) = (header, quad);
        // SAFETY: the header is there.
        unsafe {
            match form.scales {
                Scales::Half(_) | Scales::HalfOffset | Scales::Exponent | Scales::Float8 | Scales::Wide(..) => return,
                Scales::Six32 | Scales::Six16 | Scales::Six32Minimum | Scales::Eight16 | Scales::Four16Minimum => (),
            }
            let by = minimum_factor(&form);
            for q in 0..QUADS {
                self.scale[q] = vmulq_n_f32(halves(header.add(8 * (quad + q))), kind.unit);
                if form.has_minimum() {
                    self.minimum[q] = vmulq_n_f32(halves(header.add(32 + 8 * (quad + q))), by);
                }
            }
            let line = |at: usize| vld1q_u8(header.add(at));
            let mut store = |part: usize, lower: uint8x16_t, upper: uint8x16_t| {
                let upper = vshlq_n_u8::<4>(vandq_u8(upper, vdupq_n_u8(3)));
                let less = if matches!(form.scales, Scales::Six32Minimum) { 0 } else { 32 };
                let six = vsubq_u8(vorrq_u8(vandq_u8(lower, vdupq_n_u8(15)), upper), vdupq_n_u8(less));
                vst1q_u8(self.six[16 * part..][..16].as_mut_ptr(), six);
            };
            match form.scales {
                Scales::Six32 => {
                    for part in 0..8 {
                        let lower = right(line(64 + 16 * (part % 4)), 4 * (part / 4));
                        store(part, lower, right(line(32 + 16 * (part % 2)), 2 * (part / 2)));
                    }
                }
                Scales::Six16 | Scales::Six32Minimum => {
                    for part in 0..16 {
                        let lower = right(line(64 + 64 * (part / 8) + 16 * (part % 4)), 4 * (part / 4 % 2));
                        store(part, lower, right(line(192 + 16 * (part % 4)), 2 * (part / 4)));
                    }
                }
                _ => (),
            }
        }
    }

    /// Scales and (where there are any) minima for a part of a block, counted through the unit.
    ///
    /// # Safety
    /// As [`UnitScales::prepare`], which has been called for the unit where sub-scales have a scale.
    #[inline(always)]
    unsafe fn of_part<const FORM: u8>(&self, part: usize) -> ([float32x4_t; QUADS], [float32x4_t; QUADS]) {
        let form: Form = const { FORMS[FORM as usize] };
        let header = self.header;
        // SAFETY: the part is in the unit.
        unsafe {
            let zero = vdupq_n_f32(0.0);
            let (mut scale, mut minimum) = ([zero; QUADS], [zero; QUADS]);
            for q in 0..QUADS {
                let quad = self.quad + q;
                let here = |at: usize| header.add(at + 16 * part + 4 * quad);
                let six = |part: usize| signed_bytes(self.six.as_ptr().add(16 * part + 4 * quad));
                (scale[q], minimum[q]) = match form.scales {
                    Scales::Half(span) => (halves(header.add(32 * (part / span) + 8 * quad)), zero),
                    Scales::HalfOffset => {
                        let by = -minimum_factor(&form);
                        let offset = halves(header.add(32 + 8 * quad));
                        (halves(header.add(8 * quad)), vmulq_n_f32(offset, by))
                    }
                    Scales::Exponent => {
                        let exponents = vreinterpretq_s32_u32(unsigned_bytes(here(0)));
                        let normal = vshlq_n_s32::<23>(vsubq_s32(exponents, vdupq_n_s32(1)));
                        // The two smallest are subnormal; from the third on this is at most as much.
                        let small = vshlq_s32(vdupq_n_s32(0x0020_0000), vminq_s32(exponents, vdupq_n_s32(2)));
                        (vreinterpretq_f32_s32(vmaxq_s32(normal, small)), zero)
                    }
                    Scales::Float8 => {
                        let fields = vshl_n_u16::<7>(vmovn_u32(unsigned_bytes(here(0))));
                        (vmulq_n_f32(widen_halves(fields), 128.0), zero)
                    }
                    Scales::Six32 | Scales::Six16 => (vmulq_f32(six(part), self.scale[q]), zero),
                    Scales::Eight16 => (vmulq_f32(signed_bytes(here(64)), self.scale[q]), zero),
                    Scales::Six32Minimum => {
                        (vmulq_f32(six(part), self.scale[q]), vmulq_f32(six(8 + part), self.minimum[q]))
                    }
                    Scales::Four16Minimum => {
                        let both = unsigned_bytes(here(64));
                        let (low, high) = (vandq_u32(both, vdupq_n_u32(15)), vshrq_n_u32::<4>(both));
                        (vmulq_f32(vcvtq_f32_u32(low), self.scale[q]), vmulq_f32(vcvtq_f32_u32(high), self.minimum[q]))
                    }
                    // A unit of one block.
                    Scales::Wide(parts, has_minimum, _) => {
                        let wide = |number: usize| vld1q_f32(header.add(64 * number + 16 * quad).cast());
                        (wide(part), if has_minimum { wide(parts + part) } else { zero })
                    }
                };
            }
            (scale, minimum)
        }
    }
}

/// Four f16.
///
/// # Safety
/// They are there, and the machine has NEON.
#[inline(always)]
unsafe fn halves(from: *const u8) -> float32x4_t {
    // SAFETY: the caller's promise.
    unsafe { widen_halves(vreinterpret_u16_u8(vld1_u8(from))) }
}

/// Four bytes.
///
/// # Safety
/// As [`halves`].
#[inline(always)]
unsafe fn unsigned_bytes(from: *const u8) -> uint32x4_t {
    // SAFETY: the caller's promise.
    unsafe {
        let bytes = vcreate_u8(u64::from(from.cast::<u32>().read_unaligned()));
        vmovl_u16(vget_low_u16(vmovl_u8(bytes)))
    }
}

/// Four signed bytes as f32.
///
/// # Safety
/// As [`halves`].
#[inline(always)]
unsafe fn signed_bytes(from: *const u8) -> float32x4_t {
    // SAFETY: the caller's promise.
    unsafe {
        let bytes = vcreate_s8(u64::from(from.cast::<u32>().read_unaligned()));
        vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(bytes))))
    }
}

/// What codes stand for, with the offset taken off.
#[inline(always)]
fn signed_table(kind: &PanelKind, form: &Form) -> uint8x16_t {
    // SAFETY: NEON is there, or nobody would be here; the table is 16 bytes.
    unsafe { vsubq_u8(vld1q_u8(kind.table.as_ptr()), vdupq_n_u8(form.offset as u8)) }
}

/// Bytes shifted right by a number of bits below 8 that is known when compiled.
///
/// # Safety
/// The machine has NEON.
#[inline(always)]
unsafe fn right(x: uint8x16_t, by: usize) -> uint8x16_t {
    // SAFETY: the caller's promise.
    unsafe {
        match by {
            0 => x,
            1 => vshrq_n_u8::<1>(x),
            2 => vshrq_n_u8::<2>(x),
            3 => vshrq_n_u8::<3>(x),
            4 => vshrq_n_u8::<4>(x),
            5 => vshrq_n_u8::<5>(x),
            6 => vshrq_n_u8::<6>(x),
            _ => vshrq_n_u8::<7>(x),
        }
    }
}

/// The codes of a step for four columns; where there is a table, what they stand for.
///
/// # Safety
/// The block's codes are there, and the machine has NEON.
#[inline(always)]
unsafe fn code<const FORM: u8, const STEP: usize>(codes: *const u8, table: uint8x16_t) -> uint8x16_t {
    let form: Form = const { FORMS[FORM as usize] };
    // SAFETY: lines below the form's bits.
    unsafe {
        let line = |line: usize| vld1q_u8(codes.add(64 * line));
        let masked = |x: uint8x16_t, bits: u8| vandq_u8(x, vdupq_n_u8(bits));
        let four = || {
            let both = line(STEP / 2);
            if STEP.is_multiple_of(2) { masked(both, 15) } else { right(both, 4) }
        };
        let two = |first: usize| {
            let all = right(line(first + STEP / 4), 2 * (STEP % 4));
            if STEP % 4 == 3 { all } else { masked(all, 3) }
        };
        let one = |line_of: usize| masked(right(line(line_of), STEP), 1);
        let code = match form.bits {
            8 => line(STEP),
            6 => vorrq_u8(four(), vshlq_n_u8::<4>(two(4))),
            5 => vorrq_u8(four(), vshlq_n_u8::<4>(one(4))),
            4 => four(),
            3 => vorrq_u8(two(0), vshlq_n_u8::<2>(one(2))),
            2 => two(0),
            _ => one(0),
        };
        if form.table { vqtbl1q_u8(table, code) } else { code }
    }
}

/// The bytes of a step for four columns, as they are multiplied.
///
/// # Safety
/// As [`code`].
#[inline(always)]
unsafe fn signed<const FORM: u8, const STEP: usize>(codes: *const u8, table: uint8x16_t) -> int8x16_t {
    let form: Form = const { FORMS[FORM as usize] };
    // SAFETY: the caller's promise.
    unsafe {
        let code = code::<FORM, STEP>(codes, table);
        let above = form.offset == 128 && !form.table && !matches!(form.scales, Scales::Wide(..));
        vreinterpretq_s8_u8(if above { veorq_u8(code, vdupq_n_u8(128)) } else { code })
    }
}

#[cfg(test)]
mod tests {
    use super::super::forms::KINDS;
    use super::super::int8_rows::Int8Rows;
    use super::super::panels::Panels;
    use super::super::wide::{Expand, WideTile};
    use super::super::{int8_i8mm, int8_portable};
    use super::*;
    use crate::{Isa, Pool};
    use bantam_tensor::SharedBytes;

    type TileFunction = unsafe fn(&PanelKind, *const u8, usize, *const u8, &mut [[f32; COLUMNS]]);

    /// All ways give the same bits as plain Rust, whatever the bytes of the weights.
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
        let source = SharedBytes::from_vec(source);
        let panels = Panels::waiting(kind, COLUMNS, inputs, source).expect("small");
        let mut room = Vec::new();
        let panels = panels.view(Isa::Portable, 0..1, &mut room);
        let x: Vec<f32> = (0..rows * inputs).map(|i| ((i * 37) % 255) as f32 - 127.0).collect();
        let mut int8 = Int8Rows::with_capacity(rows, inputs).expect("small");
        int8.quantize(&pool, Isa::detect(), kind.activation(), &x, rows, inputs);
        let records = int8.tile(int8.tiles().next().expect("one tile")).as_ptr();
        let (panel, blocks) = (panels.panel(0), inputs / 32);
        let mut expected = [[0f32; COLUMNS]; TILE];
        // SAFETY: a whole panel and tile.
        unsafe { int8_portable::tile_as::<true>(kind, panel, blocks, records, &mut expected[..rows]) };
        let compare = |found: [[f32; COLUMNS]; TILE], way: &str| {
            for (found, expected) in found.as_flattened().iter().zip(expected.as_flattened()) {
                let same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
                assert!(same, "{:?}, {rows} rows, {way}: {found} for {expected}", kind.tensor_type);
            }
        };
        let has = |isa: Isa| isa.usable() == isa;
        let tiles: [(Isa, TileFunction); 2] = [(Isa::Neon, tile_base), (Isa::Dotprod, tile_dotprod)];
        for (isa, function) in tiles.into_iter().filter(|(isa, _)| has(*isa)) {
            let mut found = [[0f32; COLUMNS]; TILE];
            // SAFETY: a whole panel and tile; the machine has been asked.
            unsafe { function(kind, panel, blocks, records, &mut found[..rows]) };
            compare(found, isa.name());
        }
        let wides: [(Isa, Expand, WideTile); 3] = [
            (Isa::Neon, expand, wide_tile_base),
            (Isa::Dotprod, expand, wide_tile_dotprod),
            (Isa::I8mm, expand_by_eight, int8_i8mm::wide_tile),
        ];
        for (isa, expand, wide_tile) in wides.into_iter().filter(|(isa, ..)| has(*isa)) {
            let mut found = [[0f32; COLUMNS]; TILE];
            // SAFETY: as above.
            unsafe { Wide::of(kind).tile((expand, wide_tile), panel, blocks, records, &mut found[..rows]) };
            compare(found, &format!("{}, taken apart", isa.name()));
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
