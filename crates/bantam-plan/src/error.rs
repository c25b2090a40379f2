//! What can be wrong with a Plan, a batch or the weights given to it.

use thiserror::Error;

/// A Plan that does not hold together, or a batch or weights that do not fit it.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanError {
    /// The widths of a step's inputs, weights and parameters contradict each other.
    #[error("step `{step}`: expected {expected}, found {found}")]
    Shape {
        /// Name of the op or of the value it makes.
        step: String,
        /// What the op needs.
        expected: String,
        /// What it was given.
        found: String,
    },
    /// A value is read before a step has written it, or written twice.
    #[error("value `{value}` is {problem}")]
    Order {
        /// Name of the value.
        value: String,
        /// "read before it is written" or "written twice".
        problem: &'static str,
    },
    /// A weight the Plan names is not among the weights given.
    #[error("weight `{name}` is missing")]
    MissingWeight {
        /// GGUF name of the tensor.
        name: String,
    },
    /// A weight has other extents than the Plan expects.
    #[error("weight `{name}`: expected {expected_rows} × {expected_width}, found {rows} × {width}")]
    WeightShape {
        /// GGUF name of the tensor.
        name: String,
        /// Rows (outputs) the Plan expects.
        expected_rows: usize,
        /// Width (inputs) the Plan expects.
        expected_width: usize,
        /// Rows found.
        rows: usize,
        /// Width found.
        width: usize,
    },
    /// The bytes of a weight cannot be decoded.
    #[error("weight `{name}`: {problem}")]
    WeightBytes {
        /// GGUF name of the tensor.
        name: String,
        /// What its format said.
        problem: String,
    },
    /// The batch asks for something the Plan or its memory cannot do.
    #[error("batch: {0}")]
    Batch(String),
    /// A rewrite does not apply to this Plan.
    #[error("rewrite `{rewrite}`: {problem}")]
    Rewrite {
        /// Name of the rewrite.
        rewrite: &'static str,
        /// Why it does not apply.
        problem: String,
    },
    /// The backend cannot run a step.
    #[error("backend `{backend}` cannot run step `{step}`: {problem}")]
    Unsupported {
        /// Name of the backend.
        backend: &'static str,
        /// Name of the step.
        step: String,
        /// Why.
        problem: String,
    },
    /// Memory for weights, activations or the paged memory could not be had.
    #[error("not enough memory for {what}: {bytes} bytes")]
    OutOfMemory {
        /// What the memory was for.
        what: &'static str,
        /// How much was asked for.
        bytes: u64,
    },
    /// The model's heads do not fit the number format of keys and values.
    #[error("{0}")]
    Cache(String),
    /// Someone asked to stop.
    #[error("interrupted")]
    Interrupted,
}
