//! The families: one file each, registered in [`FAMILIES`].
//!
//! A family reads a checkpoint's own settings into a [`Spec`]: it starts from the common decoder (`decoder.rs`),
//! changes what differs, and leaves what it does not understand to be refused by name. See `docs/add-a-family.md`.

mod bert;
mod departures;
mod gemma;
mod gemma2;
mod gemma3;
mod gpt2;
mod granite;
mod llama;
mod mistral;
mod mixtral;
mod olmo2;
mod phi2;
mod phi3;
mod phimoe;
mod qwen2;
mod qwen3;
mod qwen3_moe;
pub(crate) mod rope;
pub(crate) mod rope_written;
mod smollm3;
mod stablelm;

pub(crate) use departures::DEPARTURES;

use bantam_plan::RopePairs;
use serde_json::Value as Json;

use crate::names::Names;
use crate::settings::Settings;
use crate::{ModelError, Spec};

/// One family of models.
pub struct Family {
    /// Its name, for people.
    pub name: &'static str,
    /// What `architectures` of `config.json` calls it.
    pub architectures: &'static [&'static str],
    /// What `model_type` of `config.json` calls it.
    pub model_type: &'static str,
    /// Keys of `config.json` that its own files spell otherwise than most: `(usual, its own)`; `""` where they have none.
    pub(crate) respelled: &'static [(&'static str, &'static str)],
    /// What `general.architecture` of GGUF calls it; several families may share one, of which the first listed reads it.
    pub gguf: &'static [&'static str],
    /// Models known to be of it, for the support table.
    pub models: &'static str,
    /// Reads the settings.
    pub(crate) read: fn(&mut Settings<'_>) -> Result<Spec, ModelError>,
    /// Keys of `config.json` known to change nothing, beside those common to all families.
    pub(crate) ignored: &'static [&'static str],
    /// What absent keys of `config.json` stand for, as JSON.
    pub(crate) defaults: &'static [(&'static str, &'static str)],
    /// Hugging Face's tensor names.
    pub(crate) names: &'static Names,
    /// Which columns GGUF files turn together.
    pub(crate) gguf_pairs: RopePairs,
}

impl Family {
    /// Adds what absent keys of `config.json` stand for.
    pub(crate) fn add_defaults(&self, map: &mut serde_json::Map<String, Json>) {
        for (key, value) in self.defaults {
            // The newer form of rope settings is whole.
            if key.starts_with("rope_") && map.contains_key("rope_parameters") {
                continue;
            }
            let value = || serde_json::from_str(value).unwrap_or(Json::Null);
            map.entry(*key).or_insert_with(value);
        }
    }
}

/// Every family.
pub const FAMILIES: &[Family] = &[
    llama::FAMILY,
    mistral::FAMILY,
    mixtral::FAMILY,
    qwen2::FAMILY,
    qwen3::FAMILY,
    qwen3_moe::FAMILY,
    gemma::FAMILY,
    gemma2::FAMILY,
    gemma3::FAMILY,
    phi2::FAMILY,
    phi3::FAMILY,
    phimoe::FAMILY,
    smollm3::FAMILY,
    stablelm::FAMILY,
    olmo2::FAMILY,
    granite::FAMILY,
    gpt2::FAMILY,
    bert::FAMILY,
];

/// The family that `config.json` names.
pub(crate) fn by_architecture(architecture: &str) -> Result<&'static Family, ModelError> {
    find(architecture, |family| family.architectures)
}

/// The family that GGUF metadata names.
pub(crate) fn by_gguf(architecture: &str) -> Result<&'static Family, ModelError> {
    find(architecture, |family| family.gguf)
}

fn find(wanted: &str, names: impl Fn(&Family) -> &'static [&'static str]) -> Result<&'static Family, ModelError> {
    let mut known: Vec<&str> = Vec::new();
    for name in FAMILIES.iter().flat_map(&names) {
        if !known.contains(name) {
            known.push(name);
        }
    }
    FAMILIES
        .iter()
        .find(|family| names(family).contains(&wanted))
        .ok_or_else(|| ModelError::UnknownFamily { found: wanted.chars().take(80).collect(), known: known.join(", ") })
}
