//! Observe: statistics of a value, for calibration.

use super::{Operation, inputs, shape_error};
use crate::reference::{Scope, Statistics};
use crate::{Plan, PlanError, Rows, Step, ValueId};

/// Adds a value's column statistics to a slot; makes nothing. One per value that linears read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observe {
    /// Index of the statistics.
    pub slot: usize,
}

impl Operation for Observe {
    fn name(&self) -> &'static str {
        "observe"
    }

    fn parameters(&self, _: &Plan) -> String {
        format!("slot={}", self.slot)
    }

    fn shape(&self, _: &Plan, _: &[ValueId], step: &str) -> Result<(Rows, usize), PlanError> {
        Err(shape_error(step, "an op that makes a value", "observe"))
    }

    fn check(&self, _: &Plan, step: &Step) -> Result<(), PlanError> {
        inputs::<1>(&step.inputs, "observe").map(drop)
    }

    fn flops(&self, plan: &Plan, values: &[ValueId], _: u64) -> u64 {
        3 * plan.get(values[0]).width as u64
    }

    fn forward(&self, scope: &mut Scope<'_>, values: &[&[f32]], _: &mut [f32]) -> Result<(), PlanError> {
        let width = scope.input_width(0);
        if scope.observations.len() <= self.slot {
            scope.observations.resize_with(self.slot + 1, Statistics::default);
        }
        scope.observations[self.slot].add(values[0], width);
        Ok(())
    }

    fn backward(
        &self,
        _: &mut Scope<'_>,
        _: &[&[f32]],
        _: &[f32],
        _: &mut [Option<Vec<f32>>],
    ) -> Result<(), PlanError> {
        Err(shape_error("observe", "a differentiable op", "observe"))
    }
}
