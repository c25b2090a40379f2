//! Embed: the row of a table for each token.

use super::{Operation, inputs};
use crate::reference::Scope;
use crate::{Plan, PlanError, Rows, ValueId, WeightId};

/// `[Tokens, width]`: row `t` is row `token[t]` of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embed {
    /// `[vocabulary, width]`.
    pub table: WeightId,
}

impl Operation for Embed {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn parameters(&self, plan: &Plan) -> String {
        plan.weights[self.table.0].name.clone()
    }

    fn weights(&self) -> Vec<WeightId> {
        vec![self.table]
    }

    fn shape(&self, plan: &Plan, values: &[ValueId], step: &str) -> Result<(Rows, usize), PlanError> {
        let [] = inputs(values, step)?;
        Ok((Rows::Tokens, plan.weights[self.table.0].width))
    }

    fn flops(&self, _: &Plan, _: &[ValueId], _: u64) -> u64 {
        0
    }

    fn forward(&self, scope: &mut Scope<'_>, _: &[&[f32]], output: &mut [f32]) -> Result<(), PlanError> {
        let table = scope.weight(self.table);
        let width = scope.plan.weights[self.table.0].width;
        for (row, &token) in output.chunks_exact_mut(width).zip(&scope.batch.tokens) {
            row.copy_from_slice(&table[token as usize * width..][..width]);
        }
        Ok(())
    }

    fn backward(
        &self,
        scope: &mut Scope<'_>,
        _: &[&[f32]],
        gradient: &[f32],
        _: &mut [Option<Vec<f32>>],
    ) -> Result<(), PlanError> {
        let width = scope.plan.weights[self.table.0].width;
        let batch = scope.batch;
        scope.with_gradient(self.table, |table| {
            for (row, &token) in gradient.chunks_exact(width).zip(&batch.tokens) {
                for (sum, add) in table[token as usize * width..][..width].iter_mut().zip(row) {
                    *sum += add;
                }
            }
        });
        Ok(())
    }
}
