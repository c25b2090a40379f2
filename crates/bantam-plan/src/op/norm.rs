//! Norm: RMS norm and layer norm, over a whole row or per group (head) of it.

use super::{Operation, inputs, shape_error, weight_shape};
use crate::reference::Scope;
use crate::{Plan, PlanError, Rows, ValueId, WeightId};

/// What is divided out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// Root mean square (Zhang & Sennrich 2019).
    Rms,
    /// Mean and standard deviation (Ba et al. 2016).
    Layer,
}

/// `y = (x - mean) / sqrt(var + eps) * (weight + shift) + bias`, per group; without mean for RMS.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// RMS or layer norm.
    pub kind: NormKind,
    /// Added under the root.
    pub eps: f32,
    /// Groups a row is cut into, each normalised by itself (heads; 1 for the whole row).
    pub groups: usize,
    /// Factor: `[1, width / groups]` shared by the groups, or `[groups, width / groups]`, a row for each.
    pub weight: Option<WeightId>,
    /// Added to the factor (1 where a checkpoint stores the factor less one).
    pub shift: f32,
    /// Added last, of the factor's shape.
    pub bias: Option<WeightId>,
}

struct Statistics {
    mean: f64,
    inverse: f64,
}

impl Norm {
    /// Whether each group has a factor (and a bias) of its own.
    pub fn has_own(&self, plan: &Plan) -> bool {
        self.weight.or(self.bias).is_some_and(|id| plan.weights[id.0].rows > 1)
    }

    /// Where the factor of each group begins, group after group, row after row.
    fn starts(&self, plan: &Plan, group: usize) -> impl Iterator<Item = usize> + Clone + use<> {
        let groups = if self.has_own(plan) { self.groups } else { 1 };
        (0..groups).cycle().map(move |n| n * group)
    }

    fn statistics(&self, x: &[f32]) -> Statistics {
        let n = x.len() as f64;
        let mean = match self.kind {
            NormKind::Rms => 0.0,
            NormKind::Layer => x.iter().map(|&x| f64::from(x)).sum::<f64>() / n,
        };
        let variance = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
        Statistics { mean, inverse: 1.0 / (variance + f64::from(self.eps)).sqrt() }
    }
}

impl Operation for Norm {
    fn name(&self) -> &'static str {
        match self.kind {
            NormKind::Rms => "norm_rms",
            NormKind::Layer => "norm_layer",
        }
    }

    fn parameters(&self, plan: &Plan) -> String {
        let name = |id: &Option<WeightId>| id.map_or("-".to_owned(), |id| plan.weights[id.0].name.clone());
        let mut text = format!("{} eps={:e}", name(&self.weight), self.eps);
        if self.groups != 1 {
            text += &format!(" groups={}", self.groups);
        }
        if self.shift != 0.0 {
            text += &format!(" shift={}", self.shift);
        }
        if self.bias.is_some() {
            text += &format!(" bias={}", name(&self.bias));
        }
        text
    }

    fn weights(&self) -> Vec<WeightId> {
        self.weight.into_iter().chain(self.bias).collect()
    }

    fn shape(&self, plan: &Plan, values: &[ValueId], step: &str) -> Result<(Rows, usize), PlanError> {
        let [x] = inputs(values, step)?;
        let x = plan.get(x);
        if self.groups == 0 || !x.width.is_multiple_of(self.groups) {
            return Err(shape_error(step, format!("a width in {} equal groups", self.groups), x.width.to_string()));
        }
        let rows = if self.has_own(plan) { self.groups } else { 1 };
        for id in self.weights() {
            weight_shape(plan, id, rows, x.width / self.groups)?;
        }
        Ok((x.rows, x.width))
    }

    fn flops(&self, plan: &Plan, values: &[ValueId], _: u64) -> u64 {
        4 * plan.get(values[0]).width as u64
    }

    fn forward(&self, scope: &mut Scope<'_>, values: &[&[f32]], output: &mut [f32]) -> Result<(), PlanError> {
        let weight = self.weight.map(|id| scope.weight(id));
        let bias = self.bias.map(|id| scope.weight(id));
        let group = scope.input_width(0) / self.groups;
        let starts = self.starts(scope.plan, group);
        for ((x, y), start) in values[0].chunks_exact(group).zip(output.chunks_exact_mut(group)).zip(starts) {
            let Statistics { mean, inverse } = self.statistics(x);
            for (i, (x, y)) in x.iter().zip(y).enumerate() {
                let factor = weight.as_ref().map_or(1.0, |weight| weight[start + i] + self.shift);
                let added = bias.as_ref().map_or(0.0, |bias| bias[start + i]);
                *y = ((f64::from(*x) - mean) * inverse) as f32 * factor + added;
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
        let weight = self.weight.map(|id| scope.weight(id));
        let group = scope.input_width(0) / self.groups;
        let starts = self.starts(scope.plan, group);
        let (x_rows, g_rows) = (values[0].chunks_exact(group), gradient.chunks_exact(group).zip(starts));
        if let Some(wanted) = &mut wanted[0] {
            for ((x, (g, start)), d) in x_rows.clone().zip(g_rows.clone()).zip(wanted.chunks_exact_mut(group)) {
                let Statistics { mean, inverse } = self.statistics(x);
                let n = group as f64;
                // With z = (x - mean) * inverse and h = g * factor: dx = inverse * (h - [mean h] - z * mean(h z)).
                let h = |i: usize| {
                    f64::from(g[i]) * f64::from(weight.as_ref().map_or(1.0, |weight| weight[start + i] + self.shift))
                };
                let z = |i: usize| (f64::from(x[i]) - mean) * inverse;
                let mean_hz = (0..group).map(|i| h(i) * z(i)).sum::<f64>() / n;
                let mean_h = match self.kind {
                    NormKind::Rms => 0.0,
                    NormKind::Layer => (0..group).map(h).sum::<f64>() / n,
                };
                for (i, d) in d.iter_mut().enumerate() {
                    *d += (inverse * (h(i) - mean_h - z(i) * mean_hz)) as f32;
                }
            }
        }
        if let Some(id) = self.weight {
            scope.with_gradient(id, |sum| {
                for (x, (g, start)) in x_rows.zip(g_rows.clone()) {
                    let Statistics { mean, inverse } = self.statistics(x);
                    for i in 0..group {
                        sum[start + i] += g[i] * ((f64::from(x[i]) - mean) * inverse) as f32;
                    }
                }
            });
        }
        if let Some(id) = self.bias {
            scope.with_gradient(id, |sum| {
                g_rows.for_each(|(g, start)| sum[start..].iter_mut().zip(g).for_each(|(sum, g)| *sum += g));
            });
        }
        Ok(())
    }
}
