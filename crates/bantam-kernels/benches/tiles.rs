//! Products whose second factor is made tile by tile, as training has them: gradients through frozen weights of several
//! formats, and of activations by activations, on a shape of a 1B model.
//!
//! `cargo bench -p bantam-kernels --bench tiles`; `BANTAM_BENCH="types=Q4_0 rows=192 threads=1 shapes=512x512"` chooses.

mod roofline;

use bantam_kernels::{FillTile, FloatRows, Isa, Matrix, Precision, multiply_tiles};
use bantam_tensor::{SharedBytes, TensorType};
use divan::Bencher;
use roofline::{Peak, Work, asked, asked_numbers, pool};
use std::fmt;

fn main() {
    divan::main();
    roofline::table(None);
}

struct Case {
    precision: Precision,
    /// The frozen weight's format; nothing where a weight's own gradient is made.
    weight: Option<String>,
    shape: (usize, usize),
    rows: usize,
    threads: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { precision, weight, shape: (outputs, inputs), rows, threads } = self;
        let through = weight.as_ref().map(|weight| format!(" {weight}")).unwrap_or_default();
        write!(formatter, "{precision:?}{through} {outputs}x{inputs}, threads {threads}, rows {rows}")
    }
}

fn cases(types: &[String]) -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in asked("shapes", "2048x2048").iter().map(|shape| roofline::shape(shape)) {
        for rows in asked_numbers("rows", "512") {
            for precision in [Precision::Bf16, Precision::F32] {
                let weights: Vec<Option<String>> = match types {
                    [] => vec![None],
                    types => types.iter().cloned().map(Some).collect(),
                };
                for weight in weights {
                    let of = |threads| Case { precision, weight: weight.clone(), shape, rows, threads };
                    cases.extend(roofline::threads().into_iter().map(of));
                }
            }
        }
    }
    cases
}

impl Case {
    fn work(&self, name: &str, bytes: usize) -> Work {
        let ((outputs, inputs), rows) = (self.shape, self.rows);
        Work {
            name: format!("{:?} {name} {outputs}x{inputs}, {rows} rows", self.precision),
            group: name.into(),
            operations: 2 * rows * outputs * inputs,
            peak: match self.precision {
                Precision::Bf16 => Peak::Bf16,
                Precision::F32 => Peak::F32,
            },
            bytes,
        }
    }
}

#[divan::bench(args = cases(&asked("types", "F32,BF16,Q8_0,Q4_0,Q4_K,Q6_K")), sample_size = 1, sample_count = 10, max_time = 1)]
fn through_weights(bencher: Bencher<'_, '_>, case: &Case) {
    let (pool, isa, rows, (outputs, inputs)) = (pool(case.threads), Isa::detect(), case.rows, case.shape);
    let name = case.weight.as_deref().unwrap_or_default();
    let tensor_type = TensorType::from_name(name).unwrap_or_else(|| panic!("there is no format {name}"));
    let mut bytes = vec![0; tensor_type.bytes(outputs, inputs).expect("a width that the format can hold")];
    tensor_type.encode(&roofline::numbers(outputs * inputs), &mut bytes).expect("a format that can be written");
    let weight = Matrix::new(tensor_type, outputs, inputs, SharedBytes::from_vec(bytes), isa, pool).expect("memory");
    let mut packed = FloatRows::with_capacity(case.precision, rows, outputs).expect("memory");
    packed.pack(pool, isa, &roofline::numbers(rows * outputs), rows, outputs);
    let mut dx = vec![0f32; rows * inputs];
    let decode = |outputs, inputs, tile: &mut [f32]| weight.decode_tile(outputs, inputs, tile);
    roofline::run(
        bencher,
        pool,
        case.work(&format!("dx, {name}"), weight.bytes_read()),
        || None,
        || multiply_tiles(pool, isa, &packed, inputs, &decode, &mut dx, false),
    );
}

#[divan::bench(args = cases(&[]), sample_size = 1, sample_count = 10, max_time = 1)]
fn weight_gradient(bencher: Bencher<'_, '_>, case: &Case) {
    let (pool, isa, rows, (outputs, inputs)) = (pool(case.threads), Isa::detect(), case.rows, case.shape);
    let (x, y) = (roofline::numbers(rows * outputs), roofline::numbers(rows * inputs));
    let mut packed = FloatRows::with_capacity(case.precision, outputs, rows).expect("memory");
    let mut dw = vec![0f32; outputs * inputs];
    let bytes = 4 * (x.len() + y.len() + dw.len());
    roofline::run(
        bencher,
        pool,
        case.work("dW, with packing", bytes),
        || None,
        || {
            packed.pack_transposed(pool, isa, &x, outputs, rows);
            let fill: &FillTile<'_> = &|depth, columns, tile| {
                for (k, tile) in depth.zip(tile.chunks_exact_mut(columns.len())) {
                    tile.copy_from_slice(&y[k * inputs..][columns.clone()]);
                }
            };
            multiply_tiles(pool, isa, &packed, inputs, fill, &mut dw, false);
        },
    );
}
