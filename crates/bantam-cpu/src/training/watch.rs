//! What the steps of a training program are called where their time is shown, and how much each has to do.

use bantam_kernels::Pool;
use bantam_plan::{Op, Plan, Step};

use super::run::Running;
use crate::profile::{Watch, Work, short};

/// Watches the steps of a Plan, by kind.
pub(super) fn named(plan: &Plan, pool: &Pool) -> Watch {
    Watch::named(plan.steps.iter().map(|step| name(plan, step)), pool)
}

fn name(plan: &Plan, step: &Step) -> String {
    let (back, op) = if let Op::Backward(backward) = &step.op { ("back ", &*backward.of) } else { ("", &step.op) };
    if matches!(op, Op::Linear(_) | Op::ExpertLinear(_))
        && let Some(id) = op.weights().first()
    {
        return format!("{back}linear {}", short(&plan.weights[id.0].name).replace(".weight", ""));
    }
    format!("{back}{}", op.name())
}

impl Running<'_> {
    /// Multiplications and additions of a step on this batch's rows: of products and of attention's scores.
    pub(super) fn work(&self, step: &Step) -> Work {
        let op = if let Op::Backward(backward) = &step.op { &*backward.of } else { &step.op };
        let rows = step.inputs.last().or(step.outputs.first()).map_or(0, |id| self.rows(*id)) as u64;
        let operations = if matches!(op, Op::Linear(_) | Op::ExpertLinear(_)) {
            rows * step.op.flops(self.plan, &step.inputs, 0)
        } else if matches!(op, Op::Attend(_)) {
            let seen = |length: u64| length * (length + 1) / 2;
            let pairs: u64 = self.buffers.sequences.iter().map(|range| seen(range.len() as u64)).sum();
            pairs * step.op.flops(self.plan, &step.inputs, 1)
        } else {
            0
        };
        Work { operations, bytes: 0 }
    }
}
