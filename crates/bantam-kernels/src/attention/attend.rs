//! Softmax attention over the paged memory, with the running softmax of Milakov & Gimelshein (2018).
//!
//! What a row sees is gone through in spans of 512 positions, counted from the sequence's start: each span has a running
//! softmax of its own, page by page, and the spans are merged in order. That is the arithmetic whether a span is worked
//! on by a thread of its own (one row, long context) or all by one (many rows), so a row's result is always the same.
//! Query heads that share a key head, and neighbouring rows of a sequence, go through a page together.

use super::memory::{BLOCK, KvFormat, KvMemory};
use super::page::{self, Cells, Scoring, Softmax, Weighted};
use super::{PAGE_CELLS, PageTables, RowPlace};
use crate::buffer::Shared;
use crate::elementwise::expect_length;
use crate::simd::{LANES, Simd, Task, dispatch};
use crate::{Isa, KernelError, Pool};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Positions of a span.
const SPAN: usize = 8 * PAGE_CELLS;
/// Query rows (rows × heads of a group) that go through a page together, unless a group alone has more.
const QUERIES: usize = 60;

/// What an attention step computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionShape {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Columns of a query or key head.
    pub key_width: usize,
    /// Columns of a value head.
    pub value_width: usize,
    /// Factor on the dot product.
    pub scale: f32,
    /// How many positions back a row sees, itself included.
    pub window: Option<u32>,
    /// `cap * tanh(score / cap)` on scores.
    pub softcap: Option<f32>,
    /// Whether a row sees only positions up to its own; else up to the last one of its sequence in the batch.
    pub causal: bool,
}

impl AttentionShape {
    fn group(&self) -> usize {
        self.heads / self.kv_heads.max(1)
    }

    /// Rows of a sequence that go through a page together.
    fn block_rows(&self) -> usize {
        (QUERIES / self.group().max(1)).max(1)
    }

    /// Query rows of a block.
    fn queries(&self) -> usize {
        self.block_rows() * self.group()
    }

    fn sees(&self, position: usize, length: usize) -> Range<usize> {
        let end = if self.causal { position + 1 } else { length };
        self.window.map_or(0, |window| (position + 1).saturating_sub(window as usize))..end
    }
}

/// Neighbouring rows of one sequence.
#[derive(Clone, Copy, Debug)]
struct Block {
    first: usize,
    count: usize,
    /// Positions of its sequence, for rows that see all of them.
    length: usize,
}

/// Working memory of [`attend`], made once.
pub struct AttentionScratch {
    workers: Vec<Mutex<Worker>>,
    blocks: Vec<Block>,
    /// Results of spans that were worked on apart.
    partial: Vec<f32>,
}

struct Worker {
    q: Vec<f32>,
    scores: Vec<[f32; PAGE_CELLS]>,
    seen: Vec<Range<usize>>,
    factors: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    key_scales: Vec<f32>,
    value_scales: Vec<f32>,
    span: State,
    whole: State,
}

/// The running softmax of each query row of a block and its weighted sum of values.
struct State {
    softmax: Vec<Softmax>,
    sums: Vec<f32>,
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
    fn of(threads: usize, shapes: &[AttentionShape], positions: usize) -> Option<Self> {
        let most = |size: &dyn Fn(&AttentionShape) -> Option<usize>| {
            shapes.iter().try_fold(0usize, |most, shape| Some(most.max(size(shape)?)))
        };
        let partial = most(&|shape| {
            let spans = positions.div_ceil(SPAN);
            let row = shape.heads.checked_mul(shape.value_width.checked_add(2)?)?;
            // One row for each thread: with more, rows and heads alone keep the threads busy.
            row.checked_mul(spans)?.checked_mul(threads)
        })?;
        Some(Self {
            queries: most(&|shape| Some(shape.queries()))?,
            q: most(&|shape| shape.queries().checked_mul(shape.key_width))?,
            keys: most(&|shape| shape.key_width.checked_mul(PAGE_CELLS))?,
            values: most(&|shape| shape.value_width.checked_mul(PAGE_CELLS))?,
            sums: most(&|shape| shape.queries().checked_mul(shape.value_width))?,
            partial: if threads > 1 && positions > SPAN { partial } else { 0 },
        })
    }

    fn bytes(&self, threads: usize, rows: usize) -> Option<usize> {
        let numbers = self.queries.checked_mul(PAGE_CELLS + 16)?.checked_add(self.q)?.checked_add(self.keys)?;
        let scales = self.keys / BLOCK + self.values / BLOCK;
        let numbers = numbers.checked_add(self.values)?.checked_add(self.sums.checked_mul(2)?)?.checked_add(scales)?;
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
        let sizes = Sizes::of(threads, shapes, positions).ok_or(KernelError::TooLarge(what))?;
        sizes
            .bytes(threads, rows)
            .filter(|&bytes| isize::try_from(bytes).is_ok())
            .ok_or(KernelError::TooLarge(what))?;
        let state = || State { softmax: vec![Softmax::EMPTY; sizes.queries], sums: vec![0.0; sizes.sums] };
        let worker = || Worker {
            q: vec![0.0; sizes.q],
            scores: vec![[0.0; PAGE_CELLS]; sizes.queries],
            seen: vec![0..0; sizes.queries],
            factors: vec![0.0; sizes.queries],
            keys: vec![0.0; sizes.keys],
            values: vec![0.0; sizes.values],
            key_scales: vec![0.0; sizes.keys / BLOCK],
            value_scales: vec![0.0; sizes.values / BLOCK],
            span: state(),
            whole: state(),
        };
        Ok(Self {
            workers: (0..threads).map(|_| Mutex::new(worker())).collect(),
            blocks: Vec::with_capacity(rows),
            partial: vec![0.0; sizes.partial],
        })
    }

    /// About the bytes that [`AttentionScratch::new`] takes.
    pub fn bytes(threads: usize, shapes: &[AttentionShape], rows: usize, positions: usize) -> usize {
        Sizes::of(threads, shapes, positions).and_then(|sizes| sizes.bytes(threads, rows)).unwrap_or(usize::MAX)
    }
}

impl std::fmt::Debug for AttentionScratch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "AttentionScratch({} workers)", self.workers.len())
    }
}

/// Attention of rows `q`, `[rows, heads · key_width]`, over what their sequences hold in `layer`, into `out`,
/// `[rows, heads · value_width]`. The rows' own keys and values must have been stored before.
///
/// Rows of one sequence should stand together in ascending order (they then share their work); the result does not
/// depend on it.
///
/// # Panics
/// Where a length or a layer's shape does not fit, a place has no page, or the scratch is too small for the shape.
pub fn attend(
    pool: &Pool,
    isa: Isa,
    scratch: &mut AttentionScratch,
    memory: &KvMemory,
    layer: usize,
    shape: &AttentionShape,
    q: &[f32],
    rows: &[RowPlace],
    tables: &PageTables<'_>,
    out: &mut [f32],
) {
    let kept = memory.layer(layer);
    assert!(
        (kept.kv_heads, kept.key_width, kept.value_width) == (shape.kv_heads, shape.key_width, shape.value_width),
        "attention of {shape:?} over a memory of {kept:?}"
    );
    assert!(
        shape.kv_heads > 0 && shape.heads.is_multiple_of(shape.kv_heads) && shape.heads > 0,
        "{} query heads cannot share {} key heads",
        shape.heads,
        shape.kv_heads
    );
    expect_length("queries", q.len(), rows.len(), shape.heads * shape.key_width);
    expect_length("out of attention", out.len(), rows.len(), shape.heads * shape.value_width);
    part(&mut scratch.blocks, shape, rows, tables, memory.pages());
    let longest = scratch.blocks.iter().map(|block| spans(shape, rows, block).len()).max().unwrap_or(0);
    let AttentionScratch { workers, blocks, partial } = scratch;
    let work = Work { memory, layer, shape, q, rows, tables, blocks, out: Shared::new(out) };
    let items = blocks.len() * shape.kv_heads;
    let state_length = shape.queries() * (shape.value_width + 2);
    let whole = |worker: usize, item: usize| {
        let mut worker = workers[worker].lock().unwrap_or_else(PoisonError::into_inner);
        dispatch(isa, Whole { work: &work, item, worker: &mut worker });
    };
    // Rows of one block may be fewer than a full block has: decode steps have one.
    let fits = blocks.iter().map(|block| block.count * shape.group()).max().unwrap_or(0) * (shape.value_width + 2);
    if items >= 2 * pool.threads() || longest < 2 || items * longest * fits.min(state_length) > partial.len() {
        pool.pieces_with(items, whole);
        return;
    }
    let each = fits.min(state_length);
    let parts = Shared::new(&mut partial[..items * longest * each]);
    pool.pieces_with(items * longest, |worker, piece| {
        let mut worker = workers[worker].lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: each piece has a place of its own.
        let part = unsafe { parts.part(piece * each, each) };
        dispatch(isa, One { work: &work, item: piece / longest, span: piece % longest, worker: &mut worker, part });
    });
    for item in 0..items {
        let mut worker = workers[0].lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the pieces are done.
        let parts = unsafe { parts.part(item * longest * each, longest * each) };
        dispatch(isa, Merge { work: &work, item, worker: &mut worker, parts, each });
    }
}

/// Parts the rows into blocks of neighbours and checks their places.
fn part(blocks: &mut Vec<Block>, shape: &AttentionShape, rows: &[RowPlace], tables: &PageTables<'_>, pages: usize) {
    blocks.clear();
    let mut first = 0;
    while first < rows.len() {
        let RowPlace { sequence, position } = rows[first];
        let neighbours = rows[first..].iter().take(shape.block_rows()).enumerate();
        let count = neighbours
            .take_while(|(i, row)| row.sequence == sequence && row.position as usize == position as usize + i)
            .count();
        let last = rows[first + count - 1].position;
        let length = if shape.causal {
            last as usize + 1
        } else {
            let others = rows.iter().filter(|row| row.sequence == sequence);
            others.map(|row| row.position as usize + 1).max().unwrap_or(0)
        };
        tables.until(sequence, (length - 1) as u32, pages);
        blocks.push(Block { first, count, length });
        first += count;
    }
}

/// Spans that a block's rows see.
fn spans(shape: &AttentionShape, rows: &[RowPlace], block: &Block) -> Range<usize> {
    let start = shape.sees(rows[block.first].position as usize, block.length).start;
    let end = shape.sees(rows[block.first + block.count - 1].position as usize, block.length).end;
    start / SPAN..end.div_ceil(SPAN)
}

/// Everything that the threads share.
struct Work<'a> {
    memory: &'a KvMemory,
    layer: usize,
    shape: &'a AttentionShape,
    q: &'a [f32],
    rows: &'a [RowPlace],
    tables: &'a PageTables<'a>,
    blocks: &'a [Block],
    out: Shared<f32>,
}

/// One block and key head.
struct Item<'a> {
    block: Block,
    places: &'a [RowPlace],
    kv_head: usize,
    queries: usize,
    spans: Range<usize>,
}

impl Work<'_> {
    fn item(&self, item: usize) -> Item<'_> {
        let block = self.blocks[item / self.shape.kv_heads];
        let places = &self.rows[block.first..block.first + block.count];
        Item {
            block,
            places,
            kv_head: item % self.shape.kv_heads,
            queries: block.count * self.shape.group(),
            spans: spans(self.shape, self.rows, &block),
        }
    }

    /// Copies the item's queries together: `[row, head of the group, key_width]`.
    #[inline(always)]
    fn take_queries(&self, item: &Item<'_>, q: &mut [f32]) {
        let (group, width) = (self.shape.group(), self.shape.key_width);
        let length = group * width;
        if length == 0 {
            return;
        }
        for (i, q) in q[..item.block.count * length].chunks_exact_mut(length).enumerate() {
            let start = ((item.block.first + i) * self.shape.heads + item.kv_head * group) * width;
            q.copy_from_slice(&self.q[start..start + length]);
        }
    }

    /// Goes through one span's pages into `worker.span`; `worker.q` holds the queries.
    #[inline(always)]
    fn span<S: Simd>(&self, s: S, item: &Item<'_>, span: usize, worker: &mut Worker) {
        let shape = self.shape;
        let (count, group) = (item.queries, shape.group());
        worker.span.softmax[..count].fill(Softmax::EMPTY);
        worker.span.sums[..count * shape.value_width].fill(0.0);
        let first = shape.sees(item.places[0].position as usize, item.block.length).start.max(span * SPAN);
        let last = shape.sees(item.places[item.places.len() - 1].position as usize, item.block.length);
        let last = last.end.min((span + 1) * SPAN);
        if first >= last {
            return;
        }
        let table = &self.tables.tables[item.places[0].sequence as usize];
        let scoring = Scoring { scale: shape.scale, softcap: shape.softcap };
        let seen_pages = first / PAGE_CELLS..last.div_ceil(PAGE_CELLS);
        for (index, &page) in table.iter().enumerate().take(seen_pages.end).skip(seen_pages.start) {
            let base = index * PAGE_CELLS;
            let clip = |range: Range<usize>| {
                let start = range.start.clamp(base, base + PAGE_CELLS) - base;
                start..(range.end.clamp(base, base + PAGE_CELLS) - base).max(start)
            };
            let wanted = clip(first..last);
            let (keys, values) = self.memory.head(self.layer, page, item.kv_head);
            let direct = count <= page::TILE;
            let room = Room { direct, scales: &mut worker.key_scales, decoded: &mut worker.keys };
            let keys = cells(s, self.memory.format(), keys, shape.key_width, true, wanted.clone(), room);
            let room = Room { direct, scales: &mut worker.value_scales, decoded: &mut worker.values };
            let values = cells(s, self.memory.format(), values, shape.value_width, false, wanted, room);
            let scores = &mut worker.scores[..count];
            page::scores(s, keys, shape.key_width, &worker.q[..count * shape.key_width], scoring, scores);
            for (i, scores) in scores.iter_mut().enumerate() {
                let seen = clip(shape.sees(item.places[i / group].position as usize, item.block.length));
                // A row that sees nothing here is left as it is.
                worker.factors[i] =
                    if seen.is_empty() { 1.0 } else { page::weigh(s, scores, &seen, &mut worker.span.softmax[i]) };
                worker.seen[i] = seen;
            }
            let rows = Weighted { weights: scores, seen: &worker.seen[..count], factors: &worker.factors[..count] };
            page::gather(s, values, shape.value_width, &rows, &mut worker.span.sums[..count * shape.value_width]);
        }
    }

    /// Takes a span's result into the whole.
    #[inline(always)]
    fn merge<S: Simd>(&self, s: S, count: usize, softmax: &[Softmax], sums: &[f32], whole: &mut State) {
        let width = self.shape.value_width;
        for i in 0..count {
            let (one, all) = (softmax[i], whole.softmax[i]);
            // Rows that see nothing of a span, and the first span of those that do.
            if one.sum == 0.0 {
                continue;
            }
            let from = &sums[i * width..][..width];
            let to = &mut whole.sums[i * width..][..width];
            if all.sum == 0.0 {
                whole.softmax[i] = one;
                to.copy_from_slice(from);
                continue;
            }
            let greatest = if one.greatest > all.greatest { one.greatest } else { all.greatest };
            let before = page::exp_one(s, all.greatest - greatest);
            let now = page::exp_one(s, one.greatest - greatest);
            whole.softmax[i] = Softmax { greatest, sum: all.sum * before + one.sum * now };
            let (to, to_rest) = to.as_chunks_mut::<LANES>();
            let (from, from_rest) = from.as_chunks::<LANES>();
            let (before, now) = (s.splat(before), s.splat(now));
            for (to, from) in to.iter_mut().zip(from) {
                s.store(s.mul_add(s.load(from), now, s.mul(s.load(to), before)), to);
            }
            if !to_rest.is_empty() {
                s.store_part(s.mul_add(s.load_part(from_rest), now, s.mul(s.load_part(to_rest), before)), to_rest);
            }
        }
    }

    /// Writes the item's results.
    #[inline(always)]
    fn finish(&self, item: &Item<'_>, whole: &State) {
        let (group, width) = (self.shape.group(), self.shape.value_width);
        for i in 0..item.queries {
            let row = item.block.first + i / group;
            let head = item.kv_head * group + i % group;
            // SAFETY: rows and heads are inside `out`, and each belongs to one item.
            let out = unsafe { self.out.part((row * self.shape.heads + head) * width, width) };
            let inverse = 1.0 / whole.softmax[i].sum;
            for (out, sum) in out.iter_mut().zip(&whole.sums[i * width..]) {
                *out = sum * inverse;
            }
        }
    }

    fn reset(&self, count: usize, state: &mut State) {
        state.softmax[..count].fill(Softmax::EMPTY);
        state.sums[..count * self.shape.value_width].fill(0.0);
    }
}

/// Where a page is decoded to, unless it is read in place.
struct Room<'a> {
    direct: bool,
    scales: &'a mut [f32],
    decoded: &'a mut [f32],
}

/// A page's cells as the kernels read them: in place where few rows read them, else decoded.
#[inline(always)]
fn cells<'a, S: Simd>(
    s: S,
    format: KvFormat,
    bytes: &'a [u8],
    width: usize,
    keys: bool,
    wanted: Range<usize>,
    room: Room<'a>,
) -> Cells<'a> {
    match format {
        KvFormat::F32 => Cells::F32(bytes),
        KvFormat::F16 if room.direct => Cells::F16(bytes),
        KvFormat::Q8_0 if room.direct => {
            let (codes, scales) = page::scales(s, bytes, width, room.scales);
            Cells::Q8_0(codes, scales)
        }
        KvFormat::F16 | KvFormat::Q8_0 => {
            let decoded = &mut room.decoded[..width * PAGE_CELLS];
            page::decode(s, format, bytes, width, keys, wanted, room.scales, decoded);
            // SAFETY: f32 may be looked at as bytes.
            Cells::F32(unsafe { std::slice::from_raw_parts(decoded.as_ptr().cast(), decoded.len() * 4) })
        }
    }
}

/// All spans of an item.
struct Whole<'a> {
    work: &'a Work<'a>,
    item: usize,
    worker: &'a mut Worker,
}

impl Task for Whole<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let item = self.work.item(self.item);
        let worker = self.worker;
        self.work.take_queries(&item, &mut worker.q);
        self.work.reset(item.queries, &mut worker.whole);
        for span in item.spans.clone() {
            self.work.span(s, &item, span, worker);
            self.work.merge(s, item.queries, &worker.span.softmax, &worker.span.sums, &mut worker.whole);
        }
        self.work.finish(&item, &worker.whole);
    }
}

/// One span of an item, its result put aside: softmax states (greatest, sum), then sums.
struct One<'a> {
    work: &'a Work<'a>,
    item: usize,
    span: usize,
    worker: &'a mut Worker,
    part: &'a mut [f32],
}

impl Task for One<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let item = self.work.item(self.item);
        if self.span >= item.spans.len() {
            return;
        }
        self.work.take_queries(&item, &mut self.worker.q);
        self.work.span(s, &item, item.spans.start + self.span, self.worker);
        let (states, sums) = self.part.split_at_mut(item.queries * 2);
        for (state, softmax) in states.as_chunks_mut::<2>().0.iter_mut().zip(&self.worker.span.softmax) {
            *state = [softmax.greatest, softmax.sum];
        }
        let length = item.queries * self.work.shape.value_width;
        sums[..length].copy_from_slice(&self.worker.span.sums[..length]);
    }
}

/// Merges what was put aside, in the order of the spans.
struct Merge<'a> {
    work: &'a Work<'a>,
    item: usize,
    worker: &'a mut Worker,
    parts: &'a [f32],
    each: usize,
}

impl Task for Merge<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let item = self.work.item(self.item);
        let worker = self.worker;
        self.work.reset(item.queries, &mut worker.whole);
        for (_, part) in item.spans.clone().zip(self.parts.chunks_exact(self.each)) {
            let (states, sums) = part.split_at(item.queries * 2);
            for (softmax, state) in worker.span.softmax.iter_mut().zip(states.as_chunks::<2>().0) {
                *softmax = Softmax { greatest: state[0], sum: state[1] };
            }
            self.work.merge(s, item.queries, &worker.span.softmax, sums, &mut worker.whole);
        }
        self.work.finish(&item, &worker.whole);
    }
}
