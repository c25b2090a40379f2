//! Lengths of the rows of adapted weights while their adapters change.
//!
//! `‖W + s·B·A‖² = ‖W‖² + 2s·(W·Aᵀ)·B + s²·B·(A·Aᵀ)·Bᵀ`, row by row: of the weight only its product with the few rows of
//! A is needed anew, once for each update of the adapter.

use bantam_kernels::{self as kernels, Int8Rows, Isa, Pool, Product, ProductScratch};
use bantam_plan::{Magnitude, Op, Plan, PlanError, Step, ValueId, Weights, fetch_weight};

use super::held::Held;
use super::run::Running;
use crate::compile::{kernel_error, unsupported};
use crate::experts::activations_for;
use crate::row_lengths::{row_factor, row_lengths};

/// The rows of one adapted weight.
pub(crate) struct Lengths {
    of: Magnitude,
    /// `‖W‖²` of each row, where `W` does not change.
    squares: Vec<f64>,
    /// `magnitude / ‖W + s·B·A‖` of each row.
    factors: Vec<f32>,
    /// `1 / ‖W + s·B·A‖` of each row.
    inverse: Vec<f32>,
    products: Vec<f32>,
    /// Room for the rows of A in int8, where the weight is multiplied so.
    int8: Int8Rows,
    fresh: bool,
}

fn int8(plan: &Plan, of: &Magnitude, weight: &Held) -> Result<Int8Rows, PlanError> {
    let is_int8 = matches!(weight, Held::Frozen(matrix) if matrix.activation().is_int8());
    let a = &plan.weights[of.a.0];
    let rows = if is_int8 { a.rows } else { 0 };
    Int8Rows::with_capacity(rows, a.width).map_err(|error| kernel_error("magnitude", error))
}

impl Lengths {
    /// One for each magnitude of a Plan.
    pub(crate) fn all(plan: &Plan, weights: &dyn Weights, held: &[Held], pool: &Pool) -> Result<Vec<Self>, PlanError> {
        let mut all: Vec<Self> = Vec::new();
        for step in &plan.steps {
            let Op::Magnitude(of) = &step.op else { continue };
            if all.iter().any(|known| known.of.magnitude == of.magnitude) {
                continue;
            }
            if matches!(held[of.weight.0], Held::Nf4(_)) {
                return Err(unsupported(step.op.name(), "its weight is held as NF4, whose lengths are others"));
            }
            if [of.a, of.b].iter().any(|id| held[id.0].values().is_empty()) {
                return Err(unsupported(step.op.name(), "its adapter is not trained"));
            }
            let weight = &plan.weights[of.weight.0];
            let squares = match held[of.weight.0].values() {
                [] => row_lengths(pool, &weight.name, &fetch_weight(weights, weight)?, None)?,
                _ => Vec::new(),
            };
            all.push(Self {
                squares: squares.into_iter().map(|length| f64::from(length).powi(2)).collect(),
                factors: vec![0.0; weight.rows],
                inverse: vec![0.0; weight.rows],
                products: vec![0.0; weight.rows * plan.weights[of.a.0].rows],
                int8: int8(plan, of, &held[of.weight.0])?,
                fresh: false,
                of: of.clone(),
            });
        }
        Ok(all)
    }

    /// Bytes of [`Lengths::all`].
    pub(crate) fn bytes(plan: &Plan) -> usize {
        let of = |step: &Step| {
            let Op::Magnitude(of) = &step.op else { return 0 };
            let (weight, a) = (&plan.weights[of.weight.0], &plan.weights[of.a.0]);
            weight.rows * (16 + 4 * a.rows) + Int8Rows::bytes(a.rows, a.width)
        };
        plan.steps.iter().map(of).sum()
    }

    /// Weights may have changed.
    pub(crate) fn forget(&mut self) {
        self.fresh = false;
    }

    fn refresh(&mut self, held: &[Held], pool: &Pool, isa: Isa, scratch: &mut ProductScratch) {
        if self.fresh {
            return;
        }
        let Self { of, squares, factors, inverse, products, int8, .. } = self;
        let (a, b, magnitude) = (held[of.a.0].values(), held[of.b.0].values(), held[of.magnitude.0].values());
        let outputs = factors.len();
        let rank = products.len() / outputs.max(1);
        let width = a.len() / rank.max(1);
        let weight = &held[of.weight.0];
        // `[rank, outputs]`: the rows of A times the weight.
        if let Held::Frozen(matrix) = weight {
            let activations = activations_for(matrix, (pool, isa), int8, (a, rank, width));
            let product = Product { matrix, out: products, bias: None, accumulate: false };
            kernels::multiply(pool, activations, rank, &mut [product]);
        } else {
            let weight = weight.values();
            kernels::multiply_trained(pool, isa, scratch, a, rank, weight, None, products, false);
            squares.clear();
            squares.extend(weight.chunks_exact(width.max(1)).map(|row| crate::row_lengths::length(row).powi(2)));
        }
        let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
        let rows = || a.chunks_exact(width.max(1));
        let gram: Vec<f64> = rows().flat_map(|x| rows().map(move |y| dot(x, y))).collect();
        let scale = f64::from(of.scale);
        for (row, (b, square)) in b.chunks_exact(rank.max(1)).zip(squares.iter()).enumerate() {
            let along = |i: usize| f64::from(products[i * outputs + row]);
            let mixed: f64 = b.iter().enumerate().map(|(i, b)| f64::from(*b) * along(i)).sum();
            let own = b
                .iter()
                .zip(gram.chunks_exact(rank))
                .map(|(x, gram)| f64::from(*x) * b.iter().zip(gram).map(|(y, g)| f64::from(*y) * g).sum::<f64>());
            let length = (square + 2.0 * scale * mixed + scale * scale * own.sum::<f64>()).max(0.0).sqrt();
            inverse[row] = row_factor(1.0, length) as f32;
            factors[row] = row_factor(f64::from(magnitude[row]), length) as f32;
        }
        self.fresh = true;
    }
}

impl Running<'_> {
    fn lengths(&mut self, of: &Magnitude) -> usize {
        let at = self.lengths.iter().position(|known| known.of.magnitude == of.magnitude);
        let at = at.expect("compiling made one for each magnitude");
        let buffers = &mut *self.buffers;
        self.lengths[at].refresh(self.held, &buffers.pool, buffers.isa, &mut buffers.products);
        at
    }

    pub(super) fn magnitude(&mut self, of: &Magnitude, x: ValueId, output: ValueId) {
        let at = self.lengths(of);
        if !self.same_place(x, output) {
            let (from, to) = (self.range(x), self.range(output));
            self.arena.copy_within(from, to.start);
        }
        let made = self.range(output);
        let bias = of.bias.map(|id| self.held[id.0].values());
        scale_columns(&self.buffers.pool, &mut self.arena[made], &self.lengths[at].factors, bias);
    }

    pub(super) fn magnitude_back(&mut self, of: &Magnitude, step: &Step, gradient: ValueId, dx: Option<ValueId>) {
        let at = self.lengths(of);
        let dy = self.range(gradient);
        if let Some(dx) = dx {
            let to = self.range(dx);
            self.arena.copy_within(dy.clone(), to.start);
            scale_columns(&self.buffers.pool, &mut self.arena[to], &self.lengths[at].factors, None);
        }
        let rows = self.rows(gradient);
        if self.held[of.magnitude.0].gradient().is_some() {
            let x = self.range(step.inputs[0]);
            let (x, dy) = (&self.arena[x], &self.arena[dy.clone()]);
            let (inverse, held) = (&self.lengths[at].inverse, &mut *self.held);
            let Some(sum) = held[of.magnitude.0].gradient() else { return };
            let width = inverse.len();
            kernels::in_pieces(&self.buffers.pool, sum, |first, sum| {
                for (x, dy) in x.chunks_exact(width).zip(dy.chunks_exact(width)) {
                    let numbers = x[first..].iter().zip(&dy[first..]).zip(&inverse[first..]);
                    sum.iter_mut().zip(numbers).for_each(|(sum, ((x, dy), inverse))| *sum += x * dy * inverse);
                }
            });
        }
        if let Some(sum) = of.bias.and_then(|id| self.held[id.0].gradient()) {
            kernels::add_row_sums(&self.buffers.pool, &self.arena[dy], rows, sum);
        }
    }
}

/// Each row times one vector, and plus another.
fn scale_columns(pool: &Pool, numbers: &mut [f32], factors: &[f32], bias: Option<&[f32]>) {
    kernels::in_pieces(pool, numbers, |first, part| {
        let mut column = first % factors.len().max(1);
        let mut part = part;
        while !part.is_empty() {
            let here = part.len().min(factors.len() - column);
            let (row, rest) = part.split_at_mut(here);
            row.iter_mut().zip(&factors[column..]).for_each(|(x, factor)| *x *= factor);
            if let Some(bias) = bias {
                row.iter_mut().zip(&bias[column..]).for_each(|(x, bias)| *x += bias);
            }
            (part, column) = (rest, 0);
        }
    });
}
