//! Matrix products of every format, for one row (weights from memory), eight, twelve and 512, on one and two threads.
//!
//! ```sh
//! cargo bench -p bantam-kernels --bench products                    # all: some minutes
//! cargo bench -p bantam-kernels --bench products -- 'Q4_0|Q8_0'     # what matches; see also --help
//! BANTAM_BENCH="types=Q4_0,BF16 rows=1,2,4 threads=1 shapes=896x896,4864x896" cargo bench -p bantam-kernels --bench products
//! ```
//!
//! Between any two calls of a product goes one of Q4_0 of the same shape and rows: what comes of it stands in the last column,
//! and on a machine whose memory others use as well it tells more than the figures before it.

mod roofline;

use bantam_kernels::{ActivationKind, Activations, Int8Rows, Isa, Matrix, Pool, Precision, Product, multiply};
use bantam_tensor::{SharedBytes, TensorType};
use divan::Bencher;
use roofline::{Peak, Work, asked, asked_numbers, pool};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Gate and up of Llama-3.2-1B.
const SHAPE: &str = "8192x2048";
/// Bytes of a weight's copies, which calls with one row take in turns: as from a whole model, they come from memory.
const COPIES: usize = 128 << 20;
const CONTROL: &str = "Q4_0";

fn main() {
    divan::main();
    roofline::table(Some(CONTROL));
}

/// One product.
struct Case {
    weight: String,
    shape: (usize, usize),
    rows: usize,
    threads: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { weight, shape: (outputs, inputs), rows, threads } = self;
        write!(formatter, "{weight} {outputs}x{inputs}, threads {threads}, rows {rows}")
    }
}

/// Formats by name: those of blocks, then numbers. `BF16-F32` is BF16 with activations that are not rounded.
fn types() -> String {
    let blocks = TensorType::ALL.iter().filter(|each| Matrix::activation_of(**each).is_int8());
    let names: Vec<&str> = blocks.map(|each| each.name()).chain(["F32", "F16", "BF16", "BF16-F32"]).collect();
    names.join(",")
}

fn cases() -> Vec<Case> {
    let (rows, threads) = (asked_numbers("rows", "1,8,12,512"), roofline::threads());
    let mut cases = Vec::new();
    for shape in asked("shapes", SHAPE).iter().map(|shape| roofline::shape(shape)) {
        for weight in asked("types", &types()) {
            for &threads in &threads {
                let case = |&rows| Case { weight: weight.clone(), shape, rows, threads };
                cases.extend(rows.iter().map(case));
            }
        }
    }
    cases
}

/// Enough copies for calls to read from memory.
struct Weights(Vec<Matrix>);

impl Weights {
    fn new(pool: &Pool, name: &str, (outputs, inputs): (usize, usize)) -> Self {
        let exact = name.strip_suffix("-F32");
        let precision = if exact.is_some() { Precision::F32 } else { Precision::Bf16 };
        let name = exact.unwrap_or(name);
        let tensor_type = TensorType::from_name(name).unwrap_or_else(|| panic!("there is no format {name}"));
        let one = tensor_type.bytes(outputs, inputs).expect("a width that the format can hold");
        let bytes = weight_bytes(tensor_type, one);
        let made = (0..COPIES.div_ceil(one).clamp(1, 256)).map(|_| {
            let bytes = SharedBytes::from_vec(bytes.clone());
            Matrix::with_precision(precision, tensor_type, outputs, inputs, bytes, Isa::detect(), pool)
        });
        Self(made.collect::<Result<_, _>>().expect("memory"))
    }

    fn turn(&self, number: usize) -> &Matrix {
        &self.0[number % self.0.len()]
    }
}

/// The weight in use and the control of its shape, kept from one case to the next.
struct Loaded {
    name: String,
    shape: (usize, usize),
    weights: Weights,
    control: Weights,
}

static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

#[divan::bench(args = cases(), sample_size = 1, sample_count = 10, min_time = 0.2, max_time = 0.4)]
fn product(bencher: Bencher<'_, '_>, case: &Case) {
    let (pool, rows) = (pool(case.threads), case.rows);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let known = loaded.take();
    let (weights, control) = match known {
        Some(known) if known.shape == case.shape => {
            let same = known.name == case.weight;
            (same.then_some(known.weights), Some(known.control))
        }
        _ => (None, None),
    };
    let Loaded { weights, control, .. } = loaded.insert(Loaded {
        name: case.weight.clone(),
        shape: case.shape,
        weights: weights.unwrap_or_else(|| Weights::new(pool, &case.weight, case.shape)),
        control: control.unwrap_or_else(|| Weights::new(pool, CONTROL, case.shape)),
    });
    let matrix = weights.turn(0);
    let (outputs, inputs) = case.shape;
    let x = roofline::numbers(rows * inputs);
    let quantized = |kind: ActivationKind| {
        let mut quantized = Int8Rows::with_capacity(rows, inputs).expect("memory");
        if kind.is_int8() {
            quantized.quantize(pool, Isa::detect(), kind, &x, rows, inputs);
        }
        quantized
    };
    let (own, control_rows) = (quantized(matrix.activation()), quantized(ActivationKind::Int8));
    let call = |matrix: &Matrix, quantized: &Int8Rows, out: &mut [f32]| {
        let activations =
            if matrix.activation().is_int8() { Activations::Int8(quantized) } else { Activations::F32(&x) };
        multiply(pool, activations, rows, &mut [Product { matrix, out, bias: None, accumulate: false }]);
    };
    let work = Work {
        name: format!("{} {outputs}x{inputs}, {rows:>3} rows", case.weight),
        group: format!("{} {outputs}x{inputs}", case.weight),
        operations: 2 * rows * outputs * inputs,
        peak: match matrix.activation() {
            ActivationKind::Int8 | ActivationKind::Int8By256 => Peak::Int8,
            ActivationKind::Bf16 => Peak::Bf16,
            ActivationKind::F32 => Peak::F32,
        },
        bytes: matrix.bytes_read(),
    };
    let (mut out, mut out_of_control) = (vec![0f32; rows * outputs], vec![0f32; rows * outputs]);
    let (mut number, mut number_of_control) = (0, 0);
    roofline::run(
        bencher,
        pool,
        work,
        || {
            number_of_control += 1;
            let begin = Instant::now();
            call(control.turn(number_of_control), &control_rows, &mut out_of_control);
            Some(begin.elapsed().as_secs_f64())
        },
        || {
            number += 1;
            call(weights.turn(number), &own, &mut out);
        },
    );
}

/// Bytes that decode to numbers of a usual size (those that are nearly nothing may take longer): a few thousand encoded, or
/// codes at random with scales of 2^-10, again and again.
fn weight_bytes(tensor_type: TensorType, length: usize) -> Vec<u8> {
    const SOME: usize = 8192;
    let mut some = vec![0; tensor_type.row_bytes(SOME).expect("whole blocks")];
    if tensor_type.can_encode() {
        let numbers: Vec<f32> = roofline::numbers(SOME).iter().map(|number| number / 32.0).collect();
        tensor_type.encode(&numbers, &mut some).expect("lengths fit");
    } else {
        let mut state = 1u64;
        for byte in &mut some {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 33) as u8;
        }
        let block_bytes = tensor_type.block_bytes();
        for block in some.chunks_exact_mut(block_bytes) {
            match tensor_type {
                // Four bits of the scale are the upper of each of the last four words.
                TensorType::IQ1_M => {
                    for (pair, bits) in block[block_bytes - 8..].as_chunks_mut::<2>().0.iter_mut().zip([0, 0, 4, 1]) {
                        pair[1] = pair[1] & 0x0f | bits << 4;
                    }
                }
                _ => block[..2].copy_from_slice(&[0x00, 0x14]),
            }
        }
    }
    some.into_iter().cycle().take(length).collect()
}
