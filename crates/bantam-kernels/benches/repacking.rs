//! How fast weights are repacked: products of one row with weights as a file has them, which repack what they multiply in the
//! caches, beside products with the same weights repacked before.
//!
//! `cargo bench -p bantam-kernels --bench repacking`; `BANTAM_BENCH="types=Q4_0 threads=1 shapes=65536x2048"` chooses.

mod roofline;

use bantam_kernels::{Activations, Int8Rows, Isa, Matrix, Precision, Product, multiply};
use bantam_tensor::{SharedBytes, TensorType};
use divan::Bencher;
use roofline::{Peak, Work, asked, pool};
use std::fmt;

/// Others are repacked before any product.
const TYPES: &str = "Q8_0,Q4_0,Q4_K,Q5_K,Q6_K,Q5_0,Q4_1,Q5_1,IQ4_NL,IQ4_XS";
/// Larger than the caches.
const SHAPE: &str = "65536x2048";

fn main() {
    divan::main();
    roofline::table(None);
    let mut lines = cases().into_iter().filter_map(|case| {
        let time = |repacked| roofline::fastest(&case.name(repacked), case.threads);
        let alone = time(false)? - time(true)?;
        Some(format!("{:<36} {:>7} {:>10.1}", case.weight, case.threads, case.bytes() as f64 / alone / 1e9))
    });
    if let Some(first) = lines.next() {
        println!("\nrepacking alone, the difference: GB of the file in a second\n{first}");
        lines.for_each(|line| println!("{line}"));
    }
}

struct Case {
    weight: String,
    shape: (usize, usize),
    threads: usize,
}

impl Case {
    fn tensor_type(&self) -> TensorType {
        TensorType::from_name(&self.weight).unwrap_or_else(|| panic!("there is no format {}", self.weight))
    }

    /// In the file.
    fn bytes(&self) -> usize {
        self.tensor_type().bytes(self.shape.0, self.shape.1).expect("a width that the format can hold")
    }

    fn name(&self, repacked: bool) -> String {
        let (outputs, inputs) = self.shape;
        format!("{} {outputs}x{inputs}, {}", self.weight, if repacked { "repacked" } else { "as in a file" })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { weight, shape: (outputs, inputs), threads } = self;
        write!(formatter, "{weight} {outputs}x{inputs}, threads {threads}")
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in asked("shapes", SHAPE).iter().map(|shape| roofline::shape(shape)) {
        for weight in asked("types", TYPES) {
            for threads in roofline::threads() {
                cases.push(Case { weight: weight.clone(), shape, threads });
            }
        }
    }
    cases
}

#[divan::bench(args = cases(), sample_size = 1, sample_count = 5, min_time = 0.3, max_time = 0.6)]
fn as_in_a_file(bencher: Bencher<'_, '_>, case: &Case) {
    one_row(bencher, case, false);
}

#[divan::bench(args = cases(), sample_size = 1, sample_count = 5, min_time = 0.3, max_time = 0.6)]
fn repacked(bencher: Bencher<'_, '_>, case: &Case) {
    one_row(bencher, case, true);
}

fn one_row(bencher: Bencher<'_, '_>, case: &Case, repacked: bool) {
    let (pool, isa, (outputs, inputs)) = (pool(case.threads), Isa::detect(), case.shape);
    let source = (0..case.bytes()).map(|i| (i.wrapping_mul(2_654_435_761) >> 7) as u8).collect();
    let source = SharedBytes::from_vec(source);
    let matrix = Matrix::waiting(Precision::F32, case.tensor_type(), outputs, inputs, source, isa, pool);
    let mut matrix = matrix.expect("memory");
    if repacked {
        matrix.repack(pool).expect("memory");
    }
    let mut rows = Int8Rows::with_capacity(1, inputs).expect("memory");
    rows.quantize(pool, isa, matrix.activation(), &roofline::numbers(inputs), 1, inputs);
    let mut out = vec![0f32; outputs];
    let work = Work {
        name: case.name(repacked),
        group: case.weight.clone(),
        operations: 2 * outputs * inputs,
        peak: Peak::Int8,
        bytes: case.bytes(),
    };
    roofline::run(
        bencher,
        pool,
        work,
        || None,
        || {
            let product = Product { matrix: &matrix, out: &mut out, bias: None, accumulate: false };
            multiply(pool, Activations::Int8(&rows), 1, &mut [product]);
        },
    );
}
