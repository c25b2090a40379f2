//! Measures matrix products on shapes of a 1B model, beside what the machine can read and multiply.
//!
//! `cargo run --release -p bantam-kernels --example bench_matmul [-- THREADS [seconds per figure [TYPE]]]`

use bantam_kernels::{ActivationKind, Activations, Int8Rows, Isa, Matrix, Pool, Product, multiply};
use bantam_tensor::{SharedBytes, TensorType};
use std::hint::black_box;
use std::time::Instant;

/// Shapes of Llama-3.2-1B: attention, up, down, vocabulary.
const SHAPES: [(usize, usize); 4] = [(2048, 2048), (8192, 2048), (2048, 8192), (128_256, 2048)];
const ROWS: [usize; 7] = [1, 2, 4, 8, 12, 64, 504];

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse::<f64>().ok());
    let threads = arguments.next().map_or(bantam_kernels::available_threads(), |threads| threads as usize);
    let seconds = arguments.next().unwrap_or(0.3);
    let isa = Isa::detect();
    println!("{} on {threads} threads, at least {seconds} s a figure", isa.name());
    let pool = Pool::new(threads);
    println!("read: {:.1} GB/s", read_bandwidth(&pool, seconds));
    println!("{:>22} {:>5} {:>9} {:>9} {:>9}", "weight", "rows", "us", "GB/s", "Gop/s");
    let only = std::env::args().nth(3);
    for tensor_type in [TensorType::Q8_0, TensorType::Q4_0, TensorType::F16, TensorType::F32, TensorType::Q4_K] {
        for (outputs, inputs) in SHAPES {
            if only.as_deref().is_some_and(|only| only != tensor_type.name()) {
                continue;
            }
            if outputs > 100_000 && tensor_type == TensorType::F32 {
                continue;
            }
            bench(&pool, isa, tensor_type, outputs, inputs, seconds);
        }
    }
}

fn bench(pool: &Pool, isa: Isa, tensor_type: TensorType, outputs: usize, inputs: usize, seconds: f64) {
    // Enough copies that one-row products read from memory, as a whole model would.
    let one = tensor_type.bytes(outputs, inputs).expect("fits");
    let copies = (256usize << 20).div_ceil(one).clamp(1, 64);
    let bytes: Vec<u8> = noise(tensor_type, one);
    let bytes = SharedBytes::from_vec(bytes);
    let matrices: Vec<Matrix> = (0..copies)
        .map(|_| {
            let bytes = match tensor_type {
                TensorType::Q8_0 | TensorType::Q4_0 => bytes.clone(),
                _ => SharedBytes::from_vec(bytes.to_vec()),
            };
            Matrix::new(tensor_type, outputs, inputs, bytes, isa, pool).expect("fits")
        })
        .collect();
    for rows in ROWS {
        if (rows > 12 && outputs > 100_000) || (rows > 64 && matches!(tensor_type, TensorType::Q4_K)) {
            continue;
        }
        let x: Vec<f32> = (0..rows * inputs).map(|i| ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0).collect();
        let mut out = vec![0f32; rows * outputs];
        let mut quantized = Int8Rows::with_capacity(rows, inputs).expect("fits");
        quantized.quantize(pool, isa, &x, rows, inputs);
        let mut next = 0;
        let mut step = || {
            let matrix = &matrices[next % copies];
            next += 1;
            let activations = match matrix.activation() {
                ActivationKind::F32 => Activations::F32(&x),
                ActivationKind::Int8 => Activations::Int8(&quantized),
            };
            multiply(pool, activations, rows, &mut [Product { matrix, out: &mut out, bias: None, accumulate: false }]);
        };
        let time = fastest(seconds, &mut step);
        let read = matrices[0].bytes_read() as f64 / time / 1e9;
        let work = 2.0 * (rows * outputs * inputs) as f64 / time / 1e9;
        let name = format!("{} {outputs}x{inputs}", tensor_type.name());
        println!("{name:>22} {rows:>5} {:>9.1} {read:>9.1} {work:>9.1}", time * 1e6);
    }
}

/// Seconds of the fastest call: on a machine with other work, the only figure that repeats.
fn fastest(seconds: f64, step: &mut dyn FnMut()) -> f64 {
    step();
    let (start, mut fastest) = (Instant::now(), f64::INFINITY);
    while start.elapsed().as_secs_f64() < seconds {
        let call = Instant::now();
        step();
        fastest = fastest.min(call.elapsed().as_secs_f64());
    }
    fastest
}

/// Sums of a large buffer by all threads.
fn read_bandwidth(pool: &Pool, seconds: f64) -> f64 {
    // Sixteenths, so that a fastest one is not disturbed.
    let words: Vec<u64> = (0..(512 << 20) / 8).collect();
    let mut part = 0;
    let share = words.len() / 16 / pool.threads();
    let time = fastest(seconds, &mut || {
        let words = &words[words.len() / 16 * part..];
        part = (part + 1) % 16;
        pool.run(|worker| {
            let mut sums = [0u64; 32];
            for chunk in words[worker * share..][..share].chunks_exact(32) {
                sums.iter_mut().zip(chunk).for_each(|(sum, word)| *sum = sum.wrapping_add(*word));
            }
            black_box(sums);
        });
    });
    (share * pool.threads() * 8) as f64 / time / 1e9
}

/// Bytes that decode to small numbers: codes at random, scales 2^-10.
fn noise(tensor_type: TensorType, length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut bytes: Vec<u8> = (0..length)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        })
        .collect();
    let scale = [0x00, 0x14];
    match tensor_type {
        TensorType::F16 => bytes.as_chunks_mut::<2>().0.iter_mut().for_each(|half| half[1] = 0x30 | (half[1] & 0x83)),
        TensorType::F32 => bytes.as_chunks_mut::<4>().0.iter_mut().for_each(|word| word[3] = 0x3c),
        _ => {
            for block in bytes.chunks_exact_mut(tensor_type.block_bytes()) {
                block[..2].copy_from_slice(&scale);
            }
        }
    }
    bytes
}
