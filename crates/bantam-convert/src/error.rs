//! Why a model was not converted.

use std::path::PathBuf;

/// A conversion that was refused or failed: one sentence that says what was expected, what was found, where.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// A file is damaged, missing, or cannot be written.
    #[error(transparent)]
    Format(#[from] bantam_formats::FormatError),
    /// The model is not understood, or the target cannot say what it is.
    #[error("{}: {error}", path.display())]
    Model {
        /// The source.
        path: PathBuf,
        /// What is wrong.
        error: bantam_model::ModelError,
    },
    /// The tokenizer is not understood, or the target cannot hold it.
    #[error("{}: {error}", path.display())]
    Text {
        /// The source.
        path: PathBuf,
        /// What is wrong.
        error: bantam_text::TextError,
    },
    /// A tensor's numbers cannot be had, or not written in that format.
    #[error("tensor `{name}`: {error}")]
    Tensor {
        /// Its name in the source.
        name: String,
        /// What is wrong.
        error: bantam_tensor::TensorError,
    },
    /// A tensor is stored in a way that is not decoded here.
    #[error("tensor `{name}` is stored as {stored_as}, which cannot be converted")]
    Undecodable {
        /// Its name in the source.
        name: String,
        /// Name of the format.
        stored_as: String,
    },
    /// Something is there already.
    #[error("{} is there already; --force replaces it", path.display())]
    Exists {
        /// The target.
        path: PathBuf,
    },
    /// The target is the source, or lies in it.
    #[error("{} is part of the model that is read; it is never written to", path.display())]
    IsSource {
        /// The target.
        path: PathBuf,
    },
    /// The disk has no room.
    #[error("{} needs {needed} bytes, but only {available} are free there", path.display())]
    Space {
        /// The target.
        path: PathBuf,
        /// Bytes it will have.
        needed: u64,
        /// Bytes the file system has left.
        available: u64,
    },
    /// What is asked for makes no sense for this source.
    #[error("{0}")]
    Request(String),
    /// The caller stopped it.
    #[error("interrupted")]
    Interrupted,
}
