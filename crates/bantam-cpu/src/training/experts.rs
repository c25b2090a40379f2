//! Products with experts and their gradients: the rows that go to one are gathered, multiplied and put back.

use bantam_kernels::{self as kernels, Product};
use bantam_plan::{ExpertLinear, Step, ValueId};

use super::held::Held;
use super::run::Running;
use crate::experts::activations_for;

/// Rows of one expert; grows to what is needed.
#[derive(Default)]
pub(crate) struct Gathered {
    taken: Vec<usize>,
    x: Vec<f32>,
    y: Vec<f32>,
}

impl Gathered {
    /// Notes the rows that go to an expert.
    fn take(&mut self, route: &[f32], chosen: usize, expert: usize) {
        self.taken.clear();
        let numbers = route.chunks_exact(2 * chosen).flat_map(|row| &row[..chosen]);
        self.taken.extend(numbers.enumerate().filter(|(_, of)| **of == expert as f32).map(|(row, _)| row));
    }
}

/// The taken rows of `from`, one below the other.
fn gather<'a>(taken: &[usize], from: &[f32], width: usize, into: &'a mut Vec<f32>) -> &'a mut [f32] {
    into.resize(taken.len() * width, 0.0);
    for (made, row) in into.chunks_exact_mut(width).zip(taken) {
        made.copy_from_slice(&from[row * width..][..width]);
    }
    into
}

fn put_back(taken: &[usize], from: &[f32], width: usize, out: &mut [f32]) {
    for (made, row) in from.chunks_exact(width).zip(taken) {
        out[row * width..][..width].copy_from_slice(made);
    }
}

impl Running<'_> {
    pub(super) fn expert_linear(&mut self, experts: &ExpertLinear, step: &Step, output: ValueId) {
        let (width, outputs, chosen) = (self.width(step.inputs[0]), self.width(output), self.width(step.inputs[1]) / 2);
        let ranges = [self.range(step.inputs[0]), self.range(step.inputs[1]), self.range(output)];
        let [x, route, made] = Self::split(self.arena, ranges);
        let buffers = &mut *self.buffers;
        buffers.quantized = None;
        for (number, id) in experts.weights.iter().enumerate() {
            let gathered = &mut buffers.gathered;
            gathered.take(route, chosen, number);
            let rows = gathered.taken.len();
            if rows == 0 {
                continue;
            }
            let x = gather(&gathered.taken, x, width, &mut gathered.x);
            gathered.y.resize(rows * outputs, 0.0);
            let out = &mut gathered.y[..];
            match &self.held[id.0] {
                Held::Frozen(matrix) => {
                    let on = (&*buffers.pool, buffers.isa);
                    let activations = activations_for(matrix, on, &mut buffers.int8, (x, rows, width));
                    let product = Product { matrix, out, bias: None, accumulate: false };
                    kernels::multiply(&buffers.pool, activations, rows, &mut [product]);
                }
                held @ (Held::Nf4(_) | Held::Vector(_) | Held::Trained(_)) => {
                    let (pool, isa, scratch) = (&buffers.pool, buffers.isa, &mut buffers.products);
                    kernels::multiply_trained(pool, isa, scratch, x, rows, held.values(), None, out, false);
                }
            }
            put_back(&gathered.taken, &gathered.y, outputs, made);
        }
    }

    /// `dx` is empty where nobody wants it; `x` is empty where no expert is trained.
    pub(super) fn expert_linear_back(
        &mut self,
        experts: &ExpertLinear,
        step: &Step,
        gradient: ValueId,
        dx: Option<ValueId>,
    ) {
        let (width, outputs, chosen) =
            (self.width(step.inputs[0]), self.width(gradient), self.width(step.inputs[1]) / 2);
        let is_trained = experts.weights.iter().any(|id| matches!(self.held[id.0], Held::Trained(_)));
        let nothing = 0..0;
        let ranges = [
            if is_trained { self.range(step.inputs[0]) } else { nothing.clone() },
            self.range(step.inputs[1]),
            self.range(gradient),
            dx.map_or(nothing, |dx| self.range(dx)),
        ];
        let [x, route, dy, dx] = Self::split(self.arena, ranges);
        let buffers = &mut *self.buffers;
        for (number, id) in experts.weights.iter().enumerate() {
            let gathered = &mut buffers.gathered;
            gathered.take(route, chosen, number);
            let rows = gathered.taken.len();
            if rows == 0 {
                continue;
            }
            let dy = gather(&gathered.taken, dy, outputs, &mut gathered.y);
            let (pool, isa, scratch) = (&buffers.pool, buffers.isa, &mut buffers.products);
            if !dx.is_empty() {
                gathered.x.resize(rows * width, 0.0);
                kernels::multiply_back(pool, isa, scratch, dy, rows, self.held[id.0].rows(), &mut gathered.x, false);
                put_back(&gathered.taken, &gathered.x, width, dx);
            }
            if let Some(sum) = self.held[id.0].gradient() {
                let x = gather(&gathered.taken, x, width, &mut gathered.x);
                kernels::add_weight_gradient(pool, isa, scratch, dy, x, rows, sum);
            }
        }
    }
}
