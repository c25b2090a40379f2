//! Mistral (Jiang et al. 2023): a window on every layer in the first models. GGUF files call it llama.

use bantam_plan::RopePairs;

use super::Family;
use crate::decoder::decoder;
use crate::names::DECODER_NAMES;
use crate::settings::Settings;
use crate::window::windowed;
use crate::{ModelError, Spec};

pub(super) const FAMILY: Family = Family {
    name: "mistral",
    architectures: &["MistralForCausalLM"],
    model_type: "mistral",
    respelled: &[],
    gguf: &["llama"],
    models: "Mistral 7B, Ministral, Mistral NeMo, Mistral Small",
    read,
    ignored: &[],
    defaults: &[],
    names: &DECODER_NAMES,
    gguf_pairs: RopePairs::Interleaved,
};

fn read(settings: &mut Settings<'_>) -> Result<Spec, ModelError> {
    let mut spec = decoder(settings)?;
    windowed(settings, &mut spec, |_| true)?;
    Ok(spec)
}
