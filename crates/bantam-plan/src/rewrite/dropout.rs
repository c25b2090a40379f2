//! `with_dropout`: leaves numbers out at random while every weight is trained.

use crate::{Dropout, Op, Plan, PlanError, Step, ValueId};

/// Puts dropout behind each embedding and on what each part of a layer adds to the stream of its rows (residual dropout,
/// Vaswani et al. 2017, section 5.4).
///
/// The stream is what an embedding gives, and sums, norms and scalings of it; whatever else is added to it is a part's.
pub fn with_dropout(plan: &Plan, rate: f32) -> Result<Plan, PlanError> {
    let mut out = plan.clone();
    out.steps.clear();
    let mut in_stream = vec![false; plan.values.len()];
    let mut places = 0;
    for step in &plan.steps {
        let mut step = step.clone();
        let of_stream = |id: &ValueId| in_stream.get(id.0).copied().unwrap_or(false);
        let goes_on = match &step.op {
            Op::Embed(_) => true,
            Op::Norm(_) | Op::Scale(_) | Op::Add(_) | Op::Dropout(_) => step.inputs.iter().any(of_stream),
            Op::Linear(_)
            | Op::Rope(_)
            | Op::Attend(_)
            | Op::Glu(_)
            | Op::Activate(_)
            | Op::Softcap(_)
            | Op::Select(_)
            | Op::Route(_)
            | Op::Spread(_)
            | Op::ExpertLinear(_)
            | Op::Combine(_)
            | Op::Magnitude(_)
            | Op::Loss(_)
            | Op::Observe(_)
            | Op::Backward(_) => false,
        };
        let joins = goes_on && matches!(step.op, Op::Add(_));
        let added: Vec<usize> = (0..step.inputs.len()).filter(|&n| joins && !of_stream(&step.inputs[n])).collect();
        step.outputs.iter().for_each(|id| in_stream[id.0] = goes_on);
        out.current_layer = step.layer;
        let mut drop = |out: &mut Plan, id: ValueId| {
            let name = format!("{} dropout", out.get(id).name);
            places += 1;
            out.step(name, Dropout { rate, stream: places }, &[id])
        };
        for n in added {
            step.inputs[n] = drop(&mut out, step.inputs[n])?;
        }
        if let (Op::Embed(_), &[made]) = (&step.op, &step.outputs[..]) {
            // Whoever reads the embedding reads what is left of it.
            let value = out.get(made).clone();
            let whole = out.value(format!("{} whole", value.name), value.rows, value.width);
            out.steps.push(Step { outputs: vec![whole], ..step.clone() });
            places += 1;
            let op = Dropout { rate, stream: places }.into();
            out.steps.push(Step { op, inputs: vec![whole], outputs: vec![made], layer: step.layer });
        } else {
            out.steps.push(step);
        }
    }
    if places == 0 {
        let problem = "the plan has no embedding".to_owned();
        return Err(PlanError::Rewrite { rewrite: "with_dropout", problem });
    }
    out.check()?;
    Ok(out)
}
