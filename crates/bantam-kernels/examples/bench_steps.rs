//! Measures attention, its memory and the elementwise steps on the shapes of a 1B model (32 query heads over 8 of 64).
//!
//! `cargo run --release -p bantam-kernels --example bench_steps [-- THREADS]`

use bantam_kernels::{
    Activation, ActivationKind, AttentionScratch, AttentionShape, Int8Rows, Isa, KvFormat, KvLayer, KvMemory, Matrix,
    PAGE_CELLS, PageTables, Pool, RopePairs, RowPlace, attend, glu, norm_rms, rope_apply,
};
use bantam_tensor::{SharedBytes, TensorType};
use std::sync::OnceLock;
use std::time::Instant;

fn main() {
    let threads = std::env::args().nth(1).and_then(|threads| threads.parse().ok());
    let pool = Pool::new(threads.unwrap_or(bantam_kernels::available_threads()));
    let isa = Isa::detect();
    let _ = ONE_THREAD.set(pool.threads() == 1);
    println!("{} on {} threads; fastest call in us", isa.name(), pool.threads());
    time("an empty region", &mut || pool.run(|_| ()));
    for rows in [1, 8, 512] {
        let (x, width) = (vec![0.5f32; rows * 8192], 2048);
        let mut out = vec![0f32; rows * 8192];
        let weight = vec![1f32; width];
        time(&format!("norm {rows} x 2048"), &mut || {
            norm_rms(&pool, isa, &x[..rows * width], rows, width, 1, Some(&weight), 1e-5, &mut out[..rows * width]);
        });
        time(&format!("silu glu {rows} x 8192"), &mut || glu(&pool, isa, Activation::Silu, &x, &x, &mut out));
        let mut int8 = Int8Rows::with_capacity(rows, 8192).expect("fits");
        time(&format!("quantize {rows} x 8192"), &mut || {
            int8.quantize(&pool, isa, ActivationKind::Int8, &x, rows, 8192)
        });
        let angles = vec![0.7f32; rows * 32];
        for pairs in [RopePairs::Halves, RopePairs::Interleaved] {
            time(&format!("rope {rows} x 32 x 64 {pairs:?}"), &mut || {
                rope_apply(&pool, isa, &mut out[..rows * width], rows, 32, 64, 64, pairs, &angles, &angles);
            });
        }
    }
    for tensor_type in [TensorType::Q8_0, TensorType::Q4_0, TensorType::Q4_K, TensorType::Q6_K] {
        let bytes = tensor_type.bytes(2048, 8192).expect("fits");
        let source = SharedBytes::from_vec((0..bytes).map(|i| (i * 31 % 251) as u8).collect());
        let taken = time(&format!("repack {} 2048 x 8192", tensor_type.name()), &mut || {
            Matrix::new(tensor_type, 2048, 8192, source.clone(), isa, &pool).expect("fits");
        });
        println!("{:>40} {:>9.2} GB/s", "", bytes as f64 / taken / 1e9);
    }
    for format in [KvFormat::F32, KvFormat::F16, KvFormat::Q8_0] {
        for (context, rows) in [(128, 1), (4096, 1), (512, 512), (4096, 512)] {
            attention(&pool, isa, format, context, rows);
        }
    }
}

fn attention(pool: &Pool, isa: Isa, format: KvFormat, context: usize, rows: usize) {
    let shape = AttentionShape {
        heads: 32,
        kv_heads: 8,
        key_width: 64,
        value_width: 64,
        scale: 0.125,
        window: None,
        softcap: None,
        causal: true,
    };
    let layer = KvLayer { kv_heads: 8, key_width: 64, value_width: 64 };
    let pages = context / PAGE_CELLS;
    let mut memory = KvMemory::new(&[layer], pages, format).expect("fits");
    let tables = [(0..pages as u32).collect::<Vec<u32>>()];
    let tables = PageTables::new(&tables);
    let all: Vec<RowPlace> = (0..context as u32).map(|position| RowPlace { sequence: 0, position }).collect();
    let kv: Vec<f32> = (0..context * 512).map(|i| ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0).collect();
    let last = &all[context - rows..];
    let name = format!("{} {rows} rows at {context}", format.name());
    memory.store(pool, 0, &kv, &kv, &all, &tables);
    time(&format!("store {name}"), &mut || {
        memory.store(pool, 0, &kv[..rows * 512], &kv[..rows * 512], last, &tables);
    });
    let mut scratch = AttentionScratch::new(pool, &[shape], rows, context).expect("fits");
    let q: Vec<f32> = (0..rows * 2048).map(|i| (i % 77) as f32 / 50.0 - 0.7).collect();
    let mut out = vec![0f32; rows * 2048];
    let taken = time(&format!("attend {name}"), &mut || {
        attend(pool, isa, &mut scratch, &memory, 0, &shape, &q, last, &tables, &mut out);
    });
    let seen: usize = last.iter().map(|row| row.position as usize + 1).sum();
    println!("{:>40} {:>9.1} Gflop/s", "", (seen * 32 * 64 * 4) as f64 / taken / 1e9);
}

/// The fastest call, in seconds. On one thread that is time on the processor where the system tells it, so that programs beside
/// this one lengthen it less.
fn time(name: &str, step: &mut dyn FnMut()) -> f64 {
    step();
    let (start, mut fastest) = (Instant::now(), f64::INFINITY);
    while start.elapsed().as_secs_f64() < 0.3 {
        let before = on_processor();
        let call = Instant::now();
        step();
        let elapsed = call.elapsed().as_secs_f64();
        let worked = before.zip(on_processor()).map(|(before, now)| (now - before) as f64 / 1e9);
        // Short steps fit between two turns of others; looking the time up would take as long as they do.
        fastest =
            fastest.min(worked.filter(|worked| *worked > 1e-4 && ONE_THREAD.get() == Some(&true)).unwrap_or(elapsed));
    }
    println!("{name:>40} {:>9.2}", fastest * 1e6);
    fastest
}

/// Whether all work is this thread's.
static ONE_THREAD: OnceLock<bool> = OnceLock::new();

/// Nanoseconds that this thread has run for, as Linux counts them.
fn on_processor() -> Option<u64> {
    let facts = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    facts.split_whitespace().next()?.parse().ok()
}
