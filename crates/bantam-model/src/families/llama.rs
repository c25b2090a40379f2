//! Llama 2, 3, 3.1, 3.2, 3.3 (Touvron et al. 2023; Grattafiori et al. 2024), and all that share its form: SmolLM2,
//! TinyLlama, the Llama distils of DeepSeek-R1.

use bantam_plan::RopePairs;

use super::Family;
use crate::decoder::decoder;
use crate::names::DECODER_NAMES;
use crate::settings::{Key, Settings};
use crate::window::windowed;
use crate::{ModelError, Spec};

pub(super) const FAMILY: Family = Family {
    name: "llama",
    architectures: &["LlamaForCausalLM"],
    gguf: &["llama"],
    models: "Llama 2, 3, 3.1, 3.2, 3.3; SmolLM2; TinyLlama; DeepSeek-R1-Distill-Llama",
    read,
    ignored: &["is_llama_config", "pretraining_tp"],
    defaults: &[],
    names: &DECODER_NAMES,
    gguf_pairs: RopePairs::Interleaved,
};

fn read(settings: &mut Settings<'_>) -> Result<Spec, ModelError> {
    settings.only(Key("rope_interleaved", ""), &["false"])?;
    // Early converters wrote where the rows of queries and keys come from: the interleaved order all GGUF files have.
    settings.only(Key("", "tensor_data_layout"), &["Meta AI original pth"])?;
    settings.only(Key("", "expert_count"), &["0"])?;
    settings.only(Key("", "expert_used_count"), &["0"])?;
    let mut spec = decoder(settings)?;
    // Mistral's GGUF files go by this name too; a window stands in few of them.
    if !settings.is_config() {
        windowed(settings, &mut spec, |_| true)?;
    }
    Ok(spec)
}
