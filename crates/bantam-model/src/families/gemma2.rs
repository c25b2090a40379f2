//! Gemma 2 (Gemma Team 2024): softcaps, a window on every other layer, norms before and after each branch.

use bantam_plan::RopePairs;

use super::Family;
use super::gemma::read_second;
use crate::names::POST_NORM_NAMES;
use crate::settings::Settings;
use crate::window::windowed;
use crate::{ModelError, Spec};

pub(super) const FAMILY: Family = Family {
    name: "gemma2",
    architectures: &["Gemma2ForCausalLM"],
    model_type: "gemma2",
    respelled: &[("hidden_act", "hidden_activation")],
    gguf: &["gemma2"],
    models: "Gemma 2 2B, 9B, 27B",
    read,
    ignored: &[],
    defaults: &[
        ("tie_word_embeddings", "true"),
        ("head_dim", "256"),
        ("query_pre_attn_scalar", "256"),
        ("sliding_window", "4096"),
        ("attn_logit_softcapping", "50.0"),
        ("final_logit_softcapping", "30.0"),
    ],
    names: &POST_NORM_NAMES,
    gguf_pairs: RopePairs::Halves,
};

fn read(settings: &mut Settings<'_>) -> Result<Spec, ModelError> {
    let mut spec = read_second(settings, 46)?;
    windowed(settings, &mut spec, |layer| layer % 2 == 0)?;
    Ok(spec)
}
