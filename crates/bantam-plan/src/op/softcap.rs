//! Softcap: a smooth bound on magnitude (Gemma 2 report, 2024).

use super::{Operation, inputs};
use crate::reference::Scope;
use crate::{Plan, PlanError, Rows, ValueId};

/// `y = cap * tanh(x / cap)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Softcap {
    /// The bound.
    pub cap: f32,
}

impl Operation for Softcap {
    fn name(&self) -> &'static str {
        "softcap"
    }

    fn parameters(&self, _: &Plan) -> String {
        format!("cap={}", self.cap)
    }

    fn shape(&self, plan: &Plan, values: &[ValueId], step: &str) -> Result<(Rows, usize), PlanError> {
        let [x] = inputs(values, step)?;
        Ok((plan.get(x).rows, plan.get(x).width))
    }

    fn flops(&self, plan: &Plan, values: &[ValueId], _: u64) -> u64 {
        8 * plan.get(values[0]).width as u64
    }

    fn forward(&self, _: &mut Scope<'_>, values: &[&[f32]], output: &mut [f32]) -> Result<(), PlanError> {
        for (y, x) in output.iter_mut().zip(values[0]) {
            *y = self.cap * (x / self.cap).tanh();
        }
        Ok(())
    }

    fn backward(
        &self,
        _: &mut Scope<'_>,
        values: &[&[f32]],
        gradient: &[f32],
        wanted: &mut [Option<Vec<f32>>],
    ) -> Result<(), PlanError> {
        if let Some(wanted) = &mut wanted[0] {
            for ((d, g), x) in wanted.iter_mut().zip(gradient).zip(values[0]) {
                *d += g * (1.0 - (x / self.cap).tanh().powi(2));
            }
        }
        Ok(())
    }
}
