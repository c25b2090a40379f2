//! What stands beside the weights of a directory: tokenizer, templates, modules, licence.

use std::path::{Path, PathBuf};

use bantam_formats::FormatError;

use crate::source::Files;
use crate::{ConvertError, Report};

/// Folders in folders that are looked into.
const DEEPEST: usize = 8;
/// Weights in forms that the model was not read from: copies of the same, which would not be what was asked for.
const OTHER_FORMS: &[&str] = &[".gguf", ".onnx", ".onnx_data", ".h5", ".msgpack", ".ot", ".part"];
/// The same, where they stand beside the model's own weights and not in a module's folder.
const OTHER_FORMS_BESIDE: &[&str] = &[".safetensors", ".bin", ".pt", ".pth", ".index.json"];

/// A file to be copied.
pub(crate) struct Beside {
    from: PathBuf,
    /// Its place in the target.
    name: PathBuf,
    pub(crate) bytes: u64,
}

/// Every file but the weights that were read, their index and `config.json`; what is left out is said by name.
pub(crate) fn list(directory: &Path, read: &Files, report: &mut Report) -> Result<Vec<Beside>, ConvertError> {
    let (mut found, mut left_out) = (Vec::new(), Vec::new());
    let weights: Vec<PathBuf> = read.paths().map(Path::to_owned).collect();
    look(directory, Path::new(""), &weights, 0, &mut found, &mut left_out)?;
    left_out.sort();
    left_out.into_iter().for_each(|(name, why)| report.note(format!("{} is left out: {why}", name.display())));
    Ok(found)
}

fn look(
    directory: &Path,
    inside: &Path,
    weights: &[PathBuf],
    depth: usize,
    found: &mut Vec<Beside>,
    left_out: &mut Vec<(PathBuf, &'static str)>,
) -> Result<(), ConvertError> {
    let folder = directory.join(inside);
    let failed = |source| FormatError::Io { action: "read", path: folder.clone(), source };
    for entry in std::fs::read_dir(&folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(file_name) = path.file_name() else { continue };
        let (name, text) = (inside.join(file_name), file_name.to_string_lossy());
        // What tools keep beside a model (`.git`, `.cache`) is none of it.
        let own = depth == 0 && (text == "config.json" || text == "model.safetensors.index.json");
        if text.starts_with('.') || own || weights.contains(&path) {
            continue;
        }
        let ends = |list: &[&str]| list.iter().any(|end| text.ends_with(end));
        let other = ends(OTHER_FORMS) || depth == 0 && ends(OTHER_FORMS_BESIDE) && !text.starts_with("adapter");
        match std::fs::metadata(&path) {
            Ok(file) if file.is_dir() && depth >= DEEPEST => left_out.push((name, "it is in too many folders")),
            Ok(file) if file.is_dir() => look(directory, &name, weights, depth + 1, found, left_out)?,
            Ok(_) if other => left_out.push((name, "it has weights in a form that was not read")),
            Ok(file) if file.is_file() => found.push(Beside { from: path, name, bytes: file.len() }),
            Ok(_) => left_out.push((name, "it is no file")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                left_out.push((name, "it is a link to nothing"));
            }
            Err(source) => return Err(FormatError::Io { action: "read", path, source }.into()),
        }
    }
    Ok(())
}

/// Copies the files into the new directory.
pub(crate) fn copy(files: &[Beside], into: &Path) -> Result<(), ConvertError> {
    for file in files {
        let to = into.join(&file.name);
        let failed = |source| FormatError::Io { action: "write", path: to.clone(), source };
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut from = std::fs::File::open(&file.from).map_err(|source| FormatError::Io {
            action: "read",
            path: file.from.clone(),
            source,
        })?;
        let mut made = std::fs::File::create(&to).map_err(failed)?;
        std::io::copy(&mut from, &mut made).and_then(|_| made.sync_all()).map_err(failed)?;
    }
    Ok(())
}
