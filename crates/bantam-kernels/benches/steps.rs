//! Attention, its memory and the elementwise steps on the shapes of a 1B model (32 query heads over 8 of 64), on one and two
//! threads.
//!
//! `cargo bench -p bantam-kernels --bench steps -- attend` measures what matches; `BANTAM_BENCH="threads=1"` chooses threads.
//! Bytes are those of what goes in and out (of attention: the keys and values that are seen, once), whether from memory or from
//! a cache; operations of attention are multiplications and additions of queries, keys and values, those of the others none.

mod roofline;

use bantam_kernels::{
    Activation, ActivationKind, AttentionScratch, AttentionShape, Int8Rows, Isa, KvFormat, KvLayer, KvMemory,
    PAGE_CELLS, PageTables, Pool, RopePairs, RowPlace, attend, glu, norm_rms, rope_apply,
};
use divan::Bencher;
use roofline::{Peak, Work, pool};
use std::fmt;

const WIDTH: usize = 2048;
const WIDE: usize = 8192;
const HEADS: usize = 32;
const KV_HEADS: usize = 8;
const HEAD_WIDTH: usize = 64;

fn main() {
    divan::main();
    roofline::table(None);
}

/// A step of so many rows.
#[derive(Clone, Copy)]
struct Rows {
    rows: usize,
    threads: usize,
}

impl fmt::Display for Rows {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "threads {}, rows {}", self.threads, self.rows)
    }
}

fn cases() -> Vec<Rows> {
    let of = |threads| [1, 8, 512].map(|rows| Rows { rows, threads });
    roofline::threads().into_iter().flat_map(of).collect()
}

/// A step without operations that count: so many numbers go in and out.
fn step(bencher: Bencher<'_, '_>, pool: &Pool, name: String, numbers: usize, call: impl FnMut()) {
    let work = Work { name, group: "steps".into(), operations: 0, peak: Peak::F32, bytes: 4 * numbers };
    roofline::run(bencher, pool, work, || None, call);
}

#[divan::bench(args = roofline::threads())]
fn empty_region(bencher: Bencher<'_, '_>, threads: usize) {
    let pool = pool(threads);
    bencher.bench_local(|| pool.run(|_| ()));
}

#[divan::bench(args = cases(), sample_size = 1, sample_count = 200, max_time = 0.4)]
fn norm(bencher: Bencher<'_, '_>, Rows { rows, threads }: &Rows) {
    let (pool, rows) = (pool(*threads), *rows);
    let (x, mut out, weight) = (vec![0.5f32; rows * WIDTH], vec![0f32; rows * WIDTH], vec![1f32; WIDTH]);
    step(bencher, pool, format!("norm {rows} x {WIDTH}"), 2 * rows * WIDTH, || {
        norm_rms(pool, Isa::detect(), &x, rows, WIDTH, 1, Some(&weight), 1e-5, &mut out);
    });
}

#[divan::bench(args = cases(), sample_size = 1, sample_count = 200, max_time = 0.4)]
fn silu_glu(bencher: Bencher<'_, '_>, Rows { rows, threads }: &Rows) {
    let (pool, rows) = (pool(*threads), *rows);
    let (x, mut out) = (vec![0.5f32; rows * WIDE], vec![0f32; rows * WIDE]);
    step(bencher, pool, format!("silu glu {rows} x {WIDE}"), 3 * rows * WIDE, || {
        glu(pool, Isa::detect(), Activation::Silu, &x, &x, &mut out);
    });
}

#[divan::bench(args = cases(), sample_size = 1, sample_count = 200, max_time = 0.4)]
fn quantize(bencher: Bencher<'_, '_>, Rows { rows, threads }: &Rows) {
    let (pool, rows) = (pool(*threads), *rows);
    let x = roofline::numbers(rows * WIDE);
    let mut int8 = Int8Rows::with_capacity(rows, WIDE).expect("memory");
    step(bencher, pool, format!("quantize {rows} x {WIDE}"), rows * WIDE * 5 / 4, || {
        int8.quantize(pool, Isa::detect(), ActivationKind::Int8, &x, rows, WIDE);
    });
}

#[divan::bench(args = cases(), sample_size = 1, sample_count = 200, max_time = 0.4)]
fn rope_halves(bencher: Bencher<'_, '_>, case: &Rows) {
    rope(bencher, *case, RopePairs::Halves);
}

#[divan::bench(args = cases(), sample_size = 1, sample_count = 200, max_time = 0.4)]
fn rope_interleaved(bencher: Bencher<'_, '_>, case: &Rows) {
    rope(bencher, *case, RopePairs::Interleaved);
}

fn rope(bencher: Bencher<'_, '_>, Rows { rows, threads }: Rows, pairs: RopePairs) {
    let pool = pool(threads);
    let (mut x, angles) = (vec![0.5f32; rows * WIDTH], vec![0.7f32; rows * HEAD_WIDTH / 2]);
    step(bencher, pool, format!("rope {rows} x {HEADS} x {HEAD_WIDTH} {pairs:?}"), 2 * rows * WIDTH, || {
        rope_apply(pool, Isa::detect(), &mut x, rows, HEADS, HEAD_WIDTH, HEAD_WIDTH, pairs, &angles, &angles);
    });
}

/// So many rows, the last of a sequence of `context`.
struct Attention {
    format: KvFormat,
    context: usize,
    rows: usize,
    threads: usize,
}

impl fmt::Display for Attention {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { format, context, rows, threads } = self;
        write!(formatter, "{}, threads {threads}, {rows} rows at {context}", format.name())
    }
}

fn attentions() -> Vec<Attention> {
    let mut cases = Vec::new();
    for threads in roofline::threads() {
        for format in [KvFormat::F32, KvFormat::F16, KvFormat::Q8_0] {
            let of = |(context, rows)| Attention { format, context, rows, threads };
            cases.extend([(128, 1), (4096, 1), (512, 512), (4096, 512)].map(of));
        }
    }
    cases
}

/// A memory with keys and values in it, and where they stand.
struct Filled {
    memory: KvMemory,
    numbers: Vec<f32>,
    places: Vec<RowPlace>,
    table: [Vec<u32>; 1],
}

const KV_WIDTH: usize = KV_HEADS * HEAD_WIDTH;

fn filled(pool: &Pool, case: &Attention) -> Filled {
    let layer = KvLayer { kv_heads: KV_HEADS, key_width: HEAD_WIDTH, value_width: HEAD_WIDTH };
    let pages = case.context / PAGE_CELLS;
    let mut memory = KvMemory::new(&[layer], pages, case.format).expect("memory");
    let table = [(0..pages as u32).collect::<Vec<u32>>()];
    let place = |position| RowPlace { sequence: 0, position };
    let places: Vec<RowPlace> = (0..case.context as u32).map(place).collect();
    let numbers = roofline::numbers(case.context * KV_WIDTH);
    memory.store(pool, 0, &numbers, &numbers, &places, &PageTables::new(&table));
    Filled { memory, numbers, places, table }
}

/// Bytes of a key and a value of all heads.
fn cell_bytes(format: KvFormat) -> usize {
    let number = match format {
        KvFormat::F32 => 4 * 32,
        KvFormat::F16 => 2 * 32,
        KvFormat::Q8_0 => 34,
    };
    2 * KV_WIDTH * number / 32
}

#[divan::bench(args = attentions(), sample_size = 1, sample_count = 200, max_time = 0.4)]
fn store(bencher: Bencher<'_, '_>, case: &Attention) {
    let (pool, rows) = (pool(case.threads), case.rows);
    let Filled { mut memory, numbers, places, table } = filled(pool, case);
    let (kv, last) = (&numbers[..rows * KV_WIDTH], &places[case.context - rows..]);
    let bytes = rows * (2 * 4 * KV_WIDTH + cell_bytes(case.format));
    let name = format!("store {} {rows} rows at {}", case.format.name(), case.context);
    let work = Work { name, group: "steps".into(), operations: 0, peak: Peak::F32, bytes };
    roofline::run(bencher, pool, work, || None, || memory.store(pool, 0, kv, kv, last, &PageTables::new(&table)));
}

#[divan::bench(args = attentions(), sample_size = 1, sample_count = 200, max_time = 0.4)]
fn attention(bencher: Bencher<'_, '_>, case: &Attention) {
    let (pool, rows) = (pool(case.threads), case.rows);
    let shape = AttentionShape {
        heads: HEADS,
        kv_heads: KV_HEADS,
        key_width: HEAD_WIDTH,
        value_width: HEAD_WIDTH,
        scale: 0.125,
        window: None,
        softcap: None,
        causal: true,
    };
    let Filled { memory, places, table, .. } = filled(pool, case);
    let last = &places[case.context - rows..];
    let mut scratch = AttentionScratch::new(pool, &[shape], rows, case.context).expect("memory");
    let q = roofline::numbers(rows * HEADS * HEAD_WIDTH);
    let mut out = vec![0f32; rows * HEADS * HEAD_WIDTH];
    let seen: usize = last.iter().map(|row| row.position as usize + 1).sum();
    let work = Work {
        name: format!("attend {} {rows} rows at {}", case.format.name(), case.context),
        group: "steps".into(),
        operations: 4 * seen * HEADS * HEAD_WIDTH,
        peak: Peak::F32,
        bytes: case.context * cell_bytes(case.format),
    };
    roofline::run(
        bencher,
        pool,
        work,
        || None,
        || attend(pool, Isa::detect(), &mut scratch, &memory, 0, &shape, &q, last, &PageTables::new(&table), &mut out),
    );
}
