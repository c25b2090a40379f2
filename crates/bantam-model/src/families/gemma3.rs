//! Gemma 3 (Gemma Team 2025), text: five layers with a window and a rope of their own to one that sees all; norms on
//! queries and keys.

use bantam_plan::RopePairs;

use super::Family;
use super::gemma::read_second;
use crate::names::POST_NORM_NAMES;
use crate::settings::Settings;
use crate::window::windowed;
use crate::{ModelError, Spec};

pub(super) const FAMILY: Family = Family {
    name: "gemma3",
    architectures: &["Gemma3ForCausalLM"],
    gguf: &["gemma3"],
    models: "Gemma 3 270M, 1B (text)",
    read,
    ignored: &[],
    defaults: &[
        ("tie_word_embeddings", "true"),
        ("head_dim", "256"),
        ("query_pre_attn_scalar", "256"),
        ("sliding_window", "4096"),
        ("rms_norm_eps", "1e-6"),
        ("max_position_embeddings", "131072"),
        ("rope_theta", "1000000.0"),
        ("rope_local_base_freq", "10000.0"),
    ],
    names: &POST_NORM_NAMES,
    gguf_pairs: RopePairs::Halves,
};

fn read(settings: &mut Settings<'_>) -> Result<Spec, ModelError> {
    let mut spec = read_second(settings, 62)?;
    windowed(settings, &mut spec, |layer| (layer + 1) % 6 != 0)?;
    Ok(spec)
}
