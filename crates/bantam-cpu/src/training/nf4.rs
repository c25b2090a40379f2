//! Products with frozen weights held as NF4 (QLoRA): their tiles are decoded as they are needed, forwards as well as back.

use std::ops::Range;

use bantam_kernels::{self as kernels, FloatRows, Isa, Pool, Precision, multiply_tiles};
use bantam_plan::{Op, Plan, PlanError, WeightView};
use bantam_tensor::{Nf4, TensorError};

/// What room for rows is rounded up to, so that fewer longer rows fit where more shorter ones did.
const WHOLE: usize = 256;

/// By weight: whether NF4 is for it. Those are the matrices of layers' linears; tables of tokens and the head keep their type, as
/// with bitsandbytes.
pub(crate) fn wanted(plan: &Plan) -> Vec<bool> {
    let mut wanted = vec![false; plan.weights.len()];
    for step in &plan.steps {
        if let (Op::Linear(linear), Some(_)) = (&step.op, step.layer) {
            let weight = &plan.weights[linear.weight.0];
            wanted[linear.weight.0] = !weight.trainable && !weight.name.contains(".lora_");
        }
    }
    // What is looked up as well has to be there row by row.
    for step in &plan.steps {
        if let Op::Embed(embed) = &step.op {
            wanted[embed.table.0] = false;
        }
    }
    wanted
}

/// Encodes a weight of any type.
pub(crate) fn encode(name: &str, view: &WeightView) -> Result<Nf4, PlanError> {
    let wrong = |problem: String| PlanError::WeightBytes { name: name.to_owned(), problem };
    let stride = view.tensor_type.row_bytes(view.width).map_err(|error| wrong(error.to_string()))?;
    let bytes = view.bytes.fresh();
    let row = |row: usize, out: &mut [f32]| -> Result<(), TensorError> {
        let bytes = bytes.get(row * stride..(row + 1) * stride).unwrap_or_default();
        view.tensor_type.decode(bytes, out)
    };
    let made = Nf4::encode(view.rows, view.width, row).map_err(|error| wrong(error.to_string()))?;
    view.bytes.done_with(0..view.bytes.len());
    Ok(made)
}

/// Working memory of such products.
pub(crate) struct Nf4Scratch {
    precision: Precision,
    /// Rows in a product's own form, and the numbers there is room for.
    rows: Option<(FloatRows, usize)>,
    /// A result on its way to where it is added.
    spare: Vec<f32>,
}

impl Nf4Scratch {
    pub(crate) fn new(precision: Precision) -> Self {
        Self { precision, rows: None, spare: Vec::new() }
    }

    /// Bytes it takes at most for so many rows and weights of at most so many rows and columns.
    pub(crate) fn bytes(rows: usize, outputs: usize, columns: usize) -> usize {
        let depth = outputs.max(columns).next_multiple_of(WHOLE);
        FloatRows::bytes(Precision::F32, rows, depth) + 4 * rows * outputs
    }

    fn pack(&mut self, pool: &Pool, isa: Isa, x: &[f32], rows: usize, depth: usize) -> &FloatRows {
        let numbers = rows * depth.next_multiple_of(WHOLE);
        if self.rows.as_ref().is_none_or(|(_, room)| *room < numbers) {
            let made = FloatRows::with_capacity(self.precision, rows, depth.next_multiple_of(WHOLE));
            self.rows = Some((made.expect("memory for rows, as promised"), numbers));
        }
        let (packed, _) = self.rows.as_mut().expect("made above");
        packed.pack(pool, isa, x, rows, depth);
        packed
    }

    /// `out = x · Wᵀ + bias`, or `out +=` the same. Added up apart first, so that it is the same bits wherever it is added.
    pub(crate) fn multiply(
        &mut self,
        (pool, isa): (&Pool, Isa),
        (x, rows): (&[f32], usize),
        weight: &Nf4,
        bias: Option<&[f32]>,
        out: &mut [f32],
        accumulate: bool,
    ) {
        if rows == 0 {
            return;
        }
        let mut spare = std::mem::take(&mut self.spare);
        spare.resize(out.len().max(spare.len()), 0.0);
        let packed = self.pack(pool, isa, x, rows, weight.width());
        let fill = |inputs: Range<usize>, outputs: Range<usize>, tile: &mut [f32]| {
            let columns = outputs.len();
            let mut row = [0f32; WHOLE];
            for first in inputs.clone().step_by(WHOLE) {
                let some = first..(first + WHOLE).min(inputs.end);
                for (column, output) in outputs.clone().enumerate() {
                    let row = &mut row[..some.len()];
                    weight.decode(output, some.start, row);
                    let into = tile[(some.start - inputs.start) * columns..].chunks_exact_mut(columns);
                    into.zip(row).for_each(|(tile, x)| tile[column] = *x);
                }
            }
        };
        let made = if accumulate { &mut spare[..out.len()] } else { &mut *out };
        multiply_tiles(pool, isa, packed, weight.rows(), &fill, made, false);
        if let Some(bias) = bias {
            let rows = made.chunks_exact_mut(bias.len());
            rows.for_each(|row| row.iter_mut().zip(bias).for_each(|(y, b)| *y += b));
        }
        if accumulate {
            kernels::add_to(pool, isa, &spare[..out.len()], out);
        }
        self.spare = spare;
    }

    /// `dx = dy · W`, or `dx +=`.
    pub(crate) fn multiply_back(
        &mut self,
        (pool, isa): (&Pool, Isa),
        (dy, rows): (&[f32], usize),
        weight: &Nf4,
        dx: &mut [f32],
        accumulate: bool,
    ) {
        if rows == 0 {
            return;
        }
        let packed = self.pack(pool, isa, dy, rows, weight.rows());
        let fill = |outputs: Range<usize>, inputs: Range<usize>, tile: &mut [f32]| {
            for (output, row) in outputs.zip(tile.chunks_exact_mut(inputs.len())) {
                weight.decode(output, inputs.start, row);
            }
        };
        multiply_tiles(pool, isa, packed, weight.width(), &fill, dx, accumulate);
    }
}
