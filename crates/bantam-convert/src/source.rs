//! The model that is read: mapped files, of which only what is being converted stays in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bantam_formats::gguf::{Gguf, SplitGguf, split_parts};
use bantam_formats::huggingface::{HfDirectory, ShardedTensors};
use bantam_formats::safetensors::SafeTensors;
use bantam_formats::{FormatError, ModelReference, embedded, what_is_it};
use bantam_kernels::Mapping;
use bantam_model::{Checkpoint, Tensor};
use bantam_tensor::SharedBytes;
use serde_json::Value;

use crate::ConvertError;

/// Files mapped into memory, which can be let go of piece by piece.
#[derive(Default)]
pub(crate) struct Files {
    mapped: Vec<(PathBuf, Arc<Mapping>)>,
}

impl Files {
    fn map(&mut self, path: &Path) -> Result<SharedBytes, ConvertError> {
        if let Some(bytes) = embedded::bytes(path) {
            return Ok(SharedBytes::from_static(bytes));
        }
        let failed = |source| FormatError::Io { action: "read", path: path.to_owned(), source };
        let mapping = Arc::new(Mapping::open(path).map_err(failed)?);
        let length = (*mapping).as_ref().len();
        self.mapped.push((path.to_owned(), Arc::clone(&mapping)));
        Ok(SharedBytes::new(mapping, 0..length).unwrap_or_else(|| SharedBytes::from_vec(Vec::new())))
    }

    /// Lets the system take back the memory of bytes that were read, where they are of one of the files.
    pub(crate) fn done_with(&self, bytes: &[u8]) {
        let at = bytes.as_ptr() as usize;
        for (_, mapping) in &self.mapped {
            let file = (**mapping).as_ref();
            if let Some(start) = at.checked_sub(file.as_ptr() as usize).filter(|start| *start < file.len()) {
                mapping.done_with(start..start.saturating_add(bytes.len()));
            }
        }
    }

    /// The files' paths.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.mapped.iter().map(|(path, _)| path.as_path())
    }
}

/// A GGUF model.
pub(crate) struct GgufSource {
    pub(crate) path: PathBuf,
    pub(crate) model: SplitGguf,
    pub(crate) bytes: Vec<SharedBytes>,
}

/// A Hugging Face directory.
pub(crate) struct DirectorySource {
    pub(crate) directory: HfDirectory,
    pub(crate) tensors: ShardedTensors,
    pub(crate) bytes: Vec<SharedBytes>,
}

/// The model that is read.
pub(crate) enum Source {
    Gguf(GgufSource),
    Directory(DirectorySource),
}

impl Source {
    /// Opens and checks headers.
    pub(crate) fn open(path: &Path) -> Result<(Self, Files), ConvertError> {
        let mut files = Files::default();
        let source = match what_is_it(path)? {
            ModelReference::Gguf(path) => Self::Gguf(open_gguf(path, &mut files)?),
            ModelReference::HuggingFace(path) => Self::Directory(open_directory(&path, &mut files)?),
        };
        Ok((source, files))
    }
}

fn open_gguf(path: PathBuf, files: &mut Files) -> Result<GgufSource, ConvertError> {
    let first_bytes = files.map(&path)?;
    let first = Gguf::parse(&first_bytes).map_err(|error| error.in_file(&path))?;
    let paths = split_parts(&path, &first)?;
    let (mut parts, mut bytes) = (vec![first], vec![first_bytes]);
    for path in paths.iter().skip(1) {
        let mapped = files.map(path)?;
        parts.push(Gguf::parse(&mapped).map_err(|error| error.in_file(path))?);
        bytes.push(mapped);
    }
    let model = SplitGguf::new(parts).map_err(|error| error.in_file(&path))?;
    Ok(GgufSource { path, model, bytes })
}

fn open_directory(path: &Path, files: &mut Files) -> Result<DirectorySource, ConvertError> {
    let directory = HfDirectory::open(path)?;
    let weights = directory.weight_files()?;
    let (mut shards, mut bytes) = (Vec::new(), Vec::new());
    for file in &weights.paths {
        let mapped = files.map(file)?;
        shards.push(SafeTensors::parse(&mapped).map_err(|error| error.in_file(file))?);
        bytes.push(mapped);
    }
    let tensors = weights.assemble(shards)?;
    Ok(DirectorySource { directory, tensors, bytes })
}

impl GgufSource {
    /// What the model is.
    pub(crate) fn checkpoint(&self) -> Result<Checkpoint, ConvertError> {
        Checkpoint::from_gguf(&self.model, &self.bytes)
            .map_err(|error| ConvertError::Model { path: self.path.clone(), error })
    }

    /// A tensor's bytes.
    pub(crate) fn data(&self, part: usize, range: std::ops::Range<usize>) -> SharedBytes {
        let found = self.bytes.get(part).and_then(|bytes| bytes.slice(range));
        found.unwrap_or_else(|| SharedBytes::from_vec(Vec::new()))
    }
}

impl DirectorySource {
    /// A tensor's bytes.
    pub(crate) fn data(&self, shard: usize, range: std::ops::Range<usize>) -> SharedBytes {
        let found = self.bytes.get(shard).and_then(|bytes| bytes.slice(range));
        found.unwrap_or_else(|| SharedBytes::from_vec(Vec::new()))
    }

    /// What the model is.
    pub(crate) fn checkpoint(&self) -> Result<Checkpoint, ConvertError> {
        let tensors = self.tensors.tensors().map(|(shard, tensor)| Tensor {
            file_name: tensor.name.clone(),
            tensor_type: tensor.dtype.tensor_type().ok_or_else(|| tensor.dtype.name().to_owned()),
            shape: tensor.shape.iter().map(|&n| usize::try_from(n).unwrap_or(usize::MAX)).collect(),
            bytes: self.data(shard, tensor.range.clone()),
        });
        let config = self.directory.config_with_quantization(&self.tensors)?;
        Checkpoint::from_hugging_face(&Value::Object(config), tensors.collect())
            .map_err(|error| ConvertError::Model { path: self.directory.path().to_owned(), error })
    }
}
