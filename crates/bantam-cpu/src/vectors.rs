//! Which weights are vectors kept as f32 (norms, biases) rather than matrices.

use bantam_plan::{Op, Plan, PlanError, WeightId, WeightView};

/// All numbers of the weight called `name`, row after row.
pub(crate) fn decoded(name: &str, view: &WeightView) -> Result<Vec<f32>, PlanError> {
    let mut values = vec![0.0; view.rows * view.width];
    match view.tensor_type.decode(&view.bytes, &mut values) {
        Ok(()) => Ok(values),
        Err(error) => Err(PlanError::WeightBytes { name: name.to_owned(), problem: error.to_string() }),
    }
}

/// By weight: whether some step reads it as a vector.
pub(crate) fn wanted(plan: &Plan) -> Vec<bool> {
    let mut vectors = vec![false; plan.weights.len()];
    let mut mark = |id: Option<WeightId>| {
        if let Some(id) = id {
            vectors[id.0] = true;
        }
    };
    for step in &plan.steps {
        match &step.op {
            Op::Norm(norm) => {
                mark(norm.weight);
                mark(norm.bias);
            }
            Op::Linear(linear) => mark(linear.bias),
            Op::Magnitude(magnitude) => {
                mark(Some(magnitude.magnitude));
                mark(magnitude.bias);
            }
            Op::Embed(_)
            | Op::Rope(_)
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
            | Op::Backward(_) => {}
        }
    }
    vectors
}
