//! Scale: a constant factor.

use super::{Operation, inputs};
use crate::reference::Scope;
use crate::{Plan, PlanError, Rows, ValueId};

/// `y = by * x`.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// The factor.
    pub by: f32,
}

impl Operation for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn parameters(&self, _: &Plan) -> String {
        format!("by={}", self.by)
    }

    fn shape(&self, plan: &Plan, values: &[ValueId], step: &str) -> Result<(Rows, usize), PlanError> {
        let [x] = inputs(values, step)?;
        Ok((plan.get(x).rows, plan.get(x).width))
    }

    fn flops(&self, plan: &Plan, values: &[ValueId], _: u64) -> u64 {
        plan.get(values[0]).width as u64
    }

    fn backward_reads(&self, _: &Plan, _: usize) -> bool {
        false
    }

    fn forward(&self, _: &mut Scope<'_>, values: &[&[f32]], output: &mut [f32]) -> Result<(), PlanError> {
        for (y, x) in output.iter_mut().zip(values[0]) {
            *y = self.by * x;
        }
        Ok(())
    }

    fn backward(
        &self,
        _: &mut Scope<'_>,
        _: &[&[f32]],
        gradient: &[f32],
        wanted: &mut [Option<Vec<f32>>],
    ) -> Result<(), PlanError> {
        if let Some(wanted) = &mut wanted[0] {
            for (d, g) in wanted.iter_mut().zip(gradient) {
                *d += self.by * g;
            }
        }
        Ok(())
    }
}
