//! How a Plan's weights are looked up.

use bantam_tensor::{SharedBytes, TensorType};

use crate::{PlanError, Weight};

/// One weight matrix `[rows, width]`, row after row, in its stored format.
#[derive(Clone, Debug)]
pub struct WeightView {
    /// Format of the bytes.
    pub tensor_type: TensorType,
    /// Output features (1 for a vector).
    pub rows: usize,
    /// Input features; a row is a whole number of the format's blocks.
    pub width: usize,
    /// Exactly `rows` rows.
    pub bytes: SharedBytes,
}

/// Gives the weights a Plan names. Names are GGUF's (`blk.0.attn_q.weight`).
pub trait Weights {
    /// The weight of that name, or `None` where there is none.
    fn weight(&self, name: &str) -> Option<WeightView>;
}

/// Looks a Plan's weight up and holds it to the Plan's extents.
pub fn fetch(weights: &dyn Weights, weight: &Weight) -> Result<WeightView, PlanError> {
    let view = weights.weight(&weight.name).ok_or_else(|| PlanError::MissingWeight { name: weight.name.clone() })?;
    if (view.rows, view.width) != (weight.rows, weight.width) {
        return Err(PlanError::WeightShape {
            name: weight.name.clone(),
            expected_rows: weight.rows,
            expected_width: weight.width,
            rows: view.rows,
            width: view.width,
        });
    }
    Ok(view)
}
