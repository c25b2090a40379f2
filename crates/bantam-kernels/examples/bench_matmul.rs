//! Measures matrix products on shapes of a 1B model, beside what the machine can read and multiply and beside Q4_0, whose
//! turns alternate with those of each type: on a machine with other work, only figures of the same minute compare.
//!
//! `cargo run --release -p bantam-kernels --example bench_matmul [-- THREADS [SECONDS [TYPE,TYPE… [ROWS,ROWS… [OUTPUTSxINPUTS,…]]]]]`

use bantam_kernels::{
    ActivationKind, Activations, Int8Rows, Isa, Matrix, Pool, Precision, Product, int8_peak, multiply, read_bandwidth,
};
use bantam_tensor::{SharedBytes, TensorType};
use std::time::Instant;

/// Shapes of Llama-3.2-1B: attention, keys and values, up, down, vocabulary.
const SHAPES: &str = "2048x2048,512x2048,8192x2048,2048x8192,128256x2048";
const TYPES: &str = "Q8_0,Q4_0,Q4_K,Q5_K,Q6_K,Q5_0,Q4_1,Q5_1,IQ4_NL,IQ4_XS,Q3_K,Q2_K,MXFP4,TQ2_0,F32,F16,BF16,BF16-F32";
const ROWS: &str = "1,2,4,8,12,512";

fn main() {
    let argument = |n: usize| std::env::args().nth(n);
    let number = |n: usize| argument(n).and_then(|argument| argument.parse::<f64>().ok());
    let threads = number(1).map_or(bantam_kernels::available_threads(), |threads| threads as usize);
    let seconds = number(2).unwrap_or(0.3);
    let types = argument(3).unwrap_or(TYPES.into());
    let rows = argument(4).unwrap_or(ROWS.into());
    let shapes = argument(5).unwrap_or(SHAPES.into());
    let isa = Isa::detect();
    let pool = Pool::new(threads);
    let limits = Limits { read: read_bandwidth(&pool) / 1e9, int8: int8_peak(&pool, isa).unwrap_or(f64::NAN) / 1e9 };
    println!("{} on {threads} threads, at least {seconds} s a figure", isa.name());
    println!("read {:.1} GB/s, int8 {:.0} Gop/s", limits.read, limits.int8);
    println!(
        "{:>20} {:>5} {:>9} {:>7} {:>4} {:>7} {:>4} {:>7}",
        "weight", "rows", "us", "GB/s", "%", "Gop/s", "%", "/Q4_0"
    );
    for shape in shapes.split(',') {
        let (outputs, inputs) = shape.split_once('x').expect("OUTPUTSxINPUTS");
        let shape = (outputs.parse().expect("outputs"), inputs.parse().expect("inputs"));
        let control = Weights::new(&pool, isa, "Q4_0", shape);
        for name in types.split(',') {
            let weights = Weights::new(&pool, isa, name, shape);
            for rows in rows.split(',').map(|rows| rows.parse().expect("rows")) {
                if rows * shape.0 <= 1 << 23 {
                    bench(&pool, &limits, &weights, &control, rows, seconds);
                }
            }
        }
    }
}

/// What the machine can do, in 10^9 a second.
struct Limits {
    read: f64,
    int8: f64,
}

/// Enough copies that one-row products read from memory, as a whole model would.
struct Weights {
    name: String,
    matrices: Vec<Matrix>,
}

impl Weights {
    /// Of a type by name; BF16-F32 is BF16 with rows that are not rounded.
    fn new(pool: &Pool, isa: Isa, name: &str, (outputs, inputs): (usize, usize)) -> Self {
        let exact = name.strip_suffix("-F32");
        let precision = if exact.is_some() { Precision::F32 } else { Precision::Bf16 };
        let tensor_type = TensorType::from_name(exact.unwrap_or(name)).expect("a type");
        let one = tensor_type.bytes(outputs, inputs).expect("fits");
        let copies = (128usize << 20).div_ceil(one).clamp(1, 256);
        let bytes = noise(tensor_type, one);
        let made = (0..copies).map(|_| {
            let bytes = SharedBytes::from_vec(bytes.clone());
            Matrix::with_precision(precision, tensor_type, outputs, inputs, bytes, isa, pool).expect("fits")
        });
        Self { name: format!("{name} {outputs}x{inputs}"), matrices: made.collect() }
    }
}

fn bench(pool: &Pool, limits: &Limits, weights: &Weights, control: &Weights, rows: usize, seconds: f64) {
    let matrix = &weights.matrices[0];
    let (outputs, inputs) = (matrix.outputs(), matrix.inputs());
    let x: Vec<f32> = (0..rows * inputs).map(|i| ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0).collect();
    let mut out = vec![0f32; rows * outputs];
    let mut quantized = Int8Rows::with_capacity(rows, inputs).expect("fits");
    let mut control_rows = Int8Rows::with_capacity(rows, inputs).expect("fits");
    if matrix.activation().is_int8() {
        quantized.quantize(pool, matrix.isa(), matrix.activation(), &x, rows, inputs);
    }
    control_rows.quantize(pool, matrix.isa(), control.matrices[0].activation(), &x, rows, inputs);
    let mut turn = |weights: &Weights, number: usize| {
        let matrix = &weights.matrices[number % weights.matrices.len()];
        let activations = match matrix.activation() {
            ActivationKind::F32 | ActivationKind::Bf16 => Activations::F32(&x),
            kind if kind == control_rows.kind() => Activations::Int8(&control_rows),
            _ => Activations::Int8(&quantized),
        };
        let call = Instant::now();
        multiply(pool, activations, rows, &mut [Product { matrix, out: &mut out, bias: None, accumulate: false }]);
        call.elapsed().as_secs_f64()
    };
    let (start, mut number) = (Instant::now(), 0);
    let (mut time, mut other) = (f64::INFINITY, f64::INFINITY);
    while number < 4 || start.elapsed().as_secs_f64() < 2.0 * seconds {
        time = time.min(turn(weights, number));
        other = other.min(turn(control, number));
        number += 1;
    }
    let read = matrix.bytes_read() as f64 / time / 1e9;
    let work = 2.0 * (rows * outputs * inputs) as f64 / time / 1e9;
    let name = &weights.name;
    println!(
        "{name:>20} {rows:>5} {:>9.1} {read:>7.1} {:>4.0} {work:>7.1} {:>4.0} {:>7.2}",
        time * 1e6,
        100.0 * read / limits.read,
        100.0 * work / limits.int8,
        time / other,
    );
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
        TensorType::BF16 => bytes.as_chunks_mut::<2>().0.iter_mut().for_each(|half| half[1] = 0x3c | (half[1] & 0x83)),
        TensorType::F32 => bytes.as_chunks_mut::<4>().0.iter_mut().for_each(|word| word[3] = 0x3c),
        _ => {
            let at = match tensor_type {
                TensorType::Q6_K => 208,
                TensorType::Q3_K => 108,
                TensorType::Q2_K => 80,
                TensorType::TQ2_0 => 64,
                TensorType::TQ1_0 => 52,
                _ => 0,
            };
            for block in bytes.chunks_exact_mut(tensor_type.block_bytes()) {
                block[at..][..2].copy_from_slice(&scale);
                if matches!(
                    tensor_type,
                    TensorType::Q4_K | TensorType::Q5_K | TensorType::Q2_K | TensorType::Q4_1 | TensorType::Q5_1
                ) {
                    block[at + 2..][..2].copy_from_slice(&scale);
                }
            }
        }
    }
    bytes
}
