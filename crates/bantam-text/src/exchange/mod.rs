//! A tokenizer in another form: the `tokenizer.json` or `tokenizer.model` of a directory as GGUF's vocabulary, and back.
//!
//! Both directions are tried out before they are believed: a tokenizer built from what was made must give the same ids
//! for a list of texts as the one it was made from, or the tokenizer is refused with the text that shows the difference.

mod to_json;
mod to_vocabulary;

pub use to_json::{tokenizer_config, tokenizer_json};
pub use to_vocabulary::{Exchanged, vocabulary_of_json, vocabulary_of_sentencepiece};

use crate::error::TextError;
use crate::tokenizer::{Special, Tokenizer};

/// Texts that tell tokenizers apart: words and spaces, numbers, punctuation, contractions, scripts, code, bytes.
const PROBES: &[&str] = &[
    "Hello world",
    " leading and  double   spaces ",
    "I'm sure they'll've gone; WE'RE not, he'd said.",
    "In 1999, 12345678 people paid $3.50 (or 2,000,000?) on 2024-02-29.",
    "tabs\tand\nnew lines\n\n\nand\r\nmore \n  indented\n\t\tcode",
    "def f(x):\n    return x**2 + 1  # comment\n\nprint(f(3))\n",
    "https://example.org/a_b?c=d&e=%20f#g",
    "naïve café Straße ÀÉÎõü ÇŠŽ",
    "Привет, мир! Ελληνικά Հայերեն ქართული",
    "你好，世界。今天天气很好！ こんにちは、カタカナ。 한국어 문장",
    "مرحبا بالعالم שלום עולם नमस्ते ภาษาไทย",
    "🦜👩‍👩‍👧‍👦🇩🇪 emoji ☃️ ½ ² ™ ∑∫√",
    "CamelCaseWords snake_case_words kebab-case UPPER lower MiXeD",
    "!!!???...---===+++***///\\\\\\###@@@",
    "a",
    " ",
    "the quick brown fox jumps over the lazy dog THE QUICK",
];

/// Refuses a tokenizer whose other form gives other ids, naming the text that shows it.
fn check_same(meant: &Tokenizer, made: &Tokenizer, form: &'static str) -> Result<(), TextError> {
    for probe in PROBES {
        let (meant, made) = (meant.encode(probe, Special::AsText)?, made.encode(probe, Special::AsText)?);
        if meant != made {
            return Err(TextError::Unsupported {
                what: form,
                name: format!("this tokenizer, which would give other tokens for {probe:?}"),
            });
        }
    }
    Ok(())
}
