//! ExpertLinear: each row times the matrix of its expert.

use super::{Operation, inputs, shape_error, weight_shape};
use crate::reference::Scope;
use crate::{Plan, PlanError, Rows, ValueId, WeightId};

/// `y[r] = weights[expert of r] · x[r]`; inputs `x [Routed(k), inputs]` and the [`super::Route`] `[Tokens, 2k]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpertLinear {
    /// One matrix `[outputs, inputs]` for each expert.
    pub weights: Vec<WeightId>,
}

impl ExpertLinear {
    /// The expert of each row.
    fn experts(&self, route: &[f32], chosen: usize) -> Result<Vec<usize>, PlanError> {
        let numbers = route.chunks_exact(2 * chosen).flat_map(|row| &row[..chosen]);
        let experts: Vec<usize> = numbers.map(|number| *number as usize).collect();
        match experts.iter().find(|expert| **expert >= self.weights.len()) {
            Some(expert) => Err(PlanError::Batch(format!("expert {expert} of {}", self.weights.len()))),
            None => Ok(experts),
        }
    }

    fn chosen(scope: &Scope<'_>) -> usize {
        scope.input_width(1) / 2
    }
}

impl Operation for ExpertLinear {
    fn name(&self) -> &'static str {
        "expert_linear"
    }

    fn parameters(&self, plan: &Plan) -> String {
        let first = self.weights.first().map_or("-", |id| &plan.weights[id.0].name);
        format!("{first} experts={}", self.weights.len())
    }

    fn weights(&self) -> Vec<WeightId> {
        self.weights.clone()
    }

    fn shape(&self, plan: &Plan, values: &[ValueId], step: &str) -> Result<(Rows, usize), PlanError> {
        let [x, route] = inputs(values, step)?;
        let (x, route) = (plan.get(x), plan.get(route));
        let Some(first) = self.weights.first().map(|id| &plan.weights[id.0]) else {
            return Err(shape_error(step, "at least one expert", "none"));
        };
        if x.rows != Rows::Routed(route.width / 2) || route.rows != Rows::Tokens || x.width != first.width {
            let expected = format!("[Routed({}), {}] and a route of tokens", route.width / 2, first.width);
            return Err(shape_error(step, expected, format!("[{:?}, {}] and [{:?}]", x.rows, x.width, route.rows)));
        }
        self.weights.iter().try_for_each(|id| weight_shape(plan, *id, first.rows, first.width))?;
        Ok((x.rows, first.rows))
    }

    fn flops(&self, plan: &Plan, _: &[ValueId], _: u64) -> u64 {
        let weight = self.weights.first().map(|id| &plan.weights[id.0]);
        weight.map_or(0, |weight| 2 * weight.rows as u64 * weight.width as u64)
    }

    fn backward_reads(&self, plan: &Plan, n: usize) -> bool {
        n == 1 || self.weights.iter().any(|id| plan.weights[id.0].trainable)
    }

    fn forward(&self, scope: &mut Scope<'_>, values: &[&[f32]], output: &mut [f32]) -> Result<(), PlanError> {
        let width = scope.input_width(0);
        let outputs = scope.plan.weights[self.weights[0].0].rows;
        let experts = self.experts(values[1], Self::chosen(scope))?;
        for ((x, y), expert) in values[0].chunks_exact(width).zip(output.chunks_exact_mut(outputs)).zip(experts) {
            let weight = scope.weight(self.weights[expert]);
            for (y, w) in y.iter_mut().zip(weight.chunks_exact(width)) {
                *y = x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum::<f64>() as f32;
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
        let width = scope.input_width(0);
        let outputs = scope.plan.weights[self.weights[0].0].rows;
        // The route's own gradient stays zero: which expert it is does not bend.
        let experts = self.experts(values[1], Self::chosen(scope))?;
        for (row, (g, expert)) in gradient.chunks_exact(outputs).zip(experts).enumerate() {
            let id = self.weights[expert];
            let weight = scope.weight(id);
            if let Some(wanted) = &mut wanted[0] {
                let mut sum = vec![0f64; width];
                for (w, g) in weight.chunks_exact(width).zip(g) {
                    sum.iter_mut().zip(w).for_each(|(sum, w)| *sum += f64::from(*w) * f64::from(*g));
                }
                wanted[row * width..][..width].iter_mut().zip(sum).for_each(|(d, sum)| *d += sum as f32);
            }
            let x = &values[0][row * width..][..width];
            scope.with_gradient(id, |sum| {
                for (sum, g) in sum.chunks_exact_mut(width).zip(g) {
                    sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x * g);
                }
            });
        }
        Ok(())
    }
}
