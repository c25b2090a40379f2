//! Where llama.cpp reads a GGUF file of a family otherwise than the checkpoint's own code: `docs/results/llama-cpp-departures.md`
//! shows each of them.

/// A key of GGUF that llama.cpp does not follow.
pub(crate) struct Departure {
    /// Where it does not.
    pub(crate) architectures: &'static [&'static str],
    /// The key behind the architecture's prefix; the departure concerns files that have it.
    pub(crate) key: &'static str,
    /// What it does instead, in words that follow its name.
    pub(crate) what: &'static str,
}

/// All that is known.
pub(crate) const DEPARTURES: &[Departure] = &[
    Departure {
        architectures: &["llama", "qwen2", "qwen3", "qwen3moe", "phi3", "phimoe"],
        key: "attention.sliding_window",
        what: "applies no sliding window, and this model has one",
    },
    Departure {
        architectures: &["gemma2", "gemma3"],
        key: "attention.scale",
        what: "scales attention by the heads' width, not by query_pre_attn_scalar",
    },
    Departure {
        architectures: &["qwen3moe"],
        key: "expert_weights_norm",
        what: "makes the experts' weights sum to one, whatever norm_topk_prob says",
    },
    Departure {
        architectures: &["phimoe"],
        key: "expert_count",
        what: "takes root-mean-square norms for layer norms, a softmax for the router, and no long_mscale or short_mscale",
    },
    Departure { architectures: &["bert"], key: "attention.causal", what: "takes gelu by its tanh form" },
];
