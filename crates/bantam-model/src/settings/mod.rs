//! A checkpoint's settings, read so that none is overlooked.
//!
//! Every setting a family asks for is ticked off; what is left at the end must stand on a list of keys known to change
//! nothing, or the model is refused by name ([`Settings::finish`]). One reader serves both `config.json` and GGUF
//! metadata, so a family names each setting once, by its [`Key`].

mod value;

use std::collections::BTreeSet;

use bantam_formats::gguf::{Gguf, Value as GgufValue};
use serde_json::Value as Json;

pub(crate) use value::Setting;

use crate::ModelError;

/// One setting under its two names: in `config.json`, and in GGUF metadata after `<architecture>.`.
///
/// An empty name says that this source has no such setting; `|` stands between names that mean the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key(pub &'static str, pub &'static str);

/// Where settings and facts about tensors come from.
pub(crate) enum Source<'a> {
    /// `config.json` of a Hugging Face directory.
    Config(&'a serde_json::Map<String, Json>),
    /// GGUF metadata under an architecture's prefix.
    Gguf(&'a Gguf, String),
}

/// What settings may ask of a checkpoint's tensors, by their GGUF names.
pub(crate) trait Tensors {
    /// Rows of a tensor (1 for a vector), where there is one.
    fn rows(&self, name: &str) -> Option<usize> {
        self.shape(name).map(|(rows, _)| rows)
    }

    /// Rows and width of a tensor, where there is one.
    fn shape(&self, name: &str) -> Option<(usize, usize)>;

    /// A small vector, decoded.
    fn vector(&self, name: &str) -> Option<Vec<f32>>;
}

/// The settings of one checkpoint, with what has been read of them.
pub(crate) struct Settings<'a> {
    source: Source<'a>,
    used: BTreeSet<String>,
    tensors: &'a dyn Tensors,
}

impl<'a> Settings<'a> {
    pub(crate) fn new(source: Source<'a>, tensors: &'a dyn Tensors) -> Self {
        Self { source, used: BTreeSet::new(), tensors }
    }

    /// Whether this is a Hugging Face directory (whose projections keep halves as rope pairs).
    pub(crate) fn is_config(&self) -> bool {
        matches!(self.source, Source::Config(_))
    }

    /// A small vector of the checkpoint by its GGUF name, decoded.
    pub(crate) fn vector(&self, name: &str) -> Option<Vec<f32>> {
        self.tensors.vector(name)
    }

    /// Rows of a tensor of the checkpoint by its GGUF name, where there is one.
    pub(crate) fn rows(&self, name: &str) -> Option<usize> {
        self.tensors.rows(name)
    }

    /// Rows and width of a tensor of the checkpoint by its GGUF name, where there is one.
    pub(crate) fn shape(&self, name: &str) -> Option<(usize, usize)> {
        self.tensors.shape(name)
    }

    /// The full names a key has in this source.
    fn names(&self, key: Key) -> Vec<String> {
        let split = |names: &'static str| names.split('|').filter(|name| !name.is_empty());
        match &self.source {
            Source::Config(_) => split(key.0).map(str::to_owned).collect(),
            Source::Gguf(_, prefix) => split(key.1).map(|name| format!("{prefix}.{name}")).collect(),
        }
    }

    fn value(&self, name: &str) -> Option<Setting<'a>> {
        match &self.source {
            Source::Config(map) => map.get(name).and_then(Setting::from_json),
            Source::Gguf(gguf, _) => gguf.get(name).map(Setting::Gguf),
        }
    }

    /// The full name a key has in this source (of several the one that is there), or `None` where it has none.
    fn full(&self, key: Key) -> Option<String> {
        let names = self.names(key);
        names.iter().find(|name| self.value(name).is_some()).or(names.first()).cloned()
    }

    /// A setting, ticked off; `None` where absent or null.
    pub(crate) fn get(&mut self, key: Key) -> Option<Setting<'a>> {
        let names = self.names(key);
        let setting = names.iter().find_map(|name| self.value(name));
        self.used.extend(names);
        setting
    }

    /// Whether a setting is there.
    pub(crate) fn has(&self, key: Key) -> bool {
        self.names(key).iter().any(|name| self.value(name).is_some())
    }

    /// A whole number from 0 to 2^31, where given.
    pub(crate) fn optional_whole(&mut self, key: Key) -> Result<Option<usize>, ModelError> {
        self.read(key, "a whole number from 0 to 2147483648", |setting| {
            setting.integer().filter(|n| (0..=1 << 31).contains(n)).and_then(|n| usize::try_from(n).ok())
        })
    }

    fn read<T>(
        &mut self,
        key: Key,
        expected: &str,
        convert: impl FnOnce(&Setting<'a>) -> Option<T>,
    ) -> Result<Option<T>, ModelError> {
        let Some(setting) = self.get(key) else { return Ok(None) };
        match convert(&setting) {
            Some(value) => Ok(Some(value)),
            None => Err(self.wrong(key, expected, &setting.to_string())),
        }
    }

    /// An error about a setting.
    pub(crate) fn wrong(&self, key: Key, expected: &str, found: &str) -> ModelError {
        let key = self.full(key).unwrap_or_else(|| key.0.to_owned());
        ModelError::Setting { key, expected: expected.to_owned(), found: found.to_owned() }
    }

    fn required<T>(&self, key: Key, value: Option<T>) -> Result<T, ModelError> {
        value.ok_or_else(|| ModelError::MissingSetting { key: self.full(key).unwrap_or_else(|| key.0.to_owned()) })
    }

    /// A count from 1 to 2^31.
    pub(crate) fn count(&mut self, key: Key) -> Result<usize, ModelError> {
        let value = self.optional_count(key)?;
        self.required(key, value)
    }

    /// A count, where given.
    pub(crate) fn optional_count(&mut self, key: Key) -> Result<Option<usize>, ModelError> {
        self.read(key, "a whole number from 1 to 2147483648", |setting| {
            setting.integer().filter(|n| (1..=1 << 31).contains(n)).and_then(|n| usize::try_from(n).ok())
        })
    }

    /// A count that may differ from layer to layer: one number, or a list of one per layer.
    pub(crate) fn counts(&mut self, key: Key, layers: usize) -> Result<Option<Vec<usize>>, ModelError> {
        let expected = format!("a whole number, or a list of {layers}");
        self.read(key, &expected, |setting| {
            let valid = |n: i64| usize::try_from(n).ok().filter(|n| (1..=1 << 31).contains(n));
            match setting.integer() {
                Some(n) => valid(n).map(|n| vec![n; layers]),
                None => setting
                    .integers()
                    .filter(|list| list.len() == layers)
                    .and_then(|list| list.into_iter().map(valid).collect()),
            }
        })
    }

    /// A finite number above zero.
    pub(crate) fn positive(&mut self, key: Key) -> Result<f32, ModelError> {
        let value = self.optional_positive(key)?;
        self.required(key, value)
    }

    /// A finite number above zero, where given.
    pub(crate) fn optional_positive(&mut self, key: Key) -> Result<Option<f32>, ModelError> {
        self.read(key, "a finite number above 0", |setting| {
            setting.number().map(|x| x as f32).filter(|x| x.is_finite() && *x > 0.0)
        })
    }

    /// Yes or no, where given.
    pub(crate) fn flag(&mut self, key: Key) -> Result<Option<bool>, ModelError> {
        self.read(key, "true or false", Setting::flag)
    }

    /// Yes or no for each layer, where given: a list of one per layer (0 and 1 will do).
    pub(crate) fn flags(&mut self, key: Key, layers: usize) -> Result<Option<Vec<bool>>, ModelError> {
        let expected = format!("a list of {layers} times true or false");
        self.read(key, &expected, |setting| setting.flags().filter(|list| list.len() == layers))
    }

    /// A list of `count` finite numbers above zero, where given.
    pub(crate) fn positives(&mut self, key: Key, count: usize) -> Result<Option<Vec<f32>>, ModelError> {
        let expected = format!("a list of {count} finite numbers above 0");
        self.read(key, &expected, |setting| {
            let valid = |list: &Vec<f32>| list.len() == count && list.iter().all(|x| x.is_finite() && *x > 0.0);
            setting.numbers().filter(valid)
        })
    }

    /// A list of whole numbers from 0, where given.
    pub(crate) fn wholes(&mut self, key: Key) -> Result<Option<Vec<usize>>, ModelError> {
        let whole = |n: i64| usize::try_from(n).ok();
        self.read(key, "a list of whole numbers", |setting| setting.integers()?.into_iter().map(whole).collect())
    }

    /// A list of texts, where given.
    pub(crate) fn texts(&mut self, key: Key) -> Result<Option<Vec<String>>, ModelError> {
        self.read(key, "a list of texts", Setting::texts)
    }

    /// A text, where given.
    pub(crate) fn text(&mut self, key: Key) -> Result<Option<String>, ModelError> {
        self.read(key, "a text", |setting| setting.text().map(str::to_owned))
    }

    /// A nested object of `config.json`, with its settings to be read in the same way. Absent in GGUF.
    pub(crate) fn object(&mut self, key: Key) -> Result<Option<Settings<'a>>, ModelError> {
        let tensors = self.tensors;
        let map = self.read(key, "an object", |setting| setting.object())?;
        Ok(map.map(|map| Settings::new(Source::Config(map), tensors)))
    }

    /// A nested object of `config.json` under a key that is no word of ours, such as the name of a module.
    pub(crate) fn object_at(&mut self, key: &str) -> Option<&'a serde_json::Map<String, Json>> {
        let Source::Config(map) = &self.source else { return None };
        let found = map.get(key)?.as_object()?;
        self.used.insert(key.to_owned());
        Some(found)
    }

    /// Settings of `config.json` that nobody has asked for.
    pub(crate) fn unread(&self) -> Vec<(String, &'a Json)> {
        let Source::Config(map) = &self.source else { return Vec::new() };
        map.iter().filter(|(key, _)| !self.used.contains(*key)).map(|(key, value)| (key.clone(), value)).collect()
    }

    /// Accepts a setting only with the value that changes nothing.
    pub(crate) fn only(&mut self, key: Key, neutral: &[&str]) -> Result<(), ModelError> {
        let Some(setting) = self.get(key) else { return Ok(()) };
        let found = setting.to_string();
        if neutral.contains(&found.as_str()) {
            return Ok(());
        }
        Err(self.wrong(key, &neutral.join(" or "), &found))
    }

    /// Names every setting nobody has asked for and that is not known to change nothing.
    pub(crate) fn leftovers(&self, ignored: &[&str]) -> Vec<String> {
        let unknown = |name: &str| !self.used.contains(name) && !ignored.contains(&name);
        match &self.source {
            Source::Config(map) => map
                .iter()
                .filter(|(name, value)| unknown(name) && !value.is_null())
                .map(|(name, value)| format!("`{name}` = {}", value::shortened(&value.to_string())))
                .collect(),
            Source::Gguf(gguf, prefix) => gguf
                .metadata()
                .filter(|(name, _)| name.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('.')))
                .filter(|(name, _)| unknown(name))
                .map(|(name, value)| format!("`{name}` = {}", Setting::Gguf(value)))
                .collect(),
        }
    }

    /// The full names of all settings that were asked for, whether they were there or not.
    pub(crate) fn asked(&self) -> &BTreeSet<String> {
        &self.used
    }

    /// Refuses settings nobody understands.
    pub(crate) fn finish(&self, reader: &str, ignored: &[&str]) -> Result<(), ModelError> {
        let leftovers = self.leftovers(ignored);
        if leftovers.is_empty() {
            return Ok(());
        }
        Err(ModelError::UnknownSettings { reader: reader.to_owned(), keys: leftovers.join(", ") })
    }
}

/// The GGUF value type, named here once for [`Setting`].
pub(crate) type Metadata = GgufValue;
