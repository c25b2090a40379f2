//! What a path given as a model is: a GGUF file, the first part of a split one, or a Hugging Face directory.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{FormatError, quoted, quoted_bytes};
use crate::huggingface::HfFile;

/// What the first bytes of a file say it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// No bytes.
    Empty,
    /// GGUF, any version and byte order.
    Gguf,
    /// One of the formats before GGUF, by its name.
    Legacy(&'static str),
    /// Safetensors: a length and a JSON object.
    Safetensors,
    /// The small text file that Git LFS leaves in place of a large one.
    LfsPointer,
    /// A web page: usually an error page saved under the model's name.
    Html,
    /// A zip archive, the form of PyTorch checkpoints.
    Zip,
    /// A JSON text.
    Json,
    /// Something else; its first bytes, of which the second field counts how many there are.
    Unknown([u8; 4], u8),
}

impl FileKind {
    /// Looks at the first bytes of a file; 64 are enough.
    pub fn of(bytes: &[u8]) -> Self {
        const LEGACY: [(&[u8; 4], &str); 5] =
            [(b"lmgg", "ggml"), (b"fmgg", "ggmf"), (b"tjgg", "ggjt"), (b"algg", "ggla"), (b"nsgg", "ggsn")];
        if bytes.is_empty() {
            return Self::Empty;
        }
        if bytes.starts_with(b"GGUF") {
            return Self::Gguf;
        }
        for (magic, name) in LEGACY {
            // Written as a little-endian number, so the letters stand in reverse; a few tools wrote them forward.
            if bytes.starts_with(magic) || bytes.starts_with(name.as_bytes()) {
                return Self::Legacy(name);
            }
        }
        if bytes.starts_with(b"version https://git-lfs") {
            return Self::LfsPointer;
        }
        if bytes.starts_with(b"PK\x03\x04") {
            return Self::Zip;
        }
        if let Some((length, rest)) = bytes.split_first_chunk::<8>()
            && rest.first() == Some(&b'{')
            && u64::from_le_bytes(*length) <= crate::safetensors::MAX_HEADER_BYTES
        {
            return Self::Safetensors;
        }
        let text = bytes.get(..64).unwrap_or(bytes).trim_ascii_start().to_ascii_lowercase();
        if text.starts_with(b"<!doctype") || text.starts_with(b"<html") || text.starts_with(b"<?xml") {
            return Self::Html;
        }
        if text.starts_with(b"{") {
            return Self::Json;
        }
        let mut first = [0; 4];
        for (to, from) in first.iter_mut().zip(bytes) {
            *to = *from;
        }
        Self::Unknown(first, bytes.len().min(4) as u8)
    }

    /// The error for a file of this kind where another was expected.
    pub(crate) fn refused_as(self, expected: &'static str) -> FormatError {
        let found = match self {
            Self::Empty => return FormatError::Empty,
            Self::LfsPointer => {
                return FormatError::NotAModel(
                    "this is a Git LFS pointer, not the model: fetch the real file with `git lfs pull`".to_owned(),
                );
            }
            Self::Gguf => "GGUF".to_owned(),
            Self::Legacy(name) => format!("the old {name} format, which came before GGUF: convert the model anew"),
            Self::Safetensors => "safetensors".to_owned(),
            Self::Html => "a web page: the download gave a page instead of the file".to_owned(),
            Self::Zip => "a zip archive or PyTorch checkpoint".to_owned(),
            Self::Json => "JSON text".to_owned(),
            Self::Unknown(bytes, length) => {
                let first = bytes.get(..usize::from(length)).unwrap_or(&bytes);
                format!("the bytes {}", quoted_bytes_escaped(first))
            }
        };
        FormatError::WrongKind { expected, found }
    }
}

/// Bytes as text where they are printable ASCII, in hexadecimal where not.
fn quoted_bytes_escaped(bytes: &[u8]) -> String {
    if bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
        return quoted_bytes(bytes);
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// A model that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelReference {
    /// A GGUF file, or the first part of a split one (see [`crate::gguf::split_parts`]).
    Gguf(PathBuf),
    /// A Hugging Face directory (see [`crate::huggingface::HfDirectory`]).
    HuggingFace(PathBuf),
}

impl ModelReference {
    /// The file or directory.
    pub fn path(&self) -> &Path {
        match self {
            Self::Gguf(path) | Self::HuggingFace(path) => path,
        }
    }
}

/// Says which kind of model a path is; a directory that holds one GGUF model and no configuration stands for that model.
///
/// Only names and first bytes are looked at.
///
/// # Errors
///
/// One sentence where there is nothing, or something that is no model, saying what it is and what to do.
pub fn what_is_it(path: &Path) -> Result<ModelReference, FormatError> {
    if crate::embedded::bytes(path).is_some() {
        return Ok(ModelReference::Gguf(path.to_path_buf()));
    }
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if path.to_str().is_some_and(|name| name.starts_with('@')) && crate::embedded::names().next().is_some() {
                let names: Vec<&str> = crate::embedded::names().collect();
                return Err(FormatError::NotAModel(format!(
                    "there is no model {} within Bantam; there is {}",
                    path.display(),
                    names.join(", ")
                )));
            }
            return Err(FormatError::NotAModel(format!("there is no file or directory {}", path.display())));
        }
        Err(error) => return Err(FormatError::io("look at", path, error)),
    };
    if metadata.is_dir() {
        return directory(path);
    }
    if !metadata.is_file() {
        return Err(FormatError::NotAModel(format!("{} is neither a regular file nor a directory", path.display())));
    }
    match sniff(path)? {
        FileKind::Gguf => Ok(ModelReference::Gguf(path.to_path_buf())),
        FileKind::Safetensors => beside_safetensors(path),
        FileKind::Zip => Err(FormatError::NotAModel(format!(
            "{} is a zip archive or PyTorch checkpoint; Bantam reads .gguf files and Hugging Face directories with safetensors",
            path.display()
        ))),
        FileKind::Json if path.file_name().is_some_and(|name| name == HfFile::Config.name()) => {
            Err(FormatError::NotAModel(format!(
                "{} is the configuration of a model; give the directory it lies in",
                path.display()
            )))
        }
        kind => Err(kind.refused_as("model (.gguf)").in_file(path)),
    }
}

/// The kind of a file on disk.
fn sniff(path: &Path) -> Result<FileKind, FormatError> {
    let file = File::open(path).map_err(|error| FormatError::io("open", path, error))?;
    let mut first = Vec::new();
    file.take(64).read_to_end(&mut first).map_err(|error| FormatError::io("read", path, error))?;
    Ok(FileKind::of(&first))
}

/// A `.safetensors` file: the directory it lies in, where that is a model whose only weights these are.
fn beside_safetensors(path: &Path) -> Result<ModelReference, FormatError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !directory.join(HfFile::Config.name()).is_file() {
        return Err(FormatError::NotAModel(format!(
            "{} holds only weights; a model also needs {} beside it",
            path.display(),
            HfFile::Config.name()
        )));
    }
    if path.file_name().is_some_and(|name| name == "model.safetensors") {
        return Ok(ModelReference::HuggingFace(directory.to_path_buf()));
    }
    Err(FormatError::NotAModel(format!(
        "{} is one file of a Hugging Face directory; give the directory {}",
        path.display(),
        directory.display()
    )))
}

fn directory(path: &Path) -> Result<ModelReference, FormatError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|error| FormatError::io("list", path, error))? {
        let entry = entry.map_err(|error| FormatError::io("list", path, error))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let has = |name: &str| names.iter().any(|other| other == name);
    let safetensors = names.iter().any(|name| name.ends_with(".safetensors"));
    // Of a split model only the first part counts.
    let models: Vec<&String> = names
        .iter()
        .filter(|name| name.ends_with(".gguf"))
        .filter(|name| crate::gguf::split_name(name).is_none_or(|(_, number, _)| number == 1))
        .collect();
    if has(HfFile::Config.name()) && (safetensors || models.is_empty()) {
        return Ok(ModelReference::HuggingFace(path.to_path_buf()));
    }
    match models.as_slice() {
        [only] => Ok(ModelReference::Gguf(path.join(only))),
        [] if safetensors => Err(FormatError::NotAModel(format!(
            "{} has weights but no {}; a Hugging Face directory needs it",
            path.display(),
            HfFile::Config.name()
        ))),
        [] => Err(FormatError::NotAModel(format!(
            "{} holds neither a {} nor a .gguf file",
            path.display(),
            HfFile::Config.name()
        ))),
        several => {
            let listed: Vec<String> = several.iter().take(4).map(|name| quoted(name)).collect();
            let more = if several.len() > 4 { ", …" } else { "" };
            Err(FormatError::NotAModel(format!(
                "{} holds {} GGUF models ({}{more}); give one of them",
                path.display(),
                several.len(),
                listed.join(", ")
            )))
        }
    }
}
