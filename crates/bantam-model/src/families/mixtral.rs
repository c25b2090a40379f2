//! Mixtral (Jiang et al. 2024): Mistral with experts. GGUF files call it llama.

use bantam_plan::{RopePairs, Router};

use super::Family;
use crate::decoder::{decoder, experts};
use crate::names::SPARSE_BLOCK_NAMES;
use crate::settings::Settings;
use crate::window::windowed;
use crate::{ModelError, Spec};

pub(super) const FAMILY: Family = Family {
    name: "mixtral",
    architectures: &["MixtralForCausalLM"],
    model_type: "mixtral",
    respelled: &[("num_experts", "num_local_experts"), ("moe_intermediate_size", "")],
    gguf: &["llama"],
    models: "Mixtral 8x7B and 8x22B",
    read,
    ignored: &["output_router_logits", "router_aux_loss_coef", "router_jitter_noise"],
    defaults: &[],
    names: &SPARSE_BLOCK_NAMES,
    gguf_pairs: RopePairs::Interleaved,
};

fn read(settings: &mut Settings<'_>) -> Result<Spec, ModelError> {
    let mut spec = decoder(settings)?;
    windowed(settings, &mut spec, |_| true)?;
    experts(settings, &mut spec, Router::Softmax { normalized: true }, |_| true)?;
    Ok(spec)
}
