//! Cutting normalized text into the words that merging never crosses (the "pre-tokenizer").

use std::borrow::Cow;
use std::ops::Range;

use super::bytes::{byte_to_char, char_to_byte};
use super::split::{Behavior, Splitter, cut};
use crate::error::TextError;

/// GPT-2's pattern, which the byte-level step uses unless it is told not to.
pub(crate) const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// When a word-start mark is written before a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prepend {
    Always,
    /// Only at the very start of the input.
    First,
    Never,
}

/// One step; a tokenizer has a list of them.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Split {
        pattern: Splitter,
        behavior: Behavior,
        invert: bool,
    },
    /// From here on the text is bytes, written as GPT-2's printable characters.
    ByteLevel {
        prefix_space: bool,
        pattern: Option<Splitter>,
    },
    /// Spaces become a visible mark.
    Metaspace {
        mark: char,
        prepend: Prepend,
        split: bool,
    },
}

/// The words of one text.
pub(crate) struct Words<'t> {
    pub(crate) text: Cow<'t, str>,
    pub(crate) ranges: Vec<Range<usize>>,
    /// `text` is written in GPT-2's characters for bytes.
    mapped: bool,
}

impl Words<'_> {
    /// Calls `each` with the bytes of every word.
    pub(crate) fn each(&self, mut each: impl FnMut(&[u8]) -> Result<(), TextError>) -> Result<(), TextError> {
        let mut buffer = Vec::new();
        for range in &self.ranges {
            let word = &self.text[range.clone()];
            if self.mapped {
                buffer.clear();
                buffer.extend(word.chars().filter_map(char_to_byte));
                each(&buffer)?;
            } else {
                each(word.as_bytes())?;
            }
        }
        Ok(())
    }
}

/// Runs the steps over `text`; `at_start` says that it begins where the whole input begins.
pub(crate) fn words<'t>(text: &'t str, at_start: bool, steps: &[Step]) -> Result<Words<'t>, TextError> {
    let whole = 0..text.len();
    let mut words = Words { text: Cow::Borrowed(text), ranges: vec![whole], mapped: false };
    let mut matches = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Split { pattern, behavior, invert } => {
                words.ranges = split(&words, pattern, *behavior, *invert, &mut matches)?;
            }
            Step::ByteLevel { prefix_space, pattern } => {
                if *prefix_space {
                    rebuild(&mut words, |word, _, out| {
                        if !word.starts_with(' ') {
                            out.push(' ');
                        }
                        out.push_str(word);
                    });
                }
                if let Some(pattern) = pattern {
                    words.ranges = split(&words, pattern, Behavior::Isolated, false, &mut matches)?;
                }
                // Steps behind this one see the mapped characters; without any the bytes stay as they are.
                if number + 1 < steps.len() {
                    rebuild(&mut words, |word, _, out| out.extend(word.bytes().map(byte_to_char)));
                    words.mapped = true;
                }
            }
            Step::Metaspace { mark, prepend, split: cuts } => {
                rebuild(&mut words, |word, start, out| {
                    let wanted = match prepend {
                        Prepend::Always => true,
                        Prepend::First => at_start && start == 0,
                        Prepend::Never => false,
                    };
                    if wanted && !word.starts_with(' ') && !word.starts_with(*mark) {
                        out.push(*mark);
                    }
                    out.extend(word.chars().map(|c| if c == ' ' { *mark } else { c }));
                });
                if *cuts {
                    let pattern = Splitter::literal(mark.encode_utf8(&mut [0; 4]));
                    words.ranges = split(&words, &pattern, Behavior::MergedWithNext, false, &mut matches)?;
                }
            }
        }
    }
    Ok(words)
}

fn split(
    words: &Words<'_>,
    pattern: &Splitter,
    behavior: Behavior,
    invert: bool,
    matches: &mut Vec<Range<usize>>,
) -> Result<Vec<Range<usize>>, TextError> {
    let mut ranges = Vec::with_capacity(words.ranges.len());
    for range in &words.ranges {
        let word = &words.text[range.clone()];
        matches.clear();
        pattern.matches(word, |found| matches.push(found))?;
        cut(word, range.start, matches, behavior, invert, &mut ranges);
    }
    Ok(ranges)
}

/// Writes the text anew, word by word; `write` gets the word, where it stood and the new text.
fn rebuild(words: &mut Words<'_>, mut write: impl FnMut(&str, usize, &mut String)) {
    let mut text = String::with_capacity(words.text.len() + words.ranges.len());
    for range in &mut words.ranges {
        let start = text.len();
        write(&words.text[range.clone()], range.start, &mut text);
        *range = start..text.len();
    }
    words.text = Cow::Owned(text);
}
