//! Linear: a matrix product with a weight, and a bias.

use super::{Operation, inputs, shape_error, weight_shape};
use crate::reference::Scope;
use crate::{Plan, PlanError, Rows, ValueId, WeightId};

/// `y[r, o] = Σ_i x[r, i] * weight[o, i] + bias[o]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linear {
    /// `[outputs, inputs]`.
    pub weight: WeightId,
    /// `[1, outputs]`.
    pub bias: Option<WeightId>,
}

impl Operation for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn parameters(&self, plan: &Plan) -> String {
        let weight = &plan.weights[self.weight.0].name;
        match self.bias {
            Some(bias) => format!("{weight} bias={}", plan.weights[bias.0].name),
            None => weight.clone(),
        }
    }

    fn weights(&self) -> Vec<WeightId> {
        [Some(self.weight), self.bias].into_iter().flatten().collect()
    }

    fn shape(&self, plan: &Plan, values: &[ValueId], step: &str) -> Result<(Rows, usize), PlanError> {
        let [x] = inputs(values, step)?;
        let (x, weight) = (plan.get(x), &plan.weights[self.weight.0]);
        if x.width != weight.width {
            return Err(shape_error(step, format!("an input of width {}", weight.width), x.width.to_string()));
        }
        if let Some(bias) = self.bias {
            weight_shape(plan, bias, 1, weight.rows)?;
        }
        Ok((x.rows, weight.rows))
    }

    fn flops(&self, plan: &Plan, _: &[ValueId], _: u64) -> u64 {
        let weight = &plan.weights[self.weight.0];
        2 * weight.rows as u64 * weight.width as u64
    }

    fn backward_reads(&self, plan: &Plan, _: usize) -> bool {
        // Only the weight's own gradient needs what it was multiplied with.
        plan.weights[self.weight.0].trainable
    }

    fn forward(&self, scope: &mut Scope<'_>, values: &[&[f32]], output: &mut [f32]) -> Result<(), PlanError> {
        let weight = scope.weight(self.weight);
        let bias = self.bias.map(|id| scope.weight(id));
        let width = scope.plan.weights[self.weight.0].width;
        let outputs = scope.plan.weights[self.weight.0].rows;
        for (x, y) in values[0].chunks_exact(width).zip(output.chunks_exact_mut(outputs)) {
            for (o, y) in y.iter_mut().enumerate() {
                let w = &weight[o * width..][..width];
                let sum: f64 = x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                *y = sum as f32 + bias.as_ref().map_or(0.0, |bias| bias[o]);
            }
        }
        Ok(())
    }

    fn backward(
        &self,
        scope: &mut Scope<'_>,
        values: &[&[f32]],
        gradient: &[f32],
        wanted: &mut [Option<Vec<f32>>],
    ) -> Result<(), PlanError> {
        let weight = scope.weight(self.weight);
        let width = scope.plan.weights[self.weight.0].width;
        let outputs = scope.plan.weights[self.weight.0].rows;
        if let Some(wanted) = &mut wanted[0] {
            for (d, g) in wanted.chunks_exact_mut(width).zip(gradient.chunks_exact(outputs)) {
                let mut sum = vec![0f64; width];
                for (w, g) in weight.chunks_exact(width).zip(g) {
                    sum.iter_mut().zip(w).for_each(|(sum, w)| *sum += f64::from(*w) * f64::from(*g));
                }
                d.iter_mut().zip(sum).for_each(|(d, sum)| *d += sum as f32);
            }
        }
        scope.with_gradient(self.weight, |sum| {
            for (x, g) in values[0].chunks_exact(width).zip(gradient.chunks_exact(outputs)) {
                for (sum, g) in sum.chunks_exact_mut(width).zip(g) {
                    sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x * g);
                }
            }
        });
        if let Some(bias) = self.bias {
            scope.with_gradient(bias, |sum| {
                for g in gradient.chunks_exact(outputs) {
                    sum.iter_mut().zip(g).for_each(|(sum, g)| *sum += g);
                }
            });
        }
        Ok(())
    }
}
