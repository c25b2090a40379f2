//! Backward: the gradients of one step.

use super::{Op, Operation, shape_error};
use crate::reference::Scope;
use crate::{Plan, PlanError, Rows, Step, ValueId, WeightId};

/// Reads the inputs of the step it is the backward `of`, then the gradient of its output; makes the gradients of the
/// inputs marked in `wanted`, and adds to the gradients of trainable weights.
///
/// A loss has no gradient given: it starts the chain with 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Backward {
    /// The forward op.
    pub of: Box<Op>,
    /// Which inputs' gradients are made, in order.
    pub wanted: Vec<bool>,
}

impl Backward {
    /// The forward step's inputs among this step's.
    pub fn forward_inputs<'a>(&self, inputs: &'a [ValueId]) -> &'a [ValueId] {
        &inputs[..self.wanted.len()]
    }
}

impl Operation for Backward {
    fn name(&self) -> &'static str {
        "backward"
    }

    fn parameters(&self, plan: &Plan) -> String {
        format!("{} {}", self.of.name(), self.of.parameters(plan)).trim_end().to_owned()
    }

    fn weights(&self) -> Vec<WeightId> {
        self.of.weights()
    }

    fn shape(&self, _: &Plan, _: &[ValueId], step: &str) -> Result<(Rows, usize), PlanError> {
        Err(shape_error(step, "an op that makes one value", "backward"))
    }

    fn flops(&self, plan: &Plan, values: &[ValueId], context: u64) -> u64 {
        let forward = self.of.flops(plan, self.forward_inputs(values), context);
        let weights = self.of.weights();
        if weights.is_empty() {
            return 2 * forward;
        }
        // A product each for the gradient of the input and of the weight, where they are wanted.
        let trained = weights.iter().any(|id| plan.weights[id.0].trainable);
        forward * (u64::from(self.wanted.contains(&true)) + u64::from(trained))
    }

    fn forward(&self, _: &mut Scope<'_>, _: &[&[f32]], _: &mut [f32]) -> Result<(), PlanError> {
        Err(shape_error("backward", "a step run through its forward op", "a direct run"))
    }

    fn backward(
        &self,
        _: &mut Scope<'_>,
        _: &[&[f32]],
        _: &[f32],
        _: &mut [Option<Vec<f32>>],
    ) -> Result<(), PlanError> {
        Err(shape_error("backward", "a differentiable op", "backward"))
    }

    fn check(&self, plan: &Plan, step: &Step) -> Result<(), PlanError> {
        let name = format!("backward of {}", self.of.name());
        let wanted = self.wanted.iter().filter(|wanted| **wanted).count();
        if step.outputs.len() != wanted || step.inputs.len() < self.wanted.len() {
            let expected = format!("{} inputs and {wanted} outputs", self.wanted.len() + 1);
            return Err(shape_error(&name, expected, format!("{} and {}", step.inputs.len(), step.outputs.len())));
        }
        let sources = step.inputs.iter().zip(&self.wanted).filter(|(_, wanted)| **wanted);
        for ((source, _), made) in sources.zip(&step.outputs) {
            let (source, made) = (plan.get(*source), plan.get(*made));
            if (source.rows, source.width) != (made.rows, made.width) {
                let expected = format!("a gradient of [{:?}, {}]", source.rows, source.width);
                return Err(shape_error(&name, expected, format!("[{:?}, {}]", made.rows, made.width)));
            }
        }
        Ok(())
    }
}
