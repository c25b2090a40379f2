//! The repacked form of block formats: panels of 16 output columns.
//!
//! A panel is a run of units, each a header with the scales of some blocks of 32 inputs ([`Form::unit_blocks`],
//! [`Scales`]) and then their codes. All lines of 64 bytes are aligned; a last unit of fewer blocks keeps a whole header. A
//! last panel of fewer columns is filled up with zeros.
//!
//! Of the codes, four inputs × 16 columns are one *step* (column c's four at byte 4c of a line, as `vpdpbusd` takes them), 8
//! steps a block. A block has a line for each bit of its codes:
//!
//! | bits | lines |
//! |---|---|
//! | 8 | one a step |
//! | 4 | two steps a line, the even one in the low four bits |
//! | 2 | four steps a line, the first lowest |
//! | 1 | eight steps a line, the first lowest |
//! | 5 | those of 4, then of 1 (the upper) |
//! | 6 | those of 4, then of 2 (the upper) |
//! | 3 | those of 2, then of 1 (the upper) |
//!
//! The bytes a file has for 16 rows are exceeded by no more than 2%, but for TQ1_0 (2 bits a number here) and the formats with
//! codebooks, whose entries' numbers take 3 or 4 bits each here instead of 1.5 to 3.4.

use super::forms::{FORMS, Form, PanelKind, Scales, number};
use super::raw::Raw;
use super::unpack::{Parts, half_at, unpack, unpack_scales};
use crate::buffer::{Buffer, Shared};
use crate::simd::{Simd, Task, dispatch};
use crate::{Isa, KernelError, Pool};
use bantam_tensor::{SharedBytes, TensorType};
use std::ops::Range;

/// Output columns of a panel.
pub(super) const COLUMNS: usize = 16;
/// Inputs of a block.
pub(super) const BLOCK: usize = 32;
/// What the first panel is aligned to.
const LINE: usize = 64;
/// Bytes that a processor reads at a time.
const CACHED: usize = 64;
/// Bytes that are repacked before the file's are let go.
pub(super) const AT_ONCE: usize = 8 << 20;
/// Bytes of panels in a piece of work.
const PIECE: usize = 256 << 10;
/// Groups of four inputs in a block.
pub(super) const STEPS: usize = BLOCK / 4;

impl Form {
    /// Bytes of a panel, or `None` where they exceed the address space.
    fn panel_bytes(&self, blocks: usize) -> Option<usize> {
        let headers = blocks.div_ceil(self.unit_blocks()).checked_mul(self.header_bytes())?;
        blocks.checked_mul(self.code_bytes())?.checked_add(headers)
    }

    /// Where the header of a block's unit and the block's codes begin, and which block of the unit it is.
    pub(super) fn places(&self, block: usize) -> (usize, usize, usize) {
        let (unit, index) = (block / self.unit_blocks(), block % self.unit_blocks());
        let header = unit * self.unit_bytes();
        (header, header + self.header_bytes() + index * self.code_bytes(), index)
    }

    /// `N` codes of a step from byte `first` of its line on: all 64, or the four of one column.
    #[inline(always)]
    pub(super) fn step<const N: usize>(&self, codes: &[u8], step: usize, first: usize) -> [u8; N] {
        let line =
            |line: usize| -> &[u8; N] { codes[64 * line + first..].first_chunk().expect("a block has all its lines") };
        let four = || line(step / 2).map(|byte| byte >> (4 * (step % 2)) & 15);
        let two = |first: usize| line(first + step / 4).map(|byte| byte >> (2 * (step % 4)) & 3);
        let one = |first: usize| line(first).map(|byte| byte >> step & 1);
        let with = |mut low: [u8; N], high: [u8; N], shift: usize| {
            low.iter_mut().zip(&high).for_each(|(low, high)| *low |= high << shift);
            low
        };
        match self.bits {
            8 => *line(step),
            6 => with(four(), two(4), 4),
            5 => with(four(), one(4), 4),
            4 => four(),
            3 => with(two(0), one(2), 2),
            2 => two(0),
            _ => one(0),
        }
    }

    /// The words of a block's lines, a column each, the inverse of [`Form::step`].
    #[inline(always)]
    fn lines(&self, codes: &[Words; STEPS]) -> [Words; 8] {
        let mut lines = [[0; COLUMNS]; 8];
        match self.bits {
            8 => lines = *codes,
            6 => {
                merge_lines(&mut lines, codes, 4, 0);
                merge_lines(&mut lines[4..], codes, 2, 4);
            }
            5 => {
                merge_lines(&mut lines, codes, 4, 0);
                merge_lines(&mut lines[4..], codes, 1, 4);
            }
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

    /// The scale and the minimum of a part of a block, `part` counted through the unit.
    #[inline(always)]
    pub(super) fn scale_and_minimum(&self, unit: f32, header: &[u8], part: usize, column: usize) -> (f32, f32) {
        let half = |place: usize| half_at(header, place + 2 * column);
        let six = |sub: usize| {
            let lower = header[64 + 64 * (sub / 8) + 16 * (sub % 4) + column] >> (4 * (sub / 4 % 2)) & 15;
            lower | (header[192 + 16 * (sub % 4) + column] >> (2 * (sub / 4)) & 3) << 4
        };
        let byte = || header[16 * part + column];
        match self.scales {
            Scales::Half(span) => (half(32 * (part / span)), 0.0),
            Scales::HalfOffset => (half(0), -half(32)),
            Scales::Exponent => {
                // The two smallest are subnormal.
                let sub = u32::from(byte());
                (f32::from_bits(if sub < 2 { 0x0020_0000 << sub } else { (sub - 1) << 23 }), 0.0)
            }
            // In an f16 the same fields stand for 2^-8 as much.
            Scales::Float8 => (128.0 * bantam_tensor::f16_to_f32(u16::from(byte()) << 7), 0.0),
            Scales::Six32 => {
                let lower = header[64 + 16 * (part % 4) + column] >> (4 * (part / 4)) & 15;
                let upper = header[32 + 16 * (part % 2) + column] >> (2 * (part / 2)) & 3;
                (half(0) * unit * f32::from((lower | upper << 4) as i8 - 32), 0.0)
            }
            Scales::Six32Minimum => (half(0) * f32::from(six(part)), half(32) * f32::from(six(8 + part))),
            Scales::Six16 => (half(0) * unit * f32::from(six(part) as i8 - 32), 0.0),
            Scales::Eight16 => (half(0) * f32::from(header[64 + 16 * part + column] as i8), 0.0),
            Scales::Four16Minimum => {
                let both = header[64 + 16 * part + column];
                (half(0) * f32::from(both & 15), half(32) * f32::from(both >> 4))
            }
            Scales::Wide(parts, minimum, blocks) => {
                let wide = |number: usize| {
                    let at = 64 * number + 4 * column;
                    f32::from_ne_bytes(std::array::from_fn(|i| header[at + i]))
                };
                (wide(part), if minimum { wide(parts * blocks + part) } else { 0.0 })
            }
        }
    }
}

/// Bytes of all panels of a weight, or `None` where they exceed the address space.
pub(super) fn bytes(kind: &PanelKind, outputs: usize, inputs: usize) -> Option<usize> {
    outputs.div_ceil(COLUMNS).checked_mul(kind.form().panel_bytes(inputs / BLOCK)?)
}

/// A weight in panels, or to be put into panels.
pub(super) struct Panels {
    pub(super) kind: &'static PanelKind,
    pub(super) blocks: usize,
    pub(super) count: usize,
    pub(super) panel_bytes: usize,
    memory: Memory,
}

/// Where panels lie.
enum Memory {
    Owned(Buffer),
    /// A file of panels, and its first byte here.
    Shared(SharedBytes, Start),
    /// Nowhere yet: the rows of a file, which products repack piece by piece for themselves.
    Waiting(Rows),
}

/// Rows of a file.
struct Rows {
    bytes: SharedBytes,
    row_bytes: usize,
    outputs: usize,
}

/// Panels that are in memory, some or all of a weight's.
#[derive(Clone, Copy)]
pub(super) struct ReadyPanels {
    pub(super) kind: &'static PanelKind,
    pub(super) blocks: usize,
    panel_bytes: usize,
    /// Where the weight's first panel is, or would be.
    start: *const u8,
}

impl ReadyPanels {
    /// The first byte of a panel, which must be one of the view's.
    pub(super) fn panel(&self, panel: usize) -> *const u8 {
        self.start.wrapping_add(panel * self.panel_bytes)
    }

    /// Some blocks of a row: the plain twin of [`decode::blocks`](super::decode::blocks).
    pub(super) fn decode(&self, row: usize, inputs: Range<usize>, out: &mut [f32]) {
        assert!(
            inputs.start.is_multiple_of(BLOCK) && inputs.end.is_multiple_of(BLOCK),
            "{inputs:?} in blocks of {BLOCK}"
        );
        let (kind, form, column) = (self.kind, self.kind.form(), row % COLUMNS);
        // SAFETY: the panel is one of the view's, and whole.
        let panel = unsafe { std::slice::from_raw_parts(self.panel(row / COLUMNS), self.panel_bytes) };
        let parts = form.parts();
        for (block, out) in (inputs.start / BLOCK..).zip(out.chunks_exact_mut(BLOCK)) {
            let (header, codes, index) = form.places(block);
            let (header, codes) = (&panel[header..][..form.header_bytes()], &panel[codes..][..form.code_bytes()]);
            for (part, out) in out.chunks_exact_mut(BLOCK / parts).enumerate() {
                let (scale, minimum) = form.scale_and_minimum(kind.unit, header, parts * index + part, column);
                let fours = part * STEPS / parts..(part + 1) * STEPS / parts;
                let codes = fours.flat_map(|step| form.step::<4>(codes, step, 4 * column));
                for (out, code) in out.iter_mut().zip(codes) {
                    let unsigned = if form.table { kind.table[usize::from(code & 15)] } else { code };
                    let value = scale * (i32::from(unsigned) - form.offset as i32) as f32;
                    *out = if form.has_minimum() { value - minimum } else { value };
                }
            }
        }
    }
}

struct Start(*const u8);

// SAFETY: it points into bytes that the window beside it keeps, and that are only read.
unsafe impl Send for Start {}
// SAFETY: as above.
unsafe impl Sync for Start {}

impl Rows {
    /// Repacks some panels.
    fn pack(&self, isa: Isa, kind: &PanelKind, panels: Range<usize>, panel_bytes: usize, target: &mut [u8]) {
        let bytes = &self.bytes[..];
        for (panel, target) in panels.zip(target.chunks_exact_mut(panel_bytes)) {
            let first = panel * COLUMNS;
            let rows = &bytes[first * self.row_bytes..(first + COLUMNS).min(self.outputs) * self.row_bytes];
            dispatch(isa, Pack { kind, rows, row_bytes: self.row_bytes, target });
        }
    }
}

impl Panels {
    /// The rows of a file, to be repacked; `inputs` is a multiple of the format's block and `source` has the right length.
    /// Memory for the panels is taken by [`Panels::pack`].
    pub(super) fn waiting(
        kind: &'static PanelKind,
        outputs: usize,
        inputs: usize,
        source: SharedBytes,
    ) -> Result<Self, KernelError> {
        let total = bytes(kind, outputs, inputs).ok_or(KernelError::TooLarge("repacked weights"))?;
        let (blocks, count) = (inputs / BLOCK, outputs.div_ceil(COLUMNS));
        let row_bytes = source.len() / outputs;
        let memory = Memory::Waiting(Rows { bytes: source, row_bytes, outputs });
        Ok(Self { kind, blocks, count, panel_bytes: total / count, memory })
    }

    /// Repacks all that is waiting.
    pub(super) fn pack(&mut self, pool: &Pool) -> Result<(), KernelError> {
        let Memory::Waiting(rows) = &self.memory else { return Ok(()) };
        let (kind, count, panel_bytes) = (self.kind, self.count, self.panel_bytes);
        let mut buffer = Buffer::huge(count * panel_bytes, "repacked weights")?;
        let target = Shared::new(buffer.as_mut());
        let together = (AT_ONCE / panel_bytes).max(1);
        let isa = Isa::detect();
        for start in (0..count).step_by(together) {
            let some = together.min(count - start);
            let each = (PIECE / panel_bytes).max(1);
            pool.pieces(some.div_ceil(each), |piece| {
                let panels = start + piece * each..start + ((piece + 1) * each).min(some);
                // SAFETY: each panel belongs to one piece, and the buffer is of `count` panels.
                let target = unsafe { target.part(panels.start * panel_bytes, panels.len() * panel_bytes) };
                rows.pack(isa, kind, panels, panel_bytes, target);
            });
            let last = ((start + some) * COLUMNS).min(rows.outputs);
            rows.bytes.done_with(start * COLUMNS * rows.row_bytes..last * rows.row_bytes);
        }
        self.memory = Memory::Owned(buffer);
        Ok(())
    }

    /// Whether they are still to be repacked.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.memory, Memory::Waiting(_))
    }

    /// Some panels for a product. Those that wait are repacked into `room`, which must be [`Panels::room`] long for as many as
    /// products take at a time.
    pub(super) fn view(&self, isa: Isa, panels: Range<usize>, room: &mut Vec<f32>) -> ReadyPanels {
        let Self { kind, blocks, panel_bytes, .. } = *self;
        let start = match &self.memory {
            Memory::Owned(buffer) => buffer.as_ptr(),
            Memory::Shared(_, start) => start.0,
            Memory::Waiting(rows) => {
                let length = panels.len() * panel_bytes;
                if room.len() < length / 4 + LINE {
                    // Only for a pool that the matrix was not made with.
                    room.resize(length / 4 + LINE, 0.0);
                }
                let aligned = room.as_ptr().align_offset(LINE).min(LINE);
                let target = room[aligned..][..length / 4].as_mut_ptr().cast::<u8>();
                // SAFETY: an f32 is four initialised bytes, and any four bytes are one.
                let target = unsafe { std::slice::from_raw_parts_mut(target, length) };
                // Sub-scales are added bit by bit.
                target.fill(0);
                let first = panels.start * panel_bytes;
                rows.pack(isa, kind, panels, panel_bytes, target);
                target.as_ptr().wrapping_sub(first)
            }
        };
        ReadyPanels { kind, blocks, panel_bytes, start }
    }

    /// f32 of room that so many bytes of panels, and two panels more, are repacked into.
    pub(super) fn room(&self, bytes: usize) -> usize {
        (bytes + 2 * self.panel_bytes) / 4 + LINE
    }

    /// Panels that were packed before, or `None` where they are not as long as they should be or begin between lines.
    pub(super) fn from_bytes(
        kind: &'static PanelKind,
        outputs: usize,
        inputs: usize,
        packed: SharedBytes,
    ) -> Option<Self> {
        let total = bytes(kind, outputs, inputs)?;
        let start = packed.as_ptr();
        // Looked at once more than the length it says: an owner's bytes may have gone.
        if packed.len() != total || packed[..].len() != total || !(start as usize).is_multiple_of(LINE) {
            return None;
        }
        let (blocks, count) = (inputs / BLOCK, outputs.div_ceil(COLUMNS));
        let memory = Memory::Shared(packed, Start(start));
        Some(Self { kind, blocks, count, panel_bytes: total / count, memory })
    }

    /// All panels, where they are there.
    pub(super) fn packed(&self) -> Option<&[u8]> {
        match &self.memory {
            Memory::Owned(buffer) => Some(buffer.as_ref()),
            Memory::Shared(bytes, _) => Some(bytes),
            Memory::Waiting(_) => None,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.count * self.panel_bytes
    }
}

/// Four codes of each column.
pub(super) type Words = [u32; COLUMNS];

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
                s.prefetch(ahead);
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
