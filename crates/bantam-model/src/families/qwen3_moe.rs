//! Qwen3-MoE (Yang et al. 2025): Qwen3 with experts in some or all layers.

use bantam_plan::{RopePairs, Router};

use super::Family;
use super::qwen2::late_windows;
use crate::decoder::{decoder, experts};
use crate::names::DECODER_NAMES;
use crate::settings::{Key, Settings};
use crate::{ModelError, Spec};

pub(super) const FAMILY: Family = Family {
    name: "qwen3-moe",
    architectures: &["Qwen3MoeForCausalLM"],
    model_type: "qwen3_moe",
    respelled: &[],
    gguf: &["qwen3moe"],
    models: "Qwen3 30B-A3B and 235B-A22B",
    read,
    ignored: &["output_router_logits", "router_aux_loss_coef"],
    defaults: &[("use_sliding_window", "false"), ("norm_topk_prob", "false"), ("decoder_sparse_step", "1")],
    names: &DECODER_NAMES,
    gguf_pairs: RopePairs::Halves,
};

fn read(settings: &mut Settings<'_>) -> Result<Spec, ModelError> {
    let mut spec = decoder(settings)?;
    late_windows(settings, &mut spec)?;
    // GGUF files have no key of llama.cpp's for it, and all released models normalise.
    let normalized = settings.flag(Key("norm_topk_prob", "expert_weights_norm"))?.unwrap_or(true);
    let step = settings.optional_count(Key("decoder_sparse_step", ""))?.unwrap_or(1);
    let dense = settings.wholes(Key("mlp_only_layers", ""))?.unwrap_or_default();
    let layers = 0..spec.layers.len();
    let have: Vec<bool> = if settings.is_config() {
        layers.map(|layer| (layer + 1).is_multiple_of(step) && !dense.contains(&layer)).collect()
    } else {
        // A layer with a router has experts.
        layers.map(|layer| settings.rows(&format!("blk.{layer}.ffn_gate_inp.weight")).is_some()).collect()
    };
    experts(settings, &mut spec, Router::Softmax { normalized }, |layer| have[layer])?;
    Ok(spec)
}
