//! What can be wrong with a request of this crate.

use crate::TensorType;

/// An error of layout, decoding or encoding: what was expected, what was found.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TensorError {
    /// A row does not end at the end of a block.
    #[error(
        "{} stores rows in blocks of {}, and a row of {width} is no multiple of that",
        .tensor_type.name(),
        .tensor_type.block_len()
    )]
    RowWidth {
        /// Type of the tensor.
        tensor_type: TensorType,
        /// Elements in the row.
        width: usize,
    },
    /// The tensor has more bytes than can be addressed.
    #[error("a {} tensor of {rows} rows of {width} has more bytes than this machine can address", .tensor_type.name())]
    TooLarge {
        /// Type of the tensor.
        tensor_type: TensorType,
        /// Rows of the tensor.
        rows: usize,
        /// Elements in a row.
        width: usize,
    },
    /// Bytes and elements handed over do not belong together.
    #[error("{elements} elements of {} take {expected} bytes, not {found}", .tensor_type.name())]
    ByteLength {
        /// Type of the tensor.
        tensor_type: TensorType,
        /// Elements asked for.
        elements: usize,
        /// Bytes they take.
        expected: usize,
        /// Bytes handed over.
        found: usize,
    },
    /// A block format has a scale and no room for infinities or NaN.
    #[error("{} holds finite numbers only, and element {index} is {value}", .tensor_type.name())]
    NotFinite {
        /// Type to encode to.
        tensor_type: TensorType,
        /// Which element.
        index: usize,
        /// What it is.
        value: f32,
    },
    /// The format is read, not written.
    #[error("{} can be read but not written", .tensor_type.name())]
    CannotEncode {
        /// Type to encode to.
        tensor_type: TensorType,
    },
}
