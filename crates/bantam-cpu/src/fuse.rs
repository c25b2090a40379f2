//! Which steps run as one, and which write over what they read.

use bantam_plan::{Op, Plan, Step, ValueId};

/// Whether norms and gates are quantized as they are made. Off: the kernels that do so are many times slower than the steps
/// one after the other, as docs/performance.md says.
const ON_THE_WAY: bool = false;

/// What was found to fuse in a Plan.
pub(crate) struct Fusions {
    /// By step: a linear whose result is only added to the stream, by the step after it, which is then left out.
    adds_to: Vec<Option<ValueId>>,
    /// By step: left out, since the step before does it.
    absorbed: Vec<bool>,
    /// By step: its result is only wanted in int8.
    quantized: Vec<bool>,
}

impl Fusions {
    /// Looks the Plan through; `int8` says of each weight whether it is multiplied with rows quantized to int8.
    pub(crate) fn of(plan: &Plan, int8: &[bool]) -> Self {
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
        // The int8 form lasts until the next one is made: those who read it must follow at once.
        let by_int8 = |step: &Step, of: ValueId| {
            matches!(&step.op, Op::Linear(linear) if int8[linear.weight.0]) && step.inputs[..] == [of]
        };
        let quantized = plan.steps.iter().enumerate().map(|(index, step)| {
            let &[made] = &step.outputs[..] else { return false };
            let whole = match &step.op {
                Op::Norm(norm) => norm.groups == 1 && !norm.has_own(plan),
                Op::Glu(_) => true,
                Op::Embed(_)
                | Op::Linear(_)
                | Op::Rope(_)
                | Op::Attend(_)
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
                | Op::Backward(_) => false,
            };
            let readers = plan.steps[index + 1..]
                .iter()
                .enumerate()
                .take_while(|(n, step)| by_int8(step, made) || absorbed[index + 1 + n]);
            let readers = readers.filter(|(_, step)| by_int8(step, made)).count();
            ON_THE_WAY && whole && readers > 0 && readers == reads[made.0] && plan.output != Some(made)
        });
        let quantized = quantized.collect();
        Self { adds_to, absorbed, quantized }
    }

    /// Whether a step's result is wanted in int8 only, by the products right after it.
    pub(crate) fn is_quantized(&self, step: usize) -> bool {
        self.quantized[step]
    }

    /// The stream a linear's result is added to in place.
    pub(crate) fn adds_to(&self, step: usize) -> Option<ValueId> {
        self.adds_to[step]
    }

    /// Whether the step before does this one.
    pub(crate) fn is_absorbed(&self, step: usize) -> bool {
        self.absorbed[step]
    }

    /// The input a step writes over.
    pub(crate) fn in_place(&self, index: usize, step: &Step) -> Option<ValueId> {
        match step.op {
            Op::Rope(_) => step.inputs.first().copied(),
            Op::Add(_) if self.absorbed[index] => step.inputs.first().copied(),
            // Not written at all.
            Op::Glu(_) if self.quantized[index] => step.inputs.first().copied(),
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
