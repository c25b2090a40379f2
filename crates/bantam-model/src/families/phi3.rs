//! Phi-3, Phi-3.5 and Phi-4-mini (Abdin et al. 2024): fused projections, a window in some, LongRoPE in those of long
//! context, part of each head turned in Phi-4-mini.

use bantam_plan::RopePairs;

use super::Family;
use crate::decoder::decoder;
use crate::names::FUSED_NAMES;
use crate::settings::{Key, Settings};
use crate::window::windowed;
use crate::{ModelError, Spec};

pub(super) const FAMILY: Family = Family {
    name: "phi3",
    architectures: &["Phi3ForCausalLM"],
    model_type: "phi3",
    respelled: &[],
    gguf: &["phi3"],
    models: "Phi-3-mini, Phi-3-medium, Phi-3.5-mini, Phi-4, Phi-4-mini",
    read,
    ignored: &[],
    defaults: &[],
    names: &FUSED_NAMES,
    gguf_pairs: RopePairs::Halves,
};

fn read(settings: &mut Settings<'_>) -> Result<Spec, ModelError> {
    for key in [Key("full_attn_mod", ""), Key("interpolate_factor", "")] {
        settings.only(key, &["1"])?;
    }
    settings.flag(Key("lm_head_bias", ""))?;
    let mut spec = decoder(settings)?;
    windowed(settings, &mut spec, |_| true)?;
    Ok(spec)
}
