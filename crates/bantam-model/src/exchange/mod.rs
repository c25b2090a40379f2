//! A checkpoint in another form: GGUF's metadata and tensors of a Hugging Face model, and back.
//!
//! No family says twice what it is. The Spec is written down under every key that could hold some of it, the family's own
//! reader picks those it asks for, and what it makes of them is compared with the Spec: what does not come back the same is
//! named, and the model refused. So a setting that the other form cannot hold is never lost in silence.

mod adapters;
mod differences;
mod keys;
mod layout;
mod saved;

use std::collections::BTreeMap;

use bantam_formats::gguf::{Gguf, GgufWriter, SplitGguf, Value};
use bantam_plan::RopePairs;
use serde_json::{Map, Value as Json};

pub use adapters::{AdapterPlace, adapter_places};
pub use layout::{Change, Made};
pub use saved::{SavedPlace, saved_places};

use crate::families::{DEPARTURES, FAMILIES, Family};
use crate::settings::{Settings, Source, Tensors};
use crate::{Checkpoint, ModelError, Spec};

/// The key of a sliding window.
const WINDOW: &str = "attention.sliding_window";

/// A model as GGUF has it.
pub struct GgufForm {
    /// `general.architecture`.
    pub architecture: &'static str,
    /// The settings under the architecture's prefix.
    pub metadata: Vec<(String, Value)>,
    /// The tensors in the order of layers.
    pub tensors: Vec<Made>,
    /// What llama.cpp does otherwise than this program where it reads the file, in words that follow its name.
    pub elsewhere: Vec<&'static str>,
}

/// A model as Hugging Face's directories have it.
pub struct HuggingFaceForm {
    /// `config.json`, without the numbers of special tokens and the type of the weights.
    pub config: Map<String, Json>,
    /// The tensors in the order of layers.
    pub tensors: Vec<Made>,
}

/// A number as short as it reads back the same.
pub(crate) fn short_number(x: f32) -> Json {
    let text = format!("{x:?}");
    text.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map_or(Json::Null, Json::Number)
}

/// The tensors that settings look at while they are read back.
struct Known<'a> {
    checkpoint: &'a Checkpoint,
    vectors: &'a BTreeMap<&'static str, Vec<f32>>,
}

impl Tensors for Known<'_> {
    fn shape(&self, name: &str) -> Option<(usize, usize)> {
        if let Some(vector) = self.vectors.get(name) {
            return Some((1, vector.len()));
        }
        let found = self.checkpoint.plan().weights.iter().find(|weight| weight.name == name)?;
        Some((found.rows, found.width))
    }

    fn vector(&self, name: &str) -> Option<Vec<f32>> {
        self.vectors.get(name).cloned()
    }
}

/// What a model is as GGUF says it.
///
/// # Errors
/// [`ModelError::Inexpressible`] names what GGUF has no key for.
pub fn to_gguf(checkpoint: &Checkpoint) -> Result<GgufForm, ModelError> {
    let (family, spec) = (checkpoint.family(), checkpoint.spec());
    let Some(&architecture) = family.gguf.first() else {
        return Err(inexpressible("GGUF", vec![format!("models of family `{}`", family.name)]));
    };
    let mut closest = Vec::new();
    for norm in keys::NormKey::BOTH {
        let candidates = keys::gguf(spec, norm);
        let vectors: BTreeMap<_, _> = candidates.vectors.into_iter().collect();
        let prefixed: Vec<(String, Value)> =
            candidates.keys.into_iter().map(|(key, value)| (format!("{architecture}.{key}"), value)).collect();
        let asked = match read_gguf(checkpoint, architecture, &prefixed, &vectors) {
            Ok((_, asked)) => asked,
            Err(error) => {
                closest = nearer(closest, vec![error.to_string()]);
                continue;
            }
        };
        let kept: Vec<(String, Value)> = prefixed.into_iter().filter(|(key, _)| asked.contains(key)).collect();
        let differences = match read_gguf(checkpoint, architecture, &kept, &vectors) {
            Ok((made, _)) => differences::of(spec, &made),
            Err(error) => vec![error.to_string()],
        };
        if differences.is_empty() {
            let tensors = layout::gguf(checkpoint, &vectors)?;
            let elsewhere = departures(architecture, spec.context, &kept);
            return Ok(GgufForm { architecture, metadata: kept, tensors, elsewhere });
        }
        closest = nearer(closest, differences);
    }
    Err(inexpressible("GGUF", closest))
}

/// What llama.cpp does about the keys that it does not read.
fn departures(architecture: &str, context: usize, metadata: &[(String, Value)]) -> Vec<&'static str> {
    let said = |key: &str| {
        let named = |name: &str| name.strip_prefix(architecture).and_then(|rest| rest.strip_prefix('.')) == Some(key);
        let value = metadata.iter().find(|(name, _)| named(name)).map(|(_, value)| value);
        // A window as long as the context hides nothing.
        let hides = |value: &Value| value.as_u64().is_none_or(|window| window < context as u64);
        value.is_some_and(|value| key != WINDOW || hides(value))
    };
    let of = DEPARTURES.iter().filter(|departure| departure.architectures.contains(&architecture));
    of.filter(|departure| said(departure.key)).map(|departure| departure.what).collect()
}

/// What a model is as `config.json` of transformers says it.
///
/// # Errors
/// [`ModelError::Inexpressible`] names what no family of that architecture has a key for.
pub fn to_hugging_face(checkpoint: &Checkpoint) -> Result<HuggingFaceForm, ModelError> {
    let source = checkpoint.family();
    let mut closest = Vec::new();
    // Several families of Hugging Face's may go by one name in GGUF: the first that says the same is it.
    let alike =
        |family: &&Family| family.name == source.name || family.gguf.iter().any(|name| source.gguf.contains(name));
    for family in FAMILIES.iter().filter(alike) {
        for norm in keys::NormKey::BOTH {
            let mut map = keys::config(checkpoint.spec(), norm, family);
            let asked = match read_config(checkpoint, family, &map) {
                Ok((_, asked)) => asked,
                Err(error) => {
                    closest = nearer(closest, vec![error.to_string()]);
                    continue;
                }
            };
            map.retain(|key, _| asked.contains(key));
            let made = match read_config(checkpoint, family, &map) {
                Ok((made, _)) => made,
                Err(error) => {
                    closest = nearer(closest, vec![error.to_string()]);
                    continue;
                }
            };
            let differences = differences::of(checkpoint.spec(), &made);
            if !differences.is_empty() {
                closest = nearer(closest, differences);
                continue;
            }
            let tensors = layout::hugging_face(checkpoint, family, &made)?;
            let mut config = Map::new();
            config.insert("architectures".into(), family.architectures.iter().take(1).copied().collect());
            config.insert("model_type".into(), family.model_type.into());
            config.extend(map);
            return Ok(HuggingFaceForm { config, tensors });
        }
    }
    Err(inexpressible("config.json", closest))
}

fn inexpressible(target: &'static str, what: Vec<String>) -> ModelError {
    ModelError::Inexpressible { target, what: what.join("; ") }
}

/// The shorter list of what is wrong.
fn nearer(one: Vec<String>, other: Vec<String>) -> Vec<String> {
    if one.is_empty() || other.len() < one.len() { other } else { one }
}

type Asked = std::collections::BTreeSet<String>;

fn read_gguf(
    checkpoint: &Checkpoint,
    architecture: &str,
    metadata: &[(String, Value)],
    vectors: &BTreeMap<&'static str, Vec<f32>>,
) -> Result<(Spec, Asked), ModelError> {
    let mut writer = GgufWriter::new();
    for (key, value) in metadata {
        writer.set(key.as_str(), value.clone());
    }
    let gguf = Gguf::parse(&writer.to_bytes(|_, _| Ok(()))?)?;
    let model = SplitGguf::new(vec![gguf])?;
    let family = crate::families::by_gguf(architecture)?;
    let known = Known { checkpoint, vectors };
    let mut settings = Settings::new(Source::Gguf(model.first(), architecture.to_owned()), &known);
    let mut spec = (family.read)(&mut settings)?;
    pairs(&mut spec, family.gguf_pairs);
    Ok((spec, settings.asked().clone()))
}

fn read_config(
    checkpoint: &Checkpoint,
    family: &'static Family,
    map: &Map<String, Json>,
) -> Result<(Spec, Asked), ModelError> {
    let mut map = map.clone();
    family.add_defaults(&mut map);
    let known = Known { checkpoint, vectors: &BTreeMap::new() };
    let mut settings = Settings::new(Source::Config(&map), &known);
    let mut spec = (family.read)(&mut settings)?;
    pairs(&mut spec, RopePairs::Halves);
    Ok((spec, settings.asked().clone()))
}

fn pairs(spec: &mut Spec, pairs: RopePairs) {
    spec.attentions().filter_map(|attention| attention.rope.as_mut()).for_each(|rope| rope.pairs = pairs);
}
