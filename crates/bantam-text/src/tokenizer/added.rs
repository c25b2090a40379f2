//! Tokens that match their own spelling before any merging: special tokens and the ones a model's makers added.

use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::error::TextError;

/// One added token and the flags of `tokenizer.json`.
#[derive(Debug, Clone, Default)]
pub(crate) struct AddedToken {
    pub(crate) content: String,
    pub(crate) id: u32,
    /// Steers the model: matched only when special tokens are asked for.
    pub(crate) special: bool,
    /// Takes the white space on its left with it.
    pub(crate) left_strip: bool,
    /// Takes the white space on its right with it.
    pub(crate) right_strip: bool,
    /// Matches only where no word character touches it.
    pub(crate) single_word: bool,
    /// Looked for in the normalized text, not in the text as given.
    pub(crate) normalized: bool,
}

/// A set of added tokens, found leftmost first and longest of those.
#[derive(Debug, Clone, Default)]
pub(crate) struct AddedTokens {
    automaton: Option<AhoCorasick>,
    tokens: Vec<AddedToken>,
}

/// A stretch of text between added tokens, or one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Section {
    Text(Range<usize>),
    Token(u32),
}

impl AddedTokens {
    /// `tokens` with the spelling to look for beside each.
    pub(crate) fn new(tokens: Vec<(String, AddedToken)>) -> Result<AddedTokens, TextError> {
        let (spellings, tokens): (Vec<String>, Vec<AddedToken>) =
            tokens.into_iter().filter(|(spelling, _)| !spelling.is_empty()).unzip();
        if tokens.is_empty() {
            return Ok(AddedTokens::default());
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&spellings)
            .map_err(|error| TextError::Vocabulary(format!("added tokens: {error}")))?;
        Ok(AddedTokens { automaton: Some(automaton), tokens })
    }

    /// The tokens of this set.
    pub(crate) fn tokens(&self) -> &[AddedToken] {
        &self.tokens
    }

    /// Splits `text`; special tokens count only if `parse_special`.
    pub(crate) fn split(&self, text: &str, parse_special: bool) -> Vec<Section> {
        let mut sections = Vec::new();
        let mut done = 0;
        if let Some(automaton) = &self.automaton {
            for found in automaton.find_iter(text) {
                let token = &self.tokens[found.pattern().as_usize()];
                let (mut start, mut end) = (found.start(), found.end());
                let (before, behind) = (&text[..start], &text[end..]);
                if (token.special && !parse_special) || (token.single_word && touches_word(before, behind)) {
                    continue;
                }
                if token.left_strip {
                    start = before.trim_end().len().max(done);
                }
                if token.right_strip {
                    end += behind.len() - behind.trim_start().len();
                }
                if done < start {
                    sections.push(Section::Text(done..start));
                }
                sections.push(Section::Token(token.id));
                done = end.max(done);
            }
        }
        if done < text.len() {
            sections.push(Section::Text(done..text.len()));
        }
        sections
    }

    /// Behind the first character of every special token's spelling in `text`, overlapping ones and those that the end of
    /// the text cuts off included.
    pub(crate) fn special_starts(&self, text: &str) -> Vec<usize> {
        let mut starts = Vec::new();
        for token in self.tokens.iter().filter(|token| token.special) {
            let Some(first) = token.content.chars().next() else { continue };
            for (at, _) in text.match_indices(first) {
                let rest = &text[at..];
                if rest.starts_with(&token.content) || token.content.starts_with(rest) {
                    starts.push(at + first.len_utf8());
                }
            }
        }
        starts
    }
}

fn touches_word(before: &str, behind: &str) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    before.chars().next_back().is_some_and(is_word) || behind.chars().next().is_some_and(is_word)
}
