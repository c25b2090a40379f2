//! Tokenizers from GGUF to `tokenizer.json` and back: real vocabularies give the expected ids in every form.

use bantam_text::exchange::{json_of_merges_txt, tokenizer_config, tokenizer_json, vocabulary_of_json};
use bantam_text::{HfFiles, Special, Tokenizer, Vocabulary};
use serde_json::{Value, json};

use crate::{gguf, shared};

fn texts(name: &str) -> Option<Vec<(String, Vec<u32>)>> {
    let path = shared(&format!("data/tokenizers/ggml-vocab-{name}.gguf.inp"))?;
    let texts = std::fs::read_to_string(&path).unwrap();
    let expected = std::fs::read_to_string(path.with_extension("out")).unwrap();
    let texts = texts.strip_suffix("\n__ggml_vocab_test__\n").unwrap_or(&texts).split("\n__ggml_vocab_test__\n");
    let ids = expected.lines().map(|line| line.split_whitespace().map(|id| id.parse().unwrap()).collect());
    Some(texts.map(str::to_owned).zip(ids).collect())
}

fn written(vocabulary: &Vocabulary) -> (Vec<u8>, Vec<u8>) {
    let json = tokenizer_json(vocabulary).unwrap_or_else(|error| panic!("{error}"));
    (json.to_string().into_bytes(), tokenizer_config(vocabulary).to_string().into_bytes())
}

/// GGUF, to `tokenizer.json`, to GGUF again: all with the ids that the vocabulary's makers expect.
fn check(name: &str) {
    let Some(texts) = texts(name) else { return };
    let path = shared(&format!("data/tokenizers/ggml-vocab-{name}.gguf")).unwrap();
    let vocabulary = gguf::vocabulary(&std::fs::read(path).unwrap());
    let (json, config) = written(&vocabulary);
    let files = HfFiles { tokenizer_config: Some(&config), ..HfFiles::default() };
    let there = Tokenizer::from_json(&json, files).unwrap();
    let back = vocabulary_of_json(&json, files, vocabulary.tokens.len() + 3).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(back.vocabulary.model, vocabulary.model, "{name}");
    assert_eq!(back.vocabulary.tokens[..vocabulary.tokens.len()], vocabulary.tokens, "{name}");
    assert_eq!(back.vocabulary.types.last(), Some(&5), "{name}: rows without a token are unused");
    // WordPiece has no tokens that begin or end a text, only ones that frame it.
    let named = |id: Option<u32>| id.filter(|_| back.vocabulary.class.is_none());
    let ends = |of: &Tokenizer| (named(of.bos()), named(of.eos()), of.prefix_ids().to_vec(), of.suffix_ids().to_vec());
    let original = Tokenizer::from_vocabulary(vocabulary).unwrap();
    let made = Tokenizer::from_vocabulary(back.vocabulary.clone()).unwrap();
    assert_eq!(ends(&original), ends(&there), "{name}");
    assert_eq!(ends(&original), ends(&made), "{name}");
    for (text, expected) in &texts {
        assert_eq!(&there.encode(text, Special::AsText).unwrap(), expected, "{name} as tokenizer.json: {text:?}");
        assert_eq!(&made.encode(text, Special::AsText).unwrap(), expected, "{name} back as GGUF: {text:?}");
    }
}

#[test]
fn byte_level_vocabularies_survive() {
    ["gpt-2", "falcon", "deepseek-llm"].into_iter().for_each(check);
}

#[test]
fn pieces_survive() {
    ["llama-spm", "phi-3", "bert-bge"].into_iter().for_each(check);
}

#[test]
fn a_directory_s_tokenizer_is_recognised() {
    let Some(path) = shared("data/tokenizers/smollm2/tokenizer.json") else { return };
    let json = std::fs::read(path).unwrap();
    let meant = Tokenizer::from_json(&json, HfFiles::default()).unwrap();
    let made = vocabulary_of_json(&json, HfFiles::default(), meant.vocabulary_len()).unwrap();
    assert_eq!((made.vocabulary.model.as_str(), made.vocabulary.pre.as_deref()), ("gpt2", Some("smollm")));
    let made = Tokenizer::from_vocabulary(made.vocabulary).unwrap();
    for (text, _) in texts("starcoder").unwrap_or_default() {
        let ids = |tokenizer: &Tokenizer| tokenizer.encode(&text, Special::AsText).unwrap();
        assert_eq!(ids(&meant), ids(&made), "{text:?}");
    }
}

/// A byte-level tokenizer of all bytes and nothing else, cut by these steps.
fn byte_tokenizer(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let level = json!({ "type": "ByteLevel", "add_prefix_space": false, "use_regex": true });
    let mut vocab = serde_json::Map::new();
    let printable = (0x21..=0x7e).chain(0xa1..=0xac).chain(0xae..=0xff).chain(0x100..=0x143);
    for (id, code) in printable.enumerate() {
        vocab.insert(char::from_u32(code).unwrap().to_string(), json!(id));
    }
    let mut file = json!({
        "added_tokens": [], "normalizer": null, "pre_tokenizer": level, "post_processor": null, "decoder": level,
        "model": { "type": "BPE", "ignore_merges": false, "vocab": vocab, "merges": [] },
    });
    change(&mut file);
    file.to_string().into_bytes()
}

#[test]
fn pre_tokenizers_are_recognised_or_refused() {
    let split = |regex: &str| {
        json!({ "type": "Sequence", "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": regex }, "behavior": "Isolated", "invert": false },
            { "type": "ByteLevel", "add_prefix_space": false, "use_regex": false },
        ] })
    };
    let check = |change: &dyn Fn(&mut Value), expected: Result<&str, &str>| {
        let json = byte_tokenizer(change);
        match (vocabulary_of_json(&json, HfFiles::default(), 300), expected) {
            (Ok(made), Ok(pre)) => assert_eq!(made.vocabulary.pre.as_deref(), Some(pre)),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (made, expected) => panic!("{:?}, expected {expected:?}", made.map(|made| made.vocabulary.pre)),
        }
    };
    const LLAMA: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    const QWEN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    check(&|_| (), Ok("gpt-2"));
    check(
        &|file| {
            file["pre_tokenizer"] = split(LLAMA);
            file["model"]["ignore_merges"] = json!(true);
        },
        Ok("llama-bpe"),
    );
    check(&|file| file["pre_tokenizer"] = split(LLAMA), Ok("dbrx"));
    check(
        &|file| {
            file["pre_tokenizer"] = split(QWEN);
            file["normalizer"] = json!({ "type": "NFC" });
        },
        Ok("qwen2"),
    );
    check(&|file| file["pre_tokenizer"] = split(QWEN), Ok("stablelm2"));
    // Falcon's, as it is published.
    let steps = json!([
        { "type": "Punctuation", "behavior": "Contiguous" },
        { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true },
        { "type": "Digits", "individual_digits": false },
        { "type": "Split", "pattern": { "Regex": "[0-9][0-9][0-9]" }, "behavior": "Isolated", "invert": false },
    ]);
    check(&|file| file["pre_tokenizer"] = json!({ "type": "Sequence", "pretokenizers": steps }), Ok("falcon"));
    check(&|file| file["pre_tokenizer"] = split("[a-z]+"), Err("unsupported pre-tokenizer for GGUF '[a-z]+'"));
    check(&|file| file["normalizer"] = json!({ "type": "Lowercase" }), Err("normalizer for GGUF 'Lowercase'"));
    check(&|file| file["pre_tokenizer"]["add_prefix_space"] = json!(true), Err("add_prefix_space"));
}

/// What frames a text goes along, is said by the two keys that GGUF has, or is refused.
#[test]
fn frames_are_kept_or_refused() {
    type Frame = (Vec<u32>, Vec<u32>);
    let check = |before: &[&str], behind: &[&str], config: Value, expected: Result<Frame, &str>| {
        let special = |text: &str| json!({ "SpecialToken": { "id": text, "type_id": 0 } });
        let names = ["<s>", "</s>", "<end>"];
        let json = byte_tokenizer(|file| {
            let id = |at: usize| 256 + at;
            let added = names.iter().enumerate().map(|(at, text)| {
                json!({ "id": id(at), "content": text, "special": true, "normalized": false, "lstrip": false,
                        "rstrip": false, "single_word": false })
            });
            file["added_tokens"] = added.collect();
            let mut single: Vec<Value> = before.iter().map(|text| special(text)).collect();
            single.push(json!({ "Sequence": { "id": "A", "type_id": 0 } }));
            single.extend(behind.iter().map(|text| special(text)));
            let tokens: serde_json::Map<String, Value> = names
                .iter()
                .enumerate()
                .map(|(at, text)| ((*text).to_owned(), json!({ "id": text, "ids": [id(at)], "tokens": [text] })))
                .collect();
            file["post_processor"] =
                json!({ "type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": tokens });
        });
        let config = config.to_string().into_bytes();
        let files = HfFiles { tokenizer_config: Some(&config), ..HfFiles::default() };
        match (vocabulary_of_json(&json, files, 300), expected) {
            (Ok(made), Ok((prefix, suffix))) => {
                let there = Tokenizer::from_vocabulary(made.vocabulary.clone()).unwrap();
                assert_eq!((there.prefix_ids(), there.suffix_ids()), (&prefix[..], &suffix[..]), "{before:?}");
                let (json, config) = written(&made.vocabulary);
                let files = HfFiles { tokenizer_config: Some(&config), ..HfFiles::default() };
                let back = Tokenizer::from_json(&json, files).unwrap();
                assert_eq!((back.prefix_ids(), back.suffix_ids()), (&prefix[..], &suffix[..]), "{before:?} back");
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (made, expected) => panic!("{before:?}: {:?}, expected {expected:?}", made.map(|made| made.vocabulary.bos)),
        }
    };
    check(&["<s>"], &[], json!({}), Ok((vec![256], vec![])));
    check(&["<s>"], &[], json!({ "bos_token": "<s>" }), Ok((vec![256], vec![])));
    check(&[], &["<end>"], json!({ "eos_token": "</s>" }), Ok((vec![], vec![258])));
    check(&["<s>"], &["</s>"], json!({ "bos_token": "<end>", "eos_token": "</s>" }), Ok((vec![256], vec![257])));
    check(&["<s>", "<end>"], &[], json!({}), Err("[256, 258] before a text"));
    check(&[], &["<end>", "</s>"], json!({}), Err("[258, 257] behind a text"));
}

/// Unigram's pipelines (`tests/data/words.jsonl`, from PyPI `tokenizers`) as GGUF's vocabulary and back as `tokenizer.json`.
#[test]
fn unigram_pipelines_survive_or_are_refused() {
    // A space at the start, runs of spaces and what SentencePiece does not do are no settings of GGUF.
    let refused = [
        ("unigram", "other tokens for \" leading"),
        ("unigram, first", "other tokens for \" leading"),
        ("unigram, words", "other tokens for \"tabs"),
        ("unigram, bytes", "normalizer for GGUF 'Nmt'"),
        ("unigram, prepended", "normalizer for GGUF 'Lowercase'"),
    ];
    for line in include_str!("../data/words.jsonl").lines() {
        let variant: Value = serde_json::from_str(line).unwrap();
        if variant["tokenizer"]["model"]["type"] != "Unigram" {
            continue;
        }
        let name = variant["name"].as_str().unwrap();
        let json = variant["tokenizer"].to_string().into_bytes();
        let count = Tokenizer::from_json(&json, HfFiles::default()).unwrap().vocabulary_len();
        let made = vocabulary_of_json(&json, HfFiles::default(), count + 2);
        if let Some((_, part)) = refused.iter().find(|(refused, _)| *refused == name) {
            let error = made.map(|made| made.vocabulary.model).unwrap_err().to_string();
            assert!(error.contains(part), "{name}: {error}");
            continue;
        }
        let made = made.unwrap_or_else(|error| panic!("{name}: {error}")).vocabulary;
        let there = Tokenizer::from_vocabulary(made.clone()).unwrap();
        let (json, config) = written(&made);
        let files = HfFiles { tokenizer_config: Some(&config), ..HfFiles::default() };
        let back = Tokenizer::from_json(&json, files).unwrap();
        // The library finds the spelling of a special token in text too, since it is a piece; in GGUF it is text.
        let specials: Vec<_> = (0..count as u32).filter(|id| there.is_special(*id)).collect();
        let spells = |text: &str| specials.iter().any(|id| text.contains(there.token_text(*id).unwrap().as_ref()));
        for row in variant["rows"].as_array().unwrap() {
            let (text, expected) = (row[0].as_str().unwrap(), &row[1]);
            for (form, tokenizer) in [("as GGUF", &there), ("back", &back)].into_iter().filter(|_| !spells(text)) {
                let ids = tokenizer.encode(text, Special::AsText).unwrap();
                assert_eq!(&json!(ids), expected, "{name} {form}: {text:?}");
            }
        }
    }
}

/// `vocab.json` with `merges.txt` against transformers (`tools/goldens/byte_level_directories.py`), and the same as GGUF.
#[test]
fn older_byte_level_directories_are_read() {
    let file: Value = serde_json::from_str(include_str!("../data/byte_level_directories.json")).unwrap();
    let (vocab, merges) = (file["vocab"].to_string(), file["merges"].as_str().unwrap());
    for case in file["cases"].as_array().unwrap() {
        let (config, model) = (case["config"].to_string(), json!({ "model_type": "gpt2" }).to_string());
        let files =
            HfFiles { tokenizer_config: Some(config.as_bytes()), config: Some(model.as_bytes()), ..HfFiles::default() };
        let tokenizer = Tokenizer::from_merges_txt(vocab.as_bytes(), merges.as_bytes(), files).unwrap();
        let json = json_of_merges_txt(vocab.as_bytes(), merges.as_bytes(), files).unwrap().to_string();
        let made = vocabulary_of_json(json.as_bytes(), files, tokenizer.vocabulary_len());
        let spaced = case["config"]["add_prefix_space"] == true;
        assert_eq!(made.is_err(), spaced, "GGUF has no key for add_prefix_space");
        let there = made.ok().map(|made| Tokenizer::from_vocabulary(made.vocabulary).unwrap());
        for row in case["rows"].as_array().unwrap() {
            let (text, expected) = (row[0].as_str().unwrap(), &row[1]);
            for tokenizer in std::iter::once(&tokenizer).chain(&there) {
                let ids = tokenizer.encode_with_ends(text, Special::Parse).unwrap();
                assert_eq!(&json!(ids), expected, "{} {config}: {text:?}", case["kind"]);
            }
        }
    }
    let refused = |config: &str, model: &str, vocab: &str, expected: &str| {
        let files =
            HfFiles { tokenizer_config: Some(config.as_bytes()), config: Some(model.as_bytes()), ..HfFiles::default() };
        let error = Tokenizer::from_merges_txt(vocab.as_bytes(), merges.as_bytes(), files).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} does not say {expected}");
    };
    refused(r#"{"tokenizer_class": "RobertaTokenizer"}"#, "{}", &vocab, "beside vocab.json 'RobertaTokenizer'");
    refused("{}", r#"{"model_type": "other"}"#, &vocab, "without a tokenizer_class 'other'");
    refused("{}", r#"{"model_type": "gpt2"}"#, "[]", "damaged vocab.json");
}
