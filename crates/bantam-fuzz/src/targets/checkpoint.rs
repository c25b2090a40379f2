//! Whole checkpoints: settings and tensors of a GGUF file, and a `config.json` beside undamaged weights.

use bantam_formats::gguf::{Gguf, SplitGguf};
use bantam_formats::safetensors::SafeTensors;
use bantam_model::{Checkpoint, Tensor};
use bantam_tensor::SharedBytes;
use bantam_testkit::mutate::Region;

use super::Target;

pub(super) const GGUF: Target = Target {
    name: "checkpoint",
    about: "a whole GGUF model as far as its Plan",
    seeds: || vec![MODEL.to_vec(), SCALED_MODEL.to_vec()],
    text: false,
    region: super::gguf::region,
    take: take_gguf,
};

pub(super) const CONFIG: Target = Target {
    name: "config",
    about: "config.json beside whole weights, as far as the Plan",
    seeds: || vec![CONFIG_JSON.to_vec()],
    text: false,
    region: |bytes| Region { range: 0..bytes.len(), percent: 100 },
    take: take_config,
};

pub(super) const MODEL: &[u8] = include_bytes!("../../../bantam-testkit/goldens/tiny-llama-a/model.gguf");
pub(super) const SCALED_MODEL: &[u8] = include_bytes!("../../../bantam-testkit/goldens/tiny-llama-c/model.gguf");
pub(super) const CONFIG_JSON: &[u8] = include_bytes!("../../../bantam-testkit/goldens/tiny-llama-c/config.json");
pub(super) const CONFIG_WEIGHTS: &[u8] =
    include_bytes!("../../../bantam-testkit/goldens/tiny-llama-c/model.safetensors");

fn take_gguf(bytes: &[u8]) -> bool {
    let Ok(model) = Gguf::parse(bytes).and_then(|gguf| SplitGguf::new(vec![gguf])) else { return false };
    Checkpoint::from_gguf(&model, &[SharedBytes::from_vec(bytes.to_vec())]).is_ok()
}

fn take_config(bytes: &[u8]) -> bool {
    let Ok(config) = serde_json::from_slice(bytes) else { return false };
    Checkpoint::from_hugging_face(&config, config_tensors()).is_ok()
}

/// The whole weights beside a damaged configuration.
pub(super) fn config_tensors() -> Vec<Tensor> {
    let weights = SharedBytes::from_vec(CONFIG_WEIGHTS.to_vec());
    let Ok(file) = SafeTensors::parse(&weights) else { return Vec::new() };
    let tensors = file.tensors().iter().filter_map(|tensor| {
        Some(Tensor {
            file_name: tensor.name.clone(),
            tensor_type: tensor.dtype.tensor_type().ok_or_else(|| tensor.dtype.name().to_owned()),
            shape: tensor.shape.iter().map(|&size| size as usize).collect(),
            bytes: weights.slice(tensor.range.clone())?,
        })
    });
    tensors.collect()
}
