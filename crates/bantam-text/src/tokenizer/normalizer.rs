//! What happens to text before it is cut into words.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::split::Splitter;
use crate::error::TextError;

/// One step; a tokenizer has a list of them.
#[derive(Debug, Clone)]
pub(crate) enum Normalizer {
    /// Canonical composition.
    Nfc,
    /// Canonical decomposition.
    Nfd,
    /// Compatibility composition.
    Nfkc,
    /// Compatibility decomposition.
    Nfkd,
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
    /// BERT's cleaning: control characters out, white space to spaces, optionally spaces round Chinese characters.
    Bert {
        clean: bool,
        chinese: bool,
        strip_accents: bool,
        lowercase: bool,
    },
}

impl Normalizer {
    pub(crate) fn apply(&self, text: String) -> Result<String, TextError> {
        Ok(match self {
            Normalizer::Nfc if text.is_ascii() => text,
            Normalizer::Nfc => text.nfc().collect(),
            Normalizer::Nfd => text.nfd().collect(),
            Normalizer::Nfkc => text.nfkc().collect(),
            Normalizer::Nfkd => text.nfkd().collect(),
            Normalizer::Lowercase => text.to_lowercase(),
            Normalizer::StripAccents => text.chars().filter(|&c| !is_combining_mark(c)).collect(),
            Normalizer::Strip { left, right } => {
                let text = if *left { text.trim_start() } else { &text };
                let text = if *right { text.trim_end() } else { text };
                text.to_owned()
            }
            Normalizer::Prepend(_) | Normalizer::PrependFirst(_) if text.is_empty() => text,
            Normalizer::PrependFirst(_) if text.starts_with([' ', '\u{2581}']) => text,
            Normalizer::Prepend(prefix) | Normalizer::PrependFirst(prefix) => format!("{prefix}{text}"),
            Normalizer::Replace { pattern, with } => pattern.replace(&text, with)?,
            Normalizer::Bert { clean, chinese, strip_accents, lowercase } => {
                let mut text = text;
                if *clean {
                    text = text
                        .chars()
                        .filter(|&c| !(c == '\0' || c == '\u{fffd}' || (is_control(c))))
                        .map(|c| if c.is_whitespace() { ' ' } else { c })
                        .collect();
                }
                if *chinese {
                    let mut spaced = String::with_capacity(text.len());
                    for c in text.chars() {
                        if is_chinese(c) {
                            spaced.extend([' ', c, ' ']);
                        } else {
                            spaced.push(c);
                        }
                    }
                    text = spaced;
                }
                if *strip_accents {
                    // The reference drops non-spacing marks only.
                    text = Splitter::regex(r"\p{Mn}")?.replace(&text.nfd().collect::<String>(), "")?;
                }
                if *lowercase { text.to_lowercase() } else { text }
            }
        })
    }
}

fn is_control(c: char) -> bool {
    !matches!(c, '\t' | '\n' | '\r')
        && (c.is_control()
            || matches!(c, '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}'
        | '\u{6dd}' | '\u{70f}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e000}'..='\u{f8ff}'
        | '\u{e0001}'..='\u{e007f}' | '\u{f0000}'..='\u{10ffff}'))
}

fn is_chinese(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}' | '\u{20000}'..='\u{2a6df}'
        | '\u{2a700}'..='\u{2b73f}' | '\u{2b740}'..='\u{2b81f}' | '\u{2b920}'..='\u{2ceaf}'
        | '\u{f900}'..='\u{faff}' | '\u{2f800}'..='\u{2fa1f}')
}
