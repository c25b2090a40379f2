//! Rows of numbers as the float kernels read them: the first factor of a product.
//!
//! A row is a run of words of four bytes: an f32, or two bf16 that stand next to each other (the earlier one lower, an odd
//! last one beside a zero). Rows are kept in tiles of up to 12, as quantized ones are, and a tile in chunks of [`CHUNK`]
//! words: chunk by chunk, all its rows. So a kernel finds a tile's rows at fixed distances from each other, whatever their
//! length, and near each other.

use super::int8_rows::{TILE, Tile, tile, tiles};
use crate::buffer::{Buffer, Shared};
use crate::elementwise::{expect_length, spread};
use crate::simd::{LANES, Simd, Task, dispatch};
use crate::{Isa, KernelError, Pool};

/// What numbers are multiplied as. Sums are f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// As they are.
    F32,
    /// Rounded to the upper half of an f32 (nearest, ties to even), 8 bits of precision: twice as fast where the processor
    /// has AVX-512 BF16.
    Bf16,
}

impl Precision {
    /// Words that a row of so many numbers takes.
    pub(super) fn words(self, depth: usize) -> usize {
        match self {
            Self::F32 => depth,
            Self::Bf16 => depth.div_ceil(2),
        }
    }

    /// Numbers in a word.
    pub(super) fn each(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16 => 2,
        }
    }
}

/// Words of a chunk: 16 KiB of a panel, which stay in the first-level cache while tiles of rows pass.
pub(super) const CHUNK: usize = 128;
/// Bytes of a word.
pub(super) const WORD: usize = 4;

/// Words that packed rows take.
fn words(precision: Precision, rows: usize, depth: usize) -> Option<usize> {
    precision.words(depth).checked_next_multiple_of(CHUNK)?.checked_mul(rows)
}

/// f32 that [`pack`] wants room for.
pub(super) fn scratch_length(precision: Precision, rows: usize, depth: usize) -> usize {
    words(precision, rows, depth).unwrap_or(usize::MAX)
}

/// Rows ready for [`multiply_tiles`](super::multiply_tiles), in memory kept from one use to the next.
pub struct FloatRows {
    buffer: Buffer,
    precision: Precision,
    rows: usize,
    depth: usize,
}

/// Where rows are taken from.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// `[rows, depth]`.
    Rows(&'a [f32]),
    /// `[depth, rows]`.
    Columns(&'a [f32]),
}

impl FloatRows {
    /// Room for as many rows of `depth` numbers (or any that need no more).
    ///
    /// # Errors
    /// No memory.
    pub fn with_capacity(precision: Precision, rows: usize, depth: usize) -> Result<Self, KernelError> {
        let total = words(precision, rows, depth).and_then(|words| words.checked_mul(WORD));
        let total = total.ok_or(KernelError::TooLarge("packed rows"))?;
        Ok(Self { buffer: Buffer::zeroed(total, "packed rows")?, precision, rows: 0, depth: 0 })
    }

    /// Bytes that [`FloatRows::with_capacity`] takes.
    pub fn bytes(precision: Precision, rows: usize, depth: usize) -> usize {
        words(precision, rows, depth).and_then(|words| words.checked_mul(WORD)).unwrap_or(usize::MAX)
    }

    /// Rows it holds now.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers of a row.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// What they are multiplied as.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Takes in `x`, `[rows, depth]`.
    ///
    /// # Panics
    /// Where the length does not fit or there is no room.
    pub fn pack(&mut self, pool: &Pool, isa: Isa, x: &[f32], rows: usize, depth: usize) {
        expect_length("rows to pack", x.len(), rows, depth);
        self.take(pool, isa, Source::Rows(x), rows, depth);
    }

    /// Takes in the columns of `x`, `[depth, rows]`, as rows: for a product `xᵀ · y`.
    ///
    /// # Panics
    /// Where the length does not fit or there is no room.
    pub fn pack_transposed(&mut self, pool: &Pool, isa: Isa, x: &[f32], rows: usize, depth: usize) {
        expect_length("columns to pack", x.len(), depth, rows);
        self.take(pool, isa, Source::Columns(x), rows, depth);
    }

    fn take(&mut self, pool: &Pool, isa: Isa, source: Source<'_>, rows: usize, depth: usize) {
        let total = Self::bytes(self.precision, rows, depth);
        assert!(total <= self.buffer.len(), "room for {} bytes of packed rows, {total} needed", self.buffer.len());
        (self.rows, self.depth) = (rows, depth);
        if total > 0 {
            pack(pool, isa, self.precision, source, (rows, depth), &mut self.buffer.as_mut()[..total]);
        }
    }

    pub(super) fn view(&self) -> View<'_> {
        View { packed: self.buffer.as_ref(), words: self.precision.words(self.depth) }
    }
}

impl std::fmt::Debug for FloatRows {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "FloatRows({:?} [{}, {}])", self.precision, self.rows, self.depth)
    }
}

/// Packed rows.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) packed: &'a [u8],
    pub(super) words: usize,
}

impl View<'_> {
    /// The rows of a tile.
    pub(super) fn tile(&self, tile: Tile) -> &[u8] {
        let row = self.words.next_multiple_of(CHUNK) * WORD;
        let end = (tile.rows * row).min(self.packed.len() - tile.first * row);
        &self.packed[tile.first * row..][..end]
    }
}

/// Packs rows into memory of the right size.
pub(super) fn pack(
    pool: &Pool,
    isa: Isa,
    precision: Precision,
    source: Source<'_>,
    (rows, depth): (usize, usize),
    target: &mut [u8],
) {
    let row = precision.words(depth).next_multiple_of(CHUNK) * WORD;
    debug_assert_eq!(target.len(), rows * row);
    let target = Shared::new(target);
    spread(pool, tiles(rows, TILE), depth * rows.min(TILE), |range| {
        for index in range {
            let tile = tile(rows, TILE, index);
            // SAFETY: tiles are disjoint runs of rows.
            let target = unsafe { target.part(tile.first * row, tile.rows * row) };
            dispatch(isa, Pack { precision, source, tile, rows, depth, target });
        }
    });
}

struct Pack<'a> {
    precision: Precision,
    source: Source<'a>,
    tile: Tile,
    rows: usize,
    depth: usize,
    target: &'a mut [u8],
}

impl Task for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { precision, source, tile, rows, depth, target } = self;
        let each = CHUNK * precision.each();
        for (chunk, target) in target.chunks_exact_mut(tile.rows * CHUNK * WORD).enumerate() {
            let range = chunk * each..((chunk + 1) * each).min(depth);
            let targets = target.chunks_exact_mut(CHUNK * WORD).enumerate();
            match source {
                Source::Rows(x) => {
                    for (row, target) in targets {
                        write(s, precision, &x[(tile.first + row) * depth..][range.clone()], target);
                    }
                }
                Source::Columns(x) => {
                    // All rows of the tile at once: their numbers stand next to each other.
                    let mut columns = [[0f32; 2 * CHUNK]; TILE];
                    for (at, k) in range.clone().enumerate() {
                        let numbers = &x[k * rows + tile.first..][..tile.rows];
                        columns.iter_mut().zip(numbers).for_each(|(column, x)| column[at] = *x);
                    }
                    for ((_, target), column) in targets.zip(&columns) {
                        write(s, precision, &column[..range.len()], target);
                    }
                }
            }
        }
    }
}

/// A part of a row, as words.
#[inline(always)]
fn write<S: Simd>(s: S, precision: Precision, x: &[f32], target: &mut [u8]) {
    let bytes = match precision {
        Precision::F32 => WORD,
        Precision::Bf16 => WORD / 2,
    };
    assert!(target.len() >= (x.len() * bytes).next_multiple_of(WORD), "room for words");
    let (whole, rest) = x.as_chunks::<LANES>();
    // No closures here: they would be compiled without the instructions that `s` stands for.
    for (at, x) in whole.iter().enumerate() {
        // SAFETY: the target has room for every number.
        unsafe { store(s, precision, s.load(x), target.as_mut_ptr().add(at * LANES * bytes)) };
    }
    if !rest.is_empty() {
        let mut made = [0u8; LANES * WORD];
        // SAFETY: sixteen words are there for sixteen numbers.
        unsafe { store(s, precision, s.load_part(rest), made.as_mut_ptr()) };
        // With the zero beside an odd last number.
        let length = (rest.len() * bytes).next_multiple_of(WORD);
        target[whole.len() * LANES * bytes..][..length].copy_from_slice(&made[..length]);
    }
}

/// Sixteen numbers.
///
/// # Safety
/// There must be room for them.
#[inline(always)]
unsafe fn store<S: Simd>(s: S, precision: Precision, x: S::F, to: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe {
        match precision {
            Precision::F32 => s.store_at(x, to.cast()),
            Precision::Bf16 => s.store_bf16_at(x, to),
        }
    }
}
