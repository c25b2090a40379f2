//! Llama 2, 3, 3.1, 3.2, 3.3 (Touvron et al. 2023; Grattafiori et al. 2024), and all that share its form: SmolLM2,
//! TinyLlama, the Llama distils of DeepSeek-R1.

use bantam_plan::{RopePairs, Router};

use super::Family;
use crate::decoder::{decoder, experts};
use crate::names::DECODER_NAMES;
use crate::settings::{Key, Settings};
use crate::window::windowed;
use crate::{ModelError, Spec};

pub(super) const FAMILY: Family = Family {
    name: "llama",
    architectures: &["LlamaForCausalLM"],
    model_type: "llama",
    respelled: &[],
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
    let mut spec = decoder(settings)?;
    // GGUF files of Mistral and Mixtral go by this name too; a window stands in few of them.
    if !settings.is_config() {
        windowed(settings, &mut spec, |_| true)?;
        let counts = [Key("", "expert_count"), Key("", "expert_used_count")];
        if settings.rows("blk.0.ffn_gate_inp.weight").is_some() {
            experts(settings, &mut spec, Router::Softmax { normalized: true }, |_| true)?;
        } else {
            counts.into_iter().try_for_each(|key| settings.only(key, &["0"]))?;
        }
    }
    Ok(spec)
}
