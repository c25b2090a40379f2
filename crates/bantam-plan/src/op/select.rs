//! Select: from all rows to those whose output is wanted.

use super::{Operation, inputs, shape_error};
use crate::reference::Scope;
use crate::{Plan, PlanError, Rows, ValueId};

/// `[Tokens, width]` → `[Outputs, width]`: the rows the batch asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Select;

impl Operation for Select {
    fn name(&self) -> &'static str {
        "select"
    }

    fn parameters(&self, _: &Plan) -> String {
        String::new()
    }

    fn shape(&self, plan: &Plan, values: &[ValueId], step: &str) -> Result<(Rows, usize), PlanError> {
        let [x] = inputs(values, step)?;
        match plan.get(x).rows {
            Rows::Tokens => Ok((Rows::Outputs, plan.get(x).width)),
            Rows::Outputs | Rows::Routed(_) => Err(shape_error(step, "rows of tokens", "rows of outputs")),
        }
    }

    fn flops(&self, _: &Plan, _: &[ValueId], _: u64) -> u64 {
        0
    }

    fn backward_reads(&self, _: &Plan, _: usize) -> bool {
        false
    }

    fn forward(&self, scope: &mut Scope<'_>, values: &[&[f32]], output: &mut [f32]) -> Result<(), PlanError> {
        let width = scope.input_width(0);
        for (y, &row) in output.chunks_exact_mut(width).zip(&scope.batch.outputs) {
            y.copy_from_slice(&values[0][row as usize * width..][..width]);
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
            for (g, &row) in gradient.chunks_exact(width).zip(&scope.batch.outputs) {
                wanted[row as usize * width..][..width].iter_mut().zip(g).for_each(|(d, g)| *d += g);
            }
        }
        Ok(())
    }
}
