//! Tensor names: GGUF's are the house's own; Hugging Face's are a table per family.

/// Hugging Face's names for GGUF's; `{}` stands for the layer.
pub(crate) struct Names {
    /// Pairs (GGUF, Hugging Face), without `.weight` and `.bias`.
    pub(crate) table: &'static [(&'static str, &'static str)],
    /// Endings of tensors that carry nothing the settings do not say.
    pub(crate) ignored: &'static [&'static str],
}

/// The names most decoders use.
pub(crate) const DECODER_NAMES: Names = Names {
    table: &[
        ("token_embd", "model.embed_tokens"),
        ("output_norm", "model.norm"),
        ("output", "lm_head"),
        ("blk.{}.attn_norm", "model.layers.{}.input_layernorm"),
        ("blk.{}.attn_q", "model.layers.{}.self_attn.q_proj"),
        ("blk.{}.attn_k", "model.layers.{}.self_attn.k_proj"),
        ("blk.{}.attn_v", "model.layers.{}.self_attn.v_proj"),
        ("blk.{}.attn_output", "model.layers.{}.self_attn.o_proj"),
        ("blk.{}.ffn_norm", "model.layers.{}.post_attention_layernorm"),
        ("blk.{}.ffn_gate", "model.layers.{}.mlp.gate_proj"),
        ("blk.{}.ffn_up", "model.layers.{}.mlp.up_proj"),
        ("blk.{}.ffn_down", "model.layers.{}.mlp.down_proj"),
    ],
    ignored: &["rotary_emb.inv_freq"],
};

impl Names {
    /// GGUF's name of a Hugging Face tensor.
    pub(crate) fn to_gguf(&self, name: &str) -> Option<String> {
        self.translate(name, |(gguf, other)| (other, gguf))
    }

    /// Hugging Face's name of a GGUF tensor.
    pub(crate) fn to_hugging_face(&self, name: &str) -> Option<String> {
        self.translate(name, |(gguf, other)| (gguf, other))
    }

    /// Whether a tensor carries nothing the settings do not say.
    pub(crate) fn is_ignored(&self, name: &str) -> bool {
        self.ignored.iter().any(|ending| name.ends_with(ending))
    }

    fn translate(
        &self,
        name: &str,
        direction: impl Fn(&(&'static str, &'static str)) -> (&'static str, &'static str),
    ) -> Option<String> {
        let (stem, ending) = name.rsplit_once('.').filter(|(_, ending)| matches!(*ending, "weight" | "bias"))?;
        self.table.iter().find_map(|pair| {
            let (from, to) = direction(pair);
            let layer = match from.split_once("{}") {
                None => (stem == from).then_some("")?,
                Some((head, tail)) => {
                    let layer = stem.strip_prefix(head)?.strip_suffix(tail)?;
                    let canonical = layer == "0" || !layer.starts_with('0');
                    (!layer.is_empty() && canonical && layer.bytes().all(|byte| byte.is_ascii_digit()))
                        .then_some(layer)?
                }
            };
            Some(format!("{}.{ending}", to.replace("{}", layer)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::DECODER_NAMES;

    #[test]
    fn names_translate_both_ways_or_not_at_all() {
        let check = |other: &str, gguf: Option<&str>| {
            assert_eq!(DECODER_NAMES.to_gguf(other).as_deref(), gguf, "{other}");
            if let Some(gguf) = gguf {
                assert_eq!(DECODER_NAMES.to_hugging_face(gguf).as_deref(), Some(other), "{gguf}");
            }
        };
        check("model.embed_tokens.weight", Some("token_embd.weight"));
        check("lm_head.weight", Some("output.weight"));
        check("model.layers.17.mlp.down_proj.bias", Some("blk.17.ffn_down.bias"));
        for unknown in [
            "model.layers..mlp.down_proj.weight",
            "model.layers.1x.mlp.down_proj.weight",
            "model.norm.scale",
            "model.layers.01.mlp.down_proj.weight",
            "model.layers.1.mlp.down_proj",
            "weight",
            "",
        ] {
            check(unknown, None);
        }
    }
}
