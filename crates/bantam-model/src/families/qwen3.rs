//! Qwen3 (Yang et al. 2025): norms on queries and keys, no biases, heads of a width of their own.

use bantam_plan::RopePairs;

use super::Family;
use super::qwen2::late_windows;
use crate::decoder::decoder;
use crate::names::DECODER_NAMES;
use crate::settings::Settings;
use crate::{ModelError, Spec};

pub(super) const FAMILY: Family = Family {
    name: "qwen3",
    architectures: &["Qwen3ForCausalLM"],
    model_type: "qwen3",
    respelled: &[],
    gguf: &["qwen3"],
    models: "Qwen3 0.6B to 32B; DeepSeek-R1-0528-Qwen3",
    read,
    ignored: &[],
    defaults: &[("use_sliding_window", "false"), ("head_dim", "128")],
    names: &DECODER_NAMES,
    gguf_pairs: RopePairs::Halves,
};

fn read(settings: &mut Settings<'_>) -> Result<Spec, ModelError> {
    let mut spec = decoder(settings)?;
    late_windows(settings, &mut spec)?;
    Ok(spec)
}
