//! Panel × tile with WebAssembly's 128-bit vectors (simd128): products of 16-bit numbers, two added up by one instruction.
//!
//! A block's codes are widened to 16 bits once for all rows of the tile. Whole numbers are added up as such, so they are exact
//! in any order; products with scales are added without fused multiply-adds, which simd128 lacks, one after the other as
//! plain Rust does on such a target. The bits are those of [`tile_as`](super::tile_as).

use super::super::forms::{Correction, FORMS, Form, PanelKind, Scales, by_form, minimum_factor};
use super::super::int8_rows::{HALVES, RECORD, TILE};
use super::super::panels::{COLUMNS, STEPS};
use std::arch::wasm32::*;

/// Vectors of four columns.
const QUADS: usize = COLUMNS / 4;
/// Vectors of a step's codes in 16 bits: four inputs of two columns each.
const PAIRS: usize = COLUMNS / 2;

/// Adds the products of one panel with a tile of `sums.len()` rows to `sums[row][column]`.
///
/// # Safety
/// `panel` must be a whole panel of `kind` and `blocks`, `records` a whole tile of as many blocks.
pub(super) unsafe fn tile(
    kind: &PanelKind,
    panel: *const u8,
    blocks: usize,
    records: *const u8,
    sums: &mut [[f32; COLUMNS]],
) {
    macro_rules! of_form {
        ($form:literal) => {
            // SAFETY: the caller's promise.
            unsafe { tile_of::<$form>(kind, panel, blocks, records, sums) }
        };
    }
    by_form!(kind.number, of_form)
}

/// # Safety
/// As [`tile`].
unsafe fn tile_of<const FORM: u8>(
    kind: &PanelKind,
    panel: *const u8,
    blocks: usize,
    records: *const u8,
    sums: &mut [[f32; COLUMNS]],
) {
    let form: Form = const { FORMS[FORM as usize] };
    let (rows, parts) = (sums.len(), form.parts());
    let length = form.places(blocks - 1).1 + form.code_bytes();
    // SAFETY: the caller gives both whole.
    let panel = unsafe { std::slice::from_raw_parts(panel, length) };
    // SAFETY: as above.
    let records = unsafe { std::slice::from_raw_parts(records, rows * (RECORD + HALVES) * blocks) };
    let (records, halves) = records.split_at(rows * RECORD * blocks);
    let table = load(&kind.table);
    // Of the blocks that share a scale of activations.
    let mut products = [[f32x4_splat(0.0); QUADS]; TILE];
    let mut wide = [[i32x4_splat(0); PAIRS]; STEPS];
    for block in 0..blocks {
        let (header, codes, index) = form.places(block);
        let (header, codes) = (&panel[header..][..form.header_bytes()], &panel[codes..][..form.code_bytes()]);
        let record = &records[block * rows * RECORD..][..rows * RECORD];
        let halves = &halves[block * rows * HALVES..][..rows * HALVES];
        let (x, _) = record[12 * rows..].as_chunks::<4>();
        for (step, wide) in wide.iter_mut().enumerate() {
            let (pairs, _) = wide.as_chunks_mut::<2>();
            for (quad, pair) in pairs.iter_mut().enumerate() {
                let mut code = code(&form, codes, step, 16 * quad);
                if form.table {
                    code = u8x16_swizzle(table, code);
                }
                *pair = [u16x8_extend_low_u8x16(code), u16x8_extend_high_u8x16(code)];
            }
        }
        for part in 0..parts {
            let (scale, minimum) = scales_and_minima(&form, kind.unit, header, parts * index + part);
            let steps = &wide[part * STEPS / parts..(part + 1) * STEPS / parts];
            for (row, products) in products[..rows].iter_mut().enumerate() {
                let half = word(halves, part * rows + row);
                let eight = word(record, row);
                let start = match form.correction() {
                    Correction::None => 0,
                    Correction::By128 => word(record, rows + row),
                    Correction::By8(shift) => shifted(eight, shift),
                    Correction::Part(shift) => shifted(half, shift),
                };
                let mut whole = [i32x4_splat(0); PAIRS];
                let x = x[part * STEPS / parts * rows + row..].iter().step_by(rows);
                for (wide, x) in steps.iter().zip(x) {
                    let x = i16x8_extend_low_i8x16(i32x4_splat(i32::from_le_bytes(*x)));
                    for (whole, wide) in whole.iter_mut().zip(wide) {
                        *whole = i32x4_add(*whole, i32x4_dot_i16x8(*wide, x));
                    }
                }
                let start = i32x4_splat(start);
                let sum = f32x4_splat(if parts == 1 { eight } else { half } as f32);
                let (whole, _) = whole.as_chunks::<2>();
                for (quad, (product, &[a, b])) in products.iter_mut().zip(whole).enumerate() {
                    let (even, odd) = (i32x4_shuffle::<0, 2, 4, 6>(a, b), i32x4_shuffle::<1, 3, 5, 7>(a, b));
                    let whole = f32x4_convert_i32x4(i32x4_add(start, i32x4_add(even, odd)));
                    *product = f32x4_add(f32x4_mul(whole, scale[quad]), *product);
                    if form.has_minimum() {
                        *product = f32x4_add(f32x4_mul(sum, minimum[quad]), *product);
                    }
                }
            }
        }
        if (block + 1) % form.span() == 0 {
            for (row, (sums, products)) in sums.iter_mut().zip(&mut products).enumerate() {
                let a_scale = f32x4_splat(f32::from_bits(word(record, 2 * rows + row) as u32));
                for (sums, product) in sums.as_chunks_mut::<4>().0.iter_mut().zip(products) {
                    // SAFETY: four f32 are there, at either alignment.
                    unsafe {
                        let to = sums.as_mut_ptr().cast::<v128>();
                        v128_store(to, f32x4_add(f32x4_mul(*product, a_scale), v128_load(to)));
                    }
                    *product = f32x4_splat(0.0);
                }
            }
        }
    }
}

/// The codes of a step, of four columns from byte `first` of its line on: [`Form::step`] in a vector.
#[inline(always)]
fn code(form: &Form, codes: &[u8], step: usize, first: usize) -> v128 {
    let line = |line: usize| load(codes[64 * line + first..].first_chunk().expect("a block has all its lines"));
    let bits =
        |number: usize, right: usize, mask: u8| v128_and(u8x16_shr(line(number), right as u32), u8x16_splat(mask));
    let four = || bits(step / 2, 4 * (step % 2), 15);
    let two = |first: usize| bits(first + step / 4, 2 * (step % 4), 3);
    let one = |first: usize| bits(first, step, 1);
    let with = |low: v128, high: v128, left: u32| v128_or(low, u8x16_shl(high, left));
    match form.bits {
        8 => line(step),
        6 => with(four(), two(4), 4),
        5 => with(four(), one(4), 4),
        4 => four(),
        3 => with(two(0), one(2), 2),
        2 => two(0),
        _ => one(0),
    }
}

/// Scales and minima of a part of a block, `part` counted through the unit; minima as they are multiplied.
/// [`Form::scale_and_minimum`] of all columns, with the same roundings.
#[inline(always)]
fn scales_and_minima(form: &Form, unit: f32, header: &[u8], part: usize) -> ([v128; QUADS], [v128; QUADS]) {
    let by = minimum_factor(form);
    let none = [f32x4_splat(0.0); QUADS];
    let half = |place: usize| halves(sixteen(header, place), sixteen(header, place + 16));
    let bytes = |place: usize, right: usize, mask: u8| {
        v128_and(u8x16_shr(sixteen(header, place), right as u32), u8x16_splat(mask))
    };
    let or = |lower: v128, upper: v128| v128_or(lower, u8x16_shl(upper, 4));
    let less_32 = |six: v128| signed(i8x16_sub(six, i8x16_splat(32)));
    match form.scales {
        Scales::Half(span) => (half(32 * (part / span)), none),
        Scales::HalfOffset => (half(0), times(half(32), -by)),
        Scales::Exponent => {
            let exponent = |sub: v128| {
                let normal = u32x4_shl(i32x4_sub(sub, i32x4_splat(1)), 23);
                // The two smallest are subnormal.
                let small =
                    v128_bitselect(i32x4_splat(0x0040_0000), i32x4_splat(0x0020_0000), i32x4_eq(sub, i32x4_splat(1)));
                v128_bitselect(small, normal, i32x4_lt(sub, i32x4_splat(2)))
            };
            (words(bytes(16 * part, 0, 255)).map(exponent), none)
        }
        // In an f16 the same fields stand for 2^-8 as much.
        Scales::Float8 => {
            let byte = bytes(16 * part, 0, 255);
            let (low, high) = (u16x8_extend_low_u8x16(byte), u16x8_extend_high_u8x16(byte));
            (times(halves(u16x8_shl(low, 7), u16x8_shl(high, 7)), 128.0), none)
        }
        Scales::Six32 => {
            let upper = bytes(32 + 16 * (part % 2), 2 * (part / 2), 3);
            let six = or(bytes(64 + 16 * (part % 4), 4 * (part / 4), 15), upper);
            (product(times(half(0), unit), less_32(six)), none)
        }
        Scales::Six16 | Scales::Six32Minimum => {
            let six = |sub: usize| {
                let lower = bytes(64 + 64 * (sub / 8) + 16 * (sub % 4), 4 * (sub / 4 % 2), 15);
                or(lower, bytes(192 + 16 * (sub % 4), 2 * (sub / 4), 3))
            };
            if form.has_minimum() {
                (product(half(0), unsigned(six(part))), times(product(half(32), unsigned(six(8 + part))), by))
            } else {
                (product(times(half(0), unit), less_32(six(part))), none)
            }
        }
        Scales::Eight16 => (product(half(0), signed(sixteen(header, 64 + 16 * part))), none),
        Scales::Four16Minimum => {
            let (scale, minimum) = (bytes(64 + 16 * part, 0, 15), bytes(64 + 16 * part, 4, 15));
            (product(half(0), unsigned(scale)), times(product(half(32), unsigned(minimum)), by))
        }
        Scales::Wide(..) => unreachable!("no format is kept so"),
    }
}

/// Sixteen f16, eight and eight, as f32: `bantam_tensor::f16_to_f32`, which says why.
#[inline(always)]
fn halves(first: v128, second: v128) -> [v128; QUADS] {
    let some = [
        u32x4_extend_low_u16x8(first),
        u32x4_extend_high_u16x8(first),
        u32x4_extend_low_u16x8(second),
        u32x4_extend_high_u16x8(second),
    ];
    some.map(|half| {
        let magnitude = u32x4_shl(v128_and(half, u32x4_splat(0x7fff)), 13);
        let sign = u32x4_shl(v128_and(half, u32x4_splat(0x8000)), 16);
        let scaled = f32x4_mul(magnitude, u32x4_splat((127 + 112) << 23));
        let special = v128_or(magnitude, u32x4_splat(0x7f80_0000));
        v128_or(sign, v128_bitselect(special, scaled, u32x4_ge(magnitude, u32x4_splat(0x7c00 << 13))))
    })
}

/// Sixteen bytes as words.
#[inline(always)]
fn words(bytes: v128) -> [v128; QUADS] {
    let (low, high) = (u16x8_extend_low_u8x16(bytes), u16x8_extend_high_u8x16(bytes));
    [
        u32x4_extend_low_u16x8(low),
        u32x4_extend_high_u16x8(low),
        u32x4_extend_low_u16x8(high),
        u32x4_extend_high_u16x8(high),
    ]
}

#[inline(always)]
fn unsigned(bytes: v128) -> [v128; QUADS] {
    words(bytes).map(|word| f32x4_convert_i32x4(word))
}

#[inline(always)]
fn signed(bytes: v128) -> [v128; QUADS] {
    words(bytes).map(|word| f32x4_convert_i32x4(i32x4_shr(i32x4_shl(word, 24), 24)))
}

#[inline(always)]
fn product(mut a: [v128; QUADS], b: [v128; QUADS]) -> [v128; QUADS] {
    a.iter_mut().zip(b).for_each(|(a, b)| *a = f32x4_mul(*a, b));
    a
}

#[inline(always)]
fn times(a: [v128; QUADS], b: f32) -> [v128; QUADS] {
    product(a, [f32x4_splat(b); QUADS])
}

#[inline(always)]
fn sixteen(header: &[u8], place: usize) -> v128 {
    load(header[place..].first_chunk().expect("a header has all its lines"))
}

#[inline(always)]
fn load(bytes: &[u8; 16]) -> v128 {
    // SAFETY: sixteen bytes are there, at any alignment.
    unsafe { v128_load(bytes.as_ptr().cast()) }
}

#[inline(always)]
fn word(bytes: &[u8], number: usize) -> i32 {
    i32::from_le_bytes(bytes.as_chunks::<4>().0[number])
}

#[inline(always)]
fn shifted(sum: i32, shift: i32) -> i32 {
    if shift < 0 { sum >> -shift } else { sum << shift }
}
