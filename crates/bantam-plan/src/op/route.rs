//! Route: which experts a row goes to, and how much each counts.

use super::{Operation, inputs, shape_error};
use crate::reference::Scope;
use crate::{Plan, PlanError, Rows, ValueId};

/// `[Tokens, experts]` router logits → `[Tokens, 2 · chosen]`: first the chosen experts' numbers, then their weights.
///
/// Of equal logits the first wins. Numbers are whole and exact in f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Experts of a row.
    pub chosen: usize,
    /// How weights come from logits.
    pub router: Router,
}

/// How the weights of the chosen experts come from the router's logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Router {
    /// Softmax over all experts, largest first (Shazeer et al. 2017).
    Softmax {
        /// Whether the weights of the chosen ones are made to sum to one.
        normalized: bool,
    },
    /// One after the other, each by a softmax over those near the largest of what is left (SparseMixer-v2, Liu et al.
    /// 2024).
    Sparse {
        /// Half the relative distance from the largest at which others are left out.
        jitter: f32,
    },
}

/// Sum of `exp(x - top)` over some logits.
fn sum_of(logits: &[f32], top: f32, part: impl Iterator<Item = usize>) -> f64 {
    part.map(|i| (f64::from(logits[i]) - f64::from(top)).exp()).sum()
}

impl Route {
    /// The experts that take part in the softmax which weighs `expert`, chosen after `earlier`.
    fn part<'a>(&self, logits: &'a [f32], earlier: &'a [f32], expert: usize) -> impl Iterator<Item = usize> + 'a {
        let (router, top) = (self.router, logits[expert]);
        (0..logits.len()).filter(move |&i| match router {
            Router::Softmax { .. } => true,
            Router::Sparse { jitter } => {
                let near = || (top - logits[i]) / logits[i].abs().max(top) <= 2.0 * jitter;
                !earlier.contains(&(i as f32)) && (i == expert || near())
            }
        })
    }

    /// Writes one row: experts' numbers, then weights. Allocates nothing, so that backends may use it as it is.
    pub fn row(&self, logits: &[f32], out: &mut [f32]) {
        let (experts, weights) = out.split_at_mut(self.chosen);
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for j in 0..self.chosen {
            let left = (0..logits.len()).filter(|&i| !experts[..j].contains(&(i as f32)));
            let best = left.reduce(|best, i| if logits[i] > logits[best] { i } else { best });
            // There are at least as many experts as are chosen.
            let expert = best.unwrap_or(0);
            let all = sum_of(logits, highest, self.part(logits, &experts[..j], expert));
            let weight = (f64::from(logits[expert]) - f64::from(highest)).exp() / all;
            sum += weight;
            (experts[j], weights[j]) = (expert as f32, weight as f32);
        }
        if self.is_normalized() {
            weights.iter_mut().for_each(|weight| *weight = (f64::from(*weight) / sum) as f32);
        }
    }

    /// Adds one row's gradient by its logits to `d`; `g` is the gradient of what [`Route::row`] writes.
    pub fn row_back(&self, logits: &[f32], g: &[f32], d: &mut [f32]) {
        let mut row = vec![0.0; 2 * self.chosen];
        Self { router: self.unnormalized(), ..self.clone() }.row(logits, &mut row);
        let (chosen, weights) = row.split_at(self.chosen);
        let g = &g[self.chosen..];
        // Through the division by the sum: d p_j = (g_j - Σ g_i p_i / sum) / sum.
        let sum: f64 = if self.is_normalized() { weights.iter().map(|p| f64::from(*p)).sum() } else { 1.0 };
        let pairs = || g.iter().zip(weights).map(|(g, p)| f64::from(*g) * f64::from(*p));
        let mean = if self.is_normalized() { pairs().sum::<f64>() / sum } else { 0.0 };
        for (j, (g, weight)) in g.iter().zip(weights).enumerate() {
            let expert = chosen[j] as usize;
            let part = || self.part(logits, &chosen[..j], expert);
            let all = sum_of(logits, logits[expert], part());
            for i in part() {
                let share = (f64::from(logits[i]) - f64::from(logits[expert])).exp() / all;
                let own = if i == expert { 1.0 } else { 0.0 };
                d[i] += ((f64::from(*g) - mean) / sum * f64::from(*weight) * (own - share)) as f32;
            }
        }
    }

    fn unnormalized(&self) -> Router {
        match self.router {
            Router::Softmax { .. } => Router::Softmax { normalized: false },
            Router::Sparse { jitter } => Router::Sparse { jitter },
        }
    }

    fn is_normalized(&self) -> bool {
        match self.router {
            Router::Softmax { normalized } => normalized,
            Router::Sparse { .. } => false,
        }
    }
}

impl Operation for Route {
    fn name(&self) -> &'static str {
        "route"
    }

    fn parameters(&self, _: &Plan) -> String {
        format!("chosen={} {:?}", self.chosen, self.router)
    }

    fn shape(&self, plan: &Plan, values: &[ValueId], step: &str) -> Result<(Rows, usize), PlanError> {
        let [x] = inputs(values, step)?;
        let x = plan.get(x);
        if x.rows != Rows::Tokens || self.chosen == 0 || self.chosen > x.width || x.width > 1 << 24 {
            let expected = format!("[Tokens, at least {} experts]", self.chosen);
            return Err(shape_error(step, expected, format!("[{:?}, {}]", x.rows, x.width)));
        }
        Ok((Rows::Tokens, 2 * self.chosen))
    }

    fn flops(&self, plan: &Plan, values: &[ValueId], _: u64) -> u64 {
        6 * plan.get(values[0]).width as u64
    }

    fn forward(&self, scope: &mut Scope<'_>, values: &[&[f32]], output: &mut [f32]) -> Result<(), PlanError> {
        let experts = scope.input_width(0);
        let rows = values[0].chunks_exact(experts).zip(output.chunks_exact_mut(2 * self.chosen));
        rows.for_each(|(logits, out)| self.row(logits, out));
        Ok(())
    }

    fn backward(
        &self,
        scope: &mut Scope<'_>,
        values: &[&[f32]],
        gradient: &[f32],
        wanted: &mut [Option<Vec<f32>>],
    ) -> Result<(), PlanError> {
        let experts = scope.input_width(0);
        let Some(wanted) = &mut wanted[0] else { return Ok(()) };
        let rows = values[0].chunks_exact(experts).zip(gradient.chunks_exact(2 * self.chosen));
        for ((logits, g), d) in rows.zip(wanted.chunks_exact_mut(experts)) {
            self.row_back(logits, g, d);
        }
        Ok(())
    }
}
