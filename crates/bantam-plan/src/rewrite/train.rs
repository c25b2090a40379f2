//! `train`: adds the loss and the backward steps.

use std::collections::HashMap;

use crate::{Add, Backward, Loss, Op, Plan, PlanError, Step, ValueId, WeightId};

/// A Plan with its backward steps.
#[derive(Clone, Debug)]
pub struct Training {
    /// The Plan: forward, loss, backward.
    pub plan: Plan,
    /// `[Outputs, 1]`: weighted loss of each output row.
    pub loss: ValueId,
}

/// Adds the loss over the Plan's output and the backward of every step on the way to a trainable weight.
///
/// `trainable` chooses weights by name. Gradients of weights are gathered by whoever runs the Plan; gradients of values
/// are values like any other. A value read by several steps gets its gradients added in the reverse order of reading.
pub fn train(plan: &Plan, trainable: impl Fn(&str) -> bool) -> Result<Training, PlanError> {
    let mut plan = plan.clone();
    let refuse = |problem: &str| PlanError::Rewrite { rewrite: "train", problem: problem.to_owned() };
    let logits = plan.output.ok_or_else(|| refuse("the plan has no output to take a loss of"))?;
    for weight in &mut plan.weights {
        weight.trainable = trainable(&weight.name);
    }
    if !plan.weights.iter().any(|weight| weight.trainable) {
        return Err(refuse("no weight is trainable"));
    }
    plan.current_layer = None;
    let loss = plan.step("loss", Loss, &[logits])?;

    // A value needs a gradient if a trainable weight stands somewhere before it.
    let mut needs = vec![false; plan.values.len()];
    let reads_trainable =
        |plan: &Plan, op: &Op| op.weights().iter().any(|WeightId(weight)| plan.weights[*weight].trainable);
    for step in &plan.steps {
        let needed = reads_trainable(&plan, &step.op) || step.inputs.iter().any(|id| needs[id.0]);
        step.outputs.iter().for_each(|id| needs[id.0] = needed);
    }

    let mut gradients: HashMap<ValueId, ValueId> = HashMap::new();
    for step in plan.steps.clone().into_iter().rev() {
        let [output] = step.outputs[..] else { continue };
        let is_loss = output == loss;
        let gradient = gradients.get(&output).copied();
        if !needs[output.0] || (gradient.is_none() && !is_loss) {
            continue;
        }
        let wanted: Vec<bool> = step.inputs.iter().map(|id| needs[id.0]).collect();
        if !wanted.contains(&true) && !reads_trainable(&plan, &step.op) {
            continue;
        }
        let layer = step.layer;
        let mut made = Vec::new();
        // What goes back through a sum is the sum's own gradient: no step, no copy.
        if let (Op::Add(_), Some(gradient)) = (&step.op, gradient) {
            let passed = step.inputs.iter().zip(&wanted).filter(|(_, wanted)| **wanted).map(|(id, _)| (*id, gradient));
            gather(&mut plan, &mut gradients, passed.collect(), layer);
            continue;
        }
        for id in step.inputs.iter().zip(&wanted).filter(|(_, wanted)| **wanted).map(|(id, _)| *id) {
            let value = plan.get(id).clone();
            made.push((id, plan.value(format!("d {}", value.name), value.rows, value.width)));
        }
        let inputs = step.inputs.iter().copied().chain(gradient).collect();
        let outputs = made.iter().map(|(_, gradient)| *gradient).collect();
        plan.steps.push(Step { op: Backward { of: Box::new(step.op), wanted }.into(), inputs, outputs, layer });
        gather(&mut plan, &mut gradients, made, layer);
    }
    plan.output = Some(loss);
    plan.check()?;
    Ok(Training { plan, loss })
}

/// Adds gradients `(of, gradient)` to what is known of them.
fn gather(
    plan: &mut Plan,
    gradients: &mut HashMap<ValueId, ValueId>,
    made: Vec<(ValueId, ValueId)>,
    layer: Option<usize>,
) {
    for (of, gradient) in made {
        let sum = match gradients.get(&of) {
            Some(&earlier) => {
                let value = plan.get(of).clone();
                let sum = plan.value(format!("d {} sum", value.name), value.rows, value.width);
                plan.steps.push(Step { op: Add.into(), inputs: vec![earlier, gradient], outputs: vec![sum], layer });
                sum
            }
            None => gradient,
        };
        gradients.insert(of, sum);
    }
}
