//! A tokenizer in another form: the `tokenizer.json` or `tokenizer.model` of a directory as GGUF's vocabulary, and back.
//!
//! Both directions are tried out before they are believed: a tokenizer built from what was made must give the same ids
//! for a list of texts as the one it was made from, or the tokenizer is refused with the text that shows the difference.

mod to_json;
mod to_vocabulary;
mod unigram;

pub use crate::tokenizer::{json_of_merges_txt, json_of_vocab_txt};
pub use to_json::{tokenizer_config, tokenizer_json};
pub use to_vocabulary::{Exchanged, vocabulary_of_json, vocabulary_of_sentencepiece};

use crate::error::{TextError, shorten};
use crate::tokenizer::{HfFiles, Special, Tokenizer};
use crate::vocabulary::Vocabulary;

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
    "\tends in white space\n",
    "a",
    " ",
    "the quick brown fox jumps over the lazy dog THE QUICK",
    "soft\u{AD}hyphen zero\u{200B}width con\u{1}trol\u{7F} \u{FEFF}mark",
];

/// Most special tokens that are tried out in a text.
const SPECIALS: usize = 512;

/// Refuses a `tokenizer.json` that is not the tokenizer of GGUF's vocabulary: that has other tokens by its ids, frames a
/// text by others, or cuts one of the texts tried otherwise.
///
/// # Errors
/// Those of [`Tokenizer::from_json`] and [`Tokenizer::from_vocabulary`]; [`TextError::Unsupported`] names what differs.
pub fn check_tokenizer_json(json: &[u8], vocabulary: &Vocabulary) -> Result<(), TextError> {
    const FORM: &str = "tokenizer.json beside GGUF's vocabulary";
    let config = tokenizer_config(vocabulary).to_string().into_bytes();
    let found = Tokenizer::from_json(json, HfFiles { tokenizer_config: Some(&config), ..HfFiles::default() })?;
    let meant = Tokenizer::from_vocabulary(vocabulary.clone())?;
    // WordPiece marks what begins a word in one form and what goes on in the other.
    let words = vocabulary.model == "bert";
    for id in 0..u32::try_from(found.vocabulary_len()).unwrap_or(u32::MAX) {
        let (Some(here), there) = (found.token_text(id), meant.token_text(id)) else { continue };
        if there.is_none() || !words && there.as_ref() != Some(&here) {
            let name = format!("token {id} is {here:?} and would be {there:?}");
            return Err(TextError::Unsupported { what: FORM, name: shorten(&name, 200) });
        }
    }
    check_same(&meant, &found, FORM)
}

/// Refuses a tokenizer whose other form gives other ids or frames a text by others, naming what shows it.
fn check_same(meant: &Tokenizer, made: &Tokenizer, form: &'static str) -> Result<(), TextError> {
    let refused = |name: String| Err(TextError::Unsupported { what: form, name: format!("this tokenizer, {name}") });
    let framed = |tokenizer: &Tokenizer| (tokenizer.prefix_ids().to_vec(), tokenizer.suffix_ids().to_vec());
    let ((before, behind), (made_before, made_behind)) = (framed(meant), framed(made));
    if (&before, &behind) != (&made_before, &made_behind) {
        return refused(format!(
            "which puts {before:?} before a text and {behind:?} behind it, and would put {made_before:?} and {made_behind:?}"
        ));
    }
    for probe in PROBES {
        if meant.encode(probe, Special::AsText)? != made.encode(probe, Special::AsText)? {
            return refused(format!("which would give other tokens for {probe:?}"));
        }
    }
    let ids = 0..u32::try_from(meant.vocabulary_len()).unwrap_or(u32::MAX);
    for special in ids.filter(|id| meant.is_special(*id)).take(SPECIALS).filter_map(|id| meant.token_text(id)) {
        // No white space beside it: what a token takes along of that is noted, not refused.
        let probe = format!("{special}Hello{special}world");
        if meant.encode(&probe, Special::Parse)? != made.encode(&probe, Special::Parse)? {
            return refused(format!("which would give other tokens for {probe:?}"));
        }
    }
    Ok(())
}
