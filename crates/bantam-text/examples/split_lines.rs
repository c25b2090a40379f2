//! Compares lines of `tools/goldens/pre_tokenizers.py` with this crate's words: `split_lines < LINES`.
#![allow(missing_docs, reason = "a chore, not a library")]

use std::collections::BTreeMap;
use std::io::BufRead;

use bantam_text::PreTokenizer;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut counts: BTreeMap<String, (PreTokenizer, usize, usize)> = BTreeMap::new();
    for line in std::io::stdin().lock().lines() {
        let (name, text, expected): (String, String, Vec<String>) = serde_json::from_str(&line?)?;
        if !counts.contains_key(&name) {
            counts.insert(name.clone(), (PreTokenizer::named(&name)?, 0, 0));
        }
        let Some((pre_tokenizer, lines, differ)) = counts.get_mut(&name) else { continue };
        *lines += 1;
        let found: Vec<String> = pre_tokenizer.words(&text)?.iter().map(|word| mapped(word)).collect();
        if found != expected {
            *differ += 1;
            if *differ <= 3 {
                println!("{name}: {text:?}\n  expected {expected:?}\n  found    {found:?}");
            }
        }
    }
    for (name, (_, lines, differ)) in counts {
        println!("{name}: {lines} texts, {differ} differ");
    }
    Ok(())
}

/// GPT-2's characters for bytes.
fn mapped(word: &[u8]) -> String {
    let printable = |byte: u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let others: Vec<u8> = (0..=255).filter(|byte| !printable(*byte)).collect();
    let character = |byte: &u8| match others.binary_search(byte) {
        Ok(at) => char::from_u32(0x100 + at as u32).unwrap_or('?'),
        Err(_) => char::from(*byte),
    };
    word.iter().map(character).collect()
}
