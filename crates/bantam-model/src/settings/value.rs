//! One setting, whichever source it comes from.

use std::fmt;

use serde_json::Value as Json;

use super::Metadata;

/// A setting's value.
pub(crate) enum Setting<'a> {
    /// From `config.json`.
    Json(&'a Json),
    /// From GGUF metadata.
    Gguf(&'a Metadata),
}

impl<'a> Setting<'a> {
    pub(super) fn from_json(value: &'a Json) -> Option<Self> {
        (!value.is_null()).then_some(Self::Json(value))
    }

    pub(crate) fn integer(&self) -> Option<i64> {
        match self {
            // Some exporters write whole numbers as floats.
            Self::Json(json) => {
                json.as_i64().or_else(|| json.as_f64().filter(|x| x.fract() == 0.0 && x.abs() < 9e15).map(|x| x as i64))
            }
            Self::Gguf(value) => value.as_i64(),
        }
    }

    pub(crate) fn integers(&self) -> Option<Vec<i64>> {
        match self {
            Self::Json(json) => json.as_array()?.iter().map(Json::as_i64).collect(),
            Self::Gguf(value) => Some(value.as_array()?.to_i64s()?.into_owned()),
        }
    }

    pub(crate) fn flags(&self) -> Option<Vec<bool>> {
        if let Self::Gguf(value) = self
            && let Some(flags) = value.as_array()?.as_bools()
        {
            return Some(flags.to_vec());
        }
        if let Self::Json(Json::Array(list)) = self
            && let Some(flags) = list.iter().map(Json::as_bool).collect()
        {
            return Some(flags);
        }
        self.integers()?.into_iter().map(|n| matches!(n, 0 | 1).then_some(n == 1)).collect()
    }

    pub(crate) fn numbers(&self) -> Option<Vec<f32>> {
        match self {
            Self::Json(json) => json.as_array()?.iter().map(|x| x.as_f64().map(|x| x as f32)).collect(),
            Self::Gguf(value) => Some(value.as_array()?.to_f32s()?.into_owned()),
        }
    }

    pub(crate) fn texts(&self) -> Option<Vec<String>> {
        match self {
            Self::Json(json) => json.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect(),
            Self::Gguf(_) => None,
        }
    }

    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Json(json) => json.as_f64(),
            Self::Gguf(value) => value.as_f64().or_else(|| value.as_i64().map(|n| n as f64)),
        }
    }

    pub(crate) fn flag(&self) -> Option<bool> {
        match self {
            Self::Json(json) => json.as_bool(),
            Self::Gguf(value) => value.as_bool(),
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Json(json) => json.as_str(),
            Self::Gguf(value) => value.as_str(),
        }
    }

    pub(crate) fn object(&self) -> Option<&'a serde_json::Map<String, Json>> {
        match self {
            Self::Json(json) => json.as_object(),
            Self::Gguf(_) => None,
        }
    }
}

impl fmt::Display for Setting<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(Json::String(text)) => formatter.write_str(&shortened(text)),
            Self::Json(json) => formatter.write_str(&shortened(&json.to_string())),
            Self::Gguf(value) => formatter.write_str(&shortened(&value.to_string())),
        }
    }
}

/// At most some eighty characters of a value, for an error message.
pub(super) fn shortened(text: &str) -> String {
    let mut characters = text.chars();
    let head: String = characters.by_ref().take(80).collect();
    if characters.next().is_some() { format!("{head}…") } else { head }
}
