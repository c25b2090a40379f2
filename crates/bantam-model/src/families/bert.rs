//! BERT (Devlin et al. 2018), the encoder: full attention, learned positions, a norm on every sum; makes hidden states.

use bantam_plan::{Activation, RopePairs};

use super::Family;
use crate::decoder::decoder;
use crate::names::Names;
use crate::settings::{Key, Settings};
use crate::spec::{Norms, Wiring};
use crate::{ModelError, Spec};

const NAMES: Names = Names {
    table: &[
        ("token_embd", "embeddings.word_embeddings"),
        ("position_embd", "embeddings.position_embeddings"),
        ("token_types", "embeddings.token_type_embeddings"),
        ("token_embd_norm", "embeddings.LayerNorm"),
        ("blk.{}.attn_q", "encoder.layer.{}.attention.self.query"),
        ("blk.{}.attn_k", "encoder.layer.{}.attention.self.key"),
        ("blk.{}.attn_v", "encoder.layer.{}.attention.self.value"),
        ("blk.{}.attn_output", "encoder.layer.{}.attention.output.dense"),
        ("blk.{}.attn_output_norm", "encoder.layer.{}.attention.output.LayerNorm"),
        ("blk.{}.ffn_up", "encoder.layer.{}.intermediate.dense"),
        ("blk.{}.ffn_down", "encoder.layer.{}.output.dense"),
        ("blk.{}.layer_output_norm", "encoder.layer.{}.output.LayerNorm"),
    ],
    ignored: &["embeddings.position_ids"],
    prefixes: &[("bert.", "")],
    // What other tasks put on top.
    beside: &["pooler.", "bert.pooler.", "cls."],
    ..Names::of(&[])
};

pub(super) const FAMILY: Family = Family {
    name: "bert",
    architectures: &["BertModel"],
    model_type: "bert",
    respelled: &[("attention_bias", ""), ("mlp_bias", "")],
    gguf: &["bert"],
    models: "BERT encoders: BGE, all-MiniLM, E5 and their like (embeddings)",
    read,
    ignored: &[],
    defaults: &[],
    names: &NAMES,
    gguf_pairs: RopePairs::Halves,
};

fn read(settings: &mut Settings<'_>) -> Result<Spec, ModelError> {
    settings.only(Key("position_embedding_type", ""), &["absolute"])?;
    settings.only(Key("add_cross_attention", ""), &["false"])?;
    settings.optional_count(Key("type_vocab_size", ""))?;
    let mut spec = decoder(settings)?;
    spec.stream_norms().for_each(|norm| norm.bias = true);
    spec.plain_feed_forward(settings.is_config(), Activation::GeluErf);
    spec.embedding_norm = spec.output_norm.take();
    spec.learned_positions = true;
    spec.segments = settings.rows("token_types.weight");
    spec.head = None;
    spec.attentions().for_each(|attention| (attention.rope, attention.causal) = (None, false));
    for layer in &mut spec.layers {
        layer.wiring = Wiring::NormedSums;
        let after = layer.mixer_norms.before;
        (layer.mixer_norms, layer.feed_forward_norms) = (Norms { before: None, after }, Norms { before: None, after });
    }
    Ok(spec)
}
