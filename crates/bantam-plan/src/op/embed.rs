//! Embed: the row of a table for each token, or for each position.

use super::{Operation, inputs};
use crate::reference::Scope;
use crate::{Plan, PlanError, Rows, ValueId, WeightId};

/// `[Tokens, width]`: row `t` is the row of the table that token or position of `t` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embed {
    /// `[vocabulary, width]` or `[positions, width]`.
    pub table: WeightId,
    /// What names the row.
    pub by: EmbedBy,
}

/// What names the row of an embedding table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbedBy {
    /// The token.
    Token,
    /// The position in its sequence.
    Position,
    /// Nothing: the first row, for every token.
    First,
}

impl Embed {
    /// The row of the table for each row of a batch; refuses one the table does not have.
    fn rows(&self, scope: &Scope<'_>) -> Result<Vec<usize>, PlanError> {
        let batch = scope.batch;
        let rows: Vec<usize> = match self.by {
            EmbedBy::Token => batch.tokens.iter().map(|&token| token as usize).collect(),
            EmbedBy::Position => batch.places.iter().map(|place| place.position as usize).collect(),
            EmbedBy::First => vec![0; batch.rows()],
        };
        let table = &scope.plan.weights[self.table.0];
        match rows.iter().find(|&&row| row >= table.rows) {
            Some(row) => Err(PlanError::Batch(format!("`{}` has no row {row} but only {}", table.name, table.rows))),
            None => Ok(rows),
        }
    }
}

impl Operation for Embed {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn parameters(&self, plan: &Plan) -> String {
        let name = plan.weights[self.table.0].name.clone();
        match self.by {
            EmbedBy::Token => name,
            EmbedBy::Position => name + " by=position",
            EmbedBy::First => name + " by=first",
        }
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
        for (made, row) in output.chunks_exact_mut(width).zip(self.rows(scope)?) {
            made.copy_from_slice(&table[row * width..][..width]);
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
        let rows = self.rows(scope)?;
        scope.with_gradient(self.table, |table| {
            for (made, row) in gradient.chunks_exact(width).zip(rows) {
                for (sum, add) in table[row * width..][..width].iter_mut().zip(made) {
                    *sum += add;
                }
            }
        });
        Ok(())
    }
}
