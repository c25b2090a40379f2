//! What a mask costs: `masks CASES.json TOKENIZERS…`; the name `synthetic` stands for a vocabulary of 152,000 tokens.
//!
//! For each vocabulary and each kind of case: microseconds for a mask laid over a row of logits (average, median, 99th
//! percentile), and for taking a token, while answers are written from logits that look random.
#![forbid(unsafe_code)]

#[path = "../tests/it/adversary.rs"]
#[allow(dead_code, reason = "shared with the tests, which use the rest")]
mod adversary;
#[path = "../tests/it/vocabularies.rs"]
mod vocabularies;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use adversary::Dice;
use bantam_constrain::Compiler;
use serde_json::Value;

/// Tokens of an answer that are measured.
const TOKENS: usize = 64;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let cases: Vec<Value> =
        serde_json::from_slice(&std::fs::read(&arguments[0]).expect("the cases")).expect("the cases are JSON");
    for path in &arguments[1..] {
        let tokenizer =
            if path == "synthetic" { vocabularies::synthetic(152_000) } else { vocabularies::open(path.as_ref()) };
        let width = tokenizer.vocabulary_len();
        let begun = Instant::now();
        let compiler = Compiler::new(&tokenizer).expect("a vocabulary to mask in");
        println!("{path}: {width} tokens, read in {:.0} ms", begun.elapsed().as_secs_f64() * 1e3);
        let mut kinds: BTreeMap<&str, [Vec<Duration>; 3]> = BTreeMap::new();
        for case in &cases {
            let kind = case.as_object().and_then(|case| case.keys().next()).map_or("", String::as_str);
            let begun = Instant::now();
            let constraint = vocabularies::compile(&compiler, case).expect("a case that compiles");
            let [compiled, masks, taken] = kinds.entry(kind).or_default();
            compiled.push(begun.elapsed());
            for seed in 0..8 {
                let (mut dice, mut session) = (Dice(seed), constraint.begin());
                let mut logits = vec![0.0_f32; width];
                for _ in 0..TOKENS {
                    logits.iter_mut().for_each(|logit| *logit = (dice.roll() >> 40) as f32);
                    let begun = Instant::now();
                    session.mask(&mut logits, false).expect("a mask");
                    masks.push(begun.elapsed());
                    let best = (0..width).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap_or(0) as u32;
                    if tokenizer.end_of_generation().contains(&best) && session.is_accepting() {
                        break;
                    }
                    let begun = Instant::now();
                    session.accept(best, false).expect("a token that the mask allows");
                    taken.push(begun.elapsed());
                    if session.is_finished() {
                        break;
                    }
                }
            }
        }
        let mut all = Vec::new();
        for (kind, [compiled, masks, taken]) in kinds {
            println!("  {kind:8} compile {}   mask {}   take {}", told(compiled), told(masks.clone()), told(taken));
            all.extend(masks);
        }
        println!("  all      mask {}", told(all));
    }
}

/// Average, median, 99th percentile and most, in microseconds.
fn told(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let average = times.iter().copied().map(micros).sum::<f64>() / times.len().max(1) as f64;
    let at = |share: usize| {
        times.get((times.len() * share / 100).min(times.len().saturating_sub(1))).copied().map_or(0.0, micros)
    };
    format!("{average:.0} us (median {:.0}, p99 {:.0}, most {:.0}; {} times)", at(50), at(99), at(100), times.len())
}
