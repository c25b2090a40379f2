//! A tokenizer from the `vocab.json` and `merges.txt` of older byte-level directories, which have no `tokenizer.json`.

use serde_json::{Map, Value, json};

use super::Tokenizer;
use super::companions::{Companion, HfFiles, Settings};
use super::json::damaged;
use super::patterns::CL100K_DIGIT;
use crate::error::{TextError, shorten};

const VOCAB: &str = "vocab.json";
const MERGES: &str = "merges.txt";
/// The token that stands for itself, the end and the unknown where the files of such a directory name no other.
const END: &str = "<|endoftext|>";

/// What transformers does for a class of tokenizers beyond what the two files say.
struct Class {
    name: &'static str,
    /// What `config.json` may call the model where no class is named.
    models: &'static [&'static str],
    /// Cuts words; GPT-2's own pattern where there is none.
    pattern: Option<&'static str>,
    /// Characters are composed first.
    composes: bool,
}

const CLASSES: &[Class] = &[
    Class { name: "GPT2Tokenizer", models: &["gpt2"], pattern: None, composes: false },
    Class { name: "CodeGenTokenizer", models: &["codegen", "phi"], pattern: None, composes: false },
    Class {
        name: "Qwen2Tokenizer",
        models: &["qwen2", "qwen2_moe", "qwen3", "qwen3_moe"],
        pattern: Some(CL100K_DIGIT),
        composes: true,
    },
];

/// The class that the companions name, or the one of the model that `config.json` names.
fn class(settings: &Settings, files: HfFiles<'_>) -> Result<&'static Class, TextError> {
    let refused = |what, name: &str| Err(TextError::Unsupported { what, name: shorten(name, 60) });
    if let Some(stated) = settings.config.text("tokenizer_class") {
        let name = stated.strip_suffix("Fast").unwrap_or(stated);
        let found = CLASSES.iter().find(|class| class.name == name);
        return found.map_or_else(|| refused("tokenizer class beside vocab.json", stated), Ok);
    }
    let config = Companion::read("config.json", files.config)?;
    let model = config.text("model_type").unwrap_or_default();
    let found = CLASSES.iter().find(|class| class.models.contains(&model));
    found.map_or_else(|| refused("model beside vocab.json without a tokenizer_class", model), Ok)
}

/// What `tokenizer.json` would hold in a directory that has `vocab.json` and `merges.txt` instead, as the tokenizers of
/// transformers of that kind read them.
///
/// # Errors
/// [`TextError::File`] for files that are not what they should be, [`TextError::Unsupported`] names a tokenizer class of
/// another kind.
pub fn json_of_merges_txt(vocab: &[u8], merges: &[u8], files: HfFiles<'_>) -> Result<Value, TextError> {
    let settings = Settings::read(files)?;
    let class = class(&settings, files)?;
    let vocab: Map<String, Value> = serde_json::from_slice(vocab).map_err(|error| damaged(VOCAB, error))?;
    let merges = std::str::from_utf8(merges)
        .map_err(|error| damaged(MERGES, format!("it is not UTF-8 at byte {}", error.valid_up_to())))?;
    let lines = merges.lines().enumerate().filter(|(number, line)| *number > 0 || !line.starts_with("#version"));
    let merges: Vec<&str> = lines.map(|(_, line)| line).filter(|line| !line.trim().is_empty()).collect();
    let mut added: Vec<Value> = Vec::new();
    let named = settings.special_spellings();
    for spelling in named.iter().map(String::as_str).chain([END]) {
        let known = |token: &Value| token["content"].as_str() == Some(spelling);
        if let Some(id) = vocab.get(spelling).filter(|_| !added.iter().any(known)) {
            added.push(json!({ "id": id, "content": spelling, "special": true }));
        }
    }
    let spaced = settings.config.flag("add_prefix_space").unwrap_or(false);
    let level = |regex: bool| json!({ "type": "ByteLevel", "add_prefix_space": spaced, "trim_offsets": true, "use_regex": regex });
    let pre_tokenizer = match class.pattern {
        None => level(true),
        Some(pattern) => json!({ "type": "Sequence", "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false },
            level(false),
        ] }),
    };
    Ok(json!({
        "added_tokens": added,
        "normalizer": if class.composes { json!({ "type": "NFC" }) } else { Value::Null },
        "pre_tokenizer": pre_tokenizer,
        "post_processor": null,
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": { "type": "BPE", "vocab": vocab, "merges": merges },
    }))
}

impl Tokenizer {
    /// Builds the byte-level tokenizer of an older directory from the bytes of `vocab.json` and `merges.txt` and their
    /// companions.
    ///
    /// # Errors
    /// As [`json_of_merges_txt`] and [`Tokenizer::from_json`].
    pub fn from_merges_txt(vocab: &[u8], merges: &[u8], files: HfFiles<'_>) -> Result<Tokenizer, TextError> {
        Tokenizer::from_json_value(json_of_merges_txt(vocab, merges, files)?, files)
    }
}
