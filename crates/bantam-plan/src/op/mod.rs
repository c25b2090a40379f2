//! The ops: coarse and few, one per file, each with its shape rule, cost, meaning and gradient.
//!
//! To add one: a file with a struct and its [`Operation`], a variant below, and the compiler lists the rest.

mod activate;
mod add;
mod attend;
mod backward;
mod combine;
mod dropout;
mod embed;
mod expert_linear;
mod glu;
mod linear;
mod loss;
mod magnitude;
mod norm;
mod observe;
mod rope;
mod route;
mod scale;
mod select;
mod softcap;
mod spread;

pub use activate::{Activate, Activation};
pub use add::Add;
pub use attend::Attend;
pub use backward::Backward;
pub use combine::Combine;
pub use dropout::Dropout;
pub use embed::{Embed, EmbedBy};
pub use expert_linear::ExpertLinear;
pub use glu::Glu;
pub use linear::Linear;
pub use loss::Loss;
pub use magnitude::Magnitude;
pub use norm::{Norm, NormKind};
pub use observe::Observe;
pub use rope::{Rope, RopePairs};
pub use route::{Route, Router};
pub use scale::Scale;
pub use select::Select;
pub use softcap::Softcap;
pub use spread::Spread;

use crate::reference::Scope;
use crate::{Plan, PlanError, Rows, Step, ValueId, WeightId};

/// What an op must say of itself. The forward and backward here are the reference: plain, scalar, exact order.
pub(crate) trait Operation {
    /// Lower-case name, as printed.
    fn name(&self) -> &'static str;

    /// Parameters, as printed after the name.
    fn parameters(&self, plan: &Plan) -> String;

    /// Weights it reads.
    fn weights(&self) -> Vec<WeightId> {
        Vec::new()
    }

    /// Rows and width of what it makes; errors where inputs and parameters contradict each other.
    fn shape(&self, plan: &Plan, inputs: &[ValueId], step: &str) -> Result<(Rows, usize), PlanError>;

    /// Multiplications and additions per row, where attention sees `context` positions.
    fn flops(&self, plan: &Plan, inputs: &[ValueId], context: u64) -> u64;

    /// Whether the gradient looks at the numbers of input `n` (and not just at its shape).
    fn backward_reads(&self, plan: &Plan, n: usize) -> bool {
        let _ = (plan, n);
        true
    }

    /// Checks a step: by default, one output of the shape [`Operation::shape`] gives.
    fn check(&self, plan: &Plan, step: &Step) -> Result<(), PlanError> {
        let [output] = step.outputs[..] else {
            return Err(shape_error(self.name(), "one output", step.outputs.len().to_string()));
        };
        let value = plan.get(output);
        let (rows, width) = self.shape(plan, &step.inputs, &value.name)?;
        if (rows, width) == (value.rows, value.width) {
            return Ok(());
        }
        let expected = format!("[{rows:?}, {width}]");
        Err(shape_error(&value.name, expected, format!("[{:?}, {}]", value.rows, value.width)))
    }

    /// Computes `output` from `inputs`.
    fn forward(&self, scope: &mut Scope<'_>, inputs: &[&[f32]], output: &mut [f32]) -> Result<(), PlanError>;

    /// Adds to `wanted[i]` the gradient of input `i`, and to the scope the gradients of trainable weights.
    fn backward(
        &self,
        scope: &mut Scope<'_>,
        inputs: &[&[f32]],
        gradient: &[f32],
        wanted: &mut [Option<Vec<f32>>],
    ) -> Result<(), PlanError>;
}

/// One op of a Plan. A sum type: no catch-all arm anywhere, so that a new op lists its own to-do.
#[allow(missing_docs, reason = "the names say it all")]
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    Embed(Embed),
    Norm(Norm),
    Linear(Linear),
    Rope(Rope),
    Attend(Attend),
    Glu(Glu),
    Activate(Activate),
    Add(Add),
    Scale(Scale),
    Softcap(Softcap),
    Select(Select),
    Route(Route),
    Spread(Spread),
    ExpertLinear(ExpertLinear),
    Combine(Combine),
    Dropout(Dropout),
    Magnitude(Magnitude),
    Loss(Loss),
    Observe(Observe),
    Backward(Backward),
}

impl Op {
    fn operation(&self) -> &dyn Operation {
        match self {
            Self::Embed(op) => op,
            Self::Norm(op) => op,
            Self::Linear(op) => op,
            Self::Rope(op) => op,
            Self::Attend(op) => op,
            Self::Glu(op) => op,
            Self::Activate(op) => op,
            Self::Add(op) => op,
            Self::Scale(op) => op,
            Self::Softcap(op) => op,
            Self::Select(op) => op,
            Self::Route(op) => op,
            Self::Spread(op) => op,
            Self::ExpertLinear(op) => op,
            Self::Combine(op) => op,
            Self::Dropout(op) => op,
            Self::Magnitude(op) => op,
            Self::Loss(op) => op,
            Self::Observe(op) => op,
            Self::Backward(op) => op,
        }
    }

    /// Lower-case name, as printed.
    pub fn name(&self) -> &'static str {
        self.operation().name()
    }

    /// Parameters, as printed after the name.
    pub fn parameters(&self, plan: &Plan) -> String {
        self.operation().parameters(plan)
    }

    /// Weights it reads.
    pub fn weights(&self) -> Vec<WeightId> {
        self.operation().weights()
    }

    /// Multiplications and additions per row, where attention sees `context` positions.
    pub fn flops(&self, plan: &Plan, inputs: &[ValueId], context: u64) -> u64 {
        self.operation().flops(plan, inputs, context)
    }

    /// Whether its gradient looks at the numbers of input `n` (and not just at its shape).
    pub(crate) fn backward_reads(&self, plan: &Plan, n: usize) -> bool {
        self.operation().backward_reads(plan, n)
    }

    /// Rows and width of what it makes.
    pub(crate) fn output_shape(&self, plan: &Plan, inputs: &[ValueId], step: &str) -> Result<(Rows, usize), PlanError> {
        self.operation().shape(plan, inputs, step)
    }

    /// Checks a step against the shapes of its values.
    pub(crate) fn check(&self, plan: &Plan, step: &Step) -> Result<(), PlanError> {
        self.operation().check(plan, step)
    }

    /// Runs the op's reference.
    pub(crate) fn forward(
        &self,
        scope: &mut Scope<'_>,
        inputs: &[&[f32]],
        output: &mut [f32],
    ) -> Result<(), PlanError> {
        self.operation().forward(scope, inputs, output)
    }

    /// Runs the op's reference gradient (see [`Operation::backward`]).
    pub(crate) fn backward(
        &self,
        scope: &mut Scope<'_>,
        inputs: &[&[f32]],
        gradient: &[f32],
        wanted: &mut [Option<Vec<f32>>],
    ) -> Result<(), PlanError> {
        self.operation().backward(scope, inputs, gradient, wanted)
    }
}

macro_rules! from_ops {
    ($($name:ident),*) => { $(impl From<$name> for Op { fn from(op: $name) -> Self { Self::$name(op) } })* };
}
from_ops!(
    Embed,
    Norm,
    Linear,
    Rope,
    Attend,
    Glu,
    Activate,
    Add,
    Scale,
    Softcap,
    Select,
    Route,
    Spread,
    ExpertLinear,
    Combine,
    Dropout,
    Magnitude,
    Loss,
    Observe,
    Backward
);

pub(crate) fn shape_error(step: &str, expected: impl Into<String>, found: impl Into<String>) -> PlanError {
    PlanError::Shape { step: step.to_owned(), expected: expected.into(), found: found.into() }
}

/// Takes exactly `N` inputs.
pub(crate) fn inputs<const N: usize>(inputs: &[ValueId], step: &str) -> Result<[ValueId; N], PlanError> {
    inputs.try_into().map_err(|_| shape_error(step, format!("{N} inputs"), inputs.len().to_string()))
}

/// Takes inputs of one and the same shape, and gives it.
pub(crate) fn same_shape(plan: &Plan, inputs: &[ValueId], step: &str) -> Result<(Rows, usize), PlanError> {
    let first = plan.get(inputs[0]);
    for other in &inputs[1..] {
        let other = plan.get(*other);
        if (other.rows, other.width) != (first.rows, first.width) {
            return Err(shape_error(
                step,
                format!("inputs of one shape, [{:?}, {}]", first.rows, first.width),
                format!("[{:?}, {}]", other.rows, other.width),
            ));
        }
    }
    Ok((first.rows, first.width))
}

/// Refuses a weight whose extents are not `rows × width`.
pub(crate) fn weight_shape(plan: &Plan, id: WeightId, rows: usize, width: usize) -> Result<(), PlanError> {
    let weight = &plan.weights[id.0];
    if (weight.rows, weight.width) == (rows, width) {
        return Ok(());
    }
    Err(PlanError::WeightShape {
        name: weight.name.clone(),
        expected_rows: rows,
        expected_width: width,
        rows: weight.rows,
        width: weight.width,
    })
}
