//! Glu: a gated linear unit's product (Shazeer 2020).

use super::{Activation, Operation, inputs, same_shape};
use crate::reference::Scope;
use crate::{Plan, PlanError, Rows, ValueId};

/// `y = activation(gate) * up`; inputs `gate`, `up`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glu {
    /// Function on the gate.
    pub activation: Activation,
}

impl Operation for Glu {
    fn name(&self) -> &'static str {
        "glu"
    }

    fn parameters(&self, _: &Plan) -> String {
        format!("{:?}", self.activation)
    }

    fn shape(&self, plan: &Plan, values: &[ValueId], step: &str) -> Result<(Rows, usize), PlanError> {
        let both: [ValueId; 2] = inputs(values, step)?;
        same_shape(plan, &both, step)
    }

    fn flops(&self, plan: &Plan, values: &[ValueId], _: u64) -> u64 {
        9 * plan.get(values[0]).width as u64
    }

    fn forward(&self, _: &mut Scope<'_>, values: &[&[f32]], output: &mut [f32]) -> Result<(), PlanError> {
        for ((y, gate), up) in output.iter_mut().zip(values[0]).zip(values[1]) {
            *y = (self.activation.value(f64::from(*gate)) * f64::from(*up)) as f32;
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
        let pairs = || values[0].iter().zip(values[1]).zip(gradient);
        if let Some(wanted) = &mut wanted[0] {
            for (d, ((gate, up), g)) in wanted.iter_mut().zip(pairs()) {
                *d += (f64::from(*g) * f64::from(*up) * self.activation.slope(f64::from(*gate))) as f32;
            }
        }
        if let Some(wanted) = &mut wanted[1] {
            for (d, ((gate, _), g)) in wanted.iter_mut().zip(pairs()) {
                *d += (f64::from(*g) * self.activation.value(f64::from(*gate))) as f32;
            }
        }
        Ok(())
    }
}
