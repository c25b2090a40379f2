//! The common decoder: what most families share, read once. A family starts from it and changes what differs.

use bantam_plan::{Activation, NormKind, RopePairs, Router};

use crate::ModelError;
use crate::families::Family;
use crate::families::rope::rope;
use crate::lower::TOKEN_EMBEDDING;
use crate::settings::{Key, Settings};
use crate::spec::{
    Attention, AttentionBias, Dense, Experts, FeedForward, Head, Layer, Mixer, Norm, NormOver, Norms, QueryKeyNorm,
    Rope, Spec, Wiring,
};

/// Keys of `config.json` that say nothing about what is computed.
const IGNORED: &[&str] = &[
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_name_or_path",
    "architectures",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "attn_pdrop",
    "auto_map",
    "bos_token_id",
    "cache_implementation",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "dtype",
    "embd_pdrop",
    "eos_token_id",
    "gradient_checkpointing",
    "hidden_dropout",
    "hidden_dropout_prob",
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
    "resid_pdrop",
    "return_dict",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "task_specific_params",
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
const IGNORED_GGUF: &[&str] = &["rope.scaling.finetuned", "pooling_type"];

/// Query heads.
const HEADS: Key = Key("num_attention_heads|n_head", "attention.head_count");

/// Largest number of experts believed.
const MOST_EXPERTS: usize = 4096;
/// Widest head believed.
const MOST_HEAD_WIDTH: usize = 1 << 16;
/// Largest number of layers believed.
const MOST_LAYERS: usize = 4096;

impl Family {
    /// Reads a checkpoint's settings and refuses what was not understood.
    pub(crate) fn spec(&self, settings: &mut Settings<'_>, prefix: &str) -> Result<Spec, ModelError> {
        let mut spec = (self.read)(settings)?;
        spec.family = self.name;
        let pairs = if settings.is_config() { RopePairs::Halves } else { self.gguf_pairs };
        let ropes = spec.attentions().filter_map(|attention| attention.rope.as_mut());
        ropes.for_each(|rope| rope.pairs = pairs);
        let prefixed: Vec<String> = IGNORED_GGUF.iter().map(|key| format!("{prefix}.{key}")).collect();
        let mut ignored: Vec<&str> = IGNORED.iter().chain(self.ignored).copied().collect();
        ignored.extend(prefixed.iter().map(String::as_str));
        settings.finish(&format!("family `{}`", self.name), &ignored)?;
        check(&spec)?;
        Ok(spec)
    }
}

/// Reads the settings of a pre-norm decoder with rotary grouped-query attention and a gated network. Which norm it is
/// follows from the key its epsilon has, biases and norms on queries and keys from the tensors that are there.
pub(crate) fn decoder(settings: &mut Settings<'_>) -> Result<Spec, ModelError> {
    let width = settings.count(Key("hidden_size|n_embd", "embedding_length"))?;
    let layers_key = Key("num_hidden_layers|n_layer", "block_count");
    let layers = settings.count(layers_key)?;
    if layers > MOST_LAYERS {
        let expected = format!("at most {MOST_LAYERS}");
        return Err(settings.wrong(layers_key, &expected, &layers.to_string()));
    }
    let context = settings.count(Key("max_position_embeddings|n_positions", "context_length"))?;
    let vocabulary = vocabulary(settings)?;
    let heads = settings.count(HEADS)?;
    let kv_heads = settings.counts(Key("num_key_value_heads", "attention.head_count_kv"), layers)?;
    let kv_heads = kv_heads.unwrap_or_else(|| vec![heads; layers]);
    let key_width = head_width(settings, width, heads)?;
    let value_width = settings.optional_count(Key("", "attention.value_length"))?.unwrap_or(key_width);
    let hidden_key = Key("intermediate_size|n_inner", "feed_forward_length");
    // Four times the width where nothing is said, as the oldest decoders.
    let hidden = settings.counts(hidden_key, layers)?;
    let hidden = match hidden {
        Some(hidden) => hidden,
        None if settings.has(Key("n_embd", "")) => vec![4 * width; layers],
        None => vec![settings.count(hidden_key)?],
    };
    let norm = norm(settings)?;
    let norms = Norms { before: Some(norm), after: None };
    let activation = activation(settings)?;
    let bias = attention_bias(settings)?;
    let feed_forward_bias = match settings.flag(Key("mlp_bias", ""))? {
        Some(bias) => bias,
        None => settings.rows("blk.0.ffn_down.bias").is_some(),
    };
    let scale = settings.optional_positive(Key("", "attention.scale"))?;
    let attention = Attention {
        heads,
        kv_heads: heads,
        key_width,
        value_width,
        scale: scale.unwrap_or(1.0 / (key_width as f32).sqrt()),
        window: None,
        softcap: settings.optional_positive(Key("attn_logit_softcapping", "attn_logit_softcapping"))?,
        causal: settings.flag(Key("", "attention.causal"))?.unwrap_or(true),
        rope: Some(rope(settings, key_width)?),
        query_key_norm: query_key_norm(settings, &norm, heads, key_width),
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
    let head = Head {
        tied: tied(settings)?,
        bias: settings.rows("output.bias").is_some(),
        scale: None,
        softcap: settings.optional_positive(Key("final_logit_softcapping", "final_logit_softcapping"))?,
    };
    Ok(Spec {
        family: "",
        vocabulary,
        width,
        context,
        embedding_scale: None,
        learned_positions: false,
        segments: None,
        embedding_norm: None,
        layers: kv_heads.into_iter().zip(hidden).map(layer).collect(),
        output_norm: Some(norm),
        head: Some(head),
    })
}

/// The norm on the residual stream: RMS or layer norm by the key its epsilon has.
fn norm(settings: &mut Settings<'_>) -> Result<Norm, ModelError> {
    let (rms, layer) = (
        Key("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
        Key("layer_norm_eps|layer_norm_epsilon", "attention.layer_norm_epsilon"),
    );
    let bias = settings.rows("output_norm.bias").is_some();
    match settings.optional_positive(layer)? {
        Some(eps) => Ok(Norm { kind: NormKind::Layer, eps, shift: 0.0, bias }),
        None => Ok(Norm { kind: NormKind::Rms, eps: settings.positive(rms)?, shift: 0.0, bias }),
    }
}

/// The norm on queries and keys, where there are tensors for one.
fn query_key_norm(settings: &Settings<'_>, norm: &Norm, heads: usize, key_width: usize) -> Option<QueryKeyNorm> {
    let over = match settings.shape("blk.0.attn_q_norm.weight") {
        Some((1, width)) if width != key_width => NormOver::Row,
        Some((1, _)) => NormOver::Head,
        // More rows than one, or (of some writers) a tensor for each head.
        Some((rows, _)) if rows == heads => NormOver::OwnHead,
        _ => {
            settings.rows("blk.0.attn_q_norm.0.weight")?;
            NormOver::OwnHead
        }
    };
    Some(QueryKeyNorm { norm: Norm { bias: false, ..*norm }, over })
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
            HEADS,
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
    let key = Key("hidden_activation|hidden_act|activation_function", "");
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
    let there = |names: &[&str]| names.iter().any(|name| settings.rows(name).is_some());
    let found = AttentionBias {
        qkv: there(&["blk.0.attn_q.bias", "blk.0.attn_qkv.bias"]),
        output: there(&["blk.0.attn_output.bias"]),
    };
    Ok(match settings.flag(Key("attention_bias", ""))? {
        Some(bias) => AttentionBias { qkv: bias, output: bias },
        None => AttentionBias { qkv: settings.flag(Key("use_qkv_bias", ""))?.unwrap_or(found.qkv), ..found },
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
        let dense = layer.feed_forward.dense();
        // Products of widths must stay far from overflow, whatever the file says.
        if attention.key_width > MOST_HEAD_WIDTH {
            return Err(ModelError::Setting {
                key: format!("head width of layer {index}"),
                expected: format!("at most {MOST_HEAD_WIDTH}"),
                found: attention.key_width.to_string(),
            });
        }
        let widths = [spec.width, spec.vocabulary, attention.heads * attention.key_width, dense.hidden];
        if let Some(width) = widths.into_iter().find(|width| *width > 1 << 28) {
            return Err(ModelError::Setting {
                key: format!("widths of layer {index}"),
                expected: "at most 268435456".into(),
                found: width.to_string(),
            });
        }
    }
    let mut known: Option<&Rope> = None;
    for layer in &spec.layers {
        let Mixer::Attention(attention) = &layer.mixer;
        // Layers mostly share one.
        if let Some(rope) = attention.rope.as_ref().filter(|rope| known != Some(*rope)) {
            check_rope(rope, spec.context)?;
            known = Some(rope);
        }
    }
    Ok(())
}

/// Each number of a rope may be fine and what comes of them none: a base so small or factors so large that angles have no
/// value.
fn check_rope(rope: &Rope, context: usize) -> Result<(), ModelError> {
    // The lists of either side of an original context.
    for longest in [0, usize::MAX] {
        let table = rope.table(longest);
        let largest = context as f32;
        let bad = table.frequencies.iter().copied().find(|frequency| !(frequency * largest).is_finite());
        if let Some(found) = bad.or(Some(table.magnitude).filter(|magnitude| !magnitude.is_finite())) {
            return Err(ModelError::Setting {
                key: "rope".into(),
                expected: format!("a base and scaling that give finite angles up to position {context}"),
                found: format!("base {}, {:?}: {found}", rope.theta, rope.scaling).chars().take(160).collect(),
            });
        }
    }
    Ok(())
}

/// Makes the feed-forward networks of the layers that `have` them mixtures of experts.
pub(crate) fn experts(
    settings: &mut Settings<'_>,
    spec: &mut Spec,
    router: Router,
    have: impl Fn(usize) -> bool,
) -> Result<(), ModelError> {
    let count = settings.count(Key("num_experts|num_local_experts", "expert_count"))?;
    let chosen_key = Key("num_experts_per_tok", "expert_used_count");
    let chosen = settings.count(chosen_key)?;
    // Experts as wide as the dense network where nothing else is said.
    let hidden = settings.optional_count(Key("moe_intermediate_size", "expert_feed_forward_length"))?;
    if chosen > count || count > MOST_EXPERTS {
        let expected = format!("at most the {count} experts there are, and those at most {MOST_EXPERTS}");
        return Err(settings.wrong(chosen_key, &expected, &chosen.to_string()));
    }
    for (_, layer) in spec.layers.iter_mut().enumerate().filter(|(index, _)| have(*index)) {
        let dense = layer.feed_forward.dense();
        let expert = Dense { hidden: hidden.unwrap_or(dense.hidden), ..dense.clone() };
        layer.feed_forward = FeedForward::Experts(Experts { count, chosen, router, expert });
    }
    Ok(())
}
