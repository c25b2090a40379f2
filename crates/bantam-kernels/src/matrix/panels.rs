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

use super::forms::{Form, PanelKind, Scales};
use super::packing::FileRows;
use super::unpack::half_at;
use crate::buffer::{Buffer, Shared};
use crate::{Isa, KernelError, Pool};
use bantam_tensor::SharedBytes;
use std::ops::Range;

/// Output columns of a panel.
pub(super) const COLUMNS: usize = 16;
/// Inputs of a block.
pub(super) const BLOCK: usize = 32;
/// What the first panel is aligned to.
const LINE: usize = 64;
/// Bytes of a room beside its panels, so that they can begin on a line.
pub(super) const ROOM_BESIDE: usize = 4 * LINE;
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
    Waiting(FileRows),
}

/// Panels that are in memory, some or all of a weight's.
#[derive(Clone, Copy)]
pub(super) struct ReadyPanels<'a> {
    pub(super) kind: &'static PanelKind,
    pub(super) blocks: usize,
    panel_bytes: usize,
    /// The first of them, and the first that is none.
    range: (usize, usize),
    bytes: &'a [u8],
}

impl ReadyPanels<'_> {
    /// The first byte of one of the panels, counted as the weight's; each is whole.
    pub(super) fn panel(&self, panel: usize) -> *const u8 {
        debug_assert!(self.range.0 <= panel && panel < self.range.1, "panel {panel} of {:?}", self.range);
        self.bytes.as_ptr().wrapping_add(panel.wrapping_sub(self.range.0) * self.panel_bytes)
    }

    /// Some blocks of a row: the plain twin of [`decode::blocks`](super::decode::blocks).
    pub(super) fn decode(&self, row: usize, inputs: Range<usize>, out: &mut [f32]) {
        assert!(
            inputs.start.is_multiple_of(BLOCK) && inputs.end.is_multiple_of(BLOCK),
            "{inputs:?} in blocks of {BLOCK}"
        );
        let (kind, form, column) = (self.kind, self.kind.form(), row % COLUMNS);
        let panel = &self.bytes[(row / COLUMNS - self.range.0) * self.panel_bytes..][..self.panel_bytes];
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
        let memory = Memory::Waiting(FileRows { bytes: source, row_bytes, outputs });
        Ok(Self { kind, blocks, count, panel_bytes: total / count, memory })
    }

    /// Repacks all that is waiting.
    pub(super) fn pack(&mut self, isa: Isa, pool: &Pool) -> Result<(), KernelError> {
        let Memory::Waiting(rows) = &self.memory else { return Ok(()) };
        let (kind, count, panel_bytes) = (self.kind, self.count, self.panel_bytes);
        let mut buffer = Buffer::huge(count * panel_bytes, "repacked weights")?;
        let target = Shared::new(buffer.as_mut());
        let together = (AT_ONCE / panel_bytes).max(1);
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

    /// Some panels, for a product or to be decoded. Those that wait are repacked into `room`, which grows as it must.
    pub(super) fn view<'a>(&'a self, isa: Isa, panels: Range<usize>, room: &'a mut Vec<f32>) -> ReadyPanels<'a> {
        let Self { kind, blocks, panel_bytes, .. } = *self;
        let (range, length) = ((panels.start, panels.end), panels.len() * panel_bytes);
        let some = panels.start * panel_bytes..panels.end * panel_bytes;
        let bytes = match &self.memory {
            Memory::Owned(buffer) => &buffer.as_ref()[some],
            // SAFETY: the bytes are the window's, which the panels keep, and whose length was compared with theirs.
            Memory::Shared(_, start) => unsafe { std::slice::from_raw_parts(start.0.add(some.start), length) },
            Memory::Waiting(rows) => {
                let needed = (length + ROOM_BESIDE) / 4;
                if room.len() < needed {
                    room.reserve_exact(needed - room.len());
                    room.resize(needed, 0.0);
                }
                let aligned = room.as_ptr().align_offset(LINE).min(LINE);
                let target = room[aligned..][..length / 4].as_mut_ptr().cast::<u8>();
                // SAFETY: an f32 is four initialised bytes, and any four bytes are one.
                let target = unsafe { std::slice::from_raw_parts_mut(target, length) };
                // Sub-scales are added bit by bit.
                target.fill(0);
                rows.pack(isa, kind, panels, panel_bytes, target);
                target
            }
        };
        ReadyPanels { kind, blocks, panel_bytes, range, bytes }
    }

    /// A row of the file, while panels wait.
    pub(super) fn row_of_file(&self, row: usize) -> Option<&[u8]> {
        let Memory::Waiting(rows) = &self.memory else { return None };
        rows.bytes.get(row * rows.row_bytes..(row + 1) * rows.row_bytes)
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
