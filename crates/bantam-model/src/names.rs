//! Tensor names: GGUF's are the house's own; Hugging Face's are a table per family.

/// Hugging Face's names for GGUF's; the first `{}` stands for the layer, a second one for the part (head, expert).
pub(crate) struct Names {
    /// Pairs (GGUF, Hugging Face), without `.weight` and `.bias`.
    pub(crate) table: &'static [(&'static str, &'static str)],
    /// Endings of tensors that carry nothing the settings do not say.
    pub(crate) ignored: &'static [&'static str],
    /// What some writers begin names with, and what that stands for.
    pub(crate) prefixes: &'static [(&'static str, &'static str)],
    /// Beginnings of tensors of other parts of a model, such as one for images.
    pub(crate) beside: &'static [&'static str],
    /// Pairs looked at before the table, where a family has names of its own for some.
    pub(crate) own: &'static [(&'static str, &'static str)],
    /// Stems of GGUF's names of tensors that both forms store as one, each with those it is cut into.
    pub(crate) fused: &'static [(&'static str, &'static [&'static str])],
    /// Endings of Hugging Face's names of matrices that are stored the other way round, `[inputs, outputs]`.
    pub(crate) transposed: &'static [&'static str],
}

impl Names {
    /// A table alone.
    pub(crate) const fn of(table: &'static [(&'static str, &'static str)]) -> Self {
        Self {
            table,
            ignored: &["rotary_emb.inv_freq"],
            prefixes: &[],
            beside: &[],
            own: &[],
            fused: &[],
            transposed: &[],
        }
    }
}

/// The names most decoders use.
pub(crate) const DECODER_NAMES: Names = Names::of(&[
    ("token_embd", "model.embed_tokens"),
    ("output_norm", "model.norm"),
    ("output", "lm_head"),
    ("blk.{}.attn_norm", "model.layers.{}.input_layernorm"),
    ("blk.{}.attn_q", "model.layers.{}.self_attn.q_proj"),
    ("blk.{}.attn_k", "model.layers.{}.self_attn.k_proj"),
    ("blk.{}.attn_v", "model.layers.{}.self_attn.v_proj"),
    ("blk.{}.attn_qkv", "model.layers.{}.self_attn.qkv_proj"),
    ("blk.{}.attn_q_norm", "model.layers.{}.self_attn.q_norm"),
    ("blk.{}.attn_k_norm", "model.layers.{}.self_attn.k_norm"),
    ("blk.{}.attn_q_norm.{}", "model.layers.{}.self_attn.q_layernorm.norms.{}"),
    ("blk.{}.attn_k_norm.{}", "model.layers.{}.self_attn.k_layernorm.norms.{}"),
    ("blk.{}.attn_output", "model.layers.{}.self_attn.o_proj"),
    ("blk.{}.ffn_norm", "model.layers.{}.post_attention_layernorm"),
    ("blk.{}.ffn_gate", "model.layers.{}.mlp.gate_proj"),
    ("blk.{}.ffn_up", "model.layers.{}.mlp.up_proj"),
    ("blk.{}.ffn_gate_up", "model.layers.{}.mlp.gate_up_proj"),
    ("blk.{}.ffn_down", "model.layers.{}.mlp.down_proj"),
    ("blk.{}.ffn_gate_inp", "model.layers.{}.mlp.gate"),
    ("blk.{}.ffn_gate.{}", "model.layers.{}.mlp.experts.{}.gate_proj"),
    ("blk.{}.ffn_up.{}", "model.layers.{}.mlp.experts.{}.up_proj"),
    ("blk.{}.ffn_down.{}", "model.layers.{}.mlp.experts.{}.down_proj"),
]);

/// The names of decoders whose experts stand in a block of their own.
pub(crate) const SPARSE_BLOCK_NAMES: Names = Names {
    own: &[
        ("blk.{}.ffn_gate_inp", "model.layers.{}.block_sparse_moe.gate"),
        ("blk.{}.ffn_gate.{}", "model.layers.{}.block_sparse_moe.experts.{}.w1"),
        ("blk.{}.ffn_up.{}", "model.layers.{}.block_sparse_moe.experts.{}.w3"),
        ("blk.{}.ffn_down.{}", "model.layers.{}.block_sparse_moe.experts.{}.w2"),
    ],
    ..DECODER_NAMES
};

/// Queries, keys and values as one.
pub(crate) const FUSED_ATTENTION: (&str, &[&str]) = ("attn_qkv", &["attn_q", "attn_k", "attn_v"]);

/// The names of decoders that store projections of one input as one.
pub(crate) const FUSED_NAMES: Names =
    Names { fused: &[FUSED_ATTENTION, ("ffn_gate_up", &["ffn_gate", "ffn_up"])], ..DECODER_NAMES };

/// The names of decoders with a norm after each branch; those before the feed-forward network are there in some.
pub(crate) const POST_NORM_NAMES: Names = Names::of(&[
    ("token_embd", "model.embed_tokens"),
    ("output_norm", "model.norm"),
    ("output", "lm_head"),
    ("blk.{}.attn_norm", "model.layers.{}.input_layernorm"),
    ("blk.{}.attn_q", "model.layers.{}.self_attn.q_proj"),
    ("blk.{}.attn_k", "model.layers.{}.self_attn.k_proj"),
    ("blk.{}.attn_v", "model.layers.{}.self_attn.v_proj"),
    ("blk.{}.attn_q_norm", "model.layers.{}.self_attn.q_norm"),
    ("blk.{}.attn_k_norm", "model.layers.{}.self_attn.k_norm"),
    ("blk.{}.attn_output", "model.layers.{}.self_attn.o_proj"),
    ("blk.{}.post_attention_norm", "model.layers.{}.post_attention_layernorm"),
    ("blk.{}.ffn_norm", "model.layers.{}.pre_feedforward_layernorm"),
    ("blk.{}.ffn_gate", "model.layers.{}.mlp.gate_proj"),
    ("blk.{}.ffn_up", "model.layers.{}.mlp.up_proj"),
    ("blk.{}.ffn_down", "model.layers.{}.mlp.down_proj"),
    ("blk.{}.post_ffw_norm", "model.layers.{}.post_feedforward_layernorm"),
]);

impl Names {
    /// GGUF's name of a Hugging Face tensor.
    pub(crate) fn to_gguf(&self, name: &str) -> Option<String> {
        let known = |(prefix, stands_for): &(&str, &str)| Some(format!("{stands_for}{}", name.strip_prefix(prefix)?));
        let name = self.prefixes.iter().find_map(known).unwrap_or_else(|| name.to_owned());
        self.translate(&name, |(gguf, other)| (other, gguf))
    }

    /// Hugging Face's name of a GGUF tensor.
    pub(crate) fn to_hugging_face(&self, name: &str) -> Option<String> {
        self.translate(name, |(gguf, other)| (gguf, other))
    }

    /// Whether a Hugging Face tensor is stored the other way round.
    pub(crate) fn is_transposed(&self, name: &str) -> bool {
        self.transposed.iter().any(|ending| name.ends_with(ending))
    }

    /// Whether a tensor carries nothing the settings do not say.
    pub(crate) fn is_ignored(&self, name: &str) -> bool {
        self.ignored.iter().any(|ending| name.ends_with(ending))
            || self.beside.iter().any(|beginning| name.starts_with(beginning))
    }

    fn translate(
        &self,
        name: &str,
        direction: impl Fn(&(&'static str, &'static str)) -> (&'static str, &'static str),
    ) -> Option<String> {
        let (stem, ending) = name.rsplit_once('.').filter(|(_, ending)| matches!(*ending, "weight" | "bias"))?;
        self.own.iter().chain(self.table).find_map(|pair| {
            let (from, to) = direction(pair);
            let mut pieces = from.split("{}");
            let mut rest = stem.strip_prefix(pieces.next()?)?;
            let mut made = to.to_owned();
            for piece in pieces {
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                let (number, after) = rest.split_at(digits);
                let canonical = number == "0" || !number.starts_with('0');
                if number.is_empty() || !canonical {
                    return None;
                }
                made = made.replacen("{}", number, 1);
                rest = after.strip_prefix(piece)?;
                // The last piece ends the name.
            }
            rest.is_empty().then(|| format!("{made}.{ending}"))
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
        check("model.layers.3.self_attn.q_layernorm.norms.12.weight", Some("blk.3.attn_q_norm.12.weight"));
        check("model.layers.3.self_attn.q_layernorm.norms.012.weight", None);
        check("model.layers.3.self_attn.q_layernorm.norms..weight", None);
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
