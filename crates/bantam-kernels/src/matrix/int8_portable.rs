//! Panel × tile in plain Rust.
//!
//! Whole numbers are multiplied and added as f32: a block's sums stay below 2²⁴, so they are exact in any order, and
//! compilers have vectors of f32 on every target, where products of bytes are rare. WebAssembly's vectors have products of
//! 16-bit numbers, and a way of their own.

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;

use super::forms::{Correction, PanelKind, minimum_factor};
use super::int8_rows::{HALVES, RECORD, TILE};
use super::panels::{COLUMNS, STEPS};

/// Columns that are summed up at the same time.
const GROUP: usize = 4;

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
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    // SAFETY: the caller's promise.
    return unsafe { simd128::tile(kind, panel, blocks, records, sums) };
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    // SAFETY: the caller's promise.
    unsafe {
        const FUSED: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));
        tile_as::<FUSED>(kind, panel, blocks, records, sums)
    }
}

/// As [`tile`]; with `FUSED` the sums are rounded as in the lanes of other instruction sets, which takes a slow function
/// where the target has no instruction for it.
///
/// # Safety
/// As [`tile`].
#[cfg_attr(
    all(target_arch = "wasm32", target_feature = "simd128"),
    allow(dead_code, reason = "its vectors do the same there")
)]
pub(super) unsafe fn tile_as<const FUSED: bool>(
    kind: &PanelKind,
    panel: *const u8,
    blocks: usize,
    records: *const u8,
    sums: &mut [[f32; COLUMNS]],
) {
    let (rows, form) = (sums.len(), kind.form());
    let length = form.places(blocks - 1).1 + form.code_bytes();
    // SAFETY: the caller gives both whole.
    let panel = unsafe { std::slice::from_raw_parts(panel, length) };
    // SAFETY: as above.
    let records = unsafe { std::slice::from_raw_parts(records, rows * (RECORD + HALVES) * blocks) };
    let (records, halves) = records.split_at(rows * RECORD * blocks);
    let records = records.chunks_exact(rows * RECORD).zip(halves.chunks_exact(rows * HALVES));
    let mul_add = |x: f32, y: f32, z: f32| if FUSED { x.mul_add(y, z) } else { x * y + z };
    let (parts, by, span) = (form.parts(), minimum_factor(form), form.span());
    // Of the blocks that share a scale of activations.
    let mut products = [[0f32; COLUMNS]; TILE];
    for (block, (record, halves)) in records.enumerate() {
        let (header, codes, index) = form.places(block);
        let (header, codes) = (&panel[header..][..form.header_bytes()], &panel[codes..][..form.code_bytes()]);
        let mut unsigned = [[0f32; 4 * COLUMNS]; STEPS];
        for (step, unsigned) in unsigned.iter_mut().enumerate() {
            let mut line: [u8; 4 * COLUMNS] = form.step(codes, step, 0);
            if form.table {
                line = line.map(|code| kind.table[usize::from(code & 15)]);
            }
            unsigned.iter_mut().zip(line).for_each(|(unsigned, byte)| *unsigned = f32::from(byte));
        }
        for part in 0..parts {
            let (mut scale, mut minimum) = ([0f32; COLUMNS], [0f32; COLUMNS]);
            for column in 0..COLUMNS {
                let (s, m) = form.scale_and_minimum(kind.unit, header, parts * index + part, column);
                (scale[column], minimum[column]) = (s, m * by);
            }
            for row in 0..rows {
                let word = |at: usize| -> [u8; 4] { std::array::from_fn(|i| record[4 * at + i]) };
                let half = i32::from_ne_bytes(std::array::from_fn(|i| halves[4 * (part * rows + row) + i]));
                let eight = i32::from_ne_bytes(word(row));
                let start = match form.correction() {
                    Correction::None => 0,
                    Correction::By128 => i32::from_ne_bytes(word(rows + row)),
                    Correction::By8(shift) => shifted(eight, shift),
                    Correction::Part(shift) => shifted(half, shift),
                };
                let steps = part * STEPS / parts..(part + 1) * STEPS / parts;
                let mut codes = [[0f32; 4]; STEPS];
                for step in steps.clone() {
                    codes[step] = word(3 * rows + step * rows + row).map(|code| f32::from(code as i8));
                }
                let mut whole = [start as f32; COLUMNS];
                // As many columns at once as most processors have registers for.
                for (group, whole) in whole.chunks_exact_mut(GROUP).enumerate() {
                    let mut fours = [[0f32; 4]; GROUP];
                    for step in steps.clone() {
                        let (w, _) = unsigned[step][4 * GROUP * group..][..4 * GROUP].as_chunks::<4>();
                        for (fours, w) in fours.iter_mut().zip(w) {
                            (0..4).for_each(|i| fours[i] += w[i] * codes[step][i]);
                        }
                    }
                    for (whole, [a, b, c, d]) in whole.iter_mut().zip(fours) {
                        *whole += (a + b) + (c + d);
                    }
                }
                let sum = if parts == 1 { eight } else { half } as f32;
                for (column, product) in products[row].iter_mut().enumerate() {
                    *product = mul_add(whole[column], scale[column], *product);
                    if form.has_minimum() {
                        *product = mul_add(sum, minimum[column], *product);
                    }
                }
            }
        }
        if (block + 1) % span == 0 {
            for (row, (sums, products)) in sums.iter_mut().zip(&mut products).enumerate() {
                let a_scale = f32::from_ne_bytes(std::array::from_fn(|i| record[4 * (2 * rows + row) + i]));
                for (sum, product) in sums.iter_mut().zip(std::mem::take(products)) {
                    *sum = mul_add(product, a_scale, *sum);
                }
            }
        }
    }
}

fn shifted(sum: i32, shift: i32) -> i32 {
    if shift < 0 { sum >> -shift } else { sum << shift }
}
