//! SmolLM3 (Hugging Face 2025): every fourth layer without rope.

use bantam_plan::RopePairs;

use super::Family;
use crate::decoder::decoder;
use crate::names::DECODER_NAMES;
use crate::settings::{Key, Settings};
use crate::window::windowed;
use crate::{ModelError, Spec};

pub(super) const FAMILY: Family = Family {
    name: "smollm3",
    architectures: &["SmolLM3ForCausalLM"],
    model_type: "smollm3",
    respelled: &[],
    gguf: &["smollm3"],
    models: "SmolLM3 3B",
    read,
    ignored: &["max_window_layers", "pretraining_tp"],
    defaults: &[("tie_word_embeddings", "true"), ("use_sliding_window", "false")],
    names: &DECODER_NAMES,
    gguf_pairs: RopePairs::Interleaved,
};

fn read(settings: &mut Settings<'_>) -> Result<Spec, ModelError> {
    let mut spec = decoder(settings)?;
    let layers = spec.layers.len();
    let interval = settings.optional_count(Key("no_rope_layer_interval", ""))?.unwrap_or(4);
    // The list says which layers turn, whatever its name.
    let stated = settings.flags(Key("no_rope_layers", ""), layers)?;
    let turned = stated.unwrap_or_else(|| (0..layers).map(|layer| (layer + 1) % interval != 0).collect());
    windowed(settings, &mut spec, |layer| !turned[layer])?;
    for (attention, turned) in spec.attentions().zip(&turned) {
        attention.rope = attention.rope.take().filter(|_| *turned);
    }
    Ok(spec)
}
