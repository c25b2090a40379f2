//! Loads checkpoints for tests, from files or from changed parts.

use std::path::Path;

use bantam_formats::Gguf;
use bantam_formats::gguf::SplitGguf;
use bantam_formats::huggingface::HfDirectory;
use bantam_formats::safetensors::SafeTensors;
use bantam_model::{Checkpoint, ModelError, Tensor};
use bantam_tensor::SharedBytes;
use serde_json::Value;

/// A Hugging Face directory's parts.
pub fn parts(directory: &Path) -> (Value, Vec<Tensor>) {
    let directory = HfDirectory::open(directory).unwrap();
    let files = directory.weight_files().unwrap();
    let bytes: Vec<SharedBytes> =
        files.paths.iter().map(|path| SharedBytes::from_vec(std::fs::read(path).unwrap())).collect();
    let shards = bytes.iter().map(|bytes| SafeTensors::parse(bytes).unwrap()).collect();
    let assembled = files.assemble(shards).unwrap();
    let tensors = assembled.tensors().map(|(shard, tensor)| Tensor {
        file_name: tensor.name.clone(),
        tensor_type: tensor.dtype.tensor_type().ok_or_else(|| tensor.dtype.name().to_owned()),
        shape: tensor.shape.iter().map(|&n| n as usize).collect(),
        bytes: bytes[shard].slice(tensor.range.clone()).unwrap(),
    });
    (Value::Object(directory.config().clone()), tensors.collect())
}

/// A checkpoint from a Hugging Face directory.
pub fn hugging_face(directory: &Path) -> Checkpoint {
    let (config, tensors) = parts(directory);
    Checkpoint::from_hugging_face(&config, tensors).unwrap()
}

#[allow(dead_code, reason = "crates that share this file use what they need")]
/// A checkpoint from a GGUF file's bytes.
pub fn gguf(bytes: Vec<u8>) -> Result<Checkpoint, ModelError> {
    let model = SplitGguf::new(vec![Gguf::parse(&bytes)?])?;
    Checkpoint::from_gguf(&model, &[SharedBytes::from_vec(bytes)])
}
