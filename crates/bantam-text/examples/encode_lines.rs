//! Compares a file of `tools/goldens/tokenizer_strings.py` with this crate's ids: `encode_lines TOKENIZER.json < LINES`.
#![allow(missing_docs)]

use std::io::BufRead;
use std::time::Instant;

use bantam_text::{HfFiles, Special, Tokenizer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: encode_lines TOKENIZER.json < LINES")?;
    let tokenizer = Tokenizer::from_json(&std::fs::read(path)?, HfFiles::default())?;
    let (mut lines, mut differ, mut seconds, mut bytes) = (0usize, 0usize, 0.0, 0usize);
    for line in std::io::stdin().lock().lines() {
        let (text, plain, parsed, framed): (String, Vec<u32>, Vec<u32>, Vec<u32>) = serde_json::from_str(&line?)?;
        let start = Instant::now();
        let found = tokenizer.encode(&text, Special::AsText)?;
        seconds += start.elapsed().as_secs_f64();
        bytes += text.len();
        let found =
            (found, tokenizer.encode(&text, Special::Parse)?, tokenizer.encode_with_ends(&text, Special::Parse)?);
        lines += 1;
        if found != (plain.clone(), parsed, framed) {
            differ += 1;
            if differ <= 10 {
                println!("{text:?}\n  expected {plain:?}\n  found    {:?}", found.0);
            }
        }
    }
    println!("{lines} texts, {differ} differ; {bytes} bytes in {seconds:.3} s");
    Ok(())
}
