//! StableLM 3B, 2 1.6B and 2 12B (Bellagamba et al. 2024): layer norms, a quarter of each head turned; in the large kind
//! both branches beside each other and a norm for each head of queries and keys.

use bantam_plan::RopePairs;

use super::Family;
use crate::decoder::decoder;
use crate::names::DECODER_NAMES;
use crate::settings::{Key, Settings};
use crate::spec::Wiring;
use crate::{ModelError, Spec};

pub(super) const FAMILY: Family = Family {
    name: "stablelm",
    architectures: &["StableLmForCausalLM"],
    model_type: "stablelm",
    respelled: &[],
    gguf: &["stablelm"],
    models: "StableLM 3B 4E1T, StableLM Zephyr, StableLM 2 1.6B and 12B",
    read,
    ignored: &[],
    defaults: &[
        ("use_qkv_bias", "false"),
        ("use_parallel_residual", "false"),
        ("partial_rotary_factor", "0.25"),
        ("layer_norm_eps", "1e-5"),
    ],
    names: &DECODER_NAMES,
    gguf_pairs: RopePairs::Halves,
};

fn read(settings: &mut Settings<'_>) -> Result<Spec, ModelError> {
    // Whether there are norms on queries and keys is seen by their tensors.
    settings.flag(Key("qk_layernorm", ""))?;
    settings.only(Key("rotary_scaling_factor", ""), &["1.0", "1"])?;
    let parallel = settings.flag(Key("use_parallel_residual", "use_parallel_residual"))?.unwrap_or(false);
    let mut spec = decoder(settings)?;
    for layer in spec.layers.iter_mut().filter(|_| parallel) {
        layer.wiring = Wiring::Parallel;
        layer.feed_forward_norms.before = None;
    }
    Ok(spec)
}
