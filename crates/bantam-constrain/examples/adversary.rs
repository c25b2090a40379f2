//! Answers under constraints from logits that want them to go wrong, as lines of JSON for an independent judge.
//!
//! `adversary CASES.json TOKENIZERS… --count N`: every case of the file, under every tokenizer (GGUF vocabulary or directory
//! with a `tokenizer.json`), in every mood, until there are N answers. `tools/constraints/judge.py` reads the lines.
#![forbid(unsafe_code)]

#[path = "../tests/it/adversary.rs"]
#[allow(dead_code, reason = "shared with the tests, which use the rest")]
mod adversary;
#[path = "../tests/it/vocabularies.rs"]
mod vocabularies;

use std::io::Write as _;

use adversary::{End, MOODS, Traits, answer};
use bantam_constrain::Compiler;
use serde_json::{Value, json};

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let count: usize = match arguments.iter().position(|argument| argument == "--count") {
        Some(at) => {
            let count = arguments.get(at + 1).and_then(|count| count.parse().ok()).expect("--count N");
            arguments.drain(at..at + 2);
            count
        }
        None => 10_000,
    };
    let cases: Vec<Value> =
        serde_json::from_slice(&std::fs::read(&arguments[0]).expect("the cases")).expect("the cases are JSON");
    let tokenizers: Vec<_> = arguments[1..].iter().map(|path| (path, vocabularies::open(path.as_ref()))).collect();
    let each = count.div_ceil(cases.len() * tokenizers.len() * MOODS.len());
    let mut out = std::io::stdout().lock();
    for (path, tokenizer) in &tokenizers {
        let compiler = Compiler::new(tokenizer).expect("a vocabulary to mask in");
        let traits = Traits::new(tokenizer, tokenizer.vocabulary_len() + 5);
        for (number, case) in cases.iter().enumerate() {
            let constraint = match vocabularies::compile(&compiler, case) {
                Ok(constraint) => constraint,
                Err(error) => {
                    eprintln!("{case}: {error}");
                    continue;
                }
            };
            for mood in MOODS {
                for seed in 0..each {
                    let behind: &[u32] = if seed % 2 == 0 { &[] } else { &[5] };
                    let answer = answer((&constraint, tokenizer, &traits), mood, seed as u64, (60, behind));
                    let (end, cut) = match &answer.end {
                        End::Whole => ("whole", None),
                        End::Helped(at) => ("helped", Some(*at)),
                        End::Cut => ("cut", None),
                        End::Stuck(reason) => {
                            eprintln!("{path}: {case}: {mood:?} {seed}: {reason}");
                            ("stuck", None)
                        }
                    };
                    let line = json!({ "vocabulary": path, "case": number, "mood": format!("{mood:?}"), "seed": seed,
                        "end": end, "cut": cut, "tokens": answer.tokens.len(), "text": answer.text });
                    writeln!(out, "{line}").expect("stdout");
                }
            }
        }
    }
}
