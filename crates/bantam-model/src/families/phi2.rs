//! Phi-1, Phi-1.5 and Phi-2 (Li et al. 2023): attention and feed-forward beside each other after one layer norm, biases
//! everywhere, part of each head turned.

use bantam_plan::{Activation, RopePairs};

use super::Family;
use crate::decoder::decoder;
use crate::names::Names;
use crate::settings::{Key, Settings};
use crate::spec::Wiring;
use crate::{ModelError, Spec};

const NAMES: Names = Names::of(&[
    ("token_embd", "model.embed_tokens"),
    ("output_norm", "model.final_layernorm"),
    ("output", "lm_head"),
    ("blk.{}.attn_norm", "model.layers.{}.input_layernorm"),
    ("blk.{}.attn_q", "model.layers.{}.self_attn.q_proj"),
    ("blk.{}.attn_k", "model.layers.{}.self_attn.k_proj"),
    ("blk.{}.attn_v", "model.layers.{}.self_attn.v_proj"),
    ("blk.{}.attn_output", "model.layers.{}.self_attn.dense"),
    ("blk.{}.ffn_up", "model.layers.{}.mlp.fc1"),
    ("blk.{}.ffn_down", "model.layers.{}.mlp.fc2"),
]);

pub(super) const FAMILY: Family = Family {
    name: "phi2",
    architectures: &["PhiForCausalLM"],
    model_type: "phi",
    respelled: &[("attention_bias", ""), ("mlp_bias", "")],
    gguf: &["phi2"],
    models: "Phi-1, Phi-1.5, Phi-2",
    read,
    ignored: &[],
    defaults: &[],
    names: &NAMES,
    gguf_pairs: RopePairs::Halves,
};

fn read(settings: &mut Settings<'_>) -> Result<Spec, ModelError> {
    settings.only(Key("qk_layernorm", ""), &["false"])?;
    let mut spec = decoder(settings)?;
    spec.plain_feed_forward(settings.is_config(), Activation::GeluTanh);
    for layer in &mut spec.layers {
        layer.wiring = Wiring::Parallel;
        layer.feed_forward_norms.before = None;
    }
    Ok(spec)
}
