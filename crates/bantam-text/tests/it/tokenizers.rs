//! `tokenizer.json` of many kinds against PyPI `tokenizers` (`tools/goldens/tokenizer_strings.py`).

use std::collections::BTreeMap;

use bantam_testkit::evidence;
use bantam_text::exchange::vocabulary_of_sentencepiece;
use bantam_text::{HfFiles, PreTokenizer, Special, TextError, TokenKind, Tokenizer, Vocabulary};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::shared;

/// A text with its ids as plain text, with special tokens parsed, and framed.
type Row = (String, Vec<u32>, Vec<u32>, Vec<u32>);

#[derive(Deserialize)]
struct Variant {
    name: String,
    tokenizer: Value,
    rows: Vec<Row>,
    decoded: Vec<String>,
}

fn check(name: &str, tokenizer: &Tokenizer, (text, plain, parsed, framed): &Row) {
    let ids = |special| tokenizer.encode(text, special).unwrap();
    assert_eq!(&ids(Special::AsText), plain, "{name}, as text: {text:?}");
    assert_eq!(&ids(Special::Parse), parsed, "{name}, parsed: {text:?}");
    assert_eq!(&tokenizer.encode_with_ends(text, Special::Parse).unwrap(), framed, "{name}, framed: {text:?}");
}

#[test]
fn tokenizers_of_many_kinds_give_the_expected_ids() {
    for line in include_str!("../data/tokenizers.jsonl").lines().chain(include_str!("../data/words.jsonl").lines()) {
        let variant: Variant = serde_json::from_str(line).unwrap();
        let json = serde_json::to_vec(&variant.tokenizer).unwrap();
        let tokenizer = Tokenizer::from_json(&json, HfFiles::default()).unwrap();
        for (row, decoded) in variant.rows.iter().zip(&variant.decoded) {
            check(&variant.name, &tokenizer, row);
            assert_eq!(&tokenizer.decode(&row.1, false).unwrap(), decoded, "{}: {:?}", variant.name, row.1);
        }
        evidence::shown("tokenizer.json", variant.tokenizer["model"]["type"].as_str().unwrap(), "ids");
    }
}

#[test]
fn a_real_tokenizer_gives_the_expected_ids() {
    let Some(path) = shared("data/tokenizers/smollm2/tokenizer.json") else { return };
    let tokenizer = Tokenizer::from_json(&std::fs::read(path).unwrap(), HfFiles::default()).unwrap();
    for line in include_str!("../data/smollm2.jsonl").lines() {
        let row: Row = serde_json::from_str(line).unwrap();
        check("SmolLM2", &tokenizer, &row);
    }
}

/// A byte-level tokenizer over the 256 bytes with a few special tokens.
pub fn bytes_with(added: Value, more: Value) -> Value {
    let printable = |byte: u32| (0x21..=0x7e).contains(&byte) || (0xa1..=0xff).contains(&byte) && byte != 0xad;
    let (mut vocab, mut next) = (serde_json::Map::new(), 256);
    for byte in 0..256u32 {
        let code = if printable(byte) { byte } else { next };
        next += u32::from(!printable(byte));
        vocab.insert(char::from_u32(code).unwrap().to_string(), json!(byte));
    }
    let mut file = json!({
        "added_tokens": added,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    });
    for (key, value) in more.as_object().unwrap() {
        file[key] = value.clone();
    }
    file
}

#[test]
fn companions_say_what_begins_and_ends_a_text() {
    let added = json!([
        {"id": 256, "content": "<s>", "special": true},
        {"id": 257, "content": "</s>", "special": true},
        {"id": 258, "content": "<|im_end|>", "special": true},
    ]);
    let check = |config: Value, map: Value, generation: Value, expected: (Vec<u32>, Vec<u32>, Vec<u32>)| {
        let json = serde_json::to_vec(&bytes_with(added.clone(), json!({}))).unwrap();
        let (config, map, generation) = (config.to_string(), map.to_string(), generation.to_string());
        let files = HfFiles {
            tokenizer_config: Some(config.as_bytes()),
            special_tokens_map: Some(map.as_bytes()),
            generation_config: Some(generation.as_bytes()),
            ..HfFiles::default()
        };
        let tokenizer = Tokenizer::from_json(&json, files).unwrap();
        let found = (tokenizer.prefix_ids(), tokenizer.suffix_ids(), tokenizer.end_of_generation());
        assert_eq!(found, (&expected.0[..], &expected.1[..], &expected.2[..]), "{config} {map} {generation}");
    };
    let none = || json!({});
    check(none(), none(), none(), (vec![], vec![], vec![258]));
    check(json!({"bos_token": "<s>", "eos_token": "</s>"}), none(), none(), (vec![], vec![], vec![257, 258]));
    check(json!({"bos_token": "<s>", "add_bos_token": true}), none(), none(), (vec![256], vec![], vec![258]));
    check(
        json!({"add_bos_token": true, "add_eos_token": true}),
        json!({"bos_token": {"content": "<s>"}, "eos_token": "</s>"}),
        json!({"eos_token_id": [257, 3]}),
        (vec![256], vec![257], vec![3, 257, 258]),
    );
}

#[test]
fn files_that_are_wrong_are_refused_by_name() {
    let check = |bytes: &[u8], expected: &str| {
        let error = Tokenizer::from_json(bytes, HfFiles::default()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error} does not say {expected}");
    };
    let with = |more: Value| serde_json::to_vec(&bytes_with(json!([]), more)).unwrap();
    check(b"", "tokenizer.json");
    check(b"[]", "tokenizer.json");
    check("[".repeat(100_000).as_bytes(), "tokenizer.json");
    check(br#"{"model": {"type": "WordLevel", "vocab": {"a": 0}}}"#, "unsupported tokenizer model 'WordLevel'");
    check(br#"{"model": {"type": "Unigram", "vocab": {"a": 0}}}"#, "no list of tokens and scores");
    check(br#"{"model": {"type": "BPE", "vocab": [["a", 0.0]]}}"#, "no map from token to id");
    check(br#"{"model": {"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 1}}"#, "unk_id is 1");
    check(br#"{"model": {"type": "WordPiece", "vocab": {"a": 0}}}"#, "needs an unk_token");
    check(br#"{"model": {"type": "BPE", "vocab": {}, "merges": []}}"#, "no tokens");
    check(br#"{"model": {"type": "BPE", "vocab": {"a": 4294967295}, "merges": []}}"#, "ids up to 4294967295");
    check(br#"{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}"#, "expected u32");
    check(br#"{"model": {"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []}}"#, "two tokens have the id 0");
    check(br#"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}"#, "merge 0 needs the token \"b\"");
    check(br#"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]}}"#, "merge 0 is no pair");
    check(&with(json!({"normalizer": {"type": "Other"}})), "unsupported normalizer 'Other'");
    check(&with(json!({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "A"}})), "is not Base64");
    check(
        &with(json!({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "/////w=="}})),
        "expected an array",
    );
    check(&with(json!({"pre_tokenizer": {"type": "UnicodeScripts"}})), "unsupported pre-tokenizer 'UnicodeScripts'");
    check(&with(json!({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}}})), "pre-tokenizer pattern");
    check(&with(json!({"decoder": {"type": "CTC"}})), "unsupported decoder 'CTC'");
    let nested = "(".repeat(20_000) + &")".repeat(20_000);
    check(&with(json!({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": nested}}})), "pre-tokenizer pattern");
    let large = r"(?:\p{L}{1000}){1000}";
    check(&with(json!({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": large}}})), "pre-tokenizer pattern");
    let error = Tokenizer::from_sentencepiece(b"\xff\xff").unwrap_err();
    assert!(matches!(error, TextError::File { file: "tokenizer.model", .. }));
}

#[test]
fn patterns_that_backtrack_without_end_stop() {
    let more = json!({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": r"(?:(a|a)+)+(?!\S)b\1"}, "behavior": "Isolated"}});
    let json = serde_json::to_vec(&bytes_with(json!([]), more)).unwrap();
    let tokenizer = Tokenizer::from_json(&json, HfFiles::default()).unwrap();
    let found = tokenizer.encode(&"a".repeat(5_000), Special::AsText);
    assert!(matches!(found, Err(TextError::Pattern { .. })), "{found:?}");
}

#[test]
fn long_words_are_not_quadratic() {
    let merges: Vec<String> = (1..12).map(|n| format!("{0} {0}", "a".repeat(1 << (n - 1)))).collect();
    let vocab: serde_json::Map<_, _> = (0..12).map(|n| ("a".repeat(1 << n), json!(n))).collect();
    let file = json!({"model": {"type": "BPE", "vocab": vocab, "merges": merges}});
    let tokenizer = Tokenizer::from_json(&serde_json::to_vec(&file).unwrap(), HfFiles::default()).unwrap();
    let ids = tokenizer.encode(&"a".repeat((1 << 19) + 5), Special::AsText).unwrap();
    let mut expected = vec![11; 1 << 8];
    expected.extend([2, 0]);
    assert_eq!(ids, expected);
}

/// `tokenizer.model` of three kinds against PyPI `sentencepiece` (`tools/goldens/sentencepiece_models.py`).
#[test]
fn sentencepiece_models_give_the_expected_ids() {
    let bpe = include_str!("../data/sentencepiece.jsonl").lines();
    for line in bpe.chain(include_str!("../data/sentencepiece_unigram.jsonl").lines()) {
        let record: Value = serde_json::from_str(line).unwrap();
        let (options, model) = (&record["options"], record["model"].as_str().unwrap());
        let model: Vec<u8> =
            (0..model.len()).step_by(2).map(|at| u8::from_str_radix(&model[at..at + 2], 16).unwrap()).collect();
        let tokenizer = Tokenizer::from_sentencepiece(&model).unwrap();
        let rows: Vec<(String, Vec<u32>, String)> = serde_json::from_value(record["rows"].clone()).unwrap();
        for (text, ids, decoded) in &rows {
            assert_eq!(&tokenizer.encode(text, Special::AsText).unwrap(), ids, "{options}: {text:?}");
            // SentencePiece writes an unknown token as U+2047 between spaces.
            let mut found = tokenizer.decode(ids, false).unwrap();
            if ids.contains(&0) {
                found = found.replace("<unk>", " \u{2047} ");
            }
            assert_eq!(&found, decoded, "{options}: {text:?}");
        }
        for cut in 0..model.len().min(400) {
            let _ = Tokenizer::from_sentencepiece(&model[..cut]);
        }
        let kind = if options.as_str().unwrap().contains("unigram") { "Unigram" } else { "BPE" };
        evidence::shown("tokenizer.model", kind, "ids");
        // The same as a vocabulary of GGUF, which folds white space for Unigram alone, and cuts user-defined tokens out
        // before spaces are added.
        let made = vocabulary_of_sentencepiece(&model, HfFiles::default(), tokenizer.vocabulary_len());
        let Some(made) = made.ok().filter(|_| !options.as_str().unwrap().contains("user_defined")) else { continue };
        let name = made.vocabulary.model.clone();
        let made = Tokenizer::from_vocabulary(made.vocabulary).unwrap();
        for (text, ids, _) in &rows {
            assert_eq!(&made.encode(text, Special::AsText).unwrap(), ids, "{options}, GGUF: {text:?}");
        }
        evidence::shown("tokenizer model", &name, "ids");
    }
}

/// The first model of `sentencepiece.jsonl`.
fn model() -> Vec<u8> {
    let line = include_str!("../data/sentencepiece.jsonl").lines().next().unwrap();
    let record: Value = serde_json::from_str(line).unwrap();
    let model = record["model"].as_str().unwrap();
    (0..model.len()).step_by(2).map(|at| u8::from_str_radix(&model[at..at + 2], 16).unwrap()).collect()
}

/// `tokenizer.model` with companions against transformers (`tools/goldens/sentencepiece_directories.py`).
#[test]
fn companions_of_sentencepiece_models_are_read() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../data/sentencepiece_directories.json")).unwrap();
    for case in cases {
        let config = case["config"].to_string();
        let map = case["companions"].get("special_tokens_map.json").map(Value::to_string);
        let files = HfFiles {
            tokenizer_config: Some(config.as_bytes()),
            special_tokens_map: map.as_deref().map(str::as_bytes),
            ..HfFiles::default()
        };
        let tokenizer = Tokenizer::from_sentencepiece_directory(&model(), files).unwrap();
        let found = [tokenizer.bos(), tokenizer.eos(), tokenizer.unknown(), tokenizer.padding()];
        assert_eq!(json!(found), case["ends"], "{config}");
        assert!(tokenizer.notes().is_empty(), "{:?}", tokenizer.notes());
        // What `eos_token` names, and `<|im_end|>` by its spelling, end an answer.
        let end = tokenizer.token_id("<|im_end|>");
        let mut ends: Vec<u32> = tokenizer.eos().into_iter().chain(end).collect();
        ends.dedup();
        ends.sort_unstable();
        assert_eq!(tokenizer.end_of_generation(), ends, "{config}");
        if let Some(end) = end {
            assert_eq!(tokenizer.token_kind(end), Some(TokenKind::Control));
            assert!(!tokenizer.encode("<|im_end|>", Special::AsText).unwrap().contains(&end));
        }
        let rows: Vec<(String, Vec<u32>)> = serde_json::from_value(case["rows"].clone()).unwrap();
        for (text, ids) in &rows {
            assert_eq!(&tokenizer.encode_with_ends(text, Special::Parse).unwrap(), ids, "{config}: {text:?}");
        }
    }
}

#[test]
fn ids_that_end_an_answer_are_ids_of_the_vocabulary() {
    let json =
        serde_json::to_vec(&bytes_with(json!([{"id": 256, "content": "</s>", "special": true}]), json!({}))).unwrap();
    let check = |generation: Value, config: Value, expected: Result<&[u32], &str>| {
        let (generation, config) = (generation.to_string(), config.to_string());
        let files = HfFiles {
            generation_config: Some(generation.as_bytes()),
            config: Some(config.as_bytes()),
            ..HfFiles::default()
        };
        for (len, found) in
            [(257, Tokenizer::from_json(&json, files)), (420, Tokenizer::from_sentencepiece_directory(&model(), files))]
        {
            let own: &[u32] = if len == 420 { &[2] } else { &[] };
            match (&expected, found) {
                (Ok(ids), Ok(tokenizer)) => {
                    let mut ids = [own, ids].concat();
                    ids.sort_unstable();
                    assert_eq!(tokenizer.end_of_generation(), ids, "{generation} {config}");
                }
                (Err(text), Err(error)) => {
                    let expected = format!("damaged {text}, which is no id in a vocabulary of {len} tokens");
                    assert_eq!(error.to_string(), expected);
                }
                (expected, found) => panic!("{generation} {config}: {found:?}, expected {expected:?}"),
            }
        }
    };
    let none = || json!({});
    check(json!({"eos_token_id": 256}), json!({"eos_token_id": 9999}), Ok(&[256]));
    check(json!({"eos_token_id": null}), json!({"eos_token_id": [256, 0]}), Ok(&[0, 256]));
    check(json!({"eos_token_id": -1, "pad_token_id": -1}), json!({"pad_token_id": 9999}), Ok(&[]));
    check(json!({"eos_token_id": 9999}), none(), Err("generation_config.json: eos_token_id names 9999"));
    check(json!({"eos_token_id": [0, 9999]}), none(), Err("generation_config.json: eos_token_id names 9999"));
    check(none(), json!({"eos_token_id": [4294967296u64]}), Err("config.json: eos_token_id names 4294967296"));
    check(none(), json!({"eos_token_id": -2}), Err("config.json: eos_token_id names -2"));
    check(none(), json!({"eos_token_id": "</s>"}), Err("config.json: eos_token_id names \"</s>\""));
}

#[test]
fn companions_that_contradict_are_refused_by_name() {
    let added = json!([{"id": 256, "content": "<s>", "special": true}]);
    let json = |added: &Value| serde_json::to_vec(&bytes_with(added.clone(), json!({}))).unwrap();
    let refused = |found: Result<Tokenizer, TextError>, expected: &str| {
        let error = found.unwrap_err().to_string();
        assert!(error.contains(expected), "{error} does not say {expected}");
    };
    let check = |config: Value, expected: &str| {
        let config = config.to_string();
        let files = HfFiles { tokenizer_config: Some(config.as_bytes()), ..HfFiles::default() };
        refused(Tokenizer::from_json(&json(&added), files), expected);
        refused(Tokenizer::from_sentencepiece_directory(&model(), files), expected);
    };
    check(
        json!({"bos_token": "<nonexistent>", "add_bos_token": true}),
        "damaged tokenizer_config.json: bos_token is \"<nonexistent>\", which the vocabulary has not, but is to be added",
    );
    check(json!({"eos_token": {"content": "<none>"}, "add_eos_token": true}), "eos_token is \"<none>\"");
    check(
        json!({"added_tokens_decoder": {"300": {"content": "<a>"}, "0300": {"content": "<b>"}}}),
        "both have the id 300",
    );
    check(json!({"added_tokens_decoder": {"4000000000": {"content": "<a>"}}}), "ids up to 4000000000");
    let twice = json!([{"id": 256, "content": "<s>"}, {"id": 256, "content": "<t>"}]);
    refused(Tokenizer::from_json(&json(&twice), HfFiles::default()), "\"<s>\" and \"<t>\" both have the id 256");
    let other = json!({"added_tokens_decoder": {"256": {"content": "<t>"}}}).to_string();
    let files = HfFiles { tokenizer_config: Some(other.as_bytes()), ..HfFiles::default() };
    refused(Tokenizer::from_json(&json(&added), files), "\"<s>\" and \"<t>\" both have the id 256");
}

#[test]
fn what_files_leave_open_is_noted() {
    let vocabulary = Vocabulary { model: "gpt2".to_owned(), tokens: vec![b"a".to_vec()], ..Vocabulary::default() };
    let named = Vocabulary { pre: Some("default".to_owned()), ..vocabulary.clone() };
    let notes = |vocabulary| Tokenizer::from_vocabulary(vocabulary).unwrap().notes().to_vec();
    assert_eq!(notes(vocabulary), ["the file names no pre-tokenizer; the default one is used"]);
    assert!(notes(named).is_empty());
    let map = json!({"additional_special_tokens": ["<a>", "</s>", "<b>"]}).to_string();
    let files = HfFiles { special_tokens_map: Some(map.as_bytes()), ..HfFiles::default() };
    let tokenizer = Tokenizer::from_sentencepiece_directory(&model(), files).unwrap();
    assert_eq!(tokenizer.notes(), ["the special token \"<a>\" and 1 more has no id and stays text"]);
}

/// Words by the names of pre-tokenizers against PyPI `tokenizers` (`tools/goldens/pre_tokenizers.py`).
#[test]
fn pre_tokenizers_cut_as_published() {
    let printable = |byte: u8| (0x21..=0x7e).contains(&byte) || byte >= 0xa1 && byte != 0xad;
    let others: Vec<u8> = (0..=255).filter(|byte| !printable(*byte)).collect();
    let character = |byte: &u8| match others.binary_search(byte) {
        Ok(at) => char::from_u32(0x100 + at as u32).unwrap(),
        Err(_) => char::from(*byte),
    };
    let mut known = BTreeMap::new();
    for line in include_str!("../data/pre_tokenizers.jsonl").lines() {
        let (name, text, expected): (String, String, Vec<String>) = serde_json::from_str(line).unwrap();
        let pre_tokenizer = known.entry(name.clone()).or_insert_with(|| PreTokenizer::named(&name).unwrap());
        let words = pre_tokenizer.words(&text).unwrap();
        let found: Vec<String> = words.iter().map(|word| word.iter().map(character).collect()).collect();
        assert_eq!(found, expected, "{name}: {text:?}");
    }
    for name in known.keys() {
        evidence::shown("pre-tokenizer", name, "splitting");
    }
    let error = PreTokenizer::named("none such").unwrap_err();
    assert_eq!(error.to_string(), "unsupported pre-tokenizer 'none such'");
}
