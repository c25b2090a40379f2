//! Measures how fast weights are repacked: products of one row with weights as a file has them, which repack what they
//! multiply in the caches, beside products with the same weights repacked before.
//!
//! `cargo run --release -p bantam-kernels --example bench_repack [-- THREADS [SECONDS [TYPE,TYPE…]]]`

use bantam_kernels::{Activations, Int8Rows, Isa, Matrix, Pool, Precision, Product, multiply};
use bantam_tensor::{SharedBytes, TensorType};
use std::time::Instant;

/// Others are repacked before any product.
const TYPES: &str = "Q8_0,Q4_0,Q4_K,Q5_K,Q6_K,Q5_0,Q4_1,Q5_1,IQ4_NL,IQ4_XS";
/// Larger than the caches.
const SHAPE: (usize, usize) = (65536, 2048);

fn main() {
    let argument = |n: usize| std::env::args().nth(n);
    let number = |n: usize| argument(n).and_then(|argument| argument.parse::<f64>().ok());
    let threads = number(1).map_or(bantam_kernels::available_threads(), |threads| threads as usize);
    let seconds = number(2).unwrap_or(0.5);
    let (pool, isa) = (Pool::new(threads), Isa::detect());
    println!("{} on {threads} threads, bytes of the file in 10^9 a second", isa.name());
    println!("{:>8} {:>12} {:>12} {:>14}", "weight", "as in a file", "repacked", "repacking alone");
    for name in argument(3).unwrap_or(TYPES.into()).split(',') {
        let tensor_type = TensorType::from_name(name).expect("a type");
        let (outputs, inputs) = SHAPE;
        let bytes = tensor_type.bytes(outputs, inputs).expect("fits");
        let source = SharedBytes::from_vec((0..bytes).map(|i| ((i * 2_654_435_761) >> 7) as u8).collect());
        let matrix = Matrix::waiting(Precision::F32, tensor_type, outputs, inputs, source, isa, &pool);
        let mut matrix = matrix.expect("fits");
        let x: Vec<f32> = (0..inputs).map(|i| ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0).collect();
        let mut rows = Int8Rows::with_capacity(1, inputs).expect("fits");
        rows.quantize(&pool, isa, matrix.activation(), &x, 1, inputs);
        let mut out = vec![0f32; outputs];
        let mut best = |matrix: &Matrix| {
            let (start, mut best) = (Instant::now(), f64::INFINITY);
            while start.elapsed().as_secs_f64() < seconds {
                let call = Instant::now();
                let product = Product { matrix, out: &mut out, bias: None, accumulate: false };
                multiply(&pool, Activations::Int8(&rows), 1, &mut [product]);
                best = best.min(call.elapsed().as_secs_f64());
            }
            best
        };
        let waiting = best(&matrix);
        matrix.repack(&pool).expect("memory");
        let repacked = best(&matrix);
        let rate = |time: f64| bytes as f64 / time / 1e9;
        println!("{name:>8} {:>12.1} {:>12.1} {:>14.1}", rate(waiting), rate(repacked), rate(waiting - repacked));
    }
}
