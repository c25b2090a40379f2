//! Gemma (Gemma Team 2024): embeddings scaled by the root of the width, norms that store their factor less one.

use bantam_plan::{Activation, RopePairs};

use super::Family;
use crate::decoder::decoder;
use crate::names::DECODER_NAMES;
use crate::settings::{Key, Settings};
use crate::{ModelError, Spec};

pub(super) const FAMILY: Family = Family {
    name: "gemma",
    architectures: &["GemmaForCausalLM"],
    model_type: "gemma",
    respelled: &[("hidden_act", "hidden_activation")],
    gguf: &["gemma"],
    models: "Gemma 2B and 7B, CodeGemma 1",
    read,
    ignored: &[],
    defaults: &[("tie_word_embeddings", "true"), ("head_dim", "256")],
    names: &DECODER_NAMES,
    gguf_pairs: RopePairs::Halves,
};

fn read(settings: &mut Settings<'_>) -> Result<Spec, ModelError> {
    settings.only(Key("use_bidirectional_attention", ""), &["false"])?;
    // The first configurations spell the tanh form "gelu"; transformers takes it for what it is.
    for key in [Key("hidden_act", ""), Key("hidden_activation", "")] {
        settings.only(key, &["gelu", "gelu_pytorch_tanh"])?;
    }
    let mut spec = decoder(settings)?;
    spec.activate_by(Activation::GeluTanh);
    spec.embedding_scale = Some((spec.width as f32).sqrt());
    // GGUF's converter has added the one.
    if settings.is_config() {
        spec.stream_norms().for_each(|norm| norm.shift = 1.0);
        let norms = spec.attentions().filter_map(|attention| attention.query_key_norm.as_mut());
        norms.for_each(|on| on.norm.shift = 1.0);
    }
    Ok(spec)
}

/// Gemma 2 and 3: a scale of scores of its own, and norms after the branches too. `largest` is the number of layers of
/// the model whose GGUF files cannot say that its scores are scaled by the width over the heads.
pub(super) fn read_second(settings: &mut Settings<'_>, largest: usize) -> Result<Spec, ModelError> {
    let scalar = settings.optional_positive(Key("query_pre_attn_scalar", ""))?;
    let stated = settings.has(Key("", "attention.scale"));
    let mut spec = read(settings)?;
    let (width, layers) = (spec.width, spec.layers.len());
    for attention in spec.attentions() {
        let by_heads =
            (!settings.is_config() && !stated && layers == largest).then(|| width as f32 / attention.heads as f32);
        if let Some(scalar) = scalar.or(by_heads) {
            attention.scale = 1.0 / scalar.sqrt();
        }
    }
    for layer in &mut spec.layers {
        layer.mixer_norms.after = layer.mixer_norms.before;
        layer.feed_forward_norms.after = layer.feed_forward_norms.before;
    }
    Ok(spec)
}
