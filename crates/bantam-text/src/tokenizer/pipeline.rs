//! The parts of `tokenizer.json`'s pipeline, from their JSON.

use serde_json::Value;

use super::base64;
use super::charsmap::Charsmap;
use super::classes::PUNCTUATION;
use super::json::{FILE, damaged, unsupported};
use super::normalizer::{Form, Normalizer};
use super::sentencepiece::SPACE;
use super::split::{Behavior, Splitter};
use super::words::{GPT2, Prepend, Step};
use crate::error::TextError;

pub(super) fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key)?.as_str()
}

pub(super) fn flag(value: &Value, key: &str, default: bool) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(default)
}

pub(super) fn kind(value: &Value) -> Result<&str, TextError> {
    text(value, "type").ok_or_else(|| damaged(FILE, "a part of the pipeline has no type"))
}

pub(super) fn list<'v>(value: &'v Value, key: &str) -> Result<&'v Vec<Value>, TextError> {
    value.get(key).and_then(Value::as_array).ok_or_else(|| damaged(FILE, format!("a Sequence has no {key}")))
}

/// `{"String": "…"}` or `{"Regex": "…"}`.
pub(super) fn pattern(value: &Value) -> Result<Splitter, TextError> {
    let pattern = value.get("pattern").ok_or_else(|| damaged(FILE, "a step has no pattern"))?;
    if let Some(literal) = text(pattern, "String") {
        Ok(Splitter::literal(literal))
    } else if let Some(regex) = text(pattern, "Regex") {
        Splitter::regex(regex)
    } else {
        Err(damaged(FILE, "a pattern is neither String nor Regex"))
    }
}

pub(super) fn normalizers(value: &Value) -> Result<Vec<Normalizer>, TextError> {
    Ok(vec![match kind(value)? {
        "Sequence" => {
            let mut all = Vec::new();
            for step in list(value, "normalizers")? {
                all.extend(normalizers(step)?);
            }
            return Ok(all);
        }
        "NFC" => Normalizer::Form(Form::Nfc),
        "NFD" => Normalizer::Form(Form::Nfd),
        "NFKC" => Normalizer::Form(Form::Nfkc),
        "NFKD" => Normalizer::Form(Form::Nfkd),
        "Nmt" => Normalizer::Nmt,
        "ByteLevel" => Normalizer::ByteLevel,
        "Precompiled" => {
            let encoded = text(value, "precompiled_charsmap").unwrap_or("");
            let map = base64::decode(encoded).ok_or_else(|| damaged(FILE, "precompiled_charsmap is not Base64"))?;
            // An empty one replaces nothing.
            if map.is_empty() {
                return Ok(Vec::new());
            }
            Normalizer::Precompiled(Charsmap::new(&map)?)
        }
        "Lowercase" => Normalizer::Lowercase,
        "StripAccents" => Normalizer::StripAccents,
        "Strip" => Normalizer::Strip { left: flag(value, "strip_left", true), right: flag(value, "strip_right", true) },
        "Prepend" => Normalizer::Prepend(text(value, "prepend").unwrap_or("").to_owned()),
        "Replace" => {
            Normalizer::Replace { pattern: pattern(value)?, with: text(value, "content").unwrap_or("").to_owned() }
        }
        "BertNormalizer" => {
            let lowercase = flag(value, "lowercase", true);
            Normalizer::Bert {
                clean: flag(value, "clean_text", true),
                chinese: flag(value, "handle_chinese_chars", true),
                strip_accents: flag(value, "strip_accents", lowercase),
                lowercase,
            }
        }
        other => return unsupported("normalizer", other),
    }])
}

/// A regular expression for one character of a class.
fn class(ranges: &[(char, char)]) -> String {
    let ranges: String = ranges
        .iter()
        .map(|&(first, last)| format!(r"\x{{{:x}}}-\x{{{:x}}}", u32::from(first), u32::from(last)))
        .collect();
    format!("[{ranges}]")
}

/// BERT's pre-tokenizer: words between white space, each punctuation mark alone.
pub(super) fn bert_steps() -> Result<Vec<Step>, TextError> {
    let step = |regex: &str, behavior| Ok(Step::Split { pattern: Splitter::regex(regex)?, behavior, invert: false });
    Ok(vec![step(r"\s", Behavior::Removed)?, step(&class(PUNCTUATION), Behavior::Isolated)?])
}

pub(super) fn steps(value: &Value) -> Result<Vec<Step>, TextError> {
    let split = |regex: &str, behavior, invert| {
        Ok::<Step, TextError>(Step::Split { pattern: Splitter::regex(regex)?, behavior, invert })
    };
    Ok(vec![match kind(value)? {
        "Sequence" => {
            let mut all = Vec::new();
            for step in list(value, "pretokenizers")? {
                all.extend(steps(step)?);
            }
            return Ok(all);
        }
        "ByteLevel" => Step::ByteLevel {
            prefix_space: flag(value, "add_prefix_space", true),
            pattern: if flag(value, "use_regex", true) { Some(Splitter::regex(GPT2)?) } else { None },
        },
        "Split" => Step::Split {
            pattern: pattern(value)?,
            behavior: Behavior::from_name(text(value, "behavior").unwrap_or("Isolated"))?,
            invert: flag(value, "invert", false),
        },
        "Digits" if flag(value, "individual_digits", false) => split(r"\p{N}", Behavior::Isolated, false)?,
        "Digits" => split(r"\p{N}", Behavior::Contiguous, false)?,
        "Punctuation" => {
            split(&class(PUNCTUATION), Behavior::from_name(text(value, "behavior").unwrap_or("Isolated"))?, false)?
        }
        "Whitespace" => split(r"\w+|[^\w\s]+", Behavior::Removed, true)?,
        "WhitespaceSplit" => split(r"\s", Behavior::Removed, false)?,
        "BertPreTokenizer" => return bert_steps(),
        "CharDelimiterSplit" => {
            let delimiter = text(value, "delimiter").filter(|text| text.chars().count() == 1);
            let delimiter = delimiter.ok_or_else(|| damaged(FILE, "CharDelimiterSplit has no single delimiter"))?;
            Step::Split { pattern: Splitter::literal(delimiter), behavior: Behavior::Removed, invert: false }
        }
        "Metaspace" => {
            Step::Metaspace { mark: mark(value)?, prepend: prepend(value)?, split: flag(value, "split", true) }
        }
        other => return unsupported("pre-tokenizer", other),
    }])
}

pub(super) fn mark(value: &Value) -> Result<char, TextError> {
    let mark = text(value, "replacement").unwrap_or(SPACE);
    let mut characters = mark.chars();
    match (characters.next(), characters.next()) {
        (Some(mark), None) => Ok(mark),
        _ => Err(damaged(FILE, "the replacement of Metaspace is no single character")),
    }
}

pub(super) fn prepend(value: &Value) -> Result<Prepend, TextError> {
    Ok(match text(value, "prepend_scheme") {
        Some("always") => Prepend::Always,
        Some("first") => Prepend::First,
        Some("never") => Prepend::Never,
        Some(other) => return unsupported("prepend_scheme", other),
        None if flag(value, "add_prefix_space", true) => Prepend::Always,
        None => Prepend::Never,
    })
}

/// Reads which ids stand before and behind a single text; says whether the processor frames texts at all.
pub(super) fn frame(value: &Value, prefix: &mut Vec<u32>, suffix: &mut Vec<u32>) -> Result<bool, TextError> {
    match kind(value)? {
        "ByteLevel" => Ok(false),
        "Sequence" => {
            let mut framed = false;
            for step in list(value, "processors")? {
                framed |= frame(step, prefix, suffix)?;
            }
            Ok(framed)
        }
        "TemplateProcessing" => {
            let mut behind = false;
            for part in list(value, "single")? {
                if part.get("Sequence").is_some() {
                    behind = true;
                } else if let Some(name) = part.get("SpecialToken").and_then(|token| text(token, "id")) {
                    let ids = value.get("special_tokens").and_then(|all| all.get(name)).and_then(|one| one.get("ids"));
                    let ids = ids.and_then(Value::as_array).ok_or_else(|| {
                        damaged(FILE, format!("the post-processor's special token {name:?} has no ids"))
                    })?;
                    let target = if behind { &mut *suffix } else { &mut *prefix };
                    target.extend(ids.iter().filter_map(Value::as_u64).filter_map(|id| u32::try_from(id).ok()));
                }
            }
            Ok(true)
        }
        "BertProcessing" | "RobertaProcessing" => {
            let id = |key: &str| value.get(key)?.get(1)?.as_u64().and_then(|id| u32::try_from(id).ok());
            prefix.extend(id("cls"));
            suffix.extend(id("sep"));
            Ok(true)
        }
        other => unsupported("post-processor", other),
    }
}
