//! `observe`: statistics of what linears read, for calibration.

use crate::{Observe, Op, Plan, Step, ValueId};

/// A Plan that gathers statistics.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The Plan.
    pub plan: Plan,
    /// Per slot, the value observed and the weights that read it.
    pub slots: Vec<(ValueId, Vec<String>)>,
}

/// Observes each value that linears read, once however many read it.
pub fn observe(plan: &Plan) -> Observed {
    let mut out = plan.clone();
    out.steps.clear();
    let mut slots: Vec<(ValueId, Vec<String>)> = Vec::new();
    for step in &plan.steps {
        if let (Op::Linear(linear), [input]) = (&step.op, &step.inputs[..]) {
            let name = plan.weights[linear.weight.0].name.clone();
            match slots.iter_mut().find(|(value, _)| value == input) {
                Some((_, readers)) => readers.push(name),
                None => {
                    let op = Observe { slot: slots.len() }.into();
                    out.steps.push(Step { op, inputs: vec![*input], outputs: Vec::new(), layer: step.layer });
                    slots.push((*input, vec![name]));
                }
            }
        }
        out.steps.push(step.clone());
    }
    Observed { plan: out, slots }
}
