//! Add: the sum of two values.

use super::{Operation, inputs, same_shape};
use crate::reference::Scope;
use crate::{Plan, PlanError, Rows, ValueId};

/// `y = a + b`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Add;

impl Operation for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn parameters(&self, _: &Plan) -> String {
        String::new()
    }

    fn shape(&self, plan: &Plan, values: &[ValueId], step: &str) -> Result<(Rows, usize), PlanError> {
        let both: [ValueId; 2] = inputs(values, step)?;
        same_shape(plan, &both, step)
    }

    fn flops(&self, plan: &Plan, values: &[ValueId], _: u64) -> u64 {
        plan.get(values[0]).width as u64
    }

    fn backward_reads(&self, _: &Plan, _: usize) -> bool {
        false
    }

    fn forward(&self, _: &mut Scope<'_>, values: &[&[f32]], output: &mut [f32]) -> Result<(), PlanError> {
        for ((y, a), b) in output.iter_mut().zip(values[0]).zip(values[1]) {
            *y = a + b;
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
        for wanted in wanted.iter_mut().flatten() {
            wanted.iter_mut().zip(gradient).for_each(|(d, g)| *d += g);
        }
        Ok(())
    }
}
