//! Token ids to text, as they come.

use crate::TokenKind;
use crate::error::TextError;
use crate::tokenizer::{FirstSpace, Joining, Tokenizer};

/// Turns ids into text one by one and never emits half a character: bytes that do not finish one wait for the next id.
///
/// What comes out, pushed together, equals [`Tokenizer::decode`] of all ids at once. Bytes that can no longer become a
/// character are replaced by U+FFFD: one for each maximal invalid sequence in byte-level vocabularies, one for each
/// byte in SentencePiece ones, as the reference implementations of each do.
#[derive(Debug, Clone)]
pub struct Detokenizer<'t> {
    tokenizer: &'t Tokenizer,
    skip_special: bool,
    /// The next text token stands at the start of a text, where its leading space is not part of it.
    at_start: bool,
    pending: Vec<u8>,
    emitted: String,
}

impl<'t> Detokenizer<'t> {
    /// For ids that begin a text.
    pub fn new(tokenizer: &'t Tokenizer) -> Detokenizer<'t> {
        Detokenizer { tokenizer, skip_special: false, at_start: true, pending: Vec::new(), emitted: String::new() }
    }

    /// For ids that go on behind `prompt`: a leading space is part of the text unless the prompt ends in a special
    /// token or is empty.
    pub fn after(tokenizer: &'t Tokenizer, prompt: &[u32]) -> Detokenizer<'t> {
        let at_start = prompt.last().is_none_or(|&id| tokenizer.is_special(id));
        Detokenizer { at_start, ..Detokenizer::new(tokenizer) }
    }

    /// Whether special tokens are left out of the text (by default they are spelled).
    #[must_use]
    pub fn skip_special(mut self, skip: bool) -> Detokenizer<'t> {
        self.skip_special = skip;
        self
    }

    /// Whether the next token's leading space would be left out, because it stands at the start of a text.
    pub fn drops_leading_space(&self) -> bool {
        let drops = [FirstSpace::Dropped, FirstSpace::TokenWithout].map(Joining::Pieces);
        self.at_start && drops.contains(&self.tokenizer.joining())
    }

    /// Adds one id; gives what can be emitted now, perhaps nothing.
    ///
    /// # Errors
    /// [`TextError::TokenId`] for an id outside the vocabulary.
    pub fn push(&mut self, id: u32) -> Result<&str, TextError> {
        let Some(bytes) = self.tokenizer.token_bytes(id) else {
            return Err(TextError::TokenId { id, len: self.tokenizer.vocabulary_len() });
        };
        self.emitted.clear();
        let special = self.tokenizer.is_special(id);
        if special && self.skip_special {
            return Ok(&self.emitted);
        }
        let joining = self.tokenizer.joining();
        match joining {
            Joining::Words if self.at_start => {
                let spelling = self.tokenizer.token_spelling(id).unwrap_or(bytes);
                self.pending.extend_from_slice(spelling);
            }
            Joining::Pieces(FirstSpace::Dropped) if self.at_start && !special => {
                self.pending.extend_from_slice(bytes.strip_prefix(b" ").unwrap_or(bytes));
            }
            Joining::Pieces(FirstSpace::AllDropped) if self.at_start && !special => {
                let text = bytes.strip_prefix(b" ").unwrap_or(bytes);
                self.pending.extend_from_slice(text);
                if text.is_empty() {
                    return Ok(&self.emitted);
                }
            }
            Joining::Pieces(FirstSpace::TokenWithout) if self.at_start && !special => {
                self.pending.extend(bytes.iter().filter(|byte| **byte != b' '));
            }
            Joining::Bytes | Joining::Pieces(_) | Joining::Words | Joining::Suffixed => {
                self.pending.extend_from_slice(bytes);
            }
        }
        let unknown = self.tokenizer.token_kind(id) == Some(TokenKind::Unknown);
        self.at_start = self.at_start && special && !unknown && joining != Joining::Words;
        self.drain(false);
        Ok(&self.emitted)
    }

    /// Ends the text: what still waited can no longer be finished and becomes U+FFFD.
    pub fn finish(&mut self) -> &str {
        self.emitted.clear();
        self.drain(true);
        &self.emitted
    }

    fn drain(&mut self, end: bool) {
        let each_byte = self.tokenizer.joining() != Joining::Bytes;
        // The space behind a word is only written before another.
        let mut held = 0;
        if self.tokenizer.joining() == Joining::Suffixed && self.pending.ends_with(b" ") {
            held = 1;
            if end {
                self.pending.pop();
                held = 0;
            }
        }
        let mut rest = &self.pending[..self.pending.len() - held];
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.emitted.push_str(text);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, invalid) = rest.split_at(error.valid_up_to());
                    // Valid by the error's own word, so nothing is lost here.
                    self.emitted.push_str(std::str::from_utf8(valid).unwrap_or_default());
                    rest = invalid;
                    let len = match error.error_len() {
                        Some(len) => len,
                        None if end => invalid.len(),
                        None => break,
                    };
                    let marks = if each_byte { len } else { 1 };
                    self.emitted.extend(std::iter::repeat_n(char::REPLACEMENT_CHARACTER, marks));
                    rest = rest.get(len..).unwrap_or_default();
                }
            }
        }
        let kept = rest.len() + held;
        let start = self.pending.len() - kept;
        self.pending.drain(..start);
    }
}
