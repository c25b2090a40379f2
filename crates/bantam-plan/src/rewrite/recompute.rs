//! `recompute`: activation checkpointing per layer (Chen et al. 2016).

use std::collections::HashMap;

use crate::{Op, Plan, PlanError, Step, ValueId};

/// Runs a layer's forward steps again just before its backward, so that between the two only the layer's inputs live.
///
/// The repeated steps are the same ops on the same inputs, so gradients stay bit for bit what they were; the arena's
/// liveness plan then gives the freed memory to other layers.
pub fn recompute(plan: &Plan) -> Result<Plan, PlanError> {
    let mut out = plan.clone();
    out.steps.clear();
    // Per layer, what its own forward steps made, and the stand-ins once they were run again.
    let mut again: HashMap<usize, HashMap<ValueId, ValueId>> = HashMap::new();
    for step in &plan.steps {
        let is_backward = matches!(step.op, Op::Backward(_));
        if let (Some(layer), true) = (step.layer, is_backward) {
            again.entry(layer).or_insert_with(|| repeat_layer(plan, &mut out, layer));
        }
        let mut step = step.clone();
        if let (Some(stand_ins), true) = (step.layer.and_then(|layer| again.get(&layer)), is_backward) {
            for input in &mut step.inputs {
                *input = stand_ins.get(input).copied().unwrap_or(*input);
            }
        }
        out.steps.push(step);
    }
    // Where gradients end behind the layers (an adapter of the head alone), none of them runs again.
    if !plan.steps.iter().any(|step| matches!(step.op, Op::Backward(_))) {
        let problem = "the plan has no backward steps; apply `train` first".to_owned();
        return Err(PlanError::Rewrite { rewrite: "recompute", problem });
    }
    out.check()?;
    Ok(out)
}

/// Appends copies of a layer's forward steps that later backward steps read, and maps old values to new.
fn repeat_layer(plan: &Plan, out: &mut Plan, layer: usize) -> HashMap<ValueId, ValueId> {
    let in_layer = |step: &&Step| step.layer == Some(layer);
    let is_backward = |step: &&Step| matches!(step.op, Op::Backward(_));
    // Backwards from what is read, so that a step nobody reads again (the layer's last sum) is not repeated.
    let mut read: Vec<ValueId> =
        plan.steps.iter().filter(in_layer).filter(is_backward).flat_map(|step| step.reads(plan)).collect();
    let mut repeated: Vec<&Step> = Vec::new();
    for step in plan.steps.iter().filter(in_layer).filter(|step| !is_backward(step)).rev() {
        let is_gradient_sum = step.outputs.iter().any(|id| plan.get(*id).name.starts_with("d "));
        if !is_gradient_sum && step.outputs.iter().any(|id| read.contains(id)) {
            read.extend(&step.inputs);
            repeated.push(step);
        }
    }
    let mut stand_ins = HashMap::new();
    for step in repeated.into_iter().rev() {
        let mut copy = step.clone();
        for input in &mut copy.inputs {
            *input = stand_ins.get(input).copied().unwrap_or(*input);
        }
        for output in &mut copy.outputs {
            let value = plan.get(*output).clone();
            let stand_in = out.value(format!("{} again", value.name), value.rows, value.width);
            stand_ins.insert(*output, stand_in);
            *output = stand_in;
        }
        out.steps.push(copy);
    }
    stand_ins
}
