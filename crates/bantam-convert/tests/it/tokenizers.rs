//! Directories with a tokenizer in each of the forms that `run` takes: the same ids from the directory, from its GGUF, and
//! from the directory made of that.

use std::path::Path;

use bantam_convert::Form;
use bantam_runtime::open_text;
use bantam_testkit::{Golden, Random};
use bantam_text::{Special, Tokenizer};
use serde_json::{Value, json};

use crate::support::{Folder, converted};

/// SentencePiece's table of replacements for two: a tab and a line feed become a space.
const SPACES: &str = "gAAAAABAAAAAAACAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAJYQAACm0AAAAAAAAAAAAAAAAAAAAAAAAAAAAAIAA=";

/// A golden's directory without its tokenizer, with these files instead.
fn directory(golden: &str, to: &Path, files: &[(&str, String)]) {
    std::fs::create_dir_all(to).unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(Golden::load(golden).directory.join(name), to.join(name)).unwrap();
    }
    files.iter().for_each(|(name, text)| std::fs::write(to.join(name), text).unwrap());
}

fn tokenizer(path: &Path) -> Tokenizer {
    open_text(path).unwrap_or_else(|error| panic!("{error}")).tokenizer.unwrap()
}

/// Texts of letters that the tiny vocabularies have, white space and characters that they have not.
fn texts() -> impl Iterator<Item = String> {
    const PARTS: &[&str] = &[
        "the", "he", " ", "  ", "t", "h", "e", "a", "b", ".", "1", "\t", "\n", "é", "e\u{301}", "漢", "🦜", "ab", "The",
    ];
    let mut random = Random::new(4);
    (0..500).map(move |_| (0..random.below(12)).map(|_| PARTS[random.below(PARTS.len())]).collect())
}

fn own(golden: &str) -> Value {
    serde_json::from_slice(&std::fs::read(Golden::load(golden).directory.join("tokenizer.json")).unwrap()).unwrap()
}

#[test]
fn every_form_of_a_tokenizer_goes_along() {
    let folder = Folder::new("tokenizers");
    let check = |name: &str, golden: &str, files: &[(&str, String)], kind: &str, notes: &[&str]| {
        let (source, gguf, back) = (folder.path(name), folder.path(&format!("{name}.gguf")), folder.path("back"));
        directory(golden, &source, files);
        let report = converted(&source, &gguf, Form::Gguf, |_| ()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let said = report.notes.join("\n");
        notes.iter().for_each(|note| assert!(said.contains(note), "{name}: {said}"));
        let bytes = std::fs::read(&gguf).unwrap();
        let metadata = bantam_formats::Gguf::parse(&bytes).unwrap();
        assert_eq!(metadata.str("tokenizer.ggml.model").unwrap(), Some(kind), "{name}");
        converted(&gguf, &back, Form::HuggingFace, |options| options.force = true)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let (meant, there, again) = (tokenizer(&source), tokenizer(&gguf), tokenizer(&back));
        for text in texts() {
            let ids = |tokenizer: &Tokenizer| tokenizer.encode_with_ends(&text, Special::AsText).unwrap();
            assert_eq!(ids(&meant), ids(&there), "{name} as GGUF: {text:?}");
            assert_eq!(ids(&meant), ids(&again), "{name} back: {text:?}");
        }
    };
    let words = own("tiny-bert-mean");
    let mut lines = vec![String::new(); 64];
    for (piece, id) in words["model"]["vocab"].as_object().unwrap() {
        lines[id.as_u64().unwrap() as usize].clone_from(piece);
    }
    check("vocab-txt", "tiny-bert-mean", &[("vocab.txt", lines.join("\n") + "\n")], "bert", &[]);

    let level = own("tiny-qwen2-a");
    let merges: Vec<String> = level["model"]["merges"].as_array().unwrap().iter().map(merge).collect();
    let files = [
        ("vocab.json", level["model"]["vocab"].to_string()),
        ("merges.txt", format!("#version: 0.2\n{}\n", merges.join("\n"))),
        ("tokenizer_config.json", json!({ "tokenizer_class": "GPT2Tokenizer" }).to_string()),
    ];
    check("merges-txt", "tiny-qwen2-a", &files, "gpt2", &[]);

    let pieces = ["<pad>", "</s>", "<unk>", "▁", "▁the", "he", "▁a", "t", "h", "e", "a", "b", "ab", ".", "é", "the"];
    let vocab: Vec<Value> = pieces.iter().enumerate().map(|(id, piece)| json!([piece, -0.5 * id as f64])).collect();
    let added: Vec<Value> = (0..3).map(|id| json!({ "id": id, "content": pieces[id], "special": true })).collect();
    let unigram = json!({
        "added_tokens": added,
        "normalizer": { "type": "Sequence", "normalizers": [
            { "type": "Precompiled", "precompiled_charsmap": SPACES },
            { "type": "Strip", "strip_left": false, "strip_right": true },
            { "type": "Replace", "pattern": { "Regex": " {2,}" }, "content": "▁" },
        ] },
        "pre_tokenizer": { "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true },
        "post_processor": { "type": "TemplateProcessing", "single": [
            { "Sequence": { "id": "A", "type_id": 0 } }, { "SpecialToken": { "id": "</s>", "type_id": 0 } },
        ], "pair": [], "special_tokens": { "</s>": { "id": "</s>", "ids": [1], "tokens": ["</s>"] } } },
        "decoder": { "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true },
        "model": { "type": "Unigram", "unk_id": 2, "vocab": vocab },
    });
    let notes = ["spelling in a text stays text"];
    check("unigram", "tiny-qwen2-a", &[("tokenizer.json", unigram.to_string())], "t5", &notes);
}

/// `left right` of either form of a merge.
fn merge(merge: &Value) -> String {
    match merge {
        Value::Array(pair) => pair.iter().map(|side| side.as_str().unwrap()).collect::<Vec<_>>().join(" "),
        line => line.as_str().unwrap().to_owned(),
    }
}
