//! Tokenizers to mask in.

use std::path::Path;

use bantam_constrain::{Compiler, Constraint, ConstraintError};
use bantam_text::{HfFiles, Tokenizer, Vocabulary};
use serde_json::Value;

#[path = "../../../bantam-text/tests/it/gguf.rs"]
mod gguf;

/// A GGUF file's tokenizer, or that of a directory or `tokenizer.json`.
pub fn open(path: &Path) -> Tokenizer {
    if path.extension().is_some_and(|extension| extension == "gguf") {
        let file = std::fs::read(path).expect("the vocabulary");
        return Tokenizer::from_vocabulary(gguf::vocabulary(&file)).expect("a vocabulary that can be read");
    }
    let path = if path.is_dir() { path.join("tokenizer.json") } else { path.to_owned() };
    let json = std::fs::read(path).expect("the tokenizer");
    Tokenizer::from_json(&json, HfFiles::default()).expect("a tokenizer that can be read")
}

/// A SentencePiece vocabulary of single bytes, a few words with and without a space before them, and control tokens.
#[allow(dead_code, reason = "the example has no use for it")]
pub fn small() -> Tokenizer {
    let mut tokens: Vec<Vec<u8>> = [&b"<unk>"[..], b"<s>", b"</s>"].map(<[u8]>::to_vec).into();
    let mut types = vec![2, 3, 3];
    for byte in 0..=255_u8 {
        tokens.push(format!("<0x{byte:02X}>").into_bytes());
        types.push(6);
    }
    for (text, kind) in [
        ("▁", 1),
        ("▁▁", 1),
        ("yes", 1),
        ("▁yes", 1),
        ("▁no", 1),
        ("no", 1),
        ("{\"", 1),
        ("\":", 1),
        ("\"}", 1),
        ("▁\"", 1),
        ("true", 1),
        ("false", 1),
        ("12", 1),
        ("naï", 1),
        ("<|im_start|>", 3),
        ("<tool>", 4),
        ("unused", 5),
        (",▁", 1),
    ] {
        tokens.push(text.into());
        types.push(kind);
    }
    let scores = (0..tokens.len()).map(|id| -(id as f32)).collect();
    Tokenizer::from_vocabulary(Vocabulary {
        model: "llama".into(),
        tokens,
        types,
        scores,
        bos: Some(1),
        eos: Some(2),
        unknown: Some(0),
        ..Vocabulary::default()
    })
    .unwrap()
}

/// Compiles `{"schema": …}`, `{"regex": …}`, `{"choices": […]}`, `{"lark": …}` or `{"gbnf": …}`.
pub fn compile(compiler: &Compiler, case: &Value) -> Result<Constraint, ConstraintError> {
    let text = |key: &str| case.get(key).and_then(Value::as_str);
    if let Some(schema) = case.get("schema") {
        return compiler.json_schema(schema);
    }
    if let Some(choices) = case.get("choices").and_then(Value::as_array) {
        let choices: Vec<&str> = choices.iter().filter_map(Value::as_str).collect();
        return compiler.choices(&choices);
    }
    match (text("regex"), text("lark"), text("gbnf")) {
        (Some(regex), _, _) => compiler.regex(regex),
        (_, Some(lark), _) => compiler.lark(lark),
        (_, _, Some(gbnf)) => compiler.gbnf(gbnf),
        _ => panic!("{case} is no case"),
    }
}

/// A vocabulary of this many tokens: bytes, words of syllables with and without a space before them, numbers, punctuation
/// and Chinese characters.
#[allow(dead_code, reason = "only the measurement has a use for it")]
pub fn synthetic(len: usize) -> Tokenizer {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).into();
    let mut types = vec![2, 3, 3];
    for byte in 0..=255_u8 {
        tokens.push(format!("<0x{byte:02X}>"));
        types.push(6);
    }
    let mut seen: std::collections::HashSet<String> = tokens.iter().cloned().collect();
    let mut dice = crate::adversary::Dice(1);
    while tokens.len() < len {
        let mut token = if dice.below(2) == 0 { "▁".to_owned() } else { String::new() };
        match dice.below(20) {
            0 => token.push_str(&dice.below(1000).to_string()),
            1 => (0..=dice.below(5)).for_each(|_| token.push(b"\"{}[]:,.;()/\\-_=+<>!?'"[dice.below(22)].into())),
            2 | 3 => (0..=dice.below(2)).for_each(|_| token.extend(char::from_u32(0x4e00 + dice.below(8000) as u32))),
            _ => {
                for _ in 0..=dice.below(4) {
                    token.push(b"bcdfghklmnprstvwz"[dice.below(17)].into());
                    token.push(b"aeiou"[dice.below(5)].into());
                    (0..dice.below(2)).for_each(|_| token.push(b"nrstlm"[dice.below(6)].into()));
                }
            }
        }
        if seen.insert(token.clone()) {
            tokens.push(token);
            types.push(1);
        }
    }
    let scores = (0..tokens.len()).map(|id| -(id as f32)).collect();
    let tokens = tokens.into_iter().map(String::into_bytes).collect();
    let named =
        Vocabulary { model: "llama".into(), bos: Some(1), eos: Some(2), unknown: Some(0), ..Vocabulary::default() };
    Tokenizer::from_vocabulary(Vocabulary { tokens, types, scores, ..named }).unwrap()
}
