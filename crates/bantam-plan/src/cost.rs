//! What a run costs: floating-point operations and bytes moved, per step.

use crate::{Op, Plan, Rows, Step, ValueId};

/// The run a cost is asked for.
#[derive(Clone, Copy)]
pub struct CostQuestion<'a> {
    /// Rows of tokens.
    pub tokens: u64,
    /// Rows of outputs.
    pub outputs: u64,
    /// Positions each row sees.
    pub context: u64,
    /// Bytes one number of the key-value memory takes, per row: given the numbers, the bytes.
    pub memory_bytes: &'a dyn Fn(usize) -> u64,
    /// Bytes of a weight, by name, rows and width.
    pub weight_bytes: &'a dyn Fn(&str, usize, usize) -> u64,
}

/// Cost of a step or of a Plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Multiplications and additions.
    pub flops: u64,
    /// Bytes of weights read.
    pub weights: u64,
    /// Bytes of activations read and written.
    pub activations: u64,
    /// Bytes of keys and values read and written, each row by itself (blocked attention reads less).
    pub memory: u64,
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.flops += other.flops;
        self.weights += other.weights;
        self.activations += other.activations;
        self.memory += other.memory;
    }
}

/// Cost of one step.
pub fn step_cost(plan: &Plan, step: &Step, question: &CostQuestion<'_>) -> Cost {
    let rows = |id: &ValueId| match plan.get(*id).rows {
        Rows::Tokens => question.tokens,
        Rows::Outputs => question.outputs,
        Rows::Routed(chosen) => question.tokens * chosen as u64,
    };
    let size = |id: &ValueId| rows(id) * plan.get(*id).width as u64 * 4;
    let run_rows = step.outputs.first().or(step.inputs.first()).map_or(0, rows);
    let mut weights = 0;
    // Of experts, at most as many are read as rows go to.
    let experts = if matches!(step.op, Op::ExpertLinear(_)) { run_rows as usize } else { usize::MAX };
    for id in step.op.weights().into_iter().take(experts) {
        let weight = &plan.weights[id.0];
        // An embedding reads the rows of its tokens, not its table.
        let rows = if matches!(step.op, Op::Embed(_)) { question.tokens as usize } else { weight.rows };
        weights += (question.weight_bytes)(&weight.name, rows, weight.width);
    }
    let memory = if let Op::Attend(attend) = &step.op {
        let per_position = (question.memory_bytes)(attend.key_row()) + (question.memory_bytes)(attend.value_row());
        let seen = attend.window.map_or(question.context, |window| question.context.min(window as u64));
        question.tokens * per_position + question.tokens * seen * per_position
    } else {
        0
    };
    Cost {
        flops: run_rows * step.op.flops(plan, &step.inputs, question.context),
        weights,
        activations: step.inputs.iter().chain(&step.outputs).map(size).sum(),
        memory,
    }
}

/// Cost of a whole run.
pub fn total_cost(plan: &Plan, question: &CostQuestion<'_>) -> Cost {
    let mut total = Cost::default();
    plan.steps.iter().for_each(|step| total += step_cost(plan, step, question));
    total
}
