//! Phi-3.5-MoE (Abdin et al. 2024): sixteen experts weighed by SparseMixer, layer norms under the name of RMS norms, biases.

use bantam_plan::{NormKind, RopePairs, Router};

use super::Family;
use crate::decoder::{decoder, experts};
use crate::names::SPARSE_BLOCK_NAMES;
use crate::settings::{Key, Settings};
use crate::spec::RopeScaling;
use crate::window::windowed;
use crate::{ModelError, Spec};

/// Factor on cosine and sine of the one model there is (`short_mscale` and `long_mscale` of its `config.json`,
/// 1.243163121016122, which the tests of transformers and mlx-lm quote): its GGUF files carry another, made from its
/// context's lengths.
const MAGNITUDE: f32 = 1.243_163_1;
/// The jitter of its router, which its GGUF files have no key for: `router_jitter_noise` of transformers' `PhimoeConfig`.
const JITTER: f32 = 0.01;

pub(super) const FAMILY: Family = Family {
    name: "phimoe",
    architectures: &["PhiMoEForCausalLM", "PhimoeForCausalLM"],
    model_type: "phimoe",
    respelled: &[("num_experts", "num_local_experts"), ("moe_intermediate_size", "")],
    gguf: &["phimoe"],
    models: "Phi-3.5-MoE",
    read,
    ignored: &["input_jitter_noise", "output_router_logits", "router_aux_loss_coef"],
    defaults: &[],
    names: &SPARSE_BLOCK_NAMES,
    gguf_pairs: RopePairs::Halves,
};

fn read(settings: &mut Settings<'_>) -> Result<Spec, ModelError> {
    // Whether the head has a bias is seen by its tensor.
    settings.flag(Key("lm_head_bias", ""))?;
    let mut spec = decoder(settings)?;
    spec.stream_norms().for_each(|norm| norm.kind = NormKind::Layer);
    windowed(settings, &mut spec, |_| true)?;
    let jitter = settings.optional_positive(Key("router_jitter_noise", ""))?.unwrap_or(JITTER);
    experts(settings, &mut spec, Router::Sparse { jitter }, |_| true)?;
    for rope in spec.attentions().filter_map(|attention| attention.rope.as_mut()) {
        if let (false, RopeScaling::ByContext { short, long, .. }) = (settings.is_config(), &mut rope.scaling) {
            (short.1, long.1) = (MAGNITUDE, MAGNITUDE);
        }
    }
    Ok(spec)
}
