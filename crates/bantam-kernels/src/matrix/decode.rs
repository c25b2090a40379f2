//! Panels back to rows of f32, many values at a time: for products that take a weight's tiles decoded.

use super::float_panels::FloatPanels;
use super::float_tile::{Element, PANEL};
use super::forms::{FORMS, Form, minimum_factor};
use super::multiply::expand_function;
use super::panels::{BLOCK, COLUMNS, ReadyPanels, STEPS};
use super::wide::{Blocks, TOGETHER, Wide};
use crate::Isa;
use crate::simd::{LANES, Simd, Task, dispatch};
use std::ops::Range;

/// Some blocks of some rows, `[rows, inputs]`.
pub(super) fn blocks(isa: Isa, panels: ReadyPanels, rows: Range<usize>, inputs: Range<usize>, out: &mut [f32]) {
    let whole = inputs.start.is_multiple_of(BLOCK) && inputs.end.is_multiple_of(BLOCK);
    assert!(whole, "{inputs:?} of a weight in blocks of {BLOCK}");
    let width = inputs.len();
    let Some(expand) = expand_function(isa).filter(|_| rows.len() > 1) else {
        for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
            panels.decode(row, inputs.clone(), out);
        }
        return;
    };
    let (kind, taken) = (panels.kind, Wide::of(panels.kind));
    let mut space = Blocks::new();
    for panel in rows.start / COLUMNS..rows.end.div_ceil(COLUMNS) {
        let here = rows.start.max(panel * COLUMNS)..rows.end.min((panel + 1) * COLUMNS);
        let out = &mut out[(here.start - rows.start) * width..(here.end - rows.start) * width];
        let columns = here.start % COLUMNS..here.start % COLUMNS + here.len();
        for first in (inputs.start / BLOCK..inputs.end / BLOCK).step_by(TOGETHER) {
            let some = first..(first + TOGETHER).min(inputs.end / BLOCK);
            let length = taken.bytes(some.len());
            // SAFETY: the blocks are in the panel, the space has room for as many, and `expand_function` gives only what
            // the machine has; it writes every byte of them.
            let blocks = unsafe {
                expand(kind, panels.panel(panel), some.clone(), space.as_mut_ptr());
                std::slice::from_raw_parts_mut(space.as_mut_ptr(), length)
            };
            let form = &FORMS[usize::from(kind.form().wide())];
            let at = first * BLOCK - inputs.start;
            let columns = columns.clone();
            // Minima are kept divided by what the sums beside them are multiplied by.
            let minimum = 1.0 / minimum_factor(kind.form());
            dispatch(isa, Rows { form, minimum, blocks, columns, width, at, out });
        }
    }
}

/// Blocks taken apart, to rows.
struct Rows<'a> {
    form: &'a Form,
    minimum: f32,
    blocks: &'a mut [u8],
    columns: Range<usize>,
    width: usize,
    at: usize,
    out: &'a mut [f32],
}

impl Task for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { form, minimum, blocks, columns, width, at, out } = self;
        let parts = form.parts();
        // Codes are read as signed bytes.
        let more = s.splat((128 - form.offset as i32) as f32);
        for (block, bytes) in blocks.chunks_exact_mut(form.unit_bytes()).enumerate() {
            let (header, codes) = bytes.split_at_mut(form.header_bytes());
            codes.iter_mut().for_each(|code| *code ^= 0x80);
            let mut values = [[0f32; BLOCK]; COLUMNS];
            for part in 0..parts {
                let fours = |number: usize, factor: f32| {
                    let mut fours = [[0f32; 4]; COLUMNS];
                    for (four, bytes) in fours.iter_mut().zip(header[64 * number..].as_chunks::<4>().0) {
                        *four = [f32::from_ne_bytes(*bytes) * factor; 4];
                    }
                    fours
                };
                let scales = fours(part, 1.0);
                let minima = if form.has_minimum() { Some(fours(parts + part, minimum)) } else { None };
                for step in part * STEPS / parts..(part + 1) * STEPS / parts {
                    for quarter in 0..4 {
                        let codes = codes[64 * step + 16 * quarter..].first_chunk::<LANES>().expect("a line");
                        let vector = |of: &[[f32; 4]; COLUMNS]| {
                            s.load(of.as_flattened()[16 * quarter..].first_chunk().expect("sixteen columns"))
                        };
                        // SAFETY: sixteen bytes.
                        let whole = s.add(unsafe { s.load_i8_at(codes.as_ptr().cast()) }, more);
                        let mut value = s.mul(whole, vector(&scales));
                        if let Some(minima) = &minima {
                            value = s.sub(value, vector(minima));
                        }
                        let mut lanes = [0f32; LANES];
                        s.store(value, &mut lanes);
                        for (column, lanes) in lanes.as_chunks::<4>().0.iter().enumerate() {
                            values[4 * quarter + column][4 * step..4 * step + 4].copy_from_slice(lanes);
                        }
                    }
                }
            }
            for (values, out) in values[columns.clone()].iter().zip(out.chunks_exact_mut(width)) {
                out[at + BLOCK * block..][..BLOCK].copy_from_slice(values);
            }
        }
    }
}

/// Some inputs of some rows, `[rows, inputs]`.
pub(super) fn numbers(isa: Isa, panels: &FloatPanels, rows: Range<usize>, inputs: Range<usize>, out: &mut [f32]) {
    let width = inputs.len();
    if rows.len() == 1 {
        for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
            panels.decode(row, inputs.clone(), out);
        }
        return;
    }
    let first = rows.start;
    for panel in rows.start / PANEL..rows.end.div_ceil(PANEL) {
        let here = rows.start.max(panel * PANEL)..rows.end.min((panel + 1) * PANEL);
        let out = &mut out[(here.start - first) * width..(here.end - first) * width];
        let columns = here.start % PANEL..here.start % PANEL + here.len();
        let (element, panel, inputs) = (panels.element, panels.panel(panel), inputs.clone());
        dispatch(isa, Turn { element, panel, columns, inputs, out });
    }
}

/// Columns of a panel, to rows.
struct Turn<'a> {
    element: Element,
    panel: &'a [u8],
    columns: Range<usize>,
    inputs: Range<usize>,
    out: &'a mut [f32],
}

impl Task for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { element, panel, columns, inputs, out } = self;
        let width = inputs.len();
        let (line, pairs) = (PANEL * element.bytes(), element == Element::Bf16Pairs);
        for some in inputs.clone().step_by(LANES) {
            let some = some..(some + LANES).min(inputs.end);
            let mut values = [[0f32; PANEL]; LANES];
            if pairs {
                pairs_to_rows(panel, some.clone(), &mut values);
            }
            for (values, input) in values.iter_mut().zip(some.clone()).filter(|_| !pairs) {
                let bytes = &panel[input * line..][..line];
                for (values, bytes) in
                    values.as_chunks_mut::<LANES>().0.iter_mut().zip(bytes.chunks_exact(LANES * element.bytes()))
                {
                    // SAFETY: sixteen numbers of that size.
                    let sixteen = unsafe {
                        match element {
                            Element::F16 => s.load_f16_at(bytes.as_ptr()),
                            Element::Bf16 => s.load_bf16_at(bytes.as_ptr()),
                            Element::F32 | Element::Bf16Pairs => s.load_at(bytes.as_ptr().cast()),
                        }
                    };
                    s.store(sixteen, values);
                }
            }
            let at = some.start - inputs.start;
            for (column, out) in columns.clone().zip(out.chunks_exact_mut(width)) {
                for (out, values) in out[at..][..some.len()].iter_mut().zip(&values) {
                    *out = values[column];
                }
            }
        }
    }
}

/// Words of two bf16 of each column, to a row of f32 for each input. `inputs` begins at any of them.
#[inline(always)]
fn pairs_to_rows(panel: &[u8], inputs: Range<usize>, values: &mut [[f32; PANEL]; LANES]) {
    for (values, input) in values.iter_mut().zip(inputs) {
        let words = panel[input / 2 * 4 * PANEL..][..4 * PANEL].as_chunks::<4>().0;
        // The earlier input is the lower half, and a bf16 the upper half of an f32.
        let shift = if input % 2 == 0 { 16 } else { 0 };
        for (value, word) in values.iter_mut().zip(words) {
            *value = f32::from_bits(u32::from_ne_bytes(*word) << shift & 0xffff_0000);
        }
    }
}
