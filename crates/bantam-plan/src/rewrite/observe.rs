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
        let readers = if let (Op::Linear(linear), [input]) = (&step.op, &step.inputs[..]) {
            Some((input, vec![linear.weight]))
        } else if let (Op::ExpertLinear(experts), [input, _]) = (&step.op, &step.inputs[..]) {
            Some((input, experts.weights.clone()))
        } else {
            None
        };
        if let Some((input, weights)) = readers {
            let names = weights.iter().map(|id| plan.weights[id.0].name.clone());
            match slots.iter_mut().find(|(value, _)| value == input) {
                Some((_, readers)) => readers.extend(names),
                None => {
                    let op = Observe { slot: slots.len() }.into();
                    out.steps.push(Step { op, inputs: vec![*input], outputs: Vec::new(), layer: step.layer });
                    slots.push((*input, names.collect()));
                }
            }
        }
        out.steps.push(step.clone());
    }
    Observed { plan: out, slots }
}
