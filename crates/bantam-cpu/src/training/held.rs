//! Weights of a training program: frozen as the file has them, or trained in f32.

use bantam_kernels::{Isa, Matrix, Pool, Precision, WeightRows};
use bantam_plan::{Plan, PlanError, Weights, fetch_weight};
use bantam_tensor::Nf4;

use super::nf4;
use crate::compile::kernel_error;
use crate::vectors;

/// One weight.
pub(crate) enum Held {
    /// A matrix that gradients pass through.
    Frozen(Matrix),
    /// Such a matrix held as NF4.
    Nf4(Nf4),
    /// A vector (a norm's factor, a bias) that is not trained.
    Vector(Vec<f32>),
    /// A weight that is trained.
    Trained(Trained),
}

/// A trained weight and its gradient.
pub(crate) struct Trained {
    pub(crate) values: Vec<f32>,
    pub(crate) gradient: Vec<f32>,
}

impl Held {
    /// Loads all weights of a Plan.
    pub(crate) fn all(
        plan: &Plan,
        weights: &dyn Weights,
        (pool, isa, precision): (&Pool, Isa, Precision),
        as_nf4: bool,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Vec<Self>, PlanError> {
        let mut held = Vec::with_capacity(plan.weights.len());
        let as_nf4: Vec<bool> = nf4::wanted(plan).into_iter().map(|wanted| wanted && as_nf4).collect();
        for ((weight, is_vector), as_nf4) in plan.weights.iter().zip(vectors::wanted(plan)).zip(as_nf4) {
            let view = fetch_weight(weights, weight)?;
            let stored = view.bytes.len();
            held.push(if weight.trainable || is_vector {
                let values = vectors::decoded(&weight.name, &view)?;
                // They stand here now; a mapped file's pages need not stay beside them.
                view.bytes.done_with(0..view.bytes.len());
                match weight.trainable {
                    true => Self::Trained(Trained { gradient: vec![0.0; values.len()], values }),
                    false => Self::Vector(values),
                }
            } else if as_nf4 {
                Self::Nf4(nf4::encode(&weight.name, &view)?)
            } else {
                let (tensor_type, rows, width) = (view.tensor_type, view.rows, view.width);
                let matrix = Matrix::with_precision(precision, tensor_type, rows, width, view.bytes, isa, pool);
                Self::Frozen(matrix.map_err(|error| kernel_error(&weight.name, error))?)
            });
            if !progress(stored as u64) {
                return Err(PlanError::Interrupted);
            }
        }
        Ok(held)
    }

    /// The numbers of a vector, or of a trained weight.
    pub(crate) fn values(&self) -> &[f32] {
        match self {
            Self::Vector(values) => values,
            Self::Trained(trained) => &trained.values,
            Self::Frozen(_) | Self::Nf4(_) => &[],
        }
    }

    /// As the backward of a product wants it.
    pub(crate) fn rows(&self) -> WeightRows<'_> {
        match self {
            Self::Frozen(matrix) => WeightRows::Frozen(matrix),
            // It has products of its own.
            Self::Nf4(_) => WeightRows::Trained(&[]),
            Self::Vector(values) => WeightRows::Trained(values),
            Self::Trained(trained) => WeightRows::Trained(&trained.values),
        }
    }

    /// Where its gradient is gathered, if it is trained.
    pub(crate) fn gradient(&mut self) -> Option<&mut [f32]> {
        match self {
            Self::Trained(trained) => Some(&mut trained.gradient),
            Self::Frozen(_) | Self::Nf4(_) | Self::Vector(_) => None,
        }
    }
}
