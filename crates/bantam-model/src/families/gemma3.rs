//! Gemma 3 (Gemma Team 2025), text: five layers with a window and a rope of their own to one that sees all; norms on
//! queries and keys.

use bantam_plan::RopePairs;

use super::Family;
use super::gemma::read_second;
use crate::names::{Names, POST_NORM_NAMES};
use crate::settings::Settings;
use crate::window::windowed;
use crate::{ModelError, Spec};

/// The text model in one of text and images.
const NAMES: Names = Names {
    prefixes: &[("language_model.", ""), ("model.language_model.", "model.")],
    beside: &["vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector."],
    ..POST_NORM_NAMES
};

pub(super) const FAMILY: Family = Family {
    name: "gemma3",
    architectures: &["Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"],
    model_type: "gemma3_text",
    respelled: &[("hidden_act", "hidden_activation")],
    gguf: &["gemma3"],
    models: "Gemma 3 270M, 1B, 4B, 12B, 27B (text)",
    read,
    ignored: &["boi_token_index", "eoi_token_index", "image_token_index", "mm_tokens_per_image", "vision_config"],
    defaults: &[
        ("tie_word_embeddings", "true"),
        ("vocab_size", "262208"),
        ("num_attention_heads", "8"),
        ("num_key_value_heads", "4"),
        ("head_dim", "256"),
        ("query_pre_attn_scalar", "256"),
        ("sliding_window", "4096"),
        ("rms_norm_eps", "1e-6"),
        ("max_position_embeddings", "131072"),
        ("rope_theta", "1000000.0"),
        ("rope_local_base_freq", "10000.0"),
    ],
    names: &NAMES,
    gguf_pairs: RopePairs::Halves,
};

fn read(settings: &mut Settings<'_>) -> Result<Spec, ModelError> {
    let mut spec = read_second(settings, 62)?;
    windowed(settings, &mut spec, |layer| (layer + 1) % 6 != 0)?;
    Ok(spec)
}
