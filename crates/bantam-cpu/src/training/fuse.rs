//! Products that are added to a sum in place, and steps that write over what they read.

use bantam_kernels::ONE_SUM;
use bantam_plan::{Op, Plan, Step, ValueId};

use super::tail::Tail;

/// What was found to fuse.
pub(crate) struct Fusions {
    /// By step: a product whose result is only added to the value named, by the step after it, which is then left out.
    adds_to: Vec<Option<ValueId>>,
    absorbed: Vec<bool>,
    last_read: Vec<usize>,
}

impl Fusions {
    /// Looks the Plan through.
    pub(crate) fn of(plan: &Plan, tail: &Tail) -> Self {
        let mut reads = vec![0usize; plan.values.len()];
        let mut last_read = vec![0usize; plan.values.len()];
        for (index, step) in plan.steps.iter().enumerate() {
            for id in step.reads(plan) {
                reads[id.0] += 1;
                last_read[id.0] = index;
            }
        }
        if let Some(ValueId(output)) = plan.output {
            last_read[output] = plan.steps.len();
        }
        let mut adds_to = vec![None; plan.steps.len()];
        let mut absorbed = vec![false; plan.steps.len()];
        for (index, pair) in plan.steps.windows(2).enumerate() {
            if !is_product(plan, &pair[0].op) || !matches!(pair[1].op, Op::Add(_)) {
                continue;
            }
            let (&[made], &[a, b]) = (&pair[0].outputs[..], &pair[1].inputs[..]) else { continue };
            let stream = if b == made { a } else { b };
            let only_here = (a == made) != (b == made) && reads[made.0] == 1 && last_read[made.0] == index + 1;
            let reads_stream = pair[0].reads(plan).any(|id| id == stream);
            // Values of a chunk and of all rows lie apart, and what a chunk shares with steps outside stays where it is.
            let sum = pair[1].outputs.first().is_some_and(|sum| tail.is_inside(*sum));
            let together = !tail.steps.contains(&(index + 1)) || (sum && tail.is_inside(stream));
            if only_here && together && last_read[stream.0] == index + 1 && !reads_stream {
                adds_to[index] = Some(stream);
                absorbed[index + 1] = true;
            }
        }
        Self { adds_to, absorbed, last_read }
    }

    /// The value a product is added to in place.
    pub(crate) fn adds_to(&self, step: usize) -> Option<ValueId> {
        self.adds_to[step]
    }

    /// Whether the step before does this one.
    pub(crate) fn is_absorbed(&self, step: usize) -> bool {
        self.absorbed[step]
    }

    /// The input a step writes over.
    pub(crate) fn in_place(&self, index: usize, step: &Step) -> Option<ValueId> {
        let dies = |id: &&ValueId| self.last_read[id.0] == index;
        match &step.op {
            Op::Rope(_) | Op::Magnitude(_) => step.inputs.first().filter(dies).copied(),
            Op::Add(_) if self.absorbed[index] => self.adds_to[index - 1],
            Op::Add(_) => step.inputs.iter().find(dies).copied(),
            // What a rope's gradient reads comes last.
            Op::Backward(backward) if matches!(*backward.of, Op::Rope(_)) => step.inputs.last().filter(dies).copied(),
            // Logits, once their loss has gone back.
            Op::Backward(backward) if matches!(*backward.of, Op::Loss(_)) => step.inputs.first().filter(dies).copied(),
            Op::Embed(_)
            | Op::Norm(_)
            | Op::Linear(_)
            | Op::Attend(_)
            | Op::Glu(_)
            | Op::Activate(_)
            | Op::Scale(_)
            | Op::Softcap(_)
            | Op::Select(_)
            | Op::Route(_)
            | Op::Spread(_)
            | Op::ExpertLinear(_)
            | Op::Combine(_)
            | Op::Dropout(_)
            | Op::Loss(_)
            | Op::Observe(_)
            | Op::Backward(_) => None,
        }
    }
}

/// Whether it is a product whose bits do not depend on where its result is added.
///
/// Going back it is added wherever its sum is wanted, in every form of a Plan; going forwards, a step that is run again may
/// find its sum where the first run did not.
fn is_product(plan: &Plan, op: &Op) -> bool {
    if let Op::Backward(backward) = op {
        return matches!(*backward.of, Op::Linear(_));
    }
    let Op::Linear(linear) = op else { return false };
    let weight = &plan.weights[linear.weight.0];
    !weight.trainable || (linear.bias.is_none() && weight.width <= ONE_SUM)
}
