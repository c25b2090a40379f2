//! Softmax attention over the paged memory, with the running softmax of Milakov & Gimelshein (2018).
//!
//! What a row sees is gone through in spans of 512 positions, counted from the sequence's start: each span has a running
//! softmax of its own, page by page, and the spans are merged in order. That is the arithmetic whether a span is worked
//! on by a thread of its own (one row, long context) or all by one (many rows), so a row's result is always the same.
//! Query heads that share a key head, and neighbouring rows of a sequence, go through a page together: few of them with
//! cells side by side in lanes (`page.rs`), many side by side themselves (`wide.rs`).

use super::memory::{KvFormat, KvMemory};
use super::page::{self, Ahead, Cells, NARROW, Scoring, Weighted};
use super::scratch::{AttentionScratch, State, Worker, kept_queries};
use super::wide::{self, Seen, WIDE};
use super::{PAGE_CELLS, PageTables, RowPlace};
use crate::buffer::Shared;
use crate::elementwise::expect_length;
use crate::simd::{LANES, Simd, Task, dispatch};
use crate::{Isa, Pool};
use std::ops::Range;
use std::sync::PoisonError;

/// Positions of a span.
pub(super) const SPAN: usize = 8 * PAGE_CELLS;
/// Query rows (rows × heads of a group) that go through a page together, unless a group alone has more: whole chunks for
/// most groups.
const QUERIES: usize = 5 * WIDE;
/// Pieces of work that each thread should have, so that all end at about the same time.
const PIECES: usize = 8;

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
    pub(super) fn group(&self) -> usize {
        self.heads / self.kv_heads.max(1)
    }

    /// Rows of a sequence that go through a page together, at most.
    pub(super) fn block_rows(&self) -> usize {
        (QUERIES / self.group().max(1)).max(1)
    }

    /// The same for a batch of `rows`, fewer where `threads` would have too little to do.
    fn block_rows_for(&self, rows: usize, threads: usize) -> usize {
        let wanted = if threads > 1 { (rows * self.kv_heads).div_ceil(threads * PIECES) } else { rows };
        let least = WIDE.div_ceil(self.group().max(1));
        let count = wanted.max(least).min(self.block_rows());
        // Whole vectors of query rows, where they come in such.
        let even = LANES >> self.group().max(1).trailing_zeros().min(LANES.trailing_zeros());
        if count > even { count / even * even } else { count }
    }

    fn sees(&self, position: usize, length: usize) -> Range<usize> {
        let end = if self.causal { position + 1 } else { length };
        self.window.map_or(0, |window| (position + 1).saturating_sub(window as usize))..end
    }
}

/// Neighbouring rows of one sequence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    first: usize,
    count: usize,
    /// Positions of its sequence, for rows that see all of them.
    length: usize,
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
    let block_rows = shape.block_rows_for(rows.len(), pool.threads());
    part(&mut scratch.blocks, shape, block_rows, rows, tables, memory.pages());
    let longest = scratch.blocks.iter().map(|block| spans(shape, rows, block).len()).max().unwrap_or(0);
    let AttentionScratch { workers, blocks, partial } = scratch;
    let work = Work { memory, layer, shape, q, rows, tables, blocks, out: Shared::new(out) };
    let items = blocks.len() * shape.kv_heads;
    let worker = |index: usize| workers[index].lock().unwrap_or_else(PoisonError::into_inner);
    let queries = blocks.iter().map(|block| kept_queries(block.count * shape.group())).max().unwrap_or(0);
    let each = State::length(queries, shape.value_width);
    if items >= PIECES * pool.threads() || longest < 2 || items * longest * each > partial.len() {
        pool.pieces_with(items, |index, item| whole(&work, isa, item, &mut worker(index)));
        return;
    }
    let parts = Shared::new(&mut partial[..items * longest * each]);
    pool.pieces_with(items * longest, |index, piece| {
        // SAFETY: each piece has a place of its own.
        let part = unsafe { parts.part(piece * each, each) };
        one(&work, isa, piece / longest, piece % longest, &mut worker(index), part);
    });
    for item in 0..items {
        // SAFETY: the pieces are done.
        let parts = unsafe { parts.part(item * longest * each, longest * each) };
        together(&work, isa, item, &mut worker(0), parts, each);
    }
}

/// Parts the rows into blocks of neighbours and checks their places.
fn part(
    blocks: &mut Vec<Block>,
    shape: &AttentionShape,
    block_rows: usize,
    rows: &[RowPlace],
    tables: &PageTables<'_>,
    pages: usize,
) {
    blocks.clear();
    let mut first = 0;
    while first < rows.len() {
        let RowPlace { sequence, position } = rows[first];
        let neighbours = rows[first..].iter().take(block_rows).enumerate();
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
    number: usize,
    block: Block,
    places: &'a [RowPlace],
    kv_head: usize,
    queries: usize,
    spans: Range<usize>,
}

impl Item<'_> {
    fn is_wide(&self) -> bool {
        self.queries > NARROW
    }

    /// Chunks of many query rows: number, first query row, how many. They differ by at most a vector.
    fn chunks(&self) -> impl Iterator<Item = (usize, usize, usize)> + use<> {
        let queries = self.queries;
        let vectors = queries.div_ceil(LANES);
        let chunks = queries.div_ceil(WIDE);
        (0..chunks).map(move |chunk| {
            let first = chunk * vectors / chunks * LANES;
            (chunk, first, ((chunk + 1) * vectors / chunks * LANES).min(queries) - first)
        })
    }
}

/// What `range` has of the page that begins at `base`, counted from there.
fn clip(range: &Range<usize>, base: usize) -> Range<usize> {
    let start = range.start.clamp(base, base + PAGE_CELLS) - base;
    start..(range.end.clamp(base, base + PAGE_CELLS) - base).max(start)
}

impl Work<'_> {
    fn item(&self, item: usize) -> Item<'_> {
        let block = self.blocks[item / self.shape.kv_heads];
        let places = &self.rows[block.first..block.first + block.count];
        Item {
            number: item,
            block,
            places,
            kv_head: item % self.shape.kv_heads,
            queries: block.count * self.shape.group(),
            spans: spans(self.shape, self.rows, &block),
        }
    }

    /// Which of all rows and heads a query row of an item is.
    #[inline(always)]
    fn query(&self, item: &Item<'_>, i: usize) -> usize {
        let group = self.shape.group();
        (item.block.first + i / group) * self.shape.heads + item.kv_head * group + i % group
    }

    /// Copies the item's queries together, times what scores are multiplied with, and notes what they see.
    #[inline(always)]
    fn take_queries<S: Simd>(&self, s: S, item: &Item<'_>, worker: &mut Worker) {
        let (group, width) = (self.shape.group(), self.shape.key_width);
        let factor = Scoring::factor(self.shape.scale, self.shape.softcap);
        for (i, seen) in worker.seen[..item.queries].iter_mut().enumerate() {
            *seen = self.shape.sees(item.places[i / group].position as usize, item.block.length);
        }
        if item.is_wide() {
            for (chunk, first, count) in item.chunks() {
                let q = &mut worker.q[chunk * WIDE * width..][..WIDE * width];
                let vectors = count.div_ceil(LANES);
                // Lanes beyond the last query row repeat it.
                wide::turn_in(
                    s,
                    width,
                    vectors,
                    factor,
                    self.q,
                    |lane| self.query(item, first + lane.min(count - 1)) * width,
                    q,
                );
            }
            return;
        }
        for i in 0..item.queries {
            let from = &self.q[self.query(item, i) * width..][..width];
            for (q, from) in worker.q[i * width..][..width].iter_mut().zip(from) {
                *q = from * factor;
            }
        }
    }

    /// Goes through one span's pages into `worker.span`; `worker.q` holds the queries.
    #[inline(always)]
    fn span<S: Simd>(&self, s: S, item: &Item<'_>, span: usize, worker: &mut Worker) {
        worker.span.reset(kept_queries(item.queries), self.shape.value_width);
        let first = worker.seen[0].start.max(span * SPAN);
        let last = worker.seen[item.queries - 1].end.min((span + 1) * SPAN);
        if first >= last {
            return;
        }
        let table = &self.tables.tables[item.places[0].sequence as usize];
        for index in first / PAGE_CELLS..last.div_ceil(PAGE_CELLS) {
            let wanted = clip(&(first..last), index * PAGE_CELLS);
            if item.is_wide() {
                self.wide_page(s, item, table[index], index * PAGE_CELLS, wanted, worker);
            } else {
                let next = table.get(index + 1).filter(|_| (index + 1) * PAGE_CELLS < item.block.length);
                let next = match next {
                    Some(page) => self.memory.head(self.layer, *page, item.kv_head).0,
                    None => self.first_keys(item.number + 1),
                };
                self.narrow_page(s, item, (table[index], next), index * PAGE_CELLS, wanted, worker);
            }
        }
    }

    /// The keys that an item begins with, where there is such an item.
    fn first_keys(&self, item: usize) -> &[u8] {
        let Some(block) = self.blocks.get(item / self.shape.kv_heads) else { return &[] };
        let row = self.rows[block.first];
        let first = self.shape.sees(row.position as usize, block.length).start / PAGE_CELLS;
        let page = self.tables.tables[row.sequence as usize].get(first);
        page.map_or(&[], |page| self.memory.head(self.layer, *page, item % self.shape.kv_heads).0)
    }

    /// A page against few query rows. `next` are the keys that are read after it.
    #[inline(always)]
    fn narrow_page<S: Simd>(
        &self,
        s: S,
        item: &Item<'_>,
        (page, next): (u32, &[u8]),
        base: usize,
        wanted: Range<usize>,
        worker: &mut Worker,
    ) {
        let (shape, count) = (self.shape, item.queries);
        let scoring = Scoring { softcap: shape.softcap };
        let (key_bytes, value_bytes) = self.memory.head(self.layer, page, item.kv_head);
        // Values are fetched during scores, the next keys during sums: not what nobody sees of a page that is not full yet.
        let seen = match self.memory.format() {
            KvFormat::F32 | KvFormat::F16 => value_bytes.len() / PAGE_CELLS * wanted.end,
            KvFormat::Q8_0 => value_bytes.len(),
        };
        let ahead = Ahead::new(&value_bytes[..seen], shape.key_width);
        let then = Ahead::new(next, wanted.len());
        let room = Room { direct: true, scales: &mut worker.key_scales, decoded: &mut worker.keys };
        let keys = cells(s, self.memory.format(), key_bytes, shape.key_width, true, wanted.clone(), room);
        let room = Room { direct: true, scales: &mut worker.value_scales, decoded: &mut worker.values };
        let values = cells(s, self.memory.format(), value_bytes, shape.value_width, false, wanted, room);
        let scores = &mut worker.scores[..count];
        page::scores(s, keys, shape.key_width, &worker.q[..count * shape.key_width], ahead, scores);
        let mut seen: [Range<usize>; NARROW] = Default::default();
        for (i, scores) in scores.iter_mut().enumerate() {
            seen[i] = clip(&worker.seen[i], base);
            let (greatest, sum) = (&mut worker.span.greatest[i], &mut worker.span.sum[i]);
            // A row that sees nothing here is left as it is.
            worker.factors[i] =
                if seen[i].is_empty() { 1.0 } else { page::weigh(s, scoring, scores, &seen[i], greatest, sum) };
        }
        let rows = Weighted { weights: scores, seen: &seen[..count], factors: &worker.factors[..count] };
        page::gather(s, values, shape.value_width, &rows, then, &mut worker.span.sums[..count * shape.value_width]);
    }

    /// A page against many query rows.
    #[inline(always)]
    fn wide_page<S: Simd>(
        &self,
        s: S,
        item: &Item<'_>,
        page: u32,
        base: usize,
        wanted: Range<usize>,
        worker: &mut Worker,
    ) {
        let shape = self.shape;
        let (key_width, value_width) = (shape.key_width, shape.value_width);
        let (keys, values) = self.memory.head(self.layer, page, item.kv_head);
        let format = self.memory.format();
        let room = Room { direct: false, scales: &mut worker.key_scales, decoded: &mut worker.keys };
        let keys = decoded(cells(s, format, keys, key_width, true, wanted.clone(), room));
        let room = Room { direct: false, scales: &mut worker.value_scales, decoded: &mut worker.values };
        let values = decoded(cells(s, format, values, value_width, false, wanted, room));
        assert!(keys.len() >= key_width * PAGE_CELLS * 4 && values.len() >= value_width * PAGE_CELLS * 4);
        for (chunk, first, count) in item.chunks() {
            // Rows ascend, so the first lane begins and ends first and the last one last.
            let (early, late) = (clip(&worker.seen[first], base), clip(&worker.seen[first + count - 1], base));
            let cells = early.start..late.end;
            if cells.is_empty() {
                continue;
            }
            let common = late.start.min(late.end)..early.end.max(late.start).min(late.end);
            let (mut starts, mut ends) = ([0f32; WIDE], [PAGE_CELLS as f32; WIDE]);
            if common != (0..PAGE_CELLS) {
                for lane in 0..WIDE {
                    let seen = clip(&worker.seen[first + lane.min(count - 1)], base);
                    (starts[lane], ends[lane]) = (seen.start as f32, seen.end as f32);
                }
            }
            let seen = Seen {
                keys: keys.as_ptr().cast(),
                values: values.as_ptr().cast(),
                key_width,
                value_width,
                scoring: Scoring { softcap: shape.softcap },
                cells,
                common,
                starts: &starts,
                ends: &ends,
            };
            let q = &worker.q[chunk * WIDE * key_width..][..WIDE * key_width];
            let vectors = count.div_ceil(LANES);
            let mut state = worker.span.chunk(chunk, value_width);
            // SAFETY: both pages are whole, as asserted above.
            unsafe { wide::step(s, &seen, vectors, q, &mut worker.wide_scores, &mut state) };
        }
    }

    /// Takes `worker.span` into `worker.whole`.
    #[inline(always)]
    fn merge<S: Simd>(&self, s: S, item: &Item<'_>, worker: &mut Worker) {
        let width = self.shape.value_width;
        let Worker { span, whole, .. } = worker;
        if item.is_wide() {
            for (chunk, _, count) in item.chunks() {
                let (one, mut all) = (span.chunk(chunk, width), whole.chunk(chunk, width));
                wide::merge(s, count.div_ceil(LANES), width, &one, &mut all);
            }
            return;
        }
        for i in 0..item.queries {
            let one = (span.greatest[i], span.sum[i], &span.sums[i * width..][..width]);
            let all = (&mut whole.greatest[i], &mut whole.sum[i], &mut whole.sums[i * width..][..width]);
            page::merge(s, one, all);
        }
    }

    /// Writes the item's results.
    #[inline(always)]
    fn finish<S: Simd>(&self, s: S, item: &Item<'_>, worker: &mut Worker) {
        let (width, whole) = (self.shape.value_width, &mut worker.whole);
        if item.is_wide() {
            for (chunk, first, count) in item.chunks() {
                let sums = whole.chunk(chunk, width);
                // SAFETY: rows and heads are inside `out`, and each belongs to one item.
                unsafe {
                    let place = |lane: usize| self.out.pointer().add(self.query(item, first + lane) * width);
                    wide::turn_out(s, width, count, &sums, place);
                }
            }
            return;
        }
        for i in 0..item.queries {
            // SAFETY: as above.
            let out = unsafe { self.out.part(self.query(item, i) * width, width) };
            let inverse = 1.0 / whole.sum[i];
            for (out, sum) in out.iter_mut().zip(&whole.sums[i * width..]) {
                *out = sum * inverse;
            }
        }
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

/// The bytes of cells in f32.
fn decoded(cells: Cells<'_>) -> &[u8] {
    match cells {
        Cells::F32(bytes) => bytes,
        Cells::F16(_) | Cells::Q8_0(..) => unreachable!("many rows read decoded cells"),
    }
}

/// All spans of an item.
fn whole(work: &Work<'_>, isa: Isa, item: usize, worker: &mut Worker) {
    let item = &work.item(item);
    dispatch(isa, Take { work, item, worker });
    worker.whole.reset(kept_queries(item.queries), work.shape.value_width);
    for span in item.spans.clone() {
        dispatch(isa, Span { work, item, span, worker });
        dispatch(isa, Merge { work, item, worker });
    }
    dispatch(isa, Finish { work, item, worker });
}

/// One span of an item, its result put aside.
fn one(work: &Work<'_>, isa: Isa, item: usize, span: usize, worker: &mut Worker, part: &mut [f32]) {
    let item = &work.item(item);
    if span < item.spans.len() {
        dispatch(isa, Take { work, item, worker });
        dispatch(isa, Span { work, item, span: item.spans.start + span, worker });
        worker.span.put(kept_queries(item.queries), work.shape.value_width, part);
    }
}

/// Merges what was put aside, in the order of the spans.
fn together(work: &Work<'_>, isa: Isa, item: usize, worker: &mut Worker, parts: &[f32], each: usize) {
    let item = &work.item(item);
    let (queries, width) = (kept_queries(item.queries), work.shape.value_width);
    worker.whole.reset(queries, width);
    for (_, part) in item.spans.clone().zip(parts.chunks_exact(each)) {
        worker.span.take(queries, width, part);
        dispatch(isa, Merge { work, item, worker });
    }
    dispatch(isa, Finish { work, item, worker });
}

/// Declares a step of the work on an item, a method of [`Work`], so that it is compiled for each instruction set.
macro_rules! step {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* }, $call:ident) => {
        $(#[$doc])*
        struct $name<'a> {
            work: &'a Work<'a>,
            item: &'a Item<'a>,
            $($field: $type,)*
            worker: &'a mut Worker,
        }

        impl Task for $name<'_> {
            type Output = ();

            #[inline(always)]
            fn run<S: Simd>(self, s: S) {
                self.work.$call(s, self.item, $(self.$field,)* self.worker);
            }
        }
    };
}

step!(Take {}, take_queries);
step!(Span { span: usize }, span);
step!(Merge {}, merge);
step!(Finish {}, finish);
