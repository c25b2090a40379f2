//! The steps around the loss, which run a chunk of output rows at a time.

use std::ops::Range;

use bantam_plan::{Op, Plan, Rows, Step, ValueId};

/// Bytes of logits in a chunk, where nobody says.
pub(crate) const CHUNK_BYTES: usize = 128 << 20;
/// Rows of a chunk at least, and of what it is a multiple.
const LEAST_ROWS: usize = 24;

/// Which steps run in chunks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    /// From the head's product through the loss to the gradient of what the head read.
    pub(crate) steps: Range<usize>,
    /// Output rows that run together.
    pub(crate) rows: usize,
    /// By value: whether only the tail's steps know it, so that it has a chunk's rows.
    inside: Vec<bool>,
}

/// Whether a step gives each output row from the same row alone, and is the head's or the loss's.
fn is_by_row(plan: &Plan, step: &Step) -> bool {
    let of_outputs = step.inputs.iter().chain(&step.outputs).all(|id| plan.get(*id).rows == Rows::Outputs)
        && !step.inputs.is_empty();
    let by_row = |op: &Op| match op {
        Op::Linear(_)
        | Op::Scale(_)
        | Op::Softcap(_)
        | Op::Add(_)
        | Op::Dropout(_)
        | Op::Magnitude(_)
        | Op::Loss(_) => true,
        Op::Embed(_)
        | Op::Norm(_)
        | Op::Rope(_)
        | Op::Attend(_)
        | Op::Glu(_)
        | Op::Activate(_)
        | Op::Select(_)
        | Op::Route(_)
        | Op::Spread(_)
        | Op::ExpertLinear(_)
        | Op::Combine(_)
        | Op::Observe(_)
        | Op::Backward(_) => false,
    };
    let op = if let Op::Backward(backward) = &step.op { &*backward.of } else { &step.op };
    of_outputs && by_row(op)
}

impl Tail {
    /// Finds it; a Plan without a loss has none.
    pub(crate) fn of(plan: &Plan, bytes: usize) -> Self {
        let none = Self { inside: vec![false; plan.values.len()], ..Self::default() };
        let Some(loss) = plan.steps.iter().position(|step| matches!(step.op, Op::Loss(_))) else { return none };
        let before = plan.steps[..loss].iter().rev().take_while(|step| is_by_row(plan, step)).count();
        let after = plan.steps[loss..].iter().take_while(|step| is_by_row(plan, step)).count();
        let steps = loss - before..loss + after;
        let mut inside = vec![true; plan.values.len()];
        let mut touched = vec![false; plan.values.len()];
        for (index, step) in plan.steps.iter().enumerate() {
            for id in step.inputs.iter().chain(&step.outputs) {
                inside[id.0] &= steps.contains(&index);
                touched[id.0] = true;
            }
        }
        inside.iter_mut().zip(touched).for_each(|(inside, touched)| *inside &= touched);
        if let Some(ValueId(output)) = plan.output {
            inside[output] = false;
        }
        let widest = (0..plan.values.len()).filter(|id| inside[*id]).map(|id| plan.values[id].width).max().unwrap_or(1);
        let rows = (bytes / 4 / widest.max(1) / LEAST_ROWS * LEAST_ROWS).max(LEAST_ROWS);
        Self { steps, rows, inside }
    }

    /// Whether a value has a chunk's rows only.
    pub(crate) fn is_inside(&self, id: ValueId) -> bool {
        self.inside[id.0]
    }
}
