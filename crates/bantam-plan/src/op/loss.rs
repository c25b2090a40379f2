//! Loss: cross-entropy of each output row against its target.

use super::{Operation, inputs, shape_error};
use crate::reference::Scope;
use crate::{Plan, PlanError, Rows, ValueId};

/// `[Outputs, 1]`: `weight * -log softmax(logits)[token]` of each row's [`crate::Target`]; the total loss is their sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss;

impl Loss {
    fn check(scope: &Scope<'_>, width: usize) -> Result<(), PlanError> {
        let (found, expected) = (scope.batch.targets.len(), scope.batch.outputs.len());
        if found != expected {
            return Err(PlanError::Batch(format!("{expected} output rows but {found} targets")));
        }
        match scope.batch.targets.iter().find(|target| target.token as usize >= width) {
            Some(target) => {
                Err(PlanError::Batch(format!("target {} is outside the vocabulary of {width}", target.token)))
            }
            None => Ok(()),
        }
    }
}

fn log_sum(row: &[f32]) -> f64 {
    let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    f64::from(top) + row.iter().map(|x| (f64::from(*x) - f64::from(top)).exp()).sum::<f64>().ln()
}

impl Operation for Loss {
    fn name(&self) -> &'static str {
        "loss"
    }

    fn parameters(&self, _: &Plan) -> String {
        String::new()
    }

    fn shape(&self, plan: &Plan, values: &[ValueId], step: &str) -> Result<(Rows, usize), PlanError> {
        let [x] = inputs(values, step)?;
        match plan.get(x).rows {
            Rows::Outputs => Ok((Rows::Outputs, 1)),
            Rows::Tokens | Rows::Routed(_) => Err(shape_error(step, "rows of outputs", "rows of tokens")),
        }
    }

    fn flops(&self, plan: &Plan, values: &[ValueId], _: u64) -> u64 {
        6 * plan.get(values[0]).width as u64
    }

    fn forward(&self, scope: &mut Scope<'_>, values: &[&[f32]], output: &mut [f32]) -> Result<(), PlanError> {
        let width = scope.input_width(0);
        Self::check(scope, width)?;
        for ((y, x), target) in output.iter_mut().zip(values[0].chunks_exact(width)).zip(&scope.batch.targets) {
            *y = (f64::from(target.weight) * (log_sum(x) - f64::from(x[target.token as usize]))) as f32;
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
        let width = scope.input_width(0);
        Self::check(scope, width)?;
        let Some(wanted) = &mut wanted[0] else { return Ok(()) };
        let rows = wanted.chunks_exact_mut(width).zip(values[0].chunks_exact(width));
        for (((d, x), target), g) in rows.zip(&scope.batch.targets).zip(gradient) {
            let (total, factor) = (log_sum(x), f64::from(*g) * f64::from(target.weight));
            for (i, (d, x)) in d.iter_mut().zip(x).enumerate() {
                let right = f64::from(u8::from(i == target.token as usize));
                *d += (factor * ((f64::from(*x) - total).exp() - right)) as f32;
            }
        }
        Ok(())
    }
}
