//! The common decoder: what most families share, read once. A family starts from it and changes what differs.

use bantam_plan::{Activation, NormKind};

use crate::ModelError;
use crate::families::Family;
use crate::families::rope::rope;
use crate::lower::TOKEN_EMBEDDING;
use crate::settings::{Key, Settings};
use crate::spec::{Attention, AttentionBias, Dense, FeedForward, Head, Layer, Mixer, Norm, Norms, Spec, Wiring};

/// Keys of `config.json` that say nothing about what is computed.
const IGNORED: &[&str] = &[
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_name_or_path",
    "architectures",
    "attention_dropout",
    "bos_token_id",
    "chunk_size_feed_forward",
    "dtype",
    "eos_token_id",
    "hidden_dropout",
    "id2label",
    "initializer_range",
    "is_decoder",
    "label2id",
    "mlp_only_layers",
    "model_type",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "problem_type",
    "return_dict",
    "tokenizer_class",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "unsloth_fixed",
    "unsloth_version",
    "use_cache",
];

/// GGUF keys after the architecture's prefix that say nothing about what is computed.
const IGNORED_GGUF: &[&str] = &["rope.scaling.finetuned"];

/// Largest number of layers believed.
const MOST_LAYERS: usize = 4096;

impl Family {
    /// Reads a checkpoint's settings and refuses what was not understood.
    pub(crate) fn spec(&self, settings: &mut Settings<'_>, prefix: &str) -> Result<Spec, ModelError> {
        let mut spec = (self.read)(settings)?;
        spec.family = self.name;
        let prefixed: Vec<String> = IGNORED_GGUF.iter().map(|key| format!("{prefix}.{key}")).collect();
        let mut ignored: Vec<&str> = IGNORED.iter().chain(self.ignored).copied().collect();
        ignored.extend(prefixed.iter().map(String::as_str));
        settings.finish(&format!("family `{}`", self.name), &ignored)?;
        check(&spec)?;
        Ok(spec)
    }
}

/// Reads the settings of a pre-norm decoder with RMS norm, rotary grouped-query attention and a gated network.
pub(crate) fn decoder(settings: &mut Settings<'_>) -> Result<Spec, ModelError> {
    let width = settings.count(Key("hidden_size", "embedding_length"))?;
    let layers = settings.count(Key("num_hidden_layers", "block_count"))?;
    if layers > MOST_LAYERS {
        let expected = format!("at most {MOST_LAYERS}");
        return Err(settings.wrong(Key("num_hidden_layers", "block_count"), &expected, &layers.to_string()));
    }
    let context = settings.count(Key("max_position_embeddings", "context_length"))?;
    let vocabulary = vocabulary(settings)?;
    let heads = settings.count(Key("num_attention_heads", "attention.head_count"))?;
    let kv_heads = settings.counts(Key("num_key_value_heads", "attention.head_count_kv"), layers)?;
    let kv_heads = kv_heads.unwrap_or_else(|| vec![heads; layers]);
    let key_width = head_width(settings, width, heads)?;
    let value_width = settings.optional_count(Key("", "attention.value_length"))?.unwrap_or(key_width);
    let hidden_key = Key("intermediate_size", "feed_forward_length");
    let hidden =
        settings.counts(hidden_key, layers)?.map_or_else(|| settings.count(hidden_key).map(|n| vec![n]), Ok)?;
    let eps = settings.positive(Key("rms_norm_eps", "attention.layer_norm_rms_epsilon"))?;
    let norm = Norm { kind: NormKind::Rms, eps, shift: 0.0, bias: false };
    let norms = Norms { before: Some(norm), after: None };
    let activation = activation(settings)?;
    let bias = attention_bias(settings)?;
    let feed_forward_bias = match settings.flag(Key("mlp_bias", ""))? {
        Some(bias) => bias,
        None => settings.rows("blk.0.ffn_down.bias").is_some(),
    };
    let attention = Attention {
        heads,
        kv_heads: heads,
        key_width,
        value_width,
        scale: 1.0 / (key_width as f32).sqrt(),
        window: None,
        softcap: None,
        causal: true,
        rope: Some(rope(settings, key_width)?),
        query_key_norm: None,
        bias,
    };
    let layer = |(kv_heads, hidden)| Layer {
        wiring: Wiring::Sequential,
        mixer: Mixer::Attention(Attention { kv_heads, ..attention.clone() }),
        mixer_norms: norms.clone(),
        feed_forward: FeedForward::Gated(Dense { hidden, activation, bias: feed_forward_bias }),
        feed_forward_norms: norms.clone(),
        branch_scale: None,
    };
    Ok(Spec {
        family: "",
        vocabulary,
        width,
        context,
        embedding_scale: None,
        layers: kv_heads.into_iter().zip(hidden).map(layer).collect(),
        output_norm: Some(norm),
        head: Head { tied: tied(settings)?, ..Head::default() },
    })
}

fn vocabulary(settings: &mut Settings<'_>) -> Result<usize, ModelError> {
    let stated = settings.optional_count(Key("vocab_size", "vocab_size"))?;
    match stated.or_else(|| settings.rows(TOKEN_EMBEDDING)) {
        Some(vocabulary) => Ok(vocabulary),
        None if settings.is_config() => settings.count(Key("vocab_size", "")),
        None => Err(ModelError::MissingTensor { name: TOKEN_EMBEDDING.into() }),
    }
}

fn head_width(settings: &mut Settings<'_>, width: usize, heads: usize) -> Result<usize, ModelError> {
    let key = Key("head_dim", "attention.key_length");
    match settings.optional_count(key)? {
        Some(head_width) => Ok(head_width),
        None if width.is_multiple_of(heads) => Ok(width / heads),
        None => Err(settings.wrong(
            Key("num_attention_heads", "attention.head_count"),
            &format!("a divisor of the width {width}, or a head width beside it"),
            &heads.to_string(),
        )),
    }
}

fn tied(settings: &mut Settings<'_>) -> Result<bool, ModelError> {
    let stated = settings.flag(Key("tie_word_embeddings", ""))?;
    // GGUF leaves the head out where it is tied; transformers' default for decoders is untied.
    Ok(if settings.is_config() { stated.unwrap_or(false) } else { settings.rows("output.weight").is_none() })
}

fn activation(settings: &mut Settings<'_>) -> Result<Activation, ModelError> {
    let key = Key("hidden_act", "");
    match settings.text(key)?.as_deref() {
        None | Some("silu" | "swish") => Ok(Activation::Silu),
        Some("gelu") => Ok(Activation::GeluErf),
        Some("gelu_new" | "gelu_pytorch_tanh" | "gelu_fast") => Ok(Activation::GeluTanh),
        Some("relu") => Ok(Activation::Relu),
        Some("relu2") => Ok(Activation::ReluSquared),
        Some(other) => Err(settings.wrong(key, "silu, gelu, gelu_pytorch_tanh, relu or relu2", other)),
    }
}

fn attention_bias(settings: &mut Settings<'_>) -> Result<AttentionBias, ModelError> {
    Ok(match settings.flag(Key("attention_bias", ""))? {
        Some(bias) => AttentionBias { qkv: bias, output: bias },
        None => AttentionBias {
            qkv: settings.rows("blk.0.attn_q.bias").is_some(),
            output: settings.rows("blk.0.attn_output.bias").is_some(),
        },
    })
}

/// Contradictions that would otherwise only show as an odd shape later.
fn check(spec: &Spec) -> Result<(), ModelError> {
    for (index, layer) in spec.layers.iter().enumerate() {
        let Mixer::Attention(attention) = &layer.mixer;
        if !attention.heads.is_multiple_of(attention.kv_heads) {
            return Err(ModelError::Setting {
                key: format!("key and value heads of layer {index}"),
                expected: format!("a divisor of the {} query heads", attention.heads),
                found: attention.kv_heads.to_string(),
            });
        }
        let (FeedForward::Gated(dense) | FeedForward::Plain(dense)) = &layer.feed_forward;
        // Products of widths must stay far from overflow, whatever the file says.
        let widths = [spec.width, spec.vocabulary, attention.heads * attention.key_width, dense.hidden];
        if let Some(width) = widths.into_iter().find(|width| *width > 1 << 28) {
            return Err(ModelError::Setting {
                key: format!("widths of layer {index}"),
                expected: "at most 268435456".into(),
                found: width.to_string(),
            });
        }
    }
    Ok(())
}
