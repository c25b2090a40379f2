//! Working memory of attention.

use super::PAGE_CELLS;
use super::attend::{AttentionShape, Block, SPAN};
use super::memory::BLOCK;
use super::page::NARROW;
use super::wide::{Sums, WIDE};
use crate::{KernelError, Pool};
use std::ops::Range;
use std::sync::Mutex;

/// Working memory of [`super::attend`], made once.
pub struct AttentionScratch {
    pub(super) workers: Vec<Mutex<Worker>>,
    pub(super) blocks: Vec<Block>,
    /// Results of spans that were worked on apart.
    pub(super) partial: Vec<f32>,
}

/// What one thread works with. Few query rows stand one after the other, many side by side in chunks of [`WIDE`].
pub(super) struct Worker {
    /// `[query, width]`, or for each chunk `[width, WIDE]`.
    pub(super) q: Vec<f32>,
    /// Of few query rows.
    pub(super) scores: Vec<[f32; PAGE_CELLS]>,
    /// Of a chunk: `[cell, WIDE]`.
    pub(super) wide_scores: Vec<f32>,
    pub(super) seen: Vec<Range<usize>>,
    pub(super) factors: Vec<f32>,
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
    pub(super) key_scales: Vec<f32>,
    pub(super) value_scales: Vec<f32>,
    pub(super) span: State,
    pub(super) whole: State,
}

/// The running softmax of each query row of a block and its weighted sum of values (`[query, width]`, or for each chunk
/// `[width, WIDE]`).
pub(super) struct State {
    pub(super) greatest: Vec<f32>,
    pub(super) sum: Vec<f32>,
    pub(super) sums: Vec<f32>,
}

impl State {
    fn new(sizes: &Sizes) -> Self {
        Self {
            greatest: vec![f32::NEG_INFINITY; sizes.queries],
            sum: vec![0.0; sizes.queries],
            sums: vec![0.0; sizes.sums],
        }
    }

    /// Nothing seen yet, for `queries` rows.
    pub(super) fn reset(&mut self, queries: usize, width: usize) {
        self.greatest[..queries].fill(f32::NEG_INFINITY);
        self.sum[..queries].fill(0.0);
        self.sums[..queries * width].fill(0.0);
    }

    /// A chunk's part.
    pub(super) fn chunk(&mut self, chunk: usize, width: usize) -> Sums<'_> {
        Sums {
            greatest: &mut self.greatest[chunk * WIDE..][..WIDE],
            sum: &mut self.sum[chunk * WIDE..][..WIDE],
            sums: &mut self.sums[chunk * WIDE * width..][..WIDE * width],
        }
    }

    /// Numbers of `queries` rows put aside.
    pub(super) fn length(queries: usize, width: usize) -> usize {
        queries * (width + 2)
    }

    /// Puts them aside.
    pub(super) fn put(&self, queries: usize, width: usize, to: &mut [f32]) {
        let (greatest, rest) = to.split_at_mut(queries);
        let (sum, sums) = rest.split_at_mut(queries);
        greatest.copy_from_slice(&self.greatest[..queries]);
        sum.copy_from_slice(&self.sum[..queries]);
        sums[..queries * width].copy_from_slice(&self.sums[..queries * width]);
    }

    /// Takes back what was put aside.
    pub(super) fn take(&mut self, queries: usize, width: usize, from: &[f32]) {
        let (greatest, rest) = from.split_at(queries);
        let (sum, sums) = rest.split_at(queries);
        self.greatest[..queries].copy_from_slice(greatest);
        self.sum[..queries].copy_from_slice(sum);
        self.sums[..queries * width].copy_from_slice(&sums[..queries * width]);
    }
}

/// Query rows as they are kept: many in whole chunks. More than there can be stay so.
pub(super) fn kept_queries(queries: usize) -> usize {
    if queries <= NARROW { queries } else { queries.checked_next_multiple_of(WIDE).unwrap_or(usize::MAX) }
}

/// Sizes of an [`AttentionScratch`].
struct Sizes {
    queries: usize,
    q: usize,
    keys: usize,
    values: usize,
    sums: usize,
    partial: usize,
}

impl Sizes {
    fn of(threads: usize, shapes: &[AttentionShape], rows: usize, positions: usize) -> Option<Self> {
        let most = |size: &dyn Fn(&AttentionShape) -> Option<usize>| {
            shapes.iter().try_fold(0usize, |most, shape| Some(most.max(size(shape)?)))
        };
        // A block of few rows is kept as it is, so a full one need not be the greatest.
        let queries = |shape: &AttentionShape| {
            Some(shape.block_rows().min(rows).checked_mul(shape.group())?.checked_next_multiple_of(WIDE)?.max(NARROW))
        };
        let partial = most(&|shape| {
            let spans = positions.div_ceil(SPAN);
            let kept = |rows: usize| shape.group().checked_mul(rows).map(kept_queries);
            // One row for each thread, of sequences of their own or of one: with more, rows and heads alone keep the threads busy.
            let queries = kept(1)?.checked_mul(threads)?.max(kept(rows.min(threads))?);
            let width = shape.value_width.checked_add(2)?;
            queries.checked_mul(width)?.checked_mul(shape.kv_heads)?.checked_mul(spans)
        })?;
        Some(Self {
            queries: most(&queries)?,
            q: most(&|shape| queries(shape)?.checked_mul(shape.key_width))?,
            keys: most(&|shape| shape.key_width.checked_mul(PAGE_CELLS))?,
            values: most(&|shape| shape.value_width.checked_mul(PAGE_CELLS))?,
            sums: most(&|shape| queries(shape)?.checked_mul(shape.value_width))?,
            partial: if threads > 1 && positions > SPAN { partial } else { 0 },
        })
    }

    fn bytes(&self, threads: usize, rows: usize) -> Option<usize> {
        let scales = self.keys / BLOCK + self.values / BLOCK;
        let scores = (NARROW + WIDE) * PAGE_CELLS;
        let numbers = self.queries.checked_mul(10)?.checked_add(self.q)?.checked_add(self.keys)?;
        let numbers = numbers.checked_add(self.values)?.checked_add(self.sums.checked_mul(2)?)?;
        let numbers = numbers.checked_add(scales + scores)?;
        let total = numbers.checked_mul(threads)?.checked_add(self.partial)?.checked_mul(4)?;
        total.checked_add(rows.checked_mul(size_of::<Block>())?)
    }
}

impl AttentionScratch {
    /// Enough for any of the shapes, with up to `rows` rows in a batch and `positions` in a sequence.
    ///
    /// # Errors
    /// Sizes beyond the address space.
    pub fn new(pool: &Pool, shapes: &[AttentionShape], rows: usize, positions: usize) -> Result<Self, KernelError> {
        let what = "the scratch of attention";
        let threads = pool.threads();
        let sizes = Sizes::of(threads, shapes, rows, positions).ok_or(KernelError::TooLarge(what))?;
        sizes
            .bytes(threads, rows)
            .filter(|&bytes| isize::try_from(bytes).is_ok())
            .ok_or(KernelError::TooLarge(what))?;
        let worker = || Worker {
            q: vec![0.0; sizes.q],
            scores: vec![[0.0; PAGE_CELLS]; NARROW],
            wide_scores: vec![0.0; WIDE * PAGE_CELLS],
            seen: vec![0..0; sizes.queries],
            factors: vec![0.0; NARROW],
            keys: vec![0.0; sizes.keys],
            values: vec![0.0; sizes.values],
            key_scales: vec![0.0; sizes.keys / BLOCK],
            value_scales: vec![0.0; sizes.values / BLOCK],
            span: State::new(&sizes),
            whole: State::new(&sizes),
        };
        Ok(Self {
            workers: (0..threads).map(|_| Mutex::new(worker())).collect(),
            blocks: Vec::with_capacity(rows),
            partial: vec![0.0; sizes.partial],
        })
    }

    /// About the bytes that [`AttentionScratch::new`] takes.
    pub fn bytes(threads: usize, shapes: &[AttentionShape], rows: usize, positions: usize) -> usize {
        Sizes::of(threads, shapes, rows, positions).and_then(|sizes| sizes.bytes(threads, rows)).unwrap_or(usize::MAX)
    }
}

impl std::fmt::Debug for AttentionScratch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "AttentionScratch({} workers)", self.workers.len())
    }
}
