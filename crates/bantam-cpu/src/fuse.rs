//! Which steps run as one, and which write over what they read.

use bantam_plan::{Op, Plan, Step, ValueId};

/// What was found to fuse in a Plan.
pub(crate) struct Fusions {
    /// By step: a linear whose result is only added to the stream, by the step after it, which is then left out.
    adds_to: Vec<Option<ValueId>>,
    /// By step: left out, since the step before does it.
    absorbed: Vec<bool>,
    /// By step: a gated activation that alone reads what it gates.
    gates_alone: Vec<bool>,
}

impl Fusions {
    /// Looks the Plan through.
    pub(crate) fn of(plan: &Plan) -> Self {
        let mut reads = vec![0usize; plan.values.len()];
        let mut last_read = vec![0usize; plan.values.len()];
        for (index, step) in plan.steps.iter().enumerate() {
            for id in &step.inputs {
                reads[id.0] += 1;
                last_read[id.0] = index;
            }
        }
        let mut adds_to = vec![None; plan.steps.len()];
        let mut absorbed = vec![false; plan.steps.len()];
        for (index, pair) in plan.steps.windows(2).enumerate() {
            let (Op::Linear(_), Op::Add(_)) = (&pair[0].op, &pair[1].op) else { continue };
            let (&[made], &[stream, added]) = (&pair[0].outputs[..], &pair[1].inputs[..]) else { continue };
            let only_here = reads[made.0] == 1 && plan.output != Some(made);
            let dies_here = last_read[stream.0] == index + 1 && reads[stream.0] > 0 && plan.output != Some(stream);
            // The product must not read what it writes.
            if added == made && stream != made && only_here && dies_here && !pair[0].inputs.contains(&stream) {
                adds_to[index] = Some(stream);
                absorbed[index + 1] = true;
            }
        }
        let alone = |id: &ValueId| reads[id.0] == 1 && plan.output != Some(*id);
        let gates_alone = |step: &Step| matches!(step.op, Op::Glu(_)) && step.inputs.iter().all(alone);
        let gates_alone = plan.steps.iter().map(gates_alone).collect();
        Self { adds_to, absorbed, gates_alone }
    }

    /// The stream a linear's result is added to in place.
    pub(crate) fn adds_to(&self, step: usize) -> Option<ValueId> {
        self.adds_to[step]
    }

    /// Whether the step before does this one.
    pub(crate) fn is_absorbed(&self, step: usize) -> bool {
        self.absorbed[step]
    }

    /// Whether nobody else reads what a gated activation reads.
    pub(crate) fn gates_alone(&self, step: usize) -> bool {
        self.gates_alone[step]
    }

    /// The input a step writes over.
    pub(crate) fn in_place(&self, index: usize, step: &Step) -> Option<ValueId> {
        match step.op {
            Op::Rope(_) | Op::Magnitude(_) => step.inputs.first().copied(),
            Op::Add(_) if self.absorbed[index] => step.inputs.first().copied(),
            Op::Embed(_)
            | Op::Norm(_)
            | Op::Linear(_)
            | Op::Attend(_)
            | Op::Glu(_)
            | Op::Activate(_)
            | Op::Add(_)
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
