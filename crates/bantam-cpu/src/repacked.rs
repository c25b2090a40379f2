//! Weights whose repacked form was kept from an earlier time.

use bantam_kernels::{Isa, Matrix, Pool};
use bantam_plan::{Plan, PlanError, Weight, Weights, fetch_weight};
use bantam_tensor::{SharedBytes, TensorType};

use crate::vectors;

/// A weight in the form that this processor's products read.
#[derive(Clone, Debug)]
pub struct RepackedWeight {
    /// The format it was repacked from.
    pub tensor_type: TensorType,
    /// Of which shape.
    pub rows: usize,
    /// See `rows`.
    pub width: usize,
    /// What [`repack`] gave, from a multiple of 64 on.
    pub bytes: SharedBytes,
}

/// Gives weights that were repacked before, by a Plan's names. One of another shape than the Plan's is not used, wrong bytes are
/// not noticed: whoever gives them vouches for them.
pub trait RepackedWeights: Send + Sync {
    /// The weight of that name, or `None` where it is to be repacked from the model.
    fn weight(&self, name: &str) -> Option<RepackedWeight>;
}

/// Takes a weight's panels; an error stops the repacking.
pub type TakePanels<'a> = dyn FnMut(&Weight, TensorType, &[u8]) -> Result<(), PlanError> + 'a;

/// Repacks every matrix in a block format and shows it to `take`, one after the other.
///
/// # Errors
/// A weight that is missing or damaged, or what `take` says.
pub fn repack(
    plan: &Plan,
    weights: &dyn Weights,
    isa: Isa,
    pool: &Pool,
    take: &mut TakePanels<'_>,
) -> Result<(), PlanError> {
    plan.check()?;
    for (weight, is_vector) in plan.weights.iter().zip(vectors::wanted(plan)) {
        if is_vector {
            continue;
        }
        let view = fetch_weight(weights, weight)?;
        let matrix = Matrix::new(view.tensor_type, view.rows, view.width, view.bytes, isa, pool);
        let matrix = matrix.map_err(|error| crate::compile::kernel_error(&weight.name, error))?;
        if let Some(panels) = matrix.panels() {
            take(weight, view.tensor_type, panels)?;
        }
    }
    Ok(())
}
