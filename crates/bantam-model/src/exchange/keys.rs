//! A Spec under every key that could hold some of it: GGUF's, and those of `config.json` as most families spell them.

use bantam_formats::gguf::{Array, Value};
use bantam_plan::{Activation, Router};
use serde_json::{Map, Value as Json, json};

use super::short_number;
use crate::families::Family;
use crate::families::rope_written;
use crate::spec::{Attention, Experts, FeedForward, Layer, Mixer, Norm, Rope, Spec, Wiring};

/// Which key the norms' epsilon stands under. It tells the kind of norm, but in some families it does not.
#[derive(Clone, Copy)]
pub(super) enum NormKey {
    Rms,
    Layer,
}

impl NormKey {
    pub(super) const BOTH: [Self; 2] = [Self::Rms, Self::Layer];
}

fn attentions(spec: &Spec) -> impl Iterator<Item = &Attention> {
    spec.layers.iter().map(|layer| {
        let Mixer::Attention(attention) = &layer.mixer;
        attention
    })
}

/// The norm on the stream, whichever there is.
fn norm(spec: &Spec) -> Option<&Norm> {
    spec.output_norm.as_ref().or(spec.embedding_norm.as_ref())
}

/// The rope of layers that see all, and the base of that of the others where it is another.
fn ropes(spec: &Spec) -> (Option<&Rope>, Option<f32>) {
    let of = |windowed: bool| {
        attentions(spec).filter(move |a| a.window.is_some() == windowed).find_map(|attention| attention.rope.as_ref())
    };
    let (full, local) = (of(false), of(true));
    match (full, local) {
        (Some(full), Some(local)) => (Some(full), (full != local).then_some(local.theta)),
        (full, local) => (full.or(local), None),
    }
}

fn experts(spec: &Spec) -> Option<&Experts> {
    spec.layers.iter().find_map(|layer| match &layer.feed_forward {
        FeedForward::Experts(experts) => Some(experts),
        FeedForward::Gated(_) | FeedForward::Plain(_) => None,
    })
}

/// Inner widths layer by layer; where there are experts, the width of the layers without.
fn hidden(spec: &Spec) -> Vec<usize> {
    let dense = spec.layers.iter().find(|layer| !matches!(layer.feed_forward, FeedForward::Experts(_)));
    let width = |layer: &Layer| match (&layer.feed_forward, dense) {
        (FeedForward::Experts(_), Some(dense)) => dense.feed_forward.dense().hidden,
        (FeedForward::Experts(_) | FeedForward::Gated(_) | FeedForward::Plain(_), _) => {
            layer.feed_forward.dense().hidden
        }
    };
    spec.layers.iter().map(width).collect()
}

/// The one value all have.
fn uniform<T: PartialEq + Copy>(list: &[T]) -> Option<T> {
    list.first().copied().filter(|first| list.iter().all(|each| each == first))
}

fn windows(spec: &Spec) -> (Option<usize>, Vec<bool>) {
    let slides: Vec<bool> = attentions(spec).map(|attention| attention.window.is_some()).collect();
    (attentions(spec).find_map(|attention| attention.window), slides)
}

/// What GGUF says of a model: keys behind the architecture's prefix, and vectors beside the weights.
pub(super) struct Candidates {
    pub(super) keys: Vec<(&'static str, Value)>,
    pub(super) vectors: Vec<(&'static str, Vec<f32>)>,
}

/// A Spec as GGUF could say it.
pub(super) fn gguf(spec: &Spec, norm_key: NormKey) -> Candidates {
    let count = |n: usize| Value::U32(u32::try_from(n).unwrap_or(u32::MAX));
    let list = |list: &[usize]| match uniform(list) {
        Some(one) => count(one),
        None => Value::Array(Array::I32(list.iter().map(|&n| i32::try_from(n).unwrap_or(i32::MAX)).collect())),
    };
    let mut keys = vec![
        ("vocab_size", count(spec.vocabulary)),
        ("context_length", count(spec.context)),
        ("embedding_length", count(spec.width)),
        ("block_count", count(spec.layers.len())),
        ("feed_forward_length", list(&hidden(spec))),
    ];
    let mut vectors = Vec::new();
    if let Some(norm) = norm(spec) {
        let key = match norm_key {
            NormKey::Rms => "attention.layer_norm_rms_epsilon",
            NormKey::Layer => "attention.layer_norm_epsilon",
        };
        keys.push((key, Value::F32(norm.eps)));
    }
    if let Some(attention) = attentions(spec).next() {
        keys.push(("attention.head_count", count(attention.heads)));
        let kv_heads: Vec<usize> = attentions(spec).map(|attention| attention.kv_heads).collect();
        keys.push(("attention.head_count_kv", list(&kv_heads)));
        keys.push(("attention.key_length", count(attention.key_width)));
        keys.push(("attention.value_length", count(attention.value_width)));
        if attention.scale != 1.0 / (attention.key_width as f32).sqrt() {
            keys.push(("attention.scale", Value::F32(attention.scale)));
        }
        if let Some(softcap) = attention.softcap {
            keys.push(("attn_logit_softcapping", Value::F32(softcap)));
        }
        if !attention.causal {
            keys.push(("attention.causal", Value::Bool(false)));
        }
    }
    let (rope, local) = ropes(spec);
    if let Some(rope) = rope {
        let written = rope_written::to_gguf(rope, spec.context);
        keys.extend(written.keys);
        vectors.extend(written.vectors);
    }
    if let Some(theta) = local {
        keys.push(("rope.freq_base_swa", Value::F32(theta)));
    }
    if let (Some(window), slides) = windows(spec) {
        keys.push(("attention.sliding_window", count(window)));
        if slides.contains(&false) {
            keys.push(("attention.sliding_window_pattern", rope_written::flags(slides)));
        }
    }
    if let Some(experts) = experts(spec) {
        keys.push(("expert_count", count(experts.count)));
        keys.push(("expert_used_count", count(experts.chosen)));
        keys.push(("expert_feed_forward_length", count(experts.expert.hidden)));
        if experts.router == (Router::Softmax { normalized: false }) {
            keys.push(("expert_weights_norm", Value::Bool(false)));
        }
    }
    if let Some(scale) = spec.embedding_scale {
        keys.push(("embedding_scale", Value::F32(scale)));
    }
    if let Some(scale) = spec.layers.first().and_then(|layer| layer.branch_scale) {
        keys.push(("residual_scale", Value::F32(scale)));
    }
    if let Some(head) = &spec.head {
        if let Some(scale) = head.scale {
            keys.push(("logit_scale", Value::F32(divisor(scale))));
        }
        if let Some(softcap) = head.softcap {
            keys.push(("final_logit_softcapping", Value::F32(softcap)));
        }
    }
    let parallel = spec.layers.first().is_some_and(|layer| layer.wiring == Wiring::Parallel);
    keys.push(("use_parallel_residual", Value::Bool(parallel)));
    Candidates { keys, vectors }
}

/// The number that one was divided by.
fn divisor(scale: f32) -> f32 {
    let near = (1.0 / f64::from(scale)) as f32;
    let around = [near, f32::from_bits(near.to_bits().wrapping_add(1)), f32::from_bits(near.to_bits().wrapping_sub(1))];
    // Of the divisors that give it, the roundest.
    let gives = around.into_iter().filter(|divisor| 1.0 / divisor == scale);
    gives.min_by_key(|divisor| format!("{divisor}").len()).unwrap_or(near)
}

/// Keys of `config.json`, spelled as `family` does, without those that it has not.
pub(super) fn config(spec: &Spec, norm_key: NormKey, family: &Family) -> Map<String, Json> {
    let mut map = usual_config(spec, norm_key);
    let has_default = |key: &str| family.defaults.iter().any(|(other, _)| *other == key);
    // Heads that share the width evenly are what is meant where nothing is said.
    let even = attentions(spec).all(|attention| attention.key_width * attention.heads == spec.width);
    if even && !has_default("head_dim") {
        map.shift_remove("head_dim");
    }
    for (usual, own) in family.respelled {
        if let Some(value) = map.shift_remove(*usual)
            && !own.is_empty()
        {
            map.insert((*own).to_owned(), value);
        }
    }
    // It must be true or false where it is there, and is what biases on no projection mean where it is not.
    if map.get("use_qkv_bias").is_some_and(Json::is_null) {
        map.shift_remove("use_qkv_bias");
    }
    // What is only there to contradict a family's own default.
    map.retain(|key, value| !value.is_null() || has_default(key));
    map
}

fn usual_config(spec: &Spec, norm_key: NormKey) -> Map<String, Json> {
    let mut map = Map::new();
    let set = &mut |key: &str, value: Json| drop(map.insert(key.to_owned(), value));
    let list = |list: &[usize]| uniform(list).map_or_else(|| json!(list), |one| json!(one));
    set("vocab_size", json!(spec.vocabulary));
    set("hidden_size", json!(spec.width));
    set("intermediate_size", list(&hidden(spec)));
    set("num_hidden_layers", json!(spec.layers.len()));
    if let Some(attention) = attentions(spec).next() {
        set("num_attention_heads", json!(attention.heads));
        let kv_heads: Vec<usize> = attentions(spec).map(|attention| attention.kv_heads).collect();
        set("num_key_value_heads", list(&kv_heads));
        set("head_dim", json!(attention.key_width));
    }
    if let Some(layer) = spec.layers.first() {
        let name = match layer.feed_forward.dense().activation {
            Activation::Silu => "silu",
            Activation::GeluErf => "gelu",
            Activation::GeluTanh => "gelu_pytorch_tanh",
            Activation::Relu => "relu",
            Activation::ReluSquared => "relu2",
        };
        set("hidden_act", json!(name));
        set("use_parallel_residual", json!(layer.wiring == Wiring::Parallel));
        set("residual_multiplier", layer.branch_scale.map_or(Json::Null, short_number));
        set("mlp_bias", if layer.feed_forward.dense().bias { json!(true) } else { Json::Null });
    }
    set("max_position_embeddings", json!(spec.context));
    if let Some(norm) = norm(spec) {
        let key = match norm_key {
            NormKey::Rms => "rms_norm_eps",
            NormKey::Layer => "layer_norm_eps",
        };
        set(key, short_number(norm.eps));
    }
    set("type_vocab_size", spec.segments.map_or(Json::Null, |kinds| json!(kinds)));
    set("tie_word_embeddings", json!(spec.is_tied()));
    set("embedding_multiplier", spec.embedding_scale.map_or(Json::Null, short_number));
    let (rope, local) = ropes(spec);
    if let Some(rope) = rope {
        set("rope_theta", short_number(rope.theta));
        let scaling = rope_written::to_config(rope, spec.context);
        if let Some(original) = rope_written::original(rope) {
            set("original_max_position_embeddings", json!(original));
        }
        set("rope_scaling", scaling.map_or(Json::Null, Json::Object));
    }
    set("rope_local_base_freq", local.map_or(Json::Null, short_number));
    if let Some(head) = &spec.head {
        set("final_logit_softcapping", head.softcap.map_or(Json::Null, short_number));
        set("logits_scaling", head.scale.map_or(Json::Null, |scale| short_number(divisor(scale))));
        set("lm_head_bias", json!(head.bias));
    }
    attention_config(spec, rope, &mut map);
    expert_config(spec, &mut map);
    map
}

fn attention_config(spec: &Spec, rope: Option<&Rope>, map: &mut Map<String, Json>) {
    let mut set = |key: &str, value: Json| drop(map.insert(key.to_owned(), value));
    let Some(attention) = attentions(spec).next() else { return };
    if let Some(rope) = rope {
        let share = rope.rotated as f64 / attention.key_width as f64;
        set("partial_rotary_factor", if share == 1.0 { Json::Null } else { json!(share) });
    }
    set("attn_logit_softcapping", attention.softcap.map_or(Json::Null, short_number));
    set("attention_multiplier", short_number(attention.scale));
    let scalar = 1.0 / (f64::from(attention.scale) * f64::from(attention.scale));
    // The scale is the root's inverse rounded: whole numbers are what was meant.
    let whole = scalar.round();
    let exact = 1.0 / (whole as f32).sqrt() == attention.scale;
    set("query_pre_attn_scalar", if exact { json!(whole as u64) } else { short_number(scalar as f32) });
    let bias = attention.bias;
    set("attention_bias", if bias.qkv && bias.output { json!(true) } else { Json::Null });
    set("use_qkv_bias", if bias.qkv == bias.output { Json::Null } else { json!(bias.qkv) });
    set("qk_layernorm", json!(attention.query_key_norm.is_some()));
    let (window, slides) = windows(spec);
    set("use_sliding_window", json!(window.is_some()));
    set("sliding_window", window.map_or(Json::Null, |window| json!(window)));
    if window.is_some() && slides.contains(&false) {
        let kind = |slides: &bool| if *slides { "sliding_attention" } else { "full_attention" };
        set("layer_types", slides.iter().map(kind).collect());
        set("max_window_layers", json!(slides.iter().position(|slides| *slides).unwrap_or(0)));
    } else if window.is_some() {
        set("max_window_layers", json!(0));
    }
    let turned = attentions(spec).map(|attention| json!(u8::from(attention.rope.is_some())));
    set("no_rope_layers", turned.collect());
}

fn expert_config(spec: &Spec, map: &mut Map<String, Json>) {
    let Some(experts) = experts(spec) else { return };
    let mut set = |key: &str, value: Json| drop(map.insert(key.to_owned(), value));
    set("num_experts", json!(experts.count));
    set("num_experts_per_tok", json!(experts.chosen));
    set("moe_intermediate_size", json!(experts.expert.hidden));
    match experts.router {
        Router::Softmax { normalized } => set("norm_topk_prob", json!(normalized)),
        Router::Sparse { jitter } => set("router_jitter_noise", short_number(jitter)),
    }
    set("decoder_sparse_step", json!(1));
    let has_none = |(index, layer): (usize, &Layer)| {
        (!matches!(layer.feed_forward, FeedForward::Experts(_))).then_some(json!(index))
    };
    set("mlp_only_layers", spec.layers.iter().enumerate().filter_map(has_none).collect());
}
