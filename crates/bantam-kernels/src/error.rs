//! What can be wrong with what the kernels are given.

use bantam_tensor::TensorType;

/// Why a kernel object could not be made.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The bytes of a weight do not fit its shape.
    #[error("a {tensor_type:?} weight of {outputs} rows of {inputs} takes {expected} bytes, found {found}")]
    WeightBytes {
        /// Its format.
        tensor_type: TensorType,
        /// Rows.
        outputs: usize,
        /// Columns.
        inputs: usize,
        /// Bytes of that shape.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// A shape that no memory can hold, or of zero rows or columns.
    #[error("a {tensor_type:?} weight cannot have {outputs} rows of {inputs}")]
    WeightShape {
        /// Its format.
        tensor_type: TensorType,
        /// Rows.
        outputs: usize,
        /// Columns.
        inputs: usize,
    },
    /// A width that the format of keys and values cannot store.
    #[error("keys and values in q8_0 need a head width that is a multiple of 32, found {width} in layer {layer}")]
    HeadWidth {
        /// Columns of a head.
        width: usize,
        /// Which layer.
        layer: usize,
    },
    /// More memory than can be addressed.
    #[error("the sizes of {0} exceed what this machine can address")]
    TooLarge(&'static str),
    /// The system gave no memory.
    #[error("no memory for {bytes} bytes of {what}")]
    OutOfMemory {
        /// What it was for.
        what: &'static str,
        /// How much.
        bytes: usize,
    },
}
