//! Qwen2 and Qwen2.5 (Yang et al. 2024): biases on queries, keys and values; the distils of DeepSeek-R1 made of them.

use bantam_plan::RopePairs;

use super::Family;
use crate::decoder::decoder;
use crate::names::DECODER_NAMES;
use crate::settings::{Key, Settings};
use crate::window::windowed;
use crate::{ModelError, Spec};

pub(super) const FAMILY: Family = Family {
    name: "qwen2",
    architectures: &["Qwen2ForCausalLM"],
    model_type: "qwen2",
    respelled: &[("use_qkv_bias", "")],
    gguf: &["qwen2"],
    models: "Qwen2, Qwen2.5, Qwen2.5-Coder, QwQ; DeepSeek-R1-Distill-Qwen",
    read,
    ignored: &[],
    defaults: &[("use_sliding_window", "false")],
    names: &DECODER_NAMES,
    gguf_pairs: RopePairs::Halves,
};

fn read(settings: &mut Settings<'_>) -> Result<Spec, ModelError> {
    settings.only(Key("use_mrope", ""), &["false"])?;
    let mut spec = decoder(settings)?;
    // Biased whatever the configuration says: it has no key for it.
    spec.attentions().for_each(|attention| attention.bias.qkv = true);
    late_windows(settings, &mut spec)?;
    Ok(spec)
}

/// The window of the layers from `max_window_layers` on.
pub(super) fn late_windows(settings: &mut Settings<'_>, spec: &mut Spec) -> Result<(), ModelError> {
    let from = settings.optional_whole(Key("max_window_layers", ""))?.unwrap_or(0);
    // GGUF files of most writers do not say which layers slide, and then none does.
    let said = settings.has(Key("", "attention.sliding_window_pattern"));
    if settings.is_config() || said { windowed(settings, spec, |layer| layer >= from) } else { Ok(()) }
}
