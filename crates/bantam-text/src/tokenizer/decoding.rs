//! How tokens become text again: the decoder of `tokenizer.json`, as what it makes of each token and how those join.

use serde_json::Value;

use super::bytes::{byte_token, unmap};
use super::json::unsupported;
use super::pipeline::{flag, kind, list, mark, pattern, prepend, text};
use super::split::Splitter;
use super::wordpiece::CONTINUING;
use super::words::Prepend;
use super::{FirstSpace, Joining};
use crate::error::TextError;

/// A decoder: what each token becomes, whatever stands beside it, and how the tokens join.
#[derive(Debug)]
pub(super) struct Decoding {
    pub(super) joining: Joining,
    parts: Parts,
}

#[derive(Debug)]
enum Parts {
    /// GPT-2's characters for bytes.
    Mapped,
    /// Replacements, one after the other, and byte tokens if `bytes`.
    Replaced { replacements: Vec<(Splitter, String)>, bytes: bool },
    /// Words and, where the mark of the inside of words is known, their parts.
    Words { continuing: Option<String>, cleanup: bool },
    /// A mark at the end of words.
    Suffixed(String),
}

/// What BERT's decoder closes up, in this order.
const CLEANUPS: &[(&str, &str)] = &[
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" do not", " don't"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
];

impl Decoding {
    /// BERT's decoder.
    pub(super) fn wordpiece() -> Decoding {
        let parts = Parts::Words { continuing: Some(CONTINUING.to_owned()), cleanup: true };
        Decoding { joining: Joining::Words, parts }
    }

    /// Reads the decoder; `byte_level` says that words come to the model as bytes.
    pub(super) fn new(decoder: Option<&Value>, byte_level: bool) -> Result<Decoding, TextError> {
        let mapped = Decoding { joining: Joining::Bytes, parts: Parts::Mapped };
        let Some(decoder) = decoder else {
            // Without a decoder the library writes tokens side by side, a space between them.
            let parts = Parts::Words { continuing: None, cleanup: false };
            return Ok(if byte_level { mapped } else { Decoding { joining: Joining::Words, parts } });
        };
        let mut steps = Vec::new();
        flatten(decoder, &mut steps)?;
        if let [step] = steps.as_slice() {
            match kind(step)? {
                "WordPiece" => {
                    let continuing = Some(text(step, "prefix").unwrap_or(CONTINUING).to_owned());
                    let parts = Parts::Words { continuing, cleanup: flag(step, "cleanup", true) };
                    return Ok(Decoding { joining: Joining::Words, parts });
                }
                "BPEDecoder" => {
                    let suffix = text(step, "suffix").unwrap_or("</w>").to_owned();
                    return Ok(Decoding { joining: Joining::Suffixed, parts: Parts::Suffixed(suffix) });
                }
                _ => {}
            }
        }
        let (mut replacements, mut bytes, mut fused) = (Vec::new(), false, false);
        let mut first = FirstSpace::Kept;
        for step in steps {
            match kind(step)? {
                "ByteLevel" => return Ok(mapped),
                "Replace" => {
                    replacements.push((pattern(step)?, text(step, "content").unwrap_or("").to_owned()));
                }
                "ByteFallback" => bytes = true,
                "Fuse" => fused = true,
                "Metaspace" => {
                    let mark = mark(step)?;
                    replacements.push((Splitter::literal(mark.encode_utf8(&mut [0; 4])), " ".to_owned()));
                    if prepend(step)? != Prepend::Never {
                        first = FirstSpace::TokenWithout;
                    }
                }
                "Strip" => {
                    let count = |key: &str| step.get(key).and_then(Value::as_u64).unwrap_or(0);
                    match (text(step, "content"), count("start"), count("stop")) {
                        (_, 0, 0) => {}
                        (Some(" "), 1, 0) if fused => first = FirstSpace::Dropped,
                        _ => return unsupported("decoder step", "Strip of other than one first space of the whole"),
                    }
                }
                other if fused || bytes || !replacements.is_empty() => return unsupported("decoder step", other),
                other => return unsupported("decoder", other),
            }
        }
        Ok(Decoding { joining: Joining::Pieces(first), parts: Parts::Replaced { replacements, bytes } })
    }

    /// The byte that a token stands for, where it is a byte token.
    pub(super) fn byte(&self, spelling: &str) -> Option<u8> {
        match self.parts {
            Parts::Replaced { bytes: true, .. } => byte_token(spelling.as_bytes()),
            Parts::Mapped | Parts::Replaced { .. } | Parts::Words { .. } | Parts::Suffixed(_) => None,
        }
    }

    /// The text of a token behind another.
    pub(super) fn text(&self, spelling: &str) -> Result<Vec<u8>, TextError> {
        Ok(match &self.parts {
            Parts::Mapped => unmap(spelling.as_bytes()),
            Parts::Replaced { replacements, .. } => {
                if let Some(byte) = self.byte(spelling) {
                    return Ok(vec![byte]);
                }
                let mut text = spelling.to_owned();
                for (pattern, with) in replacements {
                    text = pattern.replace(&text, with)?;
                }
                text.into_bytes()
            }
            Parts::Words { continuing, cleanup } => {
                let part = continuing.as_deref().and_then(|mark| spelling.strip_prefix(mark));
                let mut text = part.map_or_else(|| format!(" {spelling}"), str::to_owned);
                if *cleanup {
                    for (from, to) in CLEANUPS {
                        if text.contains(from) {
                            text = text.replace(from, to);
                        }
                    }
                }
                text.into_bytes()
            }
            Parts::Suffixed(suffix) if suffix.is_empty() => spelling.as_bytes().to_vec(),
            Parts::Suffixed(suffix) => spelling.replace(suffix.as_str(), " ").into_bytes(),
        })
    }

    /// The text of an added token; `normalized` is its content as it is looked for.
    pub(super) fn added(&self, normalized: &str) -> Result<Vec<u8>, TextError> {
        match self.parts {
            Parts::Mapped => Ok(normalized.as_bytes().to_vec()),
            Parts::Replaced { .. } | Parts::Words { .. } | Parts::Suffixed(_) => self.text(normalized),
        }
    }
}

fn flatten<'v>(decoder: &'v Value, steps: &mut Vec<&'v Value>) -> Result<(), TextError> {
    if kind(decoder)? != "Sequence" {
        steps.push(decoder);
        return Ok(());
    }
    for step in list(decoder, "decoders")? {
        flatten(step, steps)?;
    }
    Ok(())
}
