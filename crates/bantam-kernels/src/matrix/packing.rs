//! Rows of a file to panels.

use super::forms::{FORMS, Form, PanelKind, Scales, number};
use super::panels::{BLOCK, COLUMNS, STEPS};
use super::raw::Raw;
use super::unpack::{Parts, unpack, unpack_scales};
use crate::Isa;
use crate::simd::{Simd, Task, ask_for, dispatch};
use bantam_tensor::{SharedBytes, TensorType};
use std::ops::Range;

/// Bytes that a processor reads at a time.
const CACHED: usize = 64;

/// Rows of a file.
pub(super) struct FileRows {
    pub(super) bytes: SharedBytes,
    pub(super) row_bytes: usize,
    pub(super) outputs: usize,
}

impl FileRows {
    /// Repacks some panels.
    pub(super) fn pack(&self, isa: Isa, kind: &PanelKind, panels: Range<usize>, panel_bytes: usize, target: &mut [u8]) {
        let bytes = &self.bytes[..];
        for (panel, target) in panels.zip(target.chunks_exact_mut(panel_bytes)) {
            let first = panel * COLUMNS;
            let rows = &bytes[first * self.row_bytes..(first + COLUMNS).min(self.outputs) * self.row_bytes];
            dispatch(isa, Pack { kind, rows, row_bytes: self.row_bytes, target });
        }
    }
}

impl Form {
    /// The words of a block's lines, a column each, the inverse of [`Form::step`]. Codes of 5, 6 and 8 bits are turned otherwise
    /// ([`super::raw`]).
    #[inline(always)]
    fn lines(&self, codes: &[Words; STEPS]) -> [Words; 8] {
        let mut lines = [[0; COLUMNS]; 8];
        match self.bits {
            4 => merge_lines(&mut lines, codes, 4, 0),
            3 => {
                merge_lines(&mut lines, codes, 2, 0);
                merge_lines(&mut lines[2..], codes, 1, 2);
            }
            2 => merge_lines(&mut lines, codes, 2, 0),
            _ => merge_lines(&mut lines, codes, 1, 0),
        }
        lines
    }

    /// Writes one column's scales of a file's block into the header; `at` is the number of that block in the unit.
    fn write_scales(&self, header: &mut [u8], at: usize, column: usize, parts: &Parts) {
        let halves = |header: &mut [u8], place: usize, half: [u8; 2]| {
            header[place + 2 * column..][..2].copy_from_slice(&half);
        };
        let (scale, minimum) = (parts.scale, parts.minimum);
        match self.scales {
            Scales::Half(_) => halves(header, 32 * at, scale),
            Scales::HalfOffset => {
                halves(header, 0, scale);
                halves(header, 32, minimum);
            }
            Scales::Exponent => header[16 * at + column] = parts.scales[0],
            Scales::Float8 => {
                for (sub, scale) in parts.scales[..4].iter().enumerate() {
                    header[16 * sub + column] = *scale;
                }
            }
            Scales::Six32 => {
                halves(header, 0, scale);
                for (sub, scale) in parts.scales[..8].iter().enumerate() {
                    header[32 + 16 * (sub % 2) + column] |= (scale >> 4) << (2 * (sub / 2));
                    header[64 + 16 * (sub % 4) + column] |= (scale & 15) << (4 * (sub / 4));
                }
            }
            Scales::Six32Minimum | Scales::Six16 => {
                halves(header, 0, scale);
                let mut all = parts.scales;
                if self.scales == Scales::Six32Minimum {
                    halves(header, 32, minimum);
                    all[8..].copy_from_slice(&parts.minima[..8]);
                }
                for (sub, scale) in all.iter().enumerate() {
                    header[64 + 64 * (sub / 8) + 16 * (sub % 4) + column] |= (scale & 15) << (4 * (sub / 4 % 2));
                    header[192 + 16 * (sub % 4) + column] |= (scale >> 4) << (2 * (sub / 4));
                }
            }
            // Nothing is stored so.
            Scales::Wide(..) => (),
            Scales::Eight16 | Scales::Four16Minimum => {
                halves(header, 0, scale);
                halves(header, 32, minimum);
                for (sub, (scale, minimum)) in parts.scales.iter().zip(parts.minima).enumerate() {
                    header[64 + 16 * sub + column] = scale | minimum << 4;
                }
            }
        }
    }
}

/// Four codes of each column.
type Words = [u32; COLUMNS];

/// Puts `bits` bits of each code, from bit `first` on, next to those of the other steps of a line.
#[inline(always)]
fn merge_lines(lines: &mut [Words], codes: &[Words; STEPS], bits: usize, first: usize) {
    let (mask, steps) = (0x0101_0101 * ((1 << bits) - 1), 8 / bits);
    for (step, codes) in codes.iter().enumerate() {
        for (line, code) in lines[step / steps].iter_mut().zip(codes) {
            *line |= (code >> first & mask) << (bits * (step % steps));
        }
    }
}

/// Sixteen rows of a file to a panel.
struct Pack<'a> {
    kind: &'a PanelKind,
    rows: &'a [u8],
    row_bytes: usize,
    target: &'a mut [u8],
}

impl Task for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.kind.tensor_type {
            TensorType::Q8_0 => pack_raw::<S, { number::Q8 }, 8>(s, self),
            TensorType::Q4_0 => pack_raw::<S, { number::Q4 }, 4>(s, self),
            TensorType::IQ4_NL => pack_raw::<S, { number::TABLE4 }, 4>(s, self),
            TensorType::Q4_1 => pack_raw::<S, { number::Q4_OFFSET }, 4>(s, self),
            TensorType::Q5_0 => pack_raw::<S, { number::Q5 }, 5>(s, self),
            TensorType::Q5_1 => pack_raw::<S, { number::Q5_OFFSET }, 5>(s, self),
            TensorType::IQ4_XS => pack_raw::<S, { number::TABLE4_SIX }, 32>(s, self),
            TensorType::Q4_K => pack_raw::<S, { number::Q4_SIX }, 32>(s, self),
            TensorType::Q5_K => pack_raw::<S, { number::Q5_SIX }, 40>(s, self),
            TensorType::Q6_K => pack_raw::<S, { number::Q6_EIGHT }, 48>(s, self),
            _ => pack_panel(self.kind, self.rows, self.row_bytes, self.target),
        }
    }
}

/// Writes a block's lines.
#[inline(always)]
fn write_lines(form: &Form, codes: &[Words; STEPS], target: &mut [u8]) {
    for (line, target) in form.lines(codes).iter().zip(target.as_chunks_mut::<64>().0) {
        for (word, target) in line.iter().zip(target.as_chunks_mut::<4>().0) {
            *target = word.to_le_bytes();
        }
    }
}

/// A format whose codes are turned sixteen columns at a time: `FORM` is its form, `WORDS` how many words of codes a block has.
#[inline(always)]
fn pack_raw<S: Simd, const FORM: u8, const WORDS: usize>(s: S, task: Pack<'_>) {
    let Pack { kind, rows, row_bytes, target } = task;
    let form = &FORMS[usize::from(FORM)];
    let (block_bytes, blocks) = (kind.tensor_type.block_bytes(), kind.tensor_type.block_len() / BLOCK);
    let (header_bytes, code_bytes) = (form.header_bytes(), form.code_bytes());
    let per_unit = form.unit_blocks() / blocks * block_bytes;
    let columns = rows.len() / row_bytes;
    let (mut raw, mut parts) = (Raw::<S, FORM, WORDS>::new(s, columns), Parts::default());
    let whole = columns == COLUMNS;
    // As much of the next rows is asked for as is read of these, which begin behind each other.
    let mut ahead = rows.as_ptr().wrapping_add(rows.len());
    for (unit, target) in target.chunks_mut(form.unit_bytes()).enumerate() {
        let (header, codes) = target.split_at_mut(header_bytes);
        for (at, codes) in codes.chunks_exact_mut(blocks * code_bytes).enumerate() {
            let start = unit * per_unit + at * block_bytes;
            assert!(start + block_bytes <= row_bytes, "a block inside its row");
            for _ in 0..(COLUMNS * block_bytes).div_ceil(CACHED) {
                ask_for(ahead);
                ahead = ahead.wrapping_add(CACHED);
            }
            if whole {
                // SAFETY: the block is inside each of sixteen rows.
                unsafe { raw.take(rows.as_ptr().add(start), row_bytes, header, at) };
            } else {
                for (column, row) in rows.chunks_exact(row_bytes).enumerate() {
                    unpack_scales(kind, &row[start..start + block_bytes], &mut parts);
                    form.write_scales(header, at, column, &parts);
                }
                raw.take_few(rows, row_bytes, start);
            }
            for (block, target) in codes.chunks_exact_mut(code_bytes).enumerate() {
                raw.put_lines(block, target);
            }
        }
    }
}

#[inline(always)]
fn pack_panel(kind: &PanelKind, rows: &[u8], row_bytes: usize, target: &mut [u8]) {
    let form = kind.form();
    let (block_bytes, blocks) = (kind.tensor_type.block_bytes(), kind.tensor_type.block_len() / BLOCK);
    let (header_bytes, code_bytes) = (form.header_bytes(), form.code_bytes());
    let per_unit = form.unit_blocks() / blocks * block_bytes;
    let mut parts = Parts::default();
    // A block of all columns at a time, so that lines are made and written whole.
    let mut words = [[[0; COLUMNS]; STEPS]; 8];
    for (unit, target) in target.chunks_mut(form.unit_bytes()).enumerate() {
        let (header, codes) = target.split_at_mut(header_bytes);
        for (at, codes) in codes.chunks_exact_mut(blocks * code_bytes).enumerate() {
            let start = unit * per_unit + at * block_bytes;
            for (column, row) in rows.chunks_exact(row_bytes).enumerate() {
                unpack(kind, &row[start..start + block_bytes], &mut parts);
                form.write_scales(header, at, column, &parts);
                for (words, codes) in words[..blocks].iter_mut().zip(&parts.codes) {
                    words.iter_mut().zip(codes).for_each(|(words, codes)| words[column] = *codes);
                }
            }
            for (words, target) in words[..blocks].iter().zip(codes.chunks_exact_mut(code_bytes)) {
                write_lines(form, words, target);
            }
        }
    }
}
