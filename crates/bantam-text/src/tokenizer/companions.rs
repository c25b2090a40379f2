//! The companions of `tokenizer.json` and `tokenizer.model` in a Hugging Face directory: which tokens were added, which
//! begin and end a text.

use serde::Deserialize;
use serde_json::Value;

use super::added::AddedToken;
use super::json::damaged;
use super::pipeline::{flag, text};
use super::{Map, Tokenizer};
use crate::error::{TextError, shorten};

/// The companions of a tokenizer's file, each as the bytes of the file, where the directory has it.
#[derive(Debug, Clone, Copy, Default)]
pub struct HfFiles<'a> {
    /// `tokenizer_config.json`: which tokens begin and end a text, and whether they are added.
    pub tokenizer_config: Option<&'a [u8]>,
    /// `special_tokens_map.json`: the same, where the former does not say.
    pub special_tokens_map: Option<&'a [u8]>,
    /// `added_tokens.json`: tokens that older directories add, by spelling.
    pub added_tokens: Option<&'a [u8]>,
    /// `generation_config.json`: the ids that end an answer.
    pub generation_config: Option<&'a [u8]>,
    /// `config.json`: the same, where the former does not say.
    pub config: Option<&'a [u8]>,
}

impl HfFiles<'_> {
    /// The ids that end an answer, each of them one of the `len` of the vocabulary.
    pub(super) fn end_ids(&self, len: usize) -> Result<Vec<u32>, TextError> {
        let ids = Companion::read("generation_config.json", self.generation_config)?.end_ids(len)?;
        if ids.is_empty() { Companion::read("config.json", self.config)?.end_ids(len) } else { Ok(ids) }
    }
}

/// One token of `added_tokens` or `added_tokens_decoder`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Added {
    pub(super) id: u32,
    pub(super) content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    pub(super) normalized: bool,
    #[serde(default)]
    pub(super) special: bool,
}

impl Added {
    /// A special token of this spelling, with nothing else about it.
    pub(super) fn special(id: u32, content: String) -> Added {
        Added { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }
    }
}

impl From<Added> for AddedToken {
    fn from(added: Added) -> AddedToken {
        AddedToken {
            content: added.content,
            id: added.id,
            special: added.special,
            left_strip: added.lstrip,
            right_strip: added.rstrip,
            single_word: added.single_word,
            normalized: added.normalized,
        }
    }
}

/// Refuses two tokens of one id.
pub(super) fn check_added(list: &[Added]) -> Result<(), TextError> {
    let mut by_id: Vec<&Added> = list.iter().collect();
    by_id.sort_by_key(|token| token.id);
    match by_id.windows(2).find(|pair| pair[0].id == pair[1].id && pair[0].content != pair[1].content) {
        Some(pair) => Err(TextError::Vocabulary(format!(
            "the added tokens {:?} and {:?} both have the id {}",
            shorten(&pair[0].content, 40),
            shorten(&pair[1].content, 40),
            pair[0].id
        ))),
        None => Ok(()),
    }
}

/// Refuses ids that no honest list of `count` tokens has: the table of tokens goes up to the largest.
pub(super) fn check_largest(largest: u32, count: usize) -> Result<(), TextError> {
    if largest as usize > count.saturating_mul(8).saturating_add(65_536) {
        return Err(TextError::Vocabulary(format!("{count} tokens with ids up to {largest}")));
    }
    Ok(())
}

/// A companion file: a JSON object, or nothing.
pub(super) struct Companion {
    file: &'static str,
    value: Value,
}

impl Companion {
    pub(super) fn read(file: &'static str, bytes: Option<&[u8]>) -> Result<Companion, TextError> {
        let value = match bytes {
            Some(bytes) => serde_json::from_slice(bytes).map_err(|error| damaged(file, error))?,
            None => Value::Null,
        };
        Ok(Companion { file, value })
    }

    /// What it says of a token: a string, or an object with `content`.
    fn token(&self, key: &str) -> Option<String> {
        let value = self.value.get(key)?;
        value.as_str().or_else(|| text(value, "content")).map(str::to_owned)
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        text(&self.value, key)
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        self.value.get(key)?.as_bool()
    }

    /// One id or a list of them; null and -1 name none.
    fn end_ids(&self, len: usize) -> Result<Vec<u32>, TextError> {
        const KEY: &str = "eos_token_id";
        let values = match self.value.get(KEY) {
            Some(Value::Array(values)) => values.as_slice(),
            Some(value) => std::slice::from_ref(value),
            None => &[],
        };
        let named = values.iter().filter(|value| !value.is_null() && value.as_i64() != Some(-1));
        let id = |value: &Value| {
            let id = value.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|&id| (id as usize) < len);
            id.ok_or_else(|| {
                damaged(self.file, format!("{KEY} names {value}, which is no id in a vocabulary of {len} tokens"))
            })
        };
        named.map(id).collect()
    }

    /// Adds what `added_tokens_decoder` names and `list` lacks.
    pub(super) fn add_tokens(&self, list: &mut Vec<Added>) {
        let Some(Value::Object(entries)) = self.value.get("added_tokens_decoder") else { return };
        let mut known: Map<String, ()> = list.iter().map(|token| (token.content.clone(), ())).collect();
        for (id, entry) in entries {
            let (Ok(id), Some(content)) = (id.parse::<u32>(), text(entry, "content")) else { continue };
            if known.insert(content.to_owned(), ()).is_some() {
                continue;
            }
            list.push(Added {
                id,
                content: content.to_owned(),
                single_word: flag(entry, "single_word", false),
                lstrip: flag(entry, "lstrip", false),
                rstrip: flag(entry, "rstrip", false),
                normalized: flag(entry, "normalized", false),
                special: flag(entry, "special", false),
            });
        }
    }

    /// The spellings in `additional_special_tokens`.
    fn more_special(&self) -> impl Iterator<Item = &str> {
        let list = self.value.get("additional_special_tokens").and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|value| value.as_str().or_else(|| text(value, "content")))
    }
}

/// `tokenizer_config.json`, and `special_tokens_map.json` for what it does not say.
pub(super) struct Settings {
    pub(super) config: Companion,
    map: Companion,
    older: Companion,
}

impl Settings {
    pub(super) fn read(files: HfFiles<'_>) -> Result<Settings, TextError> {
        Ok(Settings {
            config: Companion::read("tokenizer_config.json", files.tokenizer_config)?,
            map: Companion::read("special_tokens_map.json", files.special_tokens_map)?,
            older: Companion::read("added_tokens.json", files.added_tokens)?,
        })
    }

    /// Whether a file says what the token is, be it that there is none.
    pub(super) fn says(&self, key: &str) -> bool {
        self.config.value.get(key).is_some() || self.map.value.get(key).is_some()
    }

    /// Adds what `added_tokens.json` names and `list` lacks, as transformers does: special if a companion calls it so.
    /// `vocabulary` is the model's own tokens.
    ///
    /// # Errors
    /// [`TextError::File`] where it contradicts the vocabulary or another file.
    pub(super) fn add_older(&self, list: &mut Vec<Added>, vocabulary: &[(&str, u32)]) -> Result<(), TextError> {
        let entries = match &self.older.value {
            Value::Null => return Ok(()),
            Value::Object(entries) => entries,
            _ => return Err(damaged(self.older.file, "expected an object of tokens and ids")),
        };
        let mut by_spelling: Map<&str, u32> = vocabulary.iter().copied().collect();
        let mut by_id: Map<u32, String> = vocabulary.iter().map(|&(token, id)| (id, token.to_owned())).collect();
        let listed: Vec<(String, u32)> = list.iter().map(|token| (token.content.clone(), token.id)).collect();
        for (content, id) in &listed {
            by_spelling.insert(content, *id);
            by_id.insert(*id, content.clone());
        }
        let known: Map<String, ()> = listed.iter().map(|(content, _)| (content.clone(), ())).collect();
        let special: Map<String, ()> = self.special_spellings().into_iter().map(|text| (text, ())).collect();
        for (content, id) in entries {
            let short = shorten(content, 40);
            let Some(id) = id.as_u64().and_then(|id| u32::try_from(id).ok()) else {
                return Err(damaged(
                    self.older.file,
                    format!("{short:?} has the id {id}, expected a number of 32 bits"),
                ));
            };
            if let Some(&other) = by_spelling.get(content.as_str()).filter(|other| **other != id) {
                let reason = format!("{short:?} has the id {id}, but {other} in the other files");
                return Err(damaged(self.older.file, reason));
            }
            if let Some(other) = by_id.get(&id).filter(|other| *other != content) {
                let reason =
                    format!("{short:?} has the id {id}, which {:?} has in the other files", shorten(other, 40));
                return Err(damaged(self.older.file, reason));
            }
            by_id.insert(id, content.clone());
            if known.contains_key(content) {
                continue;
            }
            let special = special.contains_key(content);
            let mut token = Added::special(id, content.clone());
            (token.special, token.normalized) = (special, !special);
            list.push(token);
        }
        Ok(())
    }

    /// What the files say a token is.
    pub(super) fn spelling(&self, key: &str) -> Option<String> {
        self.token(key).map(|(_, spelling)| spelling)
    }

    /// The spelling of a token, with the file that says it.
    fn token(&self, key: &str) -> Option<(&'static str, String)> {
        let said = |companion: &Companion| companion.token(key).map(|text| (companion.file, text));
        said(&self.config).or_else(|| said(&self.map))
    }

    /// The spellings of every token that the files call special.
    pub(super) fn special_spellings(&self) -> Vec<String> {
        let keys = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
        let mut all: Vec<String> = keys.iter().filter_map(|key| self.token(key)).map(|(_, text)| text).collect();
        all.extend(self.config.more_special().chain(self.map.more_special()).map(str::to_owned));
        all
    }

    /// The id of a token. One that is to be put round every text must be there.
    pub(super) fn id(&self, tokenizer: &Tokenizer, key: &str, needed: bool) -> Result<Option<u32>, TextError> {
        let Some((file, text)) = self.token(key) else { return Ok(None) };
        let id = tokenizer.token_id(&text);
        if needed && id.is_none() {
            let text = shorten(&text, 60);
            return Err(damaged(file, format!("{key} is {text:?}, which the vocabulary has not, but is to be added")));
        }
        Ok(id)
    }
}
