//! A new model that begins with all of another: its weights, its tokenizer and its template.

use std::path::{Path, PathBuf};

use bantam_formats::gguf::{Gguf, TensorKind};
use bantam_tensor::TensorType;

use super::{ScratchSpec, weights};
use crate::TrainError;

/// The path of what `begin.model` names, if it names one, which must have the spec's shape and weights of f32.
///
/// # Errors
/// A file that cannot be read, is damaged, or holds another shape or type.
pub fn beginning(spec: &ScratchSpec, directory: &Path) -> Result<Option<PathBuf>, TrainError> {
    let Some(name) = &spec.begin.model else { return Ok(None) };
    let path = directory.join(name);
    let unread = |problem: std::io::Error| TrainError::Read { path: path.clone(), problem: problem.to_string() };
    let bytes = std::fs::read(&path).map_err(unread)?;
    let gguf = Gguf::parse(&bytes).map_err(|error| error.in_file(&path))?;
    let wrong = |problem: String| TrainError::Option(format!("`begin.model`: {}: {problem}", path.display()));
    let vocabulary = gguf.tensor("token_embd.weight").and_then(|tensor| usize::try_from(*tensor.dims.get(1)?).ok());
    let vocabulary = vocabulary.ok_or_else(|| wrong("there is no token_embd.weight".into()))?;
    let expected = weights::tensors(spec, vocabulary);
    for tensor in &expected {
        let dims = tensor.dims();
        let found = gguf.tensor(&tensor.name);
        let found = found.ok_or_else(|| wrong(format!("expected {} {dims:?}, found none", tensor.name)))?;
        if found.dims != dims || found.kind != TensorKind::Known(TensorType::F32) {
            let (kind, others) = (found.kind.name(), &found.dims);
            return Err(wrong(format!("{}: expected F32 {dims:?}, found {kind} {others:?}", tensor.name)));
        }
    }
    let count = gguf.tensors().len();
    if count != expected.len() {
        return Err(wrong(format!("expected {} tensors, found {count}", expected.len())));
    }
    Ok(Some(path))
}
