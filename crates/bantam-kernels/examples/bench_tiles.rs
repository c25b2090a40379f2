//! Measures products whose second factor is made tile by tile: gradients through frozen weights of several formats, and
//! of activations by activations, on a shape of a 1B model.
//!
//! `cargo run --release -p bantam-kernels --example bench_tiles [-- THREADS [SECONDS [ROWS [OUTPUTSxINPUTS]]]]`

use bantam_kernels::{FillTile, FloatRows, Isa, Matrix, Pool, Precision, multiply_tiles};
use bantam_tensor::{SharedBytes, TensorType};
use std::time::Instant;

fn main() {
    let argument = |n: usize| std::env::args().nth(n);
    let number = |n: usize| argument(n).and_then(|argument| argument.parse::<f64>().ok());
    let pool = Pool::new(number(1).map_or(bantam_kernels::available_threads(), |threads| threads as usize));
    let seconds = number(2).unwrap_or(0.5);
    let rows = number(3).map_or(512, |rows| rows as usize);
    let shape = argument(4).unwrap_or("2048x2048".into());
    let (outputs, inputs) = shape.split_once('x').expect("OUTPUTSxINPUTS");
    let (outputs, inputs): (usize, usize) = (outputs.parse().expect("outputs"), inputs.parse().expect("inputs"));
    let isa = Isa::detect();
    println!("{} on {} threads, {rows} rows; fastest call", isa.name(), pool.threads());
    let x: Vec<f32> = (0..rows * outputs).map(|i| ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0).collect();
    let y: Vec<f32> = (0..rows * inputs).map(|i| ((i * 40_503) % 1000) as f32 / 500.0 - 1.0).collect();
    for precision in [Precision::Bf16, Precision::F32] {
        let mut packed = FloatRows::with_capacity(precision, rows.max(outputs), rows.max(outputs)).expect("fits");
        for name in ["F32", "BF16", "Q8_0", "Q4_0", "Q4_K", "Q6_K"] {
            let tensor_type = TensorType::from_name(name).expect("a type");
            let mut bytes = vec![0; tensor_type.bytes(outputs, inputs).expect("fits")];
            let values: Vec<f32> = (0..outputs * inputs).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect();
            tensor_type.encode(&values, &mut bytes).expect("encodes");
            let weight = Matrix::new(tensor_type, outputs, inputs, SharedBytes::from_vec(bytes), isa, &pool);
            let weight = weight.expect("fits");
            let mut dx = vec![0f32; rows * inputs];
            let decode = |outputs, inputs, tile: &mut [f32]| weight.decode_tile(outputs, inputs, tile);
            packed.pack(&pool, isa, &x, rows, outputs);
            let what = format!("{precision:?} dx through {name}");
            report(&what, rows * outputs * inputs, seconds, &mut || {
                multiply_tiles(&pool, isa, &packed, inputs, &decode, &mut dx, false);
            });
        }
        let mut dw = vec![0f32; outputs * inputs];
        report(&format!("{precision:?} dW, with packing"), rows * outputs * inputs, seconds, &mut || {
            packed.pack_transposed(&pool, isa, &x, outputs, rows);
            let fill: &FillTile<'_> = &|depth, columns, tile| {
                for (k, tile) in depth.zip(tile.chunks_exact_mut(columns.len())) {
                    tile.copy_from_slice(&y[k * inputs..][columns.clone()]);
                }
            };
            multiply_tiles(&pool, isa, &packed, inputs, fill, &mut dw, false);
        });
    }
}

fn report(what: &str, products: usize, seconds: f64, step: &mut dyn FnMut()) {
    let (start, mut fastest) = (Instant::now(), f64::INFINITY);
    while start.elapsed().as_secs_f64() < seconds {
        let call = Instant::now();
        step();
        fastest = fastest.min(call.elapsed().as_secs_f64());
    }
    println!("{what:>30} {:>10.0} us {:>7.0} Gflop/s", fastest * 1e6, 2.0 * products as f64 / fastest / 1e9);
}
