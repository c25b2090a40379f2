//! What happens to text before it is cut into words.

use std::sync::LazyLock;

use regex_automata::meta::Regex;
use unicode_normalization::UnicodeNormalization;

use super::bytes::byte_to_char;
use super::charsmap::Charsmap;
use super::classes::{CHINESE, CLEANED, COMBINING_MARKS, NONSPACING_MARKS, is_in};
use super::pieces::PieceNormalizer;
use super::split::Splitter;
use crate::error::TextError;

/// A Unicode normal form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Canonical composition.
    Nfc,
    /// Canonical decomposition.
    Nfd,
    /// Compatibility composition.
    Nfkc,
    /// Compatibility decomposition.
    Nfkd,
}

/// One step; a tokenizer has a list of them.
#[derive(Debug, Clone)]
pub(crate) enum Normalizer {
    Form(Form),
    Lowercase,
    /// Drops combining marks.
    StripAccents,
    /// Drops white space at the ends.
    Strip {
        left: bool,
        right: bool,
    },
    /// Writes a string before text that is not empty.
    Prepend(String),
    /// The same, but only where the text begins, and not before a space.
    PrependFirst(String),
    Replace {
        pattern: Splitter,
        with: String,
    },
    /// The replacements of a SentencePiece model as the `tokenizers` library applies them.
    Precompiled(Charsmap),
    /// SentencePiece's own normalizing.
    Pieces(Box<PieceNormalizer>),
    /// SentencePiece's rules for machine translation: control characters out, white space of many kinds to spaces.
    Nmt,
    /// The text's bytes, written as GPT-2's printable characters.
    ByteLevel,
    /// BERT's cleaning: control characters out, white space to spaces, optionally spaces round Chinese characters.
    Bert {
        clean: bool,
        chinese: bool,
        strip_accents: bool,
        lowercase: bool,
    },
}

impl Normalizer {
    /// Normalizes `text`; `at_start` says that the whole text begins there.
    pub(crate) fn apply(&self, text: String, at_start: bool) -> Result<String, TextError> {
        Ok(match self {
            Normalizer::Form(form) => form.of(text),
            Normalizer::Lowercase => lowercase(&text),
            Normalizer::StripAccents => text.chars().filter(|&c| !is_in(COMBINING_MARKS, c)).collect(),
            Normalizer::Strip { left, right } => {
                let text = if *left { text.trim_start() } else { &text };
                let text = if *right { text.trim_end() } else { text };
                text.to_owned()
            }
            Normalizer::Prepend(_) | Normalizer::PrependFirst(_) if text.is_empty() => text,
            Normalizer::PrependFirst(_) if !at_start || text.starts_with([' ', '\u{2581}']) => text,
            Normalizer::Prepend(prefix) | Normalizer::PrependFirst(prefix) => format!("{prefix}{text}"),
            Normalizer::Replace { pattern, with } => pattern.replace(&text, with)?,
            Normalizer::Precompiled(charsmap) => charsmap.by_graphemes(&text),
            Normalizer::Pieces(pieces) => pieces.apply(&text, at_start),
            Normalizer::Nmt => text.chars().filter(|&c| !is_nmt_control(c)).map(nmt_space).collect(),
            Normalizer::ByteLevel => text.bytes().map(byte_to_char).collect(),
            Normalizer::Bert { clean, chinese, strip_accents, lowercase: lower } => {
                let mut text = text;
                if *clean {
                    let kept = text.chars().filter(|&c| !is_in(CLEANED, c));
                    text = kept.map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
                }
                if *chinese && !text.is_ascii() {
                    let mut spaced = String::with_capacity(text.len());
                    for c in text.chars() {
                        if is_in(CHINESE, c) {
                            spaced.extend([' ', c, ' ']);
                        } else {
                            spaced.push(c);
                        }
                    }
                    text = spaced;
                }
                if *strip_accents && !text.is_ascii() {
                    text = Form::Nfd.of(text).chars().filter(|&c| !is_in(NONSPACING_MARKS, c)).collect();
                }
                if *lower { lowercase(&text) } else { text }
            }
        })
    }
}

/// Character by character: a sigma that ends a word is not looked at in another way than others.
fn lowercase(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// What Unicode 9 does not know. The normal forms of the `tokenizers` library are those of that version, to which these
/// are characters that stand for themselves and compose with nothing.
static UNKNOWN_TO_FORMS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[^\p{Age=9.0}]+").ok());

impl Form {
    fn of(self, text: String) -> String {
        if text.is_ascii() {
            return text;
        }
        let mut out = String::with_capacity(text.len());
        let normalize = |part: &str, out: &mut String| match self {
            Form::Nfc => out.extend(part.nfc()),
            Form::Nfd => out.extend(part.nfd()),
            Form::Nfkc => out.extend(part.nfkc()),
            Form::Nfkd => out.extend(part.nfkd()),
        };
        let mut done = 0;
        for found in UNKNOWN_TO_FORMS.iter().flat_map(|regex| regex.find_iter(&text)) {
            normalize(&text[done..found.start()], &mut out);
            out.push_str(&text[found.range()]);
            done = found.end();
        }
        normalize(&text[done..], &mut out);
        out
    }
}

fn is_nmt_control(c: char) -> bool {
    matches!(c, '\u{1}'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{8f}' | '\u{9f}')
}

fn nmt_space(c: char) -> char {
    match c {
        '\t'
        | '\n'
        | '\u{c}'
        | '\r'
        | '\u{1680}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'
        | '\u{2029}'
        | '\u{2581}'
        | '\u{feff}'
        | '\u{fffd}' => ' ',
        c => c,
    }
}
