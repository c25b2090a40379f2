//! Keys and values of all layers, in pages.
//!
//! For each layer, page and head there is one piece of memory: the keys of the page's 64 cells with the cells side by
//! side (`[key_width][64]`, so that 16 scores are computed at once without summing across lanes), then the values cell
//! by cell (`[64][value_width]`). In `q8_0` scales (f16, one per 32 columns of a cell) stand before the codes, in the
//! same order: `[key_width / 32][64]` and `[64][value_width / 32]`.

use super::{PAGE_CELLS, PageTables, RowPlace};
use crate::buffer::{Buffer, Shared};
use crate::elementwise::expect_length;
use crate::simd::{LANES, Simd, Task, dispatch, f16_to_f32, f32_to_f16};
use crate::{Isa, KernelError, Pool};

/// How keys and values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KvFormat {
    /// Single precision.
    F32,
    /// Half precision; what exceeds its range is stored as its greatest number.
    F16,
    /// Blocks of 32 columns with codes of 8 bits and a scale; needs head widths that are multiples of 32.
    Q8_0,
}

/// Columns of a block of `q8_0`.
pub(super) const BLOCK: usize = 32;

impl KvFormat {
    /// Name as options spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
        }
    }

    /// The format of that name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::F32, Self::F16, Self::Q8_0].into_iter().find(|format| format.name().eq_ignore_ascii_case(name))
    }

    /// Whether it can store heads of that width.
    pub fn fits(self, width: usize) -> bool {
        match self {
            Self::F32 | Self::F16 => true,
            Self::Q8_0 => width.is_multiple_of(BLOCK),
        }
    }

    /// Bytes of `PAGE_CELLS` cells of one head, or `None` where they exceed the address space.
    fn cells_bytes(self, width: usize) -> Option<usize> {
        let numbers = width.checked_mul(PAGE_CELLS)?;
        match self {
            Self::F32 => numbers.checked_mul(4),
            Self::F16 => numbers.checked_mul(2),
            Self::Q8_0 => numbers.checked_add(numbers / BLOCK * 2),
        }
    }
}

/// What one layer keeps of each position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KvLayer {
    /// Key and value heads.
    pub kv_heads: usize,
    /// Columns of a key, for each head.
    pub key_width: usize,
    /// Columns of a value, for each head.
    pub value_width: usize,
}

/// Where a layer's memory begins and how it is parted.
#[derive(Clone, Copy, Debug)]
struct Part {
    layer: KvLayer,
    start: usize,
    /// Bytes of a head's keys in a page.
    key_bytes: usize,
    /// Bytes of a head's keys and values in a page.
    head_bytes: usize,
    /// Bytes of a page: all heads.
    page_bytes: usize,
}

/// Keys and values of all layers.
pub struct KvMemory {
    parts: Vec<Part>,
    pages: usize,
    format: KvFormat,
    buffer: Buffer,
}

impl KvMemory {
    /// Memory for as many pages, shared by all sequences, in each layer. The system gives the memory as it is first used.
    ///
    /// # Errors
    /// A head width that the format cannot store, sizes beyond the address space, no memory.
    pub fn new(layers: &[KvLayer], pages: usize, format: KvFormat) -> Result<Self, KernelError> {
        for (index, layer) in layers.iter().enumerate() {
            for width in [layer.key_width, layer.value_width] {
                if !format.fits(width) {
                    return Err(KernelError::HeadWidth { width, layer: index });
                }
            }
        }
        let what = "the memory of keys and values";
        let (parts, total) = plan(layers, pages, format).ok_or(KernelError::TooLarge(what))?;
        Ok(Self { parts, pages, format, buffer: Buffer::zeroed(total, what)? })
    }

    /// Bytes that [`KvMemory::new`] would take, or `None` where they exceed the address space.
    pub fn bytes(layers: &[KvLayer], pages: usize, format: KvFormat) -> Option<u64> {
        plan(layers, pages, format).map(|(_, total)| total as u64)
    }

    /// Pages in it.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Its format.
    pub fn format(&self) -> KvFormat {
        self.format
    }

    /// Layers in it.
    pub fn layers(&self) -> usize {
        self.parts.len()
    }

    /// What a layer keeps.
    pub fn layer(&self, layer: usize) -> KvLayer {
        self.parts[layer].layer
    }

    /// Copies one page over another, in every layer.
    ///
    /// # Panics
    /// Where a page is outside the memory.
    pub fn copy_page(&mut self, from: u32, to: u32) {
        let (from, to) = (from as usize, to as usize);
        assert!(from < self.pages && to < self.pages, "pages {from} and {to} of a memory of {} pages", self.pages);
        let parts = &self.parts;
        let bytes = self.buffer.as_mut();
        for part in parts {
            let start = part.start + from * part.page_bytes;
            bytes.copy_within(start..start + part.page_bytes, part.start + to * part.page_bytes);
        }
    }

    /// Writes rows of keys, `[rows, kv_heads · key_width]`, and values, `[rows, kv_heads · value_width]`, to their places.
    ///
    /// # Panics
    /// Where a length does not fit, or a place has no page.
    pub fn store(
        &mut self,
        pool: &Pool,
        layer: usize,
        k: &[f32],
        v: &[f32],
        rows: &[RowPlace],
        tables: &PageTables<'_>,
    ) {
        let part = self.parts[layer];
        let KvLayer { kv_heads, key_width, value_width } = part.layer;
        expect_length("keys to store", k.len(), rows.len(), kv_heads * key_width);
        expect_length("values to store", v.len(), rows.len(), kv_heads * value_width);
        let mut last = None;
        for row in rows {
            // Rows of one sequence follow each other: one check a page is enough.
            let page = (row.sequence, row.position as usize / PAGE_CELLS);
            if last != Some(page) {
                tables.until(row.sequence, row.position, self.pages);
                last = Some(page);
            }
        }
        let (isa, format) = (Isa::detect(), self.format);
        let memory = Shared::new(self.buffer.as_mut());
        let head = |head: usize| {
            for (i, row) in rows.iter().enumerate() {
                let position = row.position as usize;
                let page = tables.tables[row.sequence as usize][position / PAGE_CELLS] as usize;
                let start = part.start + page * part.page_bytes + head * part.head_bytes;
                // SAFETY: the page is inside the memory (checked above), and this head belongs to one piece of work.
                let (keys, values) = unsafe { memory.part(start, part.head_bytes) }.split_at_mut(part.key_bytes);
                let k = &k[(i * kv_heads + head) * key_width..][..key_width];
                let v = &v[(i * kv_heads + head) * value_width..][..value_width];
                let cell = position % PAGE_CELLS;
                write(isa, format, k, keys, key_width, cell, PAGE_CELLS, 1);
                write(isa, format, v, values, value_width, cell, 1, value_width);
            }
        };
        if rows.len() < 16 {
            (0..kv_heads).for_each(head);
        } else {
            pool.pieces(kv_heads, head);
        }
    }

    /// The keys and values of a head in a page.
    pub(super) fn head(&self, layer: usize, page: u32, head: usize) -> (&[u8], &[u8]) {
        let part = &self.parts[layer];
        let start = part.start + page as usize * part.page_bytes + head * part.head_bytes;
        self.buffer.as_ref()[start..start + part.head_bytes].split_at(part.key_bytes)
    }
}

impl std::fmt::Debug for KvMemory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (layers, pages, format) = (self.parts.len(), self.pages, self.format.name());
        write!(formatter, "KvMemory({layers} layers, {pages} pages, {format})")
    }
}

fn plan(layers: &[KvLayer], pages: usize, format: KvFormat) -> Option<(Vec<Part>, usize)> {
    let mut parts = Vec::with_capacity(layers.len());
    let mut start = 0usize;
    for &layer in layers {
        let key_bytes = format.cells_bytes(layer.key_width)?;
        let head_bytes = key_bytes.checked_add(format.cells_bytes(layer.value_width)?)?;
        let page_bytes = head_bytes.checked_mul(layer.kv_heads)?;
        parts.push(Part { layer, start, key_bytes, head_bytes, page_bytes });
        start = start.checked_add(page_bytes.checked_mul(pages)?)?;
    }
    Some((parts, start))
}

/// Writes one cell of `width` numbers. Number i stands at `cell · by_cell + i · by_number`; likewise the scale of block i,
/// in units of its own (a cell has `width / 32` scales).
fn write(
    isa: Isa,
    format: KvFormat,
    x: &[f32],
    to: &mut [u8],
    width: usize,
    cell: usize,
    by_number: usize,
    by_cell: usize,
) {
    // `by_number` is the number of cells where cells stand side by side, and `by_cell` then is 1.
    let place = |i: usize| cell * by_cell + i * by_number;
    match format {
        KvFormat::F32 => {
            let (to, _) = to.as_chunks_mut::<4>();
            for (i, x) in x.iter().enumerate() {
                to[place(i)] = x.to_ne_bytes();
            }
        }
        KvFormat::F16 => {
            let (to, _) = to.as_chunks_mut::<2>();
            let mut halves = [[0u8; 2]; LANES];
            for (vector, x) in x.chunks(LANES).enumerate() {
                dispatch(isa, Halve { x, halves: &mut halves });
                for (i, half) in halves[..x.len()].iter().enumerate() {
                    to[place(vector * LANES + i)] = *half;
                }
            }
        }
        KvFormat::Q8_0 => {
            let blocks = width / BLOCK;
            let (scales, codes) = to.split_at_mut(blocks * PAGE_CELLS * 2);
            let (scales, _) = scales.as_chunks_mut::<2>();
            for (block, x) in x.as_chunks::<BLOCK>().0.iter().enumerate() {
                let greatest =
                    x.iter().fold(0f32, |greatest, x| if x.is_nan() { f32::NAN } else { greatest.max(x.abs()) });
                let nan = x.iter().any(|x| x.is_nan());
                let half = f32_to_f16(if nan { f32::NAN } else { greatest / 127.0 });
                let scale = f16_to_f32(half);
                let usable = scale.is_finite() && scale > 0.0;
                let half = if scale.is_finite() { half } else { 0x7e00 };
                let scale_at = if by_number == 1 { cell * blocks + block } else { block * by_number + cell };
                scales[scale_at] = half.to_ne_bytes();
                for (i, x) in x.iter().enumerate() {
                    let code = if usable { (x / scale).round_ties_even().clamp(-127.0, 127.0) as i8 } else { 0 };
                    codes[place(block * BLOCK + i)] = code as u8;
                }
            }
        }
    }
}

/// Up to sixteen numbers to the nearest f16 within its finite range.
struct Halve<'a> {
    x: &'a [f32],
    halves: &'a mut [[u8; 2]; LANES],
}

impl Task for Halve<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let x = match self.x.as_array::<LANES>() {
            Some(x) => s.load(x),
            None => s.load_part(self.x),
        };
        // Operand order keeps what is not a number.
        let x = s.min(s.splat(65504.0), s.max(s.splat(-65504.0), x));
        // SAFETY: the halves are 32 bytes.
        unsafe { s.store_f16_at(x, self.halves.as_mut_ptr().cast()) }
    }
}

const _: () = assert!(PAGE_CELLS.is_multiple_of(LANES) && PAGE_CELLS.is_multiple_of(BLOCK));
