//! DoRA's magnitudes where nothing is trained: what each row is multiplied by does not change.

use bantam_kernels::Matrix;
use bantam_plan::{Op, Plan, PlanError, WeightId, Weights, fetch_weight};

use crate::compile::Setting;
use crate::row_lengths::{LowRank, row_factor, row_lengths};
use crate::vectors::decoded;

/// Divides each magnitude by the lengths of the rows it belongs to, once and for all.
pub(crate) fn by_lengths(
    setting: &Setting<'_>,
    plan: &Plan,
    weights: &dyn Weights,
    places: &[usize],
    matrices: &[Matrix],
    vectors: &mut [Vec<f32>],
) -> Result<(), PlanError> {
    let values = |id: WeightId| decoded(&plan.weights[id.0].name, &fetch_weight(weights, &plan.weights[id.0])?);
    let mut done = Vec::new();
    for step in &plan.steps {
        let Op::Magnitude(of) = &step.op else { continue };
        if done.contains(&of.magnitude) {
            continue;
        }
        done.push(of.magnitude);
        let (a, b) = (values(of.a)?, values(of.b)?);
        let added = LowRank { rank: plan.weights[of.a.0].rows, scale: of.scale, a: &a, b: &b };
        let weight = &plan.weights[of.weight.0];
        let view = fetch_weight(weights, weight)?;
        let lengths = row_lengths(setting.pool, &weight.name, &view, Some(added))?;
        if !matrices[places[of.weight.0]].is_waiting() {
            view.bytes.done_with(0..view.bytes.len());
        }
        for (magnitude, length) in vectors[places[of.magnitude.0]].iter_mut().zip(lengths) {
            *magnitude = row_factor(f64::from(*magnitude), f64::from(length)) as f32;
        }
    }
    Ok(())
}
