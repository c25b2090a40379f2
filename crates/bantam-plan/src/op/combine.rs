//! Combine: the results of a row's experts, each by its weight, added.

use super::{Operation, inputs, shape_error};
use crate::reference::Scope;
use crate::{Plan, PlanError, Rows, ValueId};

/// `[Routed(k), width]` and the [`super::Route`] `[Tokens, 2k]` → `[Tokens, width]`: `y[t] = Σ_j weight[t, j] · x[t k + j]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Combine;

impl Operation for Combine {
    fn name(&self) -> &'static str {
        "combine"
    }

    fn parameters(&self, _: &Plan) -> String {
        String::new()
    }

    fn shape(&self, plan: &Plan, values: &[ValueId], step: &str) -> Result<(Rows, usize), PlanError> {
        let [x, route] = inputs(values, step)?;
        let (x, route) = (plan.get(x), plan.get(route));
        if x.rows != Rows::Routed(route.width / 2) || route.rows != Rows::Tokens {
            let expected = format!("rows Routed({}) and a route of tokens", route.width / 2);
            return Err(shape_error(step, expected, format!("{:?} and {:?}", x.rows, route.rows)));
        }
        Ok((Rows::Tokens, x.width))
    }

    fn flops(&self, plan: &Plan, values: &[ValueId], _: u64) -> u64 {
        (plan.get(values[0]).width * plan.get(values[1]).width) as u64
    }

    fn forward(&self, scope: &mut Scope<'_>, values: &[&[f32]], output: &mut [f32]) -> Result<(), PlanError> {
        let (width, chosen) = (scope.input_width(0), scope.input_width(1) / 2);
        let rows = values[0].chunks_exact(width * chosen).zip(values[1].chunks_exact(2 * chosen));
        for ((x, route), y) in rows.zip(output.chunks_exact_mut(width)) {
            for (column, y) in y.iter_mut().enumerate() {
                let terms = route[chosen..].iter().enumerate();
                *y = terms.map(|(j, weight)| f64::from(*weight) * f64::from(x[j * width + column])).sum::<f64>() as f32;
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
        let (width, chosen) = (scope.input_width(0), scope.input_width(1) / 2);
        for (row, g) in gradient.chunks_exact(width).enumerate() {
            let route = &values[1][row * 2 * chosen..][..2 * chosen];
            for j in 0..chosen {
                let at = (row * chosen + j) * width;
                if let Some(wanted) = &mut wanted[0] {
                    let d = wanted[at..][..width].iter_mut().zip(g);
                    d.for_each(|(d, g)| *d += route[chosen + j] * g);
                }
                if let Some(wanted) = &mut wanted[1] {
                    let x = &values[0][at..][..width];
                    let dot: f64 = x.iter().zip(g).map(|(x, g)| f64::from(*x) * f64::from(*g)).sum();
                    wanted[row * 2 * chosen + chosen + j] += dot as f32;
                }
            }
        }
        Ok(())
    }
}
