//! Older companions of tokenizers, and the same tokenizer from files of different kinds.

use bantam_testkit::evidence;
use bantam_text::{HfFiles, Special, Tokenizer, Vocabulary};
use serde_json::{Value, json};

use crate::shared;
use crate::tokenizers::bytes_with;

type Row = (String, Vec<u32>, Vec<u32>, Vec<u32>);

/// `added_tokens.json` beside a `tokenizer.json` of 256 bytes and `<s>`.
#[test]
fn added_tokens_are_read_and_contradictions_named() {
    let json = bytes_with(json!([{"id": 256, "content": "<s>", "special": true}]), json!({})).to_string();
    let config = json!({"additional_special_tokens": ["<|a|>"]}).to_string();
    let load = |added: Value| {
        let added = added.to_string();
        let files = HfFiles {
            tokenizer_config: Some(config.as_bytes()),
            added_tokens: Some(added.as_bytes()),
            ..HfFiles::default()
        };
        Tokenizer::from_json(json.as_bytes(), files)
    };
    let tokenizer = load(json!({"<|a|>": 257, "word": 258, "<s>": 256, "a": 97})).unwrap();
    assert_eq!(tokenizer.encode("<|a|>word", Special::Parse).unwrap(), [257, 258]);
    assert_eq!(tokenizer.encode("word<|a|>", Special::AsText).unwrap()[0], 258);
    assert!(tokenizer.is_special(257) && !tokenizer.is_special(258));
    let refused = |added: Value, expected: &str| {
        let error = load(added).unwrap_err().to_string();
        assert!(error.contains("added_tokens.json") && error.contains(expected), "{error} does not say {expected}");
    };
    refused(json!({"<s>": 300}), "\"<s>\" has the id 300, but 256");
    refused(json!({"new": 97}), "\"new\" has the id 97, which \"a\" has");
    refused(json!({"xx": 300, "yy": 300}), "\"yy\" has the id 300, which \"xx\" has");
    refused(json!({"xx": -1}), "expected a number");
    refused(json!([]), "expected an object");
}

#[test]
fn a_vocab_txt_is_a_tokenizer() {
    let variant = variant("bert");
    let vocab = variant["tokenizer"]["model"]["vocab"].as_object().unwrap();
    let mut lines = vec![""; vocab.len()];
    for (piece, id) in vocab {
        lines[id.as_u64().unwrap() as usize] = piece;
    }
    let text = lines.join("\n") + "\n";
    let config = br#"{"tokenizer_class": "BertTokenizer", "do_lower_case": true}"#;
    let files = HfFiles { tokenizer_config: Some(config), ..HfFiles::default() };
    let tokenizer = Tokenizer::from_vocab_txt(text.as_bytes(), files).unwrap();
    for (text, plain, parsed, framed) in rows(&variant) {
        assert_eq!(tokenizer.encode(&text, Special::AsText).unwrap(), plain, "{text:?}");
        assert_eq!(tokenizer.encode(&text, Special::Parse).unwrap(), parsed, "{text:?}");
        assert_eq!(tokenizer.encode_with_ends(&text, Special::Parse).unwrap(), framed, "{text:?}");
    }
    let refused = |vocab: &str, config: &str, expected: &str| {
        let files = HfFiles { tokenizer_config: Some(config.as_bytes()), ..HfFiles::default() };
        let error = Tokenizer::from_vocab_txt(vocab.as_bytes(), files).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} does not say {expected}");
    };
    refused("", "{}", "lacks the token \"[CLS]\"");
    refused(&text, r#"{"tokenizer_class": "CanineTokenizer"}"#, "'CanineTokenizer'");
    refused(&text, r#"{"do_basic_tokenize": false}"#, "do_basic_tokenize");
}

fn variant(name: &str) -> Value {
    let lines = include_str!("../data/words.jsonl").lines();
    lines.map(|line| serde_json::from_str::<Value>(line).unwrap()).find(|variant| variant["name"] == name).unwrap()
}

fn rows(variant: &Value) -> Vec<Row> {
    serde_json::from_value(variant["rows"].clone()).unwrap()
}

/// As GGUF spells a WordPiece vocabulary: a mark for what begins a word, none for what does not.
#[test]
fn wordpiece_gives_the_same_ids_from_gguf() {
    for name in ["bert", "bert, cased"] {
        let variant = variant(name);
        let vocab = variant["tokenizer"]["model"]["vocab"].as_object().unwrap();
        let (mut tokens, mut types) = (vec![Vec::new(); vocab.len()], vec![1; vocab.len()]);
        for (piece, id) in vocab {
            let id = id.as_u64().unwrap() as usize;
            let special = piece.starts_with('[') && piece.ends_with(']');
            types[id] = if special { 3 } else { 1 };
            let spelling = match piece.strip_prefix("##") {
                _ if special => piece.clone(),
                Some(inside) => inside.to_owned(),
                None => format!("\u{2581}{piece}"),
            };
            tokens[id] = spelling.into_bytes();
        }
        let model = "bert".to_owned();
        let tokenizer =
            Tokenizer::from_vocabulary(Vocabulary { model, tokens, types, unknown: Some(1), ..Vocabulary::default() })
                .unwrap();
        for (text, plain, parsed, framed) in rows(&variant) {
            assert_eq!(tokenizer.encode(&text, Special::AsText).unwrap(), plain, "{name}: {text:?}");
            assert_eq!(tokenizer.encode(&text, Special::Parse).unwrap(), parsed, "{name}: {text:?}");
            assert_eq!(tokenizer.encode_with_ends(&text, Special::Parse).unwrap(), framed, "{name}: {text:?}");
        }
    }
}

#[test]
fn unigram_gives_the_same_ids_from_gguf() {
    let variant = variant("unigram, words");
    let vocab = variant["tokenizer"]["model"]["vocab"].as_array().unwrap();
    let spelling = |entry: &Value| entry[0].as_str().unwrap().to_owned();
    let kind = |entry: &Value| match entry[0].as_str().unwrap() {
        "<unk>" => 2,
        "<s>" | "<pad>" | "</s>" | "<mask>" => 3,
        _ => 1,
    };
    let tokenizer = Tokenizer::from_vocabulary(Vocabulary {
        model: "t5".to_owned(),
        pre: Some("default".to_owned()),
        tokens: vocab.iter().map(|entry| spelling(entry).into_bytes()).collect(),
        scores: vocab.iter().map(|entry| entry[1].as_f64().unwrap() as f32).collect(),
        types: vocab.iter().map(kind).collect(),
        bos: Some(0),
        eos: Some(2),
        add_bos: Some(true),
        precompiled_charsmap: base64(variant["tokenizer"]["normalizer"]["precompiled_charsmap"].as_str().unwrap()),
        ..Vocabulary::default()
    })
    .unwrap();
    for (text, plain, _, framed) in rows(&variant) {
        // The `tokenizers` library replaces grapheme clusters, and knows more white space than the space.
        let plainly = |c: char| c == ' ' || (!c.is_whitespace() && c.is_alphanumeric()) || c.is_ascii_punctuation();
        if text.chars().all(plainly) && !text.contains('<') {
            assert_eq!(tokenizer.encode(&text, Special::AsText).unwrap(), plain, "{text:?}");
            assert_eq!(tokenizer.encode_with_ends(&text, Special::AsText).unwrap(), framed, "{text:?}");
        }
    }
}

fn base64(text: &str) -> Vec<u8> {
    let symbols = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = text.trim_end_matches('=').bytes().map(|symbol| symbols.bytes().position(|s| s == symbol).unwrap());
    let bits: Vec<usize> = bits.flat_map(|value| (0..6).rev().map(move |bit| value >> bit & 1)).collect();
    bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |value, bit| value << 1 | *bit as u8)).collect()
}

#[test]
fn a_real_tokenizer_gives_the_same_ids_from_gguf() {
    let Some(path) = shared("data/tokenizers/smollm2/tokenizer.json") else { return };
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let vocab = file["model"]["vocab"].as_object().unwrap();
    let (mut tokens, mut types) = (vec![Vec::new(); vocab.len()], vec![1; vocab.len()]);
    for (piece, id) in vocab {
        tokens[id.as_u64().unwrap() as usize] = piece.clone().into_bytes();
    }
    for added in file["added_tokens"].as_array().unwrap() {
        types[added["id"].as_u64().unwrap() as usize] = if added["special"] == true { 3 } else { 4 };
    }
    let merge = |merge: &Value| match merge.as_array() {
        Some(pair) => format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
        None => merge.as_str().unwrap().to_owned(),
    };
    let tokenizer = Tokenizer::from_vocabulary(Vocabulary {
        model: "gpt2".to_owned(),
        pre: Some("smollm".to_owned()),
        tokens,
        types,
        merges: file["model"]["merges"].as_array().unwrap().iter().map(merge).collect(),
        ..Vocabulary::default()
    })
    .unwrap();
    for line in include_str!("../data/smollm2.jsonl").lines() {
        let (text, plain, parsed, _): Row = serde_json::from_str(line).unwrap();
        assert_eq!(tokenizer.encode(&text, Special::AsText).unwrap(), plain, "{text:?}");
        assert_eq!(tokenizer.encode(&text, Special::Parse).unwrap(), parsed, "{text:?}");
    }
    evidence::shown_with_shared("pre-tokenizer", "smollm", "ids of a vocabulary");
}
