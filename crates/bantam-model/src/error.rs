//! What can be wrong with a checkpoint's description.

use std::path::PathBuf;

use thiserror::Error;

/// A checkpoint that cannot be understood, or contradicts itself.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// No family of ours claims it.
    #[error("unknown model family `{found}`; known: {known}")]
    UnknownFamily {
        /// `general.architecture` or the entry of `architectures`.
        found: String,
        /// Names of the families known for this kind of file.
        known: String,
    },
    /// A setting that must be there is not.
    #[error("setting `{key}` is missing")]
    MissingSetting {
        /// Its key.
        key: String,
    },
    /// A setting with a value of the wrong kind or out of range.
    #[error("setting `{key}`: expected {expected}, found {found}")]
    Setting {
        /// Its key.
        key: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// Settings nobody here understands: running without them could be silently wrong.
    #[error("not understood by {reader}: {keys}; a model is only run when every setting is understood")]
    UnknownSettings {
        /// Who read the rest: the family, or the nested setting they stand in.
        reader: String,
        /// The keys with their values.
        keys: String,
    },
    /// A tensor that the model does not use.
    #[error("tensor `{name}` is not part of the model as family `{family}` describes it")]
    UnknownTensor {
        /// Its name in the file.
        name: String,
        /// The family.
        family: &'static str,
    },
    /// A tensor that the model needs and the file lacks.
    #[error("tensor `{name}` is missing")]
    MissingTensor {
        /// Its name as the file would call it.
        name: String,
    },
    /// Settings and tensors disagree on the number of layers.
    #[error("the settings speak of {settings} layers, the tensors of {tensors}")]
    Layers {
        /// Layers by the settings.
        settings: usize,
        /// Layers by the tensors' names.
        tensors: usize,
    },
    /// A tensor of the wrong extents.
    #[error("tensor `{name}`: expected {expected}, found {found}")]
    TensorShape {
        /// Its name in the file.
        name: String,
        /// Extents the settings call for.
        expected: String,
        /// Extents found.
        found: String,
    },
    /// A tensor in a format we cannot decode.
    #[error("tensor `{name}` has type {found}, which Bantam cannot decode")]
    TensorType {
        /// Its name in the file.
        name: String,
        /// Name or number of the type.
        found: String,
    },
    /// Another form of the model could not say all that it is.
    #[error("{target} has no way to say what this model is: {what}")]
    Inexpressible {
        /// The form: GGUF, or `config.json`.
        target: &'static str,
        /// What it cannot say.
        what: String,
    },
    /// The settings contradict each other.
    #[error(transparent)]
    Plan(#[from] bantam_plan::PlanError),
    /// The file itself is damaged.
    #[error(transparent)]
    Format(#[from] bantam_formats::FormatError),
    /// The file cannot be read.
    #[error("cannot read {path}: {problem}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        problem: String,
    },
}
