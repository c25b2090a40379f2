//! Times encoding and decoding of a text: `speed TOKENIZER.json TEXT`.
#![allow(missing_docs)]
use std::time::Instant;

use bantam_text::{HfFiles, Special, Tokenizer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (tokenizer, text) = (arguments.next().ok_or("a tokenizer.json")?, arguments.next().ok_or("a text")?);
    let text = std::fs::read_to_string(text)?;
    let start = Instant::now();
    let tokenizer = Tokenizer::from_json(&std::fs::read(tokenizer)?, HfFiles::default())?;
    println!("load {:.3} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let ids = tokenizer.encode(&text, Special::AsText)?;
    println!("encode {} bytes to {} ids in {:.3} s", text.len(), ids.len(), start.elapsed().as_secs_f64());
    let start = Instant::now();
    let back = tokenizer.decode(&ids, false)?;
    println!(
        "decode in {:.3} s, {}",
        start.elapsed().as_secs_f64(),
        if back == text { "the same" } else { "different" }
    );
    Ok(())
}
