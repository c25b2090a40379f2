//! Magnitude: rows of a weight and its adapter brought to lengths of their own (DoRA).

use super::{Operation, inputs, shape_error, weight_shape};
use crate::reference::Scope;
use crate::{Plan, PlanError, Rows, ValueId, WeightId};

/// `y[r, o] = x[r, o] * magnitude[o] / ‖weight[o] + scale * b[o] · a‖ + bias[o]`, where `x` is the product with
/// `weight + scale * b · a`: weight-decomposed low-rank adaptation (DoRA, Liu et al. 2024).
///
/// As there (section 4.3) and in PEFT, the lengths divided by count as constants: no gradient goes through them.
#[derive(Clone, Debug, PartialEq)]
pub struct Magnitude {
    /// `[1, outputs]`.
    pub magnitude: WeightId,
    /// `[outputs, inputs]`.
    pub weight: WeightId,
    /// `[rank, inputs]`.
    pub a: WeightId,
    /// `[outputs, rank]`.
    pub b: WeightId,
    /// The adapter's factor.
    pub scale: f32,
    /// `[1, outputs]`.
    pub bias: Option<WeightId>,
}

impl Magnitude {
    /// One by the length of each row of `weight + scale * b · a`; of a row of zeros, 0.
    fn inverse(&self, scope: &Scope<'_>) -> Vec<f64> {
        let [weight, a, b] = [self.weight, self.a, self.b].map(|id| scope.weight(id));
        let (width, rank) = (scope.plan.weights[self.weight.0].width, scope.plan.weights[self.a.0].rows);
        let row = |(w, b): (&[f32], &[f32])| {
            let number = |i: usize| {
                let added: f64 = b.iter().enumerate().map(|(j, b)| f64::from(*b) * f64::from(a[j * width + i])).sum();
                f64::from(w[i]) + f64::from(self.scale) * added
            };
            let length = (0..width).map(|i| number(i).powi(2)).sum::<f64>().sqrt();
            if length > 0.0 { 1.0 / length } else { 0.0 }
        };
        weight.chunks_exact(width).zip(b.chunks_exact(rank)).map(row).collect()
    }
}

impl Operation for Magnitude {
    fn name(&self) -> &'static str {
        "magnitude"
    }

    fn parameters(&self, plan: &Plan) -> String {
        let name = |id: WeightId| &plan.weights[id.0].name;
        let bias = self.bias.map_or(String::new(), |bias| format!(" bias={}", name(bias)));
        format!("{} of {} scale={}{bias}", name(self.magnitude), name(self.weight), self.scale)
    }

    fn weights(&self) -> Vec<WeightId> {
        [self.magnitude, self.weight, self.a, self.b].into_iter().chain(self.bias).collect()
    }

    fn shape(&self, plan: &Plan, values: &[ValueId], step: &str) -> Result<(Rows, usize), PlanError> {
        let [x] = inputs(values, step)?;
        let (x, weight) = (plan.get(x), &plan.weights[self.weight.0]);
        if x.width != weight.rows {
            return Err(shape_error(step, format!("an input of width {}", weight.rows), x.width.to_string()));
        }
        let rank = plan.weights[self.a.0].rows;
        weight_shape(plan, self.a, rank, weight.width)?;
        weight_shape(plan, self.b, weight.rows, rank)?;
        for id in [Some(self.magnitude), self.bias].into_iter().flatten() {
            weight_shape(plan, id, 1, weight.rows)?;
        }
        Ok((x.rows, x.width))
    }

    fn flops(&self, plan: &Plan, values: &[ValueId], _: u64) -> u64 {
        2 * plan.get(values[0]).width as u64
    }

    fn backward_reads(&self, plan: &Plan, _: usize) -> bool {
        // Only the magnitude's own gradient needs what it was multiplied with.
        plan.weights[self.magnitude.0].trainable
    }

    fn forward(&self, scope: &mut Scope<'_>, values: &[&[f32]], output: &mut [f32]) -> Result<(), PlanError> {
        let (inverse, magnitude) = (self.inverse(scope), scope.weight(self.magnitude));
        let bias = self.bias.map(|id| scope.weight(id));
        let width = magnitude.len();
        for (x, y) in values[0].chunks_exact(width).zip(output.chunks_exact_mut(width)) {
            for (o, (x, y)) in x.iter().zip(y).enumerate() {
                let scaled = f64::from(*x) * f64::from(magnitude[o]) * inverse[o];
                *y = scaled as f32 + bias.as_ref().map_or(0.0, |bias| bias[o]);
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
        let (inverse, magnitude) = (self.inverse(scope), scope.weight(self.magnitude));
        let width = magnitude.len();
        if let Some(wanted) = &mut wanted[0] {
            for (d, g) in wanted.chunks_exact_mut(width).zip(gradient.chunks_exact(width)) {
                for (o, (d, g)) in d.iter_mut().zip(g).enumerate() {
                    *d += (f64::from(*g) * f64::from(magnitude[o]) * inverse[o]) as f32;
                }
            }
        }
        scope.with_gradient(self.magnitude, |sum| {
            for (x, g) in values[0].chunks_exact(width).zip(gradient.chunks_exact(width)) {
                for (o, (sum, (x, g))) in sum.iter_mut().zip(x.iter().zip(g)).enumerate() {
                    *sum += (f64::from(*x) * f64::from(*g) * inverse[o]) as f32;
                }
            }
        });
        if let Some(bias) = self.bias {
            scope.with_gradient(bias, |sum| {
                for g in gradient.chunks_exact(width) {
                    sum.iter_mut().zip(g).for_each(|(sum, g)| *sum += g);
                }
            });
        }
        Ok(())
    }
}
