//! Attend: keys and values into the paged memory, and softmax attention over it.

use super::{Operation, inputs, shape_error};
use crate::reference::Scope;
use crate::{Plan, PlanError, Rows, ValueId};

/// Scaled dot-product attention with grouped queries (Ainslie et al. 2023) over everything its sequence holds.
///
/// Inputs `q [Tokens, heads * key_width]`, `k [Tokens, kv_heads * key_width]`, `v [Tokens, kv_heads * value_width]`;
/// output `[Tokens, heads * value_width]`. Rows `k` and `v` are first written to the memory at their places; then query
/// head `h` of a row at position `p` sees positions `s ≤ p` (all where not causal) with `p - s < window`.
#[derive(Clone, Debug, PartialEq)]
pub struct Attend {
    /// Which layer of the paged memory.
    pub memory: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Columns of a query or key head.
    pub key_width: usize,
    /// Columns of a value head.
    pub value_width: usize,
    /// Factor on the dot product.
    pub scale: f32,
    /// How many positions back a row sees, itself included.
    pub window: Option<usize>,
    /// `cap * tanh(score / cap)` on scores.
    pub softcap: Option<f32>,
    /// Whether a row sees only positions up to its own.
    pub causal: bool,
}

/// What one query head of one row sees and how much it weighs: positions from `first`, with their softmax weights.
struct Seen {
    first: usize,
    weights: Vec<f64>,
    /// Derivative of the capped score by the raw score.
    slopes: Vec<f64>,
}

impl Attend {
    /// Width of a key row.
    pub fn key_row(&self) -> usize {
        self.kv_heads * self.key_width
    }

    /// Width of a value row.
    pub fn value_row(&self) -> usize {
        self.kv_heads * self.value_width
    }

    fn positions(&self, scope: &Scope<'_>, sequence: u32, position: usize) -> std::ops::Range<usize> {
        let end = if self.causal { position + 1 } else { scope.memory.length(sequence) };
        self.window.map_or(0, |window| (position + 1).saturating_sub(window))..end
    }

    fn see(&self, scope: &Scope<'_>, row: usize, head: usize, q: &[f32]) -> Seen {
        let place = scope.batch.places[row];
        let range = self.positions(scope, place.sequence, place.position as usize);
        let kv_head = head / (self.heads / self.kv_heads);
        let mut scores = Vec::with_capacity(range.len());
        let mut slopes = Vec::with_capacity(range.len());
        for position in range.clone() {
            let k =
                &scope.memory.key(self.memory, place.sequence, position)[kv_head * self.key_width..][..self.key_width];
            let dot: f64 = q.iter().zip(k).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
            let score = dot * f64::from(self.scale);
            let (score, slope) = match self.softcap {
                Some(cap) => {
                    let tanh = (score / f64::from(cap)).tanh();
                    (f64::from(cap) * tanh, 1.0 - tanh * tanh)
                }
                None => (score, 1.0),
            };
            scores.push(score);
            slopes.push(slope);
        }
        let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        scores.iter_mut().for_each(|score| *score = (*score - top).exp());
        let sum: f64 = scores.iter().sum();
        scores.iter_mut().for_each(|score| *score /= sum);
        Seen { first: range.start, weights: scores, slopes }
    }
}

impl Operation for Attend {
    fn name(&self) -> &'static str {
        "attend"
    }

    fn parameters(&self, _: &Plan) -> String {
        let mut text = format!(
            "memory={} heads={}/{}x{} scale={}",
            self.memory, self.heads, self.kv_heads, self.key_width, self.scale
        );
        if self.value_width != self.key_width {
            text += &format!(" value_width={}", self.value_width);
        }
        if let Some(window) = self.window {
            text += &format!(" window={window}");
        }
        if let Some(cap) = self.softcap {
            text += &format!(" softcap={cap}");
        }
        if !self.causal {
            text += " full";
        }
        text
    }

    fn shape(&self, plan: &Plan, values: &[ValueId], step: &str) -> Result<(Rows, usize), PlanError> {
        let ids: [ValueId; 3] = inputs(values, step)?;
        if self.kv_heads == 0 || !self.heads.is_multiple_of(self.kv_heads) {
            let expected = format!("{} query heads in equal groups", self.heads);
            return Err(shape_error(step, expected, format!("{} key heads", self.kv_heads)));
        }
        let widths = [self.heads * self.key_width, self.key_row(), self.value_row()];
        for (id, width) in ids.into_iter().zip(widths) {
            let value = plan.get(id);
            if (value.rows, value.width) != (Rows::Tokens, width) {
                let found = format!("{} [{:?}, {}]", value.name, value.rows, value.width);
                return Err(shape_error(step, format!("[Tokens, {width}]"), found));
            }
        }
        Ok((Rows::Tokens, self.heads * self.value_width))
    }

    fn flops(&self, _: &Plan, _: &[ValueId], context: u64) -> u64 {
        let seen = self.window.map_or(context, |window| context.min(window as u64));
        2 * (self.heads * (self.key_width + self.value_width)) as u64 * seen
    }

    fn forward(&self, scope: &mut Scope<'_>, values: &[&[f32]], output: &mut [f32]) -> Result<(), PlanError> {
        scope.memory.store(self.memory, scope.batch, values[1], values[2], self.key_row(), self.value_row());
        let (key_width, value_width) = (self.key_width, self.value_width);
        for (row, out) in output.chunks_exact_mut(self.heads * value_width).enumerate() {
            let sequence = scope.batch.places[row].sequence;
            for (head, out) in out.chunks_exact_mut(value_width).enumerate() {
                let q = &values[0][(row * self.heads + head) * key_width..][..key_width];
                let seen = self.see(scope, row, head, q);
                let kv_head = head / (self.heads / self.kv_heads);
                let mut sum = vec![0f64; value_width];
                for (i, weight) in seen.weights.iter().enumerate() {
                    let v = &scope.memory.value(self.memory, sequence, seen.first + i)[kv_head * value_width..];
                    sum.iter_mut().zip(v).for_each(|(sum, v)| *sum += weight * f64::from(*v));
                }
                out.iter_mut().zip(sum).for_each(|(out, sum)| *out = sum as f32);
            }
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
        let (key_width, value_width) = (self.key_width, self.value_width);
        let mut d_q = vec![0f64; values[0].len()];
        let mut d_k = vec![0f64; values[1].len()];
        let mut d_v = vec![0f64; values[2].len()];
        for (row, g) in gradient.chunks_exact(self.heads * value_width).enumerate() {
            let sequence = scope.batch.places[row].sequence;
            for (head, g) in g.chunks_exact(value_width).enumerate() {
                let q_at = (row * self.heads + head) * key_width;
                let q = &values[0][q_at..][..key_width];
                let seen = self.see(scope, row, head, q);
                let kv_head = head / (self.heads / self.kv_heads);
                // d weight_s = g · v_s; through the softmax: d score_s = weight_s * (d weight_s - Σ weight d weight).
                let mut d_weights = Vec::with_capacity(seen.weights.len());
                for (i, weight) in seen.weights.iter().enumerate() {
                    let source = scope.row_of(sequence, seen.first + i)?;
                    let v_at = source * self.value_row() + kv_head * value_width;
                    let v = &values[2][v_at..][..value_width];
                    d_weights.push(g.iter().zip(v).map(|(g, v)| f64::from(*g) * f64::from(*v)).sum::<f64>());
                    d_v[v_at..][..value_width].iter_mut().zip(g).for_each(|(d, g)| *d += weight * f64::from(*g));
                }
                let mean: f64 = d_weights.iter().zip(&seen.weights).map(|(d, weight)| d * weight).sum();
                for (i, d_weight) in d_weights.iter().enumerate() {
                    let d = seen.weights[i] * (d_weight - mean) * seen.slopes[i] * f64::from(self.scale);
                    let source = scope.row_of(sequence, seen.first + i)?;
                    let k_at = source * self.key_row() + kv_head * key_width;
                    for c in 0..key_width {
                        d_q[q_at + c] += d * f64::from(values[1][k_at + c]);
                        d_k[k_at + c] += d * f64::from(q[c]);
                    }
                }
            }
        }
        for (wanted, d) in wanted.iter_mut().zip([d_q, d_k, d_v]) {
            if let Some(wanted) = wanted {
                wanted.iter_mut().zip(d).for_each(|(wanted, d)| *wanted += d as f32);
            }
        }
        Ok(())
    }
}
