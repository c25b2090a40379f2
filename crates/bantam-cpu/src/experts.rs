//! Products with experts: the rows that go to one are gathered, multiplied together and put back.

use bantam_kernels::{self as kernels, Activations, Int8Rows, Isa, Matrix, Pool, Product};
use bantam_plan::{Op, Plan, Rows};

/// Rows of `width` numbers in the form that a matrix is multiplied with; `int8` holds them where that is int8.
pub(crate) fn activations_for<'a>(
    matrix: &Matrix,
    (pool, isa): (&Pool, Isa),
    int8: &'a mut Int8Rows,
    (x, rows, width): (&'a [f32], usize, usize),
) -> Activations<'a> {
    let kind = matrix.activation();
    if !kind.is_int8() {
        return Activations::F32(x);
    }
    int8.quantize(pool, isa, kind, x, rows, width);
    Activations::Int8(int8)
}

/// Room for the rows of one expert, made once.
#[derive(Default)]
pub(crate) struct Routed {
    taken: Vec<usize>,
    gathered: Vec<f32>,
    made: Vec<f32>,
}

/// One expert's part of a product.
#[derive(Clone, Copy)]
pub(crate) struct ExpertJob<'a> {
    pub(crate) number: usize,
    pub(crate) matrix: &'a Matrix,
    /// All rows, each once for each of its experts.
    pub(crate) x: &'a [f32],
    pub(crate) x_width: usize,
    /// Experts of a token.
    pub(crate) chosen: usize,
    /// `[tokens, 2 · chosen]`.
    pub(crate) route: &'a [f32],
}

/// Sizes of [`Routed`] for a Plan: rows of a token, widest input, widest output; all zero without experts.
fn sizes(plan: &Plan) -> (usize, usize, usize) {
    let mut sizes = (0, 0, 0);
    for step in &plan.steps {
        if let (Op::ExpertLinear(experts), [x, _]) = (&step.op, &step.inputs[..]) {
            let chosen = match plan.get(*x).rows {
                Rows::Routed(chosen) => chosen,
                Rows::Tokens | Rows::Outputs => 1,
            };
            let outputs = experts.weights.first().map_or(0, |id| plan.weights[id.0].rows);
            sizes = (sizes.0.max(chosen), sizes.1.max(plan.get(*x).width), sizes.2.max(outputs));
        }
    }
    sizes
}

/// Rows that products see at most, in a batch of `rows` tokens.
pub(crate) fn most_rows(plan: &Plan, rows: usize) -> usize {
    rows * sizes(plan).0.max(1)
}

impl Routed {
    pub(crate) fn new(plan: &Plan, rows: usize) -> Self {
        let (chosen, inputs, outputs) = sizes(plan);
        let rows = rows * chosen;
        Self { taken: Vec::with_capacity(rows), gathered: vec![0.0; rows * inputs], made: vec![0.0; rows * outputs] }
    }

    /// Bytes it takes.
    pub(crate) fn bytes(plan: &Plan, rows: usize) -> usize {
        let (chosen, inputs, outputs) = sizes(plan);
        rows * chosen * (size_of::<usize>() + 4 * (inputs + outputs))
    }

    /// Multiplies the rows of one expert and puts them where they belong in `out`.
    pub(crate) fn multiply(
        &mut self,
        pool: &Pool,
        isa: Isa,
        int8: &mut Int8Rows,
        job: &ExpertJob<'_>,
        out: &mut [f32],
    ) {
        let ExpertJob { number, matrix, x, x_width, chosen, route } = *job;
        let width = matrix.outputs();
        self.taken.clear();
        let numbers = route.chunks_exact(2 * chosen).flat_map(|row| &row[..chosen]);
        self.taken.extend(numbers.enumerate().filter(|(_, of)| **of == number as f32).map(|(row, _)| row));
        let rows = self.taken.len();
        if rows == 0 {
            return;
        }
        let gathered = &mut self.gathered[..rows * x_width];
        for (made, row) in gathered.chunks_exact_mut(x_width).zip(&self.taken) {
            made.copy_from_slice(&x[row * x_width..][..x_width]);
        }
        let activations = activations_for(matrix, (pool, isa), int8, (gathered, rows, x_width));
        let made = &mut self.made[..rows * width];
        kernels::multiply(pool, activations, rows, &mut [Product { matrix, out: made, bias: None, accumulate: false }]);
        for (made, row) in made.chunks_exact(width).zip(&self.taken) {
            out[row * width..][..width].copy_from_slice(made);
        }
    }
}
