//! Rope: rotary position embedding (Su et al. 2021).

use super::{Operation, inputs, shape_error};
use crate::reference::Scope;
use crate::{Plan, PlanError, Rows, TableId, ValueId};

/// Which two columns of a head turn together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopePairs {
    /// Columns `2i` and `2i + 1`, as GGUF files of families whose projections were permuted.
    Interleaved,
    /// Columns `i` and `i + rotated / 2`, as Hugging Face checkpoints.
    Halves,
}

/// Turns the first `rotated` columns of every head by the angles of the row's position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rope {
    /// Heads side by side in a row.
    pub heads: usize,
    /// Columns of a head.
    pub head_width: usize,
    /// Columns that turn, from the first; even.
    pub rotated: usize,
    /// Which columns form a pair.
    pub pairs: RopePairs,
    /// Frequencies, one per pair.
    pub table: TableId,
}

impl Rope {
    fn pair(&self, i: usize) -> (usize, usize) {
        match self.pairs {
            RopePairs::Interleaved => (2 * i, 2 * i + 1),
            RopePairs::Halves => (i, i + self.rotated / 2),
        }
    }

    /// Turns `rows` in place: forwards (`sense` 1) or back (-1).
    fn turn(&self, scope: &Scope<'_>, rows: &mut [f32], sense: f32) {
        let table = &scope.plan.tables[self.table.0];
        for (row, place) in rows.chunks_exact_mut(self.heads * self.head_width).zip(&scope.batch.places) {
            for (i, frequency) in table.frequencies.iter().enumerate() {
                let (sine, cosine) = (place.position as f32 * frequency).sin_cos();
                let (sine, cosine) = (sense * sine * table.magnitude, cosine * table.magnitude);
                let (a, b) = self.pair(i);
                for head in row.chunks_exact_mut(self.head_width) {
                    (head[a], head[b]) = (head[a] * cosine - head[b] * sine, head[b] * cosine + head[a] * sine);
                }
            }
        }
    }
}

impl Operation for Rope {
    fn name(&self) -> &'static str {
        "rope"
    }

    fn parameters(&self, _: &Plan) -> String {
        let Self { heads, head_width, rotated, pairs, table } = self;
        format!("heads={heads}x{head_width} rotated={rotated} pairs={pairs:?} table={}", table.0)
    }

    fn shape(&self, plan: &Plan, values: &[ValueId], step: &str) -> Result<(Rows, usize), PlanError> {
        let [x] = inputs(values, step)?;
        let x = plan.get(x);
        let pairs = plan.tables[self.table.0].frequencies.len();
        if x.rows != Rows::Tokens || x.width != self.heads * self.head_width {
            let expected = format!("[Tokens, {} × {}]", self.heads, self.head_width);
            return Err(shape_error(step, expected, format!("[{:?}, {}]", x.rows, x.width)));
        }
        if self.rotated > self.head_width || self.rotated != 2 * pairs {
            let expected = format!("{} rotated columns of at most {}", 2 * pairs, self.head_width);
            return Err(shape_error(step, expected, self.rotated.to_string()));
        }
        Ok((x.rows, x.width))
    }

    fn flops(&self, _: &Plan, _: &[ValueId], _: u64) -> u64 {
        3 * (self.heads * self.rotated) as u64
    }

    fn backward_reads(&self, _: &Plan, _: usize) -> bool {
        false
    }

    fn forward(&self, scope: &mut Scope<'_>, values: &[&[f32]], output: &mut [f32]) -> Result<(), PlanError> {
        output.copy_from_slice(values[0]);
        self.turn(scope, output, 1.0);
        Ok(())
    }

    fn backward(
        &self,
        scope: &mut Scope<'_>,
        _: &[&[f32]],
        gradient: &[f32],
        wanted: &mut [Option<Vec<f32>>],
    ) -> Result<(), PlanError> {
        if let Some(wanted) = &mut wanted[0] {
            // A rotation's transpose turns back.
            let mut turned = gradient.to_vec();
            self.turn(scope, &mut turned, -1.0);
            wanted.iter_mut().zip(turned).for_each(|(d, g)| *d += g);
        }
        Ok(())
    }
}
