//! What a model says about text, from a directory's files to GGUF's metadata and back.

use std::path::Path;

use bantam_formats::gguf::{Array, Gguf, GgufWriter, Strings, Value};
use bantam_formats::huggingface::{HfDirectory, HfFile};
use bantam_model::Spec;
use bantam_text::exchange::{
    check_tokenizer_json, json_of_merges_txt, json_of_vocab_txt, tokenizer_config, tokenizer_json, vocabulary_of_json,
    vocabulary_of_sentencepiece,
};
use bantam_text::{HfFiles, TextError, Vocabulary};
use serde_json::{Map, Value as Json, json};

use crate::huggingface_out::{put, put_json};
use crate::source::{DirectorySource, GgufSource};
use crate::{ConvertError, Report, about, embedding};

const OWN_JSON: &str = "tokenizer.huggingface.json";
const TEMPLATE: &str = "tokenizer.chat_template";

/// What a recommendation is called in `generation_config.json`, and behind `general.sampling.` in GGUF.
const SAMPLING: &[(&str, &str, bool)] = &[
    ("temperature", "temp", false),
    ("top_k", "top_k", true),
    ("top_p", "top_p", false),
    ("min_p", "min_p", false),
    ("repetition_penalty", "penalty_repeat", false),
];

/// Adds tokenizer, templates and recommendations to a GGUF file's metadata.
pub(crate) fn to_gguf(
    source: &DirectorySource,
    architecture: &str,
    spec: &Spec,
    model: &mut GgufWriter,
    report: &mut Report,
) -> Result<(), ConvertError> {
    let directory = &source.directory;
    let wrong = |error| ConvertError::Text { path: directory.path().to_owned(), error };
    let bytes = |file| directory.bytes(file);
    let (tokenizer_config, special_tokens_map) = (bytes(HfFile::TokenizerConfig)?, bytes(HfFile::SpecialTokensMap)?);
    let (generation_config, config) = (bytes(HfFile::GenerationConfig)?, bytes(HfFile::Config)?);
    let added_tokens = bytes(HfFile::AddedTokens)?;
    let files = HfFiles {
        added_tokens: added_tokens.as_deref(),
        tokenizer_config: tokenizer_config.as_deref(),
        special_tokens_map: special_tokens_map.as_deref(),
        generation_config: generation_config.as_deref(),
        config: config.as_deref(),
    };
    let own = bytes(HfFile::Tokenizer)?;
    let pieces = bytes(HfFile::TokenizerModel)?;
    let of_pieces = |pieces: &[u8]| vocabulary_of_sentencepiece(pieces, files, spec.vocabulary);
    let exchanged = match (&own, &pieces) {
        (Some(json), pieces) => match (vocabulary_of_json(json, files, spec.vocabulary), pieces) {
            // Where one file's form does not fit GGUF, the other's may.
            (Err(error @ TextError::Unsupported { .. }), Some(pieces)) => {
                Some(of_pieces(pieces).map_err(|_| wrong(error))?)
            }
            (exchanged, _) => Some(exchanged.map_err(wrong)?),
        },
        (None, Some(pieces)) => Some(of_pieces(pieces).map_err(wrong)?),
        // Older directories have one of these alone, which says what a tokenizer.json would.
        (None, None) => match older_tokenizer(directory, files)? {
            Some(json) => Some(vocabulary_of_json(&json, files, spec.vocabulary).map_err(wrong)?),
            None => None,
        },
    };
    match exchanged {
        Some(exchanged) => {
            exchanged.notes.into_iter().for_each(|note| report.note(note));
            let mut vocabulary = exchanged.vocabulary;
            let stated =
                |key: &str| directory.config().get(key).and_then(Json::as_u64).and_then(|id| u32::try_from(id).ok());
            let valid = |id: &u32| (*id as usize) < spec.vocabulary;
            // Directories without companions name their special tokens by number alone.
            vocabulary.bos = vocabulary.bos.or(stated("bos_token_id").filter(valid));
            vocabulary.padding = vocabulary.padding.or(stated("pad_token_id").filter(valid));
            set_vocabulary(&vocabulary, model);
        }
        None => {
            model.set("tokenizer.ggml.model", "none");
            report.note("there is no tokenizer to take along".to_owned());
        }
    }
    if let Some(kinds) = spec.segments {
        model.set("tokenizer.ggml.token_type_count", u32::try_from(kinds).unwrap_or(u32::MAX));
    }
    if let Some(json) = own.and_then(|json| String::from_utf8(json).ok()) {
        model.set(OWN_JSON, json);
    }
    for template in directory.chat_templates()? {
        let key =
            if template.name == "default" { TEMPLATE.to_owned() } else { format!("{TEMPLATE}.{}", template.name) };
        model.set(key, template.source);
    }
    if let Some(config) = directory.json(HfFile::GenerationConfig)? {
        sampling_to_gguf(&config, model, report);
    }
    embedding::to_gguf(directory, architecture, spec, model, report)
}

/// The `tokenizer.json` that the files of an older directory amount to.
fn older_tokenizer(directory: &HfDirectory, files: HfFiles<'_>) -> Result<Option<Vec<u8>>, ConvertError> {
    let bytes = |file| directory.bytes(file);
    let made = match (bytes(HfFile::VocabTxt)?, bytes(HfFile::VocabJson)?, bytes(HfFile::MergesTxt)?) {
        (Some(vocab), ..) => json_of_vocab_txt(&vocab, files),
        (None, Some(vocab), Some(merges)) => json_of_merges_txt(&vocab, &merges, files),
        (None, ..) => return Ok(None),
    };
    let made = made.map_err(|error| ConvertError::Text { path: directory.path().to_owned(), error })?;
    Ok(Some(made.to_string().into_bytes()))
}

fn set_vocabulary(vocabulary: &Vocabulary, model: &mut GgufWriter) {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    model.set(key("model"), vocabulary.model.as_str());
    if let Some(pre) = &vocabulary.pre {
        model.set(key("pre"), pre.as_str());
    }
    model.set(key("tokens"), Array::Strings(vocabulary.tokens.iter().collect::<Strings>()));
    if !vocabulary.scores.is_empty() {
        model.set(key("scores"), Array::F32(vocabulary.scores.clone()));
    }
    model.set(key("token_type"), Array::I32(vocabulary.types.clone()));
    // llama.cpp wants the list of a byte-level model even where it is empty.
    if !vocabulary.merges.is_empty() || vocabulary.pre.is_some() && vocabulary.scores.is_empty() {
        model.set(key("merges"), Array::Strings(vocabulary.merges.iter().collect::<Strings>()));
    }
    if !vocabulary.precompiled_charsmap.is_empty() {
        model.set(key("precompiled_charsmap"), Array::U8(vocabulary.precompiled_charsmap.clone()));
    }
    for (name, id) in [
        ("bos_token_id", vocabulary.bos),
        ("eos_token_id", vocabulary.eos),
        ("eot_token_id", vocabulary.eot),
        ("eom_token_id", vocabulary.eom),
        ("unknown_token_id", vocabulary.unknown),
        ("seperator_token_id", vocabulary.separator),
        ("padding_token_id", vocabulary.padding),
        ("cls_token_id", vocabulary.class),
        ("mask_token_id", vocabulary.mask),
    ] {
        if let Some(id) = id {
            model.set(key(name), id);
        }
    }
    for (name, flag) in [
        ("add_bos_token", vocabulary.add_bos),
        ("add_eos_token", vocabulary.add_eos),
        ("add_space_prefix", vocabulary.add_space_prefix),
        ("remove_extra_whitespaces", vocabulary.remove_extra_whitespaces),
    ] {
        if let Some(flag) = flag {
            model.set(key(name), flag);
        }
    }
}

/// Settings of `generation_config.json` that GGUF says otherwise, or that are no recommendation.
const SAID: &[&str] =
    &["bos_token_id", "eos_token_id", "pad_token_id", "do_sample", "transformers_version", "cache_implementation"];

fn sampling_to_gguf(config: &Map<String, Json>, model: &mut GgufWriter, report: &mut Report) {
    let lost: Vec<&str> = config
        .iter()
        .filter(|(key, value)| !value.is_null() && !key.starts_with('_') && !SAID.contains(&key.as_str()))
        .map(|(key, _)| key.as_str())
        .filter(|key| !SAMPLING.iter().any(|(name, ..)| name == key))
        .collect();
    if !lost.is_empty() {
        report.note(format!("generation_config.json: GGUF has no key for {}", lost.join(", ")));
    }
    let sampled = config.get("do_sample").and_then(Json::as_bool);
    for (name, short, whole) in SAMPLING {
        let Some(number) = config.get(*name).and_then(Json::as_f64).filter(|x| x.is_finite() && *x >= 0.0) else {
            continue;
        };
        let key = format!("general.sampling.{short}");
        match (*whole, number as i32) {
            (true, number) => model.set(key, Value::I32(number)),
            (false, _) => model.set(key, Value::F32(number as f32)),
        };
    }
    // Greedy decoding is a temperature of nothing.
    if sampled == Some(false) {
        model.set("general.sampling.temp", Value::F32(0.0));
    }
}

fn vocabulary_of(gguf: &Gguf) -> Result<Option<Vocabulary>, ConvertError> {
    let found = bantam_runtime::vocabulary(gguf)?;
    Ok(found.filter(|vocabulary| !matches!(vocabulary.model.as_str(), "none" | "no_vocab")))
}

/// The numbers of special tokens as `config.json` has them.
pub(crate) fn special_ids(gguf: &GgufSource) -> Result<Map<String, Json>, ConvertError> {
    let mut ids = Map::new();
    if let Some(vocabulary) = vocabulary_of(gguf.model.first())? {
        for (key, id) in
            [("bos_token_id", vocabulary.bos), ("eos_token_id", vocabulary.eos), ("pad_token_id", vocabulary.padding)]
        {
            if let Some(id) = id {
                ids.insert(key.to_owned(), json!(id));
            }
        }
    }
    Ok(ids)
}

/// Writes tokenizer, templates and recommendations of a GGUF model as a directory has them.
pub(crate) fn to_directory(gguf: &GgufSource, folder: &Path, report: &mut Report) -> Result<(), ConvertError> {
    let metadata = gguf.model.first();
    let wrong = |error: TextError| ConvertError::Text { path: gguf.path.clone(), error };
    let vocabulary = vocabulary_of(metadata)?;
    let own = match (metadata.str(OWN_JSON)?, &vocabulary) {
        (Some(own), Some(vocabulary)) => match check_tokenizer_json(own.as_bytes(), vocabulary) {
            Ok(()) => Some(own),
            Err(error) => {
                report.note(format!(
                    "{OWN_JSON} is not the tokenizer that the file's vocabulary is, and is left out: {error}"
                ));
                None
            }
        },
        (Some(_), None) => {
            report.note(format!("{OWN_JSON} is left out: there is no vocabulary that it could be compared with"));
            None
        }
        (None, _) => None,
    };
    match (own, &vocabulary) {
        (Some(own), _) => put(&folder.join("tokenizer.json"), own.as_bytes())?,
        (None, Some(vocabulary)) => {
            put_json(&folder.join("tokenizer.json"), &tokenizer_json(vocabulary).map_err(wrong)?)?;
            report.note("tokenizer.json was made from the vocabulary: the file holds none that is its own".to_owned());
        }
        (None, None) => report.note("there is no tokenizer to take along".to_owned()),
    }
    let default = metadata.str(TEMPLATE)?;
    if let Some(vocabulary) = &vocabulary {
        put_json(&folder.join("tokenizer_config.json"), &tokenizer_config(vocabulary))?;
    }
    if let Some(template) = default {
        put(&folder.join("chat_template.jinja"), template.as_bytes())?;
    }
    let named = |key: &str| key.strip_prefix(TEMPLATE).and_then(|rest| rest.strip_prefix('.')).map(str::to_owned);
    for (key, value) in metadata.metadata() {
        let (Some(name), Some(template)) = (named(key), value.as_str()) else { continue };
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !plain {
            report.note(format!("the chat template {name:?} has a name that no file can have, and is left out"));
            continue;
        }
        let inner = folder.join("additional_chat_templates");
        let failed = |source| bantam_formats::FormatError::Io { action: "write", path: inner.clone(), source };
        std::fs::create_dir_all(&inner).map_err(failed)?;
        put(&inner.join(format!("{name}.jinja")), template.as_bytes())?;
    }
    embedding::to_directory(metadata, folder, report)?;
    about::to_directory(metadata, folder, report)?;
    put_json(&folder.join("generation_config.json"), &Json::Object(generation_config(metadata, vocabulary.as_ref())))
}

fn generation_config(metadata: &Gguf, vocabulary: Option<&Vocabulary>) -> Map<String, Json> {
    let mut config = Map::new();
    if let Some(vocabulary) = vocabulary {
        let mut ends: Vec<u32> = [vocabulary.eos, vocabulary.eot, vocabulary.eom].into_iter().flatten().collect();
        ends.dedup();
        if let Some(bos) = vocabulary.bos {
            config.insert("bos_token_id".into(), json!(bos));
        }
        match ends.as_slice() {
            [] => {}
            [one] => drop(config.insert("eos_token_id".into(), json!(one))),
            several => drop(config.insert("eos_token_id".into(), json!(several))),
        }
        if let Some(padding) = vocabulary.padding {
            config.insert("pad_token_id".into(), json!(padding));
        }
    }
    for (name, short, whole) in SAMPLING {
        let Some(value) = metadata.get(&format!("general.sampling.{short}")) else { continue };
        let number = match whole {
            true => value.as_i64().map(|number| json!(number)),
            false => value.as_f32().and_then(|x| format!("{x:?}").parse::<f64>().ok()).map(|x| json!(x)),
        };
        if let Some(number) = number {
            config.insert((*name).to_owned(), number);
        }
    }
    // A temperature of nothing is greedy decoding.
    if let Some(temperature) = config.get("temperature").and_then(Json::as_f64) {
        if temperature == 0.0 {
            config.shift_remove("temperature");
        }
        config.insert("do_sample".into(), json!(temperature != 0.0));
    }
    config
}
