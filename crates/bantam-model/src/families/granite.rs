//! Granite 3 (IBM 2024): scaled embeddings, branches, scores and logits.

use bantam_plan::RopePairs;

use super::Family;
use crate::decoder::decoder;
use crate::names::DECODER_NAMES;
use crate::settings::{Key, Settings};
use crate::{ModelError, Spec};

pub(super) const FAMILY: Family = Family {
    name: "granite",
    architectures: &["GraniteForCausalLM"],
    model_type: "granite",
    respelled: &[],
    gguf: &["granite"],
    models: "Granite 3.0 to 3.3 2B and 8B (dense)",
    read,
    ignored: &[],
    defaults: &[],
    names: &DECODER_NAMES,
    gguf_pairs: RopePairs::Interleaved,
};

fn read(settings: &mut Settings<'_>) -> Result<Spec, ModelError> {
    let mut spec = decoder(settings)?;
    spec.embedding_scale = settings.optional_positive(Key("embedding_multiplier", "embedding_scale"))?;
    let branches = settings.optional_positive(Key("residual_multiplier", "residual_scale"))?;
    spec.layers.iter_mut().for_each(|layer| layer.branch_scale = branches);
    if let Some(scale) = settings.optional_positive(Key("attention_multiplier", ""))? {
        spec.attentions().for_each(|attention| attention.scale = scale);
    }
    let divisor = settings.optional_positive(Key("logits_scaling", "logit_scale"))?;
    if let Some(head) = &mut spec.head {
        head.scale = divisor.map(|divisor| 1.0 / divisor);
    }
    Ok(spec)
}
