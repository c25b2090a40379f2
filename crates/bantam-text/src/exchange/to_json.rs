//! From GGUF's vocabulary to a directory's files.

use serde_json::{Map as Object, Value, json};

use super::{check_same, unigram};
use crate::error::TextError;
use crate::tokenizer::{BYTE_LEVEL_PATTERN, Conventions, Map, PUNCTUATION, Tokenizer, conventions};
use crate::vocabulary::{TokenKind, Vocabulary};

const SPACE: &str = "\u{2581}";

/// A `tokenizer.json` that gives the ids which GGUF's vocabulary gives.
///
/// # Errors
/// Those of [`Tokenizer::from_vocabulary`]; [`TextError::Unsupported`] names a kind of vocabulary that none is made for, or
/// a text that it would cut otherwise.
pub fn tokenizer_json(vocabulary: &Vocabulary) -> Result<Value, TextError> {
    let meant = Tokenizer::from_vocabulary(vocabulary.clone())?;
    let kind = |id: usize| vocabulary.types.get(id).map_or(TokenKind::Normal, |&n| TokenKind::from_number(n));
    let spelling = |id: usize| {
        let bytes = vocabulary.tokens.get(id).map(Vec::as_slice).unwrap_or_default();
        String::from_utf8(bytes.to_vec())
            .map_err(|_| TextError::Vocabulary(format!("token {id} is not UTF-8, which JSON needs")))
    };
    let (mut vocab, mut added) = (Object::new(), Vec::new());
    for id in 0..vocabulary.tokens.len() {
        let text = spelling(id)?;
        let kind = kind(id);
        let special = matches!(kind, TokenKind::Control | TokenKind::Unknown);
        if special || kind == TokenKind::UserDefined {
            added.push(json!({
                "id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": special,
            }));
        }
        // The first of two tokens of one spelling is the one that text becomes.
        if !vocab.contains_key(&text) {
            vocab.insert(text, json!(id));
        }
    }
    let unknown = vocabulary.unknown.and_then(|id| spelling(id as usize).ok());
    let mut file = match vocabulary.model.as_str() {
        "gpt2" => byte_level(vocabulary, vocab)?,
        "llama" => pieces(vocabulary, vocab, unknown),
        "bert" => word_pieces(vocabulary, vocab, unknown),
        "t5" => unigram::to_json(vocabulary),
        other => {
            return Err(TextError::Unsupported { what: "tokenizer model for tokenizer.json", name: other.to_owned() });
        }
    };
    file["version"] = json!("1.0");
    file["added_tokens"] = Value::Array(added);
    file["post_processor"] = frame(&meant, vocabulary);
    let bytes = file.to_string().into_bytes();
    let config = tokenizer_config(vocabulary).to_string().into_bytes();
    let files = crate::HfFiles { tokenizer_config: Some(&config), ..crate::HfFiles::default() };
    check_same(&meant, &Tokenizer::from_json(&bytes, files)?, "tokenizer.json for")?;
    Ok(file)
}

fn byte_level(vocabulary: &Vocabulary, vocab: Object<String, Value>) -> Result<Value, TextError> {
    let Conventions { patterns, mapped, whole, composes } =
        conventions(vocabulary.pre.as_deref().unwrap_or("default"))?;
    let level = |regex: bool| json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex });
    let pre_tokenizer = match patterns {
        [only] if *only == BYTE_LEVEL_PATTERN && mapped.is_empty() => level(true),
        patterns => {
            let split = |pattern: &&str| match *pattern {
                PUNCTUATION => json!({ "type": "Punctuation", "behavior": "Contiguous" }),
                pattern => {
                    json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false })
                }
            };
            let steps: Vec<Value> =
                patterns.iter().map(split).chain([level(false)]).chain(mapped.iter().map(split)).collect();
            json!({ "type": "Sequence", "pretokenizers": steps })
        }
    };
    Ok(json!({
        "version": null, "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": if composes { json!({ "type": "NFC" }) } else { Value::Null },
        "pre_tokenizer": pre_tokenizer, "post_processor": null, "decoder": level(true),
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": whole,
            "vocab": vocab, "merges": vocabulary.merges.iter().collect::<Vec<_>>(),
        },
    }))
}

/// SentencePiece's merging by scores as a list of merges: every pair that makes a piece, best piece first.
fn pieces(vocabulary: &Vocabulary, vocab: Object<String, Value>, unknown: Option<String>) -> Value {
    let ids: Map<&[u8], usize> =
        vocabulary.tokens.iter().enumerate().map(|(id, token)| (token.as_slice(), id)).collect();
    let merges_with = |id: usize| {
        let number = vocabulary.types.get(id).copied().unwrap_or(1);
        matches!(TokenKind::from_number(number), TokenKind::Normal | TokenKind::UserDefined | TokenKind::Unused)
    };
    let mut pairs: Vec<(usize, usize, usize)> = Vec::new();
    for (id, token) in vocabulary.tokens.iter().enumerate().filter(|(id, _)| merges_with(*id)) {
        let Ok(text) = std::str::from_utf8(token) else { continue };
        for (at, _) in text.char_indices().skip(1) {
            if let (Some(&left), Some(&right)) = (ids.get(&token[..at]), ids.get(&token[at..]))
                && merges_with(left)
                && merges_with(right)
            {
                pairs.push((id, left, right));
            }
        }
    }
    let score = |id: usize| vocabulary.scores.get(id).copied().unwrap_or(0.0);
    pairs.sort_by(|one, other| score(other.0).total_cmp(&score(one.0)).then(one.cmp(other)));
    let text = |id: usize| vocabulary.tokens.get(id).map(|token| String::from_utf8_lossy(token)).unwrap_or_default();
    let merges: Vec<Value> = pairs.iter().map(|(_, left, right)| json!([text(*left), text(*right)])).collect();
    let prefix = vocabulary.add_space_prefix.unwrap_or(true);
    let replace = json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE });
    let mut normalizers = vec![replace];
    let mut decoders = vec![
        json!({ "type": "Replace", "pattern": { "String": SPACE }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if prefix {
        normalizers.insert(0, json!({ "type": "Prepend", "prepend": SPACE }));
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    json!({
        "version": null, "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": { "type": "Sequence", "normalizers": normalizers },
        "pre_tokenizer": null, "post_processor": null,
        "decoder": { "type": "Sequence", "decoders": decoders },
        "model": {
            "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": vocab, "merges": merges,
        },
    })
}

/// WordPiece: what begins a word has no mark any more, what goes on has one.
fn word_pieces(vocabulary: &Vocabulary, vocab: Object<String, Value>, unknown: Option<String>) -> Value {
    let special = |id: usize| {
        let number = vocabulary.types.get(id).copied().unwrap_or(1);
        !matches!(TokenKind::from_number(number), TokenKind::Normal | TokenKind::Unused)
    };
    let mut own = Object::new();
    for (spelling, id) in vocab {
        let is_special = id.as_u64().and_then(|id| usize::try_from(id).ok()).is_some_and(special);
        let bracketed = spelling.starts_with('[') && spelling.ends_with(']');
        let spelling = match spelling.strip_prefix(SPACE) {
            Some(piece) => piece.to_owned(),
            None if is_special || bracketed => spelling,
            None => format!("##{spelling}"),
        };
        own.insert(spelling, id);
    }
    // A vocabulary without capitals is one of lower-cased text.
    let lowercase =
        !own.keys().any(|piece| !piece.starts_with('[') && piece.contains(|c: char| c.is_ascii_uppercase()));
    json!({
        "version": null, "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": lowercase,
        },
        "pre_tokenizer": { "type": "BertPreTokenizer" }, "post_processor": null,
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": {
            "type": "WordPiece", "unk_token": unknown.unwrap_or_else(|| "[UNK]".to_owned()),
            "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": own,
        },
    })
}

/// What is put before and behind a text.
fn frame(meant: &Tokenizer, vocabulary: &Vocabulary) -> Value {
    let (prefix, suffix) = (meant.prefix_ids(), meant.suffix_ids());
    if prefix.is_empty() && suffix.is_empty() {
        return Value::Null;
    }
    let text = |id: u32| {
        let token = vocabulary.tokens.get(id as usize).map(Vec::as_slice).unwrap_or_default();
        String::from_utf8_lossy(token).into_owned()
    };
    let special = |id: &u32, kind: u32| json!({ "SpecialToken": { "id": text(*id), "type_id": kind } });
    let of = |sequence: &str, kind: u32| {
        let mut parts: Vec<Value> = prefix.iter().map(|id| special(id, kind)).collect();
        parts.push(json!({ "Sequence": { "id": sequence, "type_id": kind } }));
        parts.extend(suffix.iter().map(|id| special(id, kind)));
        parts
    };
    let mut tokens = Object::new();
    for &id in prefix.iter().chain(suffix) {
        tokens.insert(text(id), json!({ "id": text(id), "ids": [id], "tokens": [text(id)] }));
    }
    let pair = [of("A", 0), of("B", 1)].concat();
    json!({ "type": "TemplateProcessing", "single": of("A", 0), "pair": pair, "special_tokens": tokens })
}

/// A `tokenizer_config.json` that names the special tokens.
pub fn tokenizer_config(vocabulary: &Vocabulary) -> Value {
    let text = |id: Option<u32>| {
        let token = vocabulary.tokens.get(usize::try_from(id?).ok()?)?;
        String::from_utf8(token.clone()).ok().map(Value::String)
    };
    let mut config = Object::new();
    for (key, id) in [
        ("bos_token", vocabulary.bos),
        ("eos_token", vocabulary.eos),
        ("unk_token", vocabulary.unknown),
        ("pad_token", vocabulary.padding),
        ("sep_token", vocabulary.separator),
        ("cls_token", vocabulary.class),
        ("mask_token", vocabulary.mask),
    ] {
        if let Some(text) = text(id) {
            config.insert(key.to_owned(), text);
        }
    }
    // WordPiece frames every text, switches or not.
    let switched = vocabulary.model != "bert";
    if let Some(meant) = Tokenizer::from_vocabulary(vocabulary.clone()).ok().filter(|_| switched) {
        if meant.bos().is_some() {
            config.insert("add_bos_token".to_owned(), json!(meant.add_bos()));
        }
        if meant.eos().is_some() {
            config.insert("add_eos_token".to_owned(), json!(meant.add_eos()));
        }
    }
    config.insert("clean_up_tokenization_spaces".to_owned(), json!(false));
    config.insert("tokenizer_class".to_owned(), json!("PreTrainedTokenizerFast"));
    Value::Object(config)
}
