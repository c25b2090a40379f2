//! OLMo 2 (Walsh et al. 2025): norms after the branches and none before, norms over whole rows of queries and keys.

use bantam_plan::RopePairs;

use super::Family;
use crate::decoder::decoder;
use crate::names::POST_NORM_NAMES;
use crate::settings::Settings;
use crate::spec::Norms;
use crate::{ModelError, Spec};

pub(super) const FAMILY: Family = Family {
    name: "olmo2",
    architectures: &["Olmo2ForCausalLM"],
    model_type: "olmo2",
    respelled: &[],
    gguf: &["olmo2"],
    models: "OLMo 2 1B, 7B, 13B, 32B",
    read,
    ignored: &[],
    defaults: &[],
    names: &POST_NORM_NAMES,
    gguf_pairs: RopePairs::Halves,
};

fn read(settings: &mut Settings<'_>) -> Result<Spec, ModelError> {
    let mut spec = decoder(settings)?;
    for layer in &mut spec.layers {
        layer.mixer_norms = Norms { before: None, after: layer.mixer_norms.before };
        layer.feed_forward_norms = Norms { before: None, after: layer.feed_forward_norms.before };
    }
    Ok(spec)
}
