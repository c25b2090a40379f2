//! What a conversion did.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bantam_tensor::TensorType;
use serde::Serialize;

/// What was written, and what could not be kept as it was.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The model that was read.
    pub source: PathBuf,
    /// What was asked to be written.
    pub target: PathBuf,
    /// Every file that was written, in order.
    pub files: Vec<WrittenFile>,
    /// Tensors by their format in the target.
    pub types: BTreeMap<String, TypeCount>,
    /// What differs from the source, or from what was asked for, one sentence each.
    pub notes: Vec<String>,
}

/// One file of the target.
#[derive(Clone, Debug, Serialize)]
pub struct WrittenFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
}

/// How much of a model is in one format.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct TypeCount {
    /// Tensors.
    pub tensors: u64,
    /// Bytes of their data.
    pub bytes: u64,
}

impl Report {
    /// Counts a tensor.
    pub(crate) fn count(&mut self, name: &str, bytes: u64) {
        let count = self.types.entry(name.to_owned()).or_default();
        count.tensors += 1;
        count.bytes += bytes;
    }

    /// Says something once.
    pub(crate) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Says that several tensors share a fate, naming the first few.
    pub(crate) fn note_tensors(&mut self, names: &[String], fate: &str) {
        let Some(first) = names.first() else { return };
        let note = match names.len() {
            1 => format!("tensor {first} {fate}"),
            2 => format!("tensors {first} and {} {fate}", names[1]),
            count => format!("{count} tensors ({first}, {}, …) {fate}", names[1]),
        };
        self.note(note);
    }
}

/// The format most of a model's matrices have, as `config.json` and safetensors name it.
pub(crate) fn torch_name(tensor_type: TensorType) -> Option<&'static str> {
    // Other formats are none of PyTorch's.
    match tensor_type.name() {
        "F32" => Some("float32"),
        "F16" => Some("float16"),
        "BF16" => Some("bfloat16"),
        _ => None,
    }
}
