//! GPT-2 (Radford et al. 2019): learned positions, layer norms, biases everywhere, one fused projection; stored the other
//! way round by Hugging Face.

use bantam_plan::{Activation, RopePairs};

use super::Family;
use crate::decoder::decoder;
use crate::names::{FUSED_ATTENTION, Names};
use crate::settings::{Key, Settings};
use crate::{ModelError, Spec};

const NAMES: Names = Names {
    table: &[
        ("token_embd", "wte"),
        ("position_embd", "wpe"),
        ("output_norm", "ln_f"),
        ("output", "lm_head"),
        ("blk.{}.attn_norm", "h.{}.ln_1"),
        ("blk.{}.attn_qkv", "h.{}.attn.c_attn"),
        ("blk.{}.attn_output", "h.{}.attn.c_proj"),
        ("blk.{}.ffn_norm", "h.{}.ln_2"),
        ("blk.{}.ffn_up", "h.{}.mlp.c_fc"),
        ("blk.{}.ffn_down", "h.{}.mlp.c_proj"),
    ],
    // Masks that old checkpoints carry.
    ignored: &[".attn.bias", ".attn.masked_bias"],
    prefixes: &[("transformer.", "")],
    fused: &[FUSED_ATTENTION],
    transposed: &["c_attn.weight", "c_proj.weight", "c_fc.weight"],
    ..Names::of(&[])
};

/// Its keys are older than the ones that all others share.
const RESPELLED: &[(&str, &str)] = &[
    ("hidden_size", "n_embd"),
    ("num_hidden_layers", "n_layer"),
    ("num_attention_heads", "n_head"),
    ("max_position_embeddings", "n_positions"),
    ("intermediate_size", "n_inner"),
    ("layer_norm_eps", "layer_norm_epsilon"),
    ("hidden_act", "activation_function"),
    ("num_key_value_heads", ""),
    ("attention_bias", ""),
    ("mlp_bias", ""),
];

pub(super) const FAMILY: Family = Family {
    name: "gpt2",
    architectures: &["GPT2LMHeadModel"],
    model_type: "gpt2",
    respelled: RESPELLED,
    gguf: &["gpt2"],
    models: "GPT-2 124M to 1.5B, DistilGPT-2",
    read,
    ignored: &["_num_labels", "n_ctx", "reorder_and_upcast_attn"],
    defaults: &[("tie_word_embeddings", "true"), ("activation_function", "\"gelu_new\"")],
    names: &NAMES,
    gguf_pairs: RopePairs::Halves,
};

fn read(settings: &mut Settings<'_>) -> Result<Spec, ModelError> {
    settings.only(Key("add_cross_attention", ""), &["false"])?;
    settings.only(Key("scale_attn_by_inverse_layer_idx", ""), &["false"])?;
    settings.only(Key("scale_attn_weights", ""), &["true"])?;
    let mut spec = decoder(settings)?;
    spec.plain_feed_forward(settings.is_config(), Activation::GeluTanh);
    spec.learned_positions = true;
    spec.attentions().for_each(|attention| attention.rope = None);
    Ok(spec)
}
