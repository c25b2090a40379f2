//! Learns a vocabulary from the lines of a text and compares it with what `tools/goldens/bpe_training.py learn` wrote:
//! `learn_bpe TEXT.txt SIZE EXPECTED.json`.
#![allow(missing_docs, reason = "a chore, not a library")]

use bantam_text::training::{BpeOptions, BpeTrainer};
use serde_json::Value;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [text, size, expected] = &std::env::args().skip(1).collect::<Vec<_>>()[..] else {
        return Err("usage: learn_bpe TEXT.txt SIZE EXPECTED.json".into());
    };
    let start = std::time::Instant::now();
    let mut trainer = BpeTrainer::new("gpt-2")?;
    for line in std::fs::read_to_string(text)?.lines() {
        trainer.feed(line)?;
    }
    let options = BpeOptions { size: size.parse()?, ..BpeOptions::default() };
    let learnt = trainer.finish(&options, |_| {})?;
    println!("{} tokens in {:.2} s", learnt.tokens.len(), start.elapsed().as_secs_f64());
    let expected: Value = serde_json::from_slice(&std::fs::read(expected)?)?;
    let merges: Vec<&str> = expected["merges"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let same =
        learnt.merges.iter().zip(merges.iter().copied()).take_while(|(found, expected)| found == expected).count();
    println!("{} merges, {} expected, the first {same} are the same", learnt.merges.len(), merges.len());
    Ok(())
}
