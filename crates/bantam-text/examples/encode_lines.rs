//! Compares lines of texts and ids, as the scripts under `tools/goldens` write them, with this crate's ids:
//! `encode_lines FILE < LINES`. FILE is a `tokenizer.json`, a `tokenizer.model`, or a vocabulary from GGUF as JSON
//! (`gguf_vocabularies.py`); a line is a text with its ids as plain text, with special tokens parsed, and framed (null:
//! not compared).
#![allow(missing_docs, reason = "a chore, not a library")]

use std::io::BufRead;
use std::time::Instant;

use bantam_text::{HfFiles, Special, Tokenizer, Vocabulary};
use serde_json::Value;

type Row = (String, Vec<u32>, Option<Vec<u32>>, Option<Vec<u32>>);

fn vocabulary(json: &Value) -> Vocabulary {
    let text = |key: &str| json[key].as_str().map(str::to_owned);
    let id = |key: &str| json[key].as_u64().map(|id| id as u32);
    let list = |key: &str| json[key].as_array().cloned().unwrap_or_default();
    let texts = |key: &str| list(key).iter().filter_map(|value| value.as_str().map(str::to_owned)).collect::<Vec<_>>();
    Vocabulary {
        model: text("model").unwrap_or_default(),
        pre: text("pre"),
        name: text("name"),
        tokens: texts("tokens").into_iter().map(String::into_bytes).collect(),
        scores: list("scores").iter().filter_map(Value::as_f64).map(|score| score as f32).collect(),
        types: list("token_type").iter().filter_map(Value::as_i64).map(|kind| kind as i32).collect(),
        merges: texts("merges").iter().collect(),
        bos: id("bos_token_id"),
        eos: id("eos_token_id"),
        unknown: id("unknown_token_id"),
        separator: id("seperator_token_id"),
        class: id("cls_token_id"),
        add_bos: json["add_bos_token"].as_bool(),
        add_eos: json["add_eos_token"].as_bool(),
        add_space_prefix: json["add_space_prefix"].as_bool(),
        remove_extra_whitespaces: json["remove_extra_whitespaces"].as_bool(),
        precompiled_charsmap: list("precompiled_charsmap").iter().filter_map(Value::as_u64).map(|b| b as u8).collect(),
        ..Vocabulary::default()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: encode_lines FILE < LINES")?;
    let bytes = std::fs::read(&path)?;
    let tokenizer = if path.ends_with(".model") {
        Tokenizer::from_sentencepiece(&bytes)?
    } else if path.ends_with(".vocabulary.json") {
        Tokenizer::from_vocabulary(vocabulary(&serde_json::from_slice(&bytes)?))?
    } else {
        Tokenizer::from_json(&bytes, HfFiles::default())?
    };
    let (mut lines, mut differ, mut seconds, mut bytes) = (0usize, 0usize, 0.0, 0usize);
    for line in std::io::stdin().lock().lines() {
        let (text, plain, parsed, framed): Row = serde_json::from_str(&line?)?;
        let start = Instant::now();
        let found = tokenizer.encode(&text, Special::AsText)?;
        seconds += start.elapsed().as_secs_f64();
        bytes += text.len();
        let mut same = found == plain;
        if let Some(parsed) = &parsed {
            same &= tokenizer.encode(&text, Special::Parse)? == *parsed;
        }
        if let Some(framed) = &framed {
            same &= tokenizer.encode_with_ends(&text, Special::Parse)? == *framed;
        }
        lines += 1;
        if !same {
            differ += 1;
            if differ <= 5 {
                println!("{text:?}\n  expected {plain:?}\n  found    {found:?}");
                println!("  parsed   {parsed:?}\n  found    {:?}", tokenizer.encode(&text, Special::Parse)?);
            }
        }
    }
    println!("{path}: {lines} texts, {differ} differ; {bytes} bytes in {seconds:.3} s");
    Ok(())
}
