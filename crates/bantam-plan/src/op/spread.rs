//! Spread: each row once for each of its experts.

use super::{Operation, inputs, shape_error};
use crate::reference::Scope;
use crate::{Plan, PlanError, Rows, ValueId};

/// `[Tokens, width]` → `[Routed(chosen), width]`: row `t` becomes the rows `t · chosen ..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Experts of a row.
    pub chosen: usize,
}

impl Operation for Spread {
    fn name(&self) -> &'static str {
        "spread"
    }

    fn parameters(&self, _: &Plan) -> String {
        format!("chosen={}", self.chosen)
    }

    fn shape(&self, plan: &Plan, values: &[ValueId], step: &str) -> Result<(Rows, usize), PlanError> {
        let [x] = inputs(values, step)?;
        let rows = plan.get(x).rows;
        if rows != Rows::Tokens || self.chosen == 0 {
            return Err(shape_error(step, "rows of tokens", format!("{rows:?}")));
        }
        Ok((Rows::Routed(self.chosen), plan.get(x).width))
    }

    fn flops(&self, _: &Plan, _: &[ValueId], _: u64) -> u64 {
        0
    }

    fn backward_reads(&self, _: &Plan, _: usize) -> bool {
        false
    }

    fn forward(&self, scope: &mut Scope<'_>, values: &[&[f32]], output: &mut [f32]) -> Result<(), PlanError> {
        let width = scope.input_width(0);
        for (row, made) in values[0].chunks_exact(width).zip(output.chunks_exact_mut(width * self.chosen)) {
            made.chunks_exact_mut(width).for_each(|made| made.copy_from_slice(row));
        }
        Ok(())
    }

    fn backward(
        &self,
        scope: &mut Scope<'_>,
        _: &[&[f32]],
        gradient: &[f32],
        wanted: &mut [Option<Vec<f32>>],
    ) -> Result<(), PlanError> {
        let width = scope.input_width(0);
        if let Some(wanted) = &mut wanted[0] {
            for (d, g) in wanted.chunks_exact_mut(width).zip(gradient.chunks_exact(width * self.chosen)) {
                for g in g.chunks_exact(width) {
                    d.iter_mut().zip(g).for_each(|(d, g)| *d += g);
                }
            }
        }
        Ok(())
    }
}
