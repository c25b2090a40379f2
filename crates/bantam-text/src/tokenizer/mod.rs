//! Text to token ids and back.

mod added;
pub(crate) mod base64;
mod bpe;
mod bytes;
mod charsmap;
mod classes;
mod companions;
mod decoding;
mod ends;
mod gguf;
mod gguf_words;
mod json;
mod json_model;
mod merges_txt;
mod normalizer;
mod patterns;
mod pieces;
mod pipeline;
mod protobuf;
mod sentencepiece;
mod spellings;
mod split;
mod trie;
mod unigram;
mod vocab_txt;
mod wordpiece;
mod words;

use std::borrow::Cow;
use std::collections::BTreeMap;

pub(crate) use bytes::byte_to_char;
pub use companions::HfFiles;
pub use merges_txt::json_of_merges_txt;
pub(crate) use patterns::{Conventions, PUNCTUATION, conventions, recognise};
pub use patterns::{PreTokenizer, pre_tokenizer_names};
pub(crate) use protobuf::vocabulary as sentencepiece_vocabulary;
pub use vocab_txt::json_of_vocab_txt;
pub(crate) use words::GPT2 as BYTE_LEVEL_PATTERN;

use self::added::{AddedTokens, Section};
use self::bpe::Bpe;
use self::normalizer::Normalizer;
use self::sentencepiece::ScoreBpe;
use self::spellings::Spellings;
use self::unigram::Unigram;
use self::wordpiece::WordPiece;
use self::words::Step;
use crate::error::TextError;
use crate::vocabulary::TokenKind;

/// What text that spells a special token becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// It stays text: `<|im_end|>` typed by a user is eleven characters.
    AsText,
    /// It becomes the token, as in a rendered chat template.
    Parse,
}

/// A hash table keyed by what a model file says; seeded by chance, so no file can make it slow.
pub(crate) type Map<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

#[derive(Debug, Clone)]
enum Merger {
    Ranks(Bpe),
    Scores(ScoreBpe),
    Words(WordPiece),
    Lattice(Unigram),
}

/// How token spellings become bytes of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joining {
    /// Spellings are bytes already.
    Bytes,
    /// U+2581 is a space, byte tokens are bytes.
    Pieces(FirstSpace),
    /// Tokens stand apart, but for the parts of a word; the first of a text is its spelling.
    Words,
    /// A space behind every word but the last of a text.
    Suffixed,
}

/// What becomes of the space that a text was begun with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstSpace {
    Kept,
    /// One is dropped.
    Dropped,
    /// Every one is dropped until there is text.
    AllDropped,
    /// The first token is written without any.
    TokenWithout,
}

/// One token of the vocabulary.
#[derive(Debug, Clone)]
struct Token {
    /// As the file spells it.
    spelling: Box<[u8]>,
    /// As it is written in text; `None` where that is the spelling itself.
    text: Option<Box<[u8]>>,
    kind: TokenKind,
}

impl Token {
    /// A token of this spelling that is written as `text`.
    fn new(spelling: &str, text: Vec<u8>, kind: TokenKind) -> Token {
        let text = (text != spelling.as_bytes()).then(|| text.into_boxed_slice());
        Token { spelling: spelling.as_bytes().into(), text, kind }
    }
}

/// Ids by spelling, the first of equal ones.
fn by_spelling(tokens: &[Option<Token>]) -> Spellings {
    let mut all = Spellings::with_capacity(tokens.len());
    for (token, id) in tokens.iter().zip(0u32..) {
        if let Some(token) = token {
            all.insert_first(&token.spelling, id);
        }
    }
    all
}

/// Where the token ids that frame a text come from.
#[derive(Debug, Clone, Default)]
struct Ends {
    bos: Option<u32>,
    eos: Option<u32>,
    unknown: Option<u32>,
    padding: Option<u32>,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    end_of_generation: Vec<u32>,
}

/// A tokenizer; built from GGUF metadata, `tokenizer.json` or `tokenizer.model`, immutable and shareable.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    tokens: Vec<Option<Token>>,
    by_spelling: Spellings,
    added: AddedTokens,
    normalized_added: AddedTokens,
    normalizers: Vec<Normalizer>,
    steps: Vec<Step>,
    merger: Merger,
    joining: Joining,
    ends: Ends,
    notes: Vec<String>,
}

/// One token of an encoded text, for display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The id.
    pub id: u32,
    /// As the vocabulary spells it (`Ġthe`, `▁the`, `<0x0A>`), invalid UTF-8 replaced.
    pub spelling: String,
    /// The bytes of text it stands for.
    pub bytes: Vec<u8>,
    /// Whether it is a special token.
    pub special: bool,
}

impl Tokenizer {
    /// The ids of `text`, without the ids that frame it. Special tokens spelled in it are handled as `special` says.
    ///
    /// # Errors
    /// [`TextError::Pattern`] where a pre-tokenizer with look-around needs more steps than any honest one.
    pub fn encode(&self, text: &str, special: Special) -> Result<Vec<u32>, TextError> {
        let mut out = Vec::with_capacity(text.len() / 3 + 4);
        let parse = special == Special::Parse;
        let mut scratch = Vec::new();
        for section in self.added.split(text, parse) {
            match section {
                Section::Token(id) => out.push(id),
                Section::Text(range) => {
                    let at_start = range.start == 0;
                    self.encode_section(&text[range], at_start, parse, &mut scratch, &mut out)?;
                }
            }
        }
        Ok(out)
    }

    fn encode_section(
        &self,
        text: &str,
        at_start: bool,
        parse: bool,
        scratch: &mut Vec<u32>,
        out: &mut Vec<u32>,
    ) -> Result<(), TextError> {
        let mut normalized = Cow::Borrowed(text);
        for normalizer in &self.normalizers {
            normalized = Cow::Owned(normalizer.apply(normalized.into_owned(), at_start)?);
        }
        for section in self.normalized_added.split(&normalized, parse) {
            let range = match section {
                Section::Token(id) => {
                    out.push(id);
                    continue;
                }
                Section::Text(range) => range,
            };
            let at_start = at_start && range.start == 0;
            let text = &normalized[range];
            if let Merger::Scores(merger) = &self.merger {
                merger.encode(text, out);
                continue;
            }
            words::words(text, at_start, &self.steps)?.each(|word| {
                match &self.merger {
                    Merger::Ranks(merger) => merger.encode(word, scratch, out),
                    Merger::Words(merger) => merger.encode(word, out),
                    Merger::Lattice(merger) => merger.encode(word, out)?,
                    Merger::Scores(_) => {}
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The ids of `text` framed as the model's metadata asks: BOS before it, EOS behind it, or neither.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_with_ends(&self, text: &str, special: Special) -> Result<Vec<u32>, TextError> {
        let mut ids = self.ends.prefix.clone();
        ids.extend(self.encode(text, special)?);
        ids.extend(&self.ends.suffix);
        Ok(ids)
    }

    /// Whether a plain text is to be preceded by BOS.
    pub fn add_bos(&self) -> bool {
        self.ends.bos.is_some_and(|bos| self.ends.prefix.contains(&bos))
    }

    /// Whether a plain text is to be followed by EOS.
    pub fn add_eos(&self) -> bool {
        self.ends.eos.is_some_and(|eos| self.ends.suffix.contains(&eos))
    }

    /// The ids put before a plain text (BOS or `[CLS]`, or nothing).
    pub fn prefix_ids(&self) -> &[u32] {
        &self.ends.prefix
    }

    /// The ids put behind a plain text (EOS or `[SEP]`, or nothing).
    pub fn suffix_ids(&self) -> &[u32] {
        &self.ends.suffix
    }

    /// Beginning of text.
    pub fn bos(&self) -> Option<u32> {
        self.ends.bos
    }

    /// End of text.
    pub fn eos(&self) -> Option<u32> {
        self.ends.eos
    }

    /// The token for what cannot be spelled.
    pub fn unknown(&self) -> Option<u32> {
        self.ends.unknown
    }

    /// The token that fills batches.
    pub fn padding(&self) -> Option<u32> {
        self.ends.padding
    }

    /// Every id that ends an answer: EOS, end of turn and their like, ascending.
    pub fn end_of_generation(&self) -> &[u32] {
        &self.ends.end_of_generation
    }

    /// What whoever made the files left open and how it was read, each in one sentence.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// One more than the largest id.
    pub fn vocabulary_len(&self) -> usize {
        self.tokens.len()
    }

    /// The token's spelling in the file (`Ġthe`, `▁the`, `<0x0A>`), invalid UTF-8 replaced.
    pub fn token_text(&self, id: u32) -> Option<Cow<'_, str>> {
        self.token(id).map(|token| String::from_utf8_lossy(&token.spelling))
    }

    /// The bytes of text the token stands for.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.token(id).map(|token| token.text.as_deref().unwrap_or(&token.spelling))
    }

    /// What the token is.
    pub fn token_kind(&self, id: u32) -> Option<TokenKind> {
        self.token(id).map(|token| token.kind)
    }

    /// Whether the token steers the model and is no text (control and unknown tokens).
    pub fn is_special(&self, id: u32) -> bool {
        self.token(id).is_some_and(|token| matches!(token.kind, TokenKind::Control | TokenKind::Unknown))
    }

    /// The id whose spelling in the file is `text`.
    pub fn token_id(&self, text: &str) -> Option<u32> {
        self.by_spelling.get(text.as_bytes())
    }

    /// What each id is, for display.
    ///
    /// # Errors
    /// [`TextError::TokenId`] for an id outside the vocabulary.
    pub fn pieces(&self, ids: &[u32]) -> Result<Vec<Piece>, TextError> {
        ids.iter()
            .map(|&id| {
                let token = self.token(id).ok_or(TextError::TokenId { id, len: self.tokens.len() })?;
                Ok(Piece {
                    id,
                    spelling: String::from_utf8_lossy(&token.spelling).into_owned(),
                    bytes: token.text.as_deref().unwrap_or(&token.spelling).to_vec(),
                    special: self.is_special(id),
                })
            })
            .collect()
    }

    /// The text of `ids`; special tokens are left out if `skip_special`. Invalid UTF-8 becomes U+FFFD.
    ///
    /// # Errors
    /// [`TextError::TokenId`] for an id outside the vocabulary.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, TextError> {
        let mut stream = crate::Detokenizer::new(self).skip_special(skip_special);
        let mut text = String::with_capacity(ids.len() * 4);
        for &id in ids {
            text.push_str(stream.push(id)?);
        }
        text.push_str(stream.finish());
        Ok(text)
    }

    /// The characters that special tokens begin with.
    pub(crate) fn special_first_characters(&self) -> Vec<char> {
        let tokens = self.added.tokens().iter().chain(self.normalized_added.tokens());
        let mut firsts: Vec<char> =
            tokens.filter(|token| token.special).filter_map(|token| token.content.chars().next()).collect();
        firsts.sort_unstable();
        firsts.dedup();
        firsts
    }

    /// Where, behind their first character, the spellings of special tokens in `text` may be broken: whole ones, and
    /// ones that the end of the text cuts off. Ascending.
    pub(crate) fn special_starts(&self, text: &str) -> Vec<usize> {
        let mut starts = self.added.special_starts(text);
        starts.extend(self.normalized_added.special_starts(text));
        starts.sort_unstable();
        starts.dedup();
        starts
    }

    /// Encodes text in which `mark` breaks the spellings that are to stay text; the marks themselves are left out.
    /// Gives the ids and how often each special token was found.
    pub(crate) fn encode_marked(&self, text: &str, mark: char) -> Result<(Vec<u32>, BTreeMap<u32, usize>), TextError> {
        let mut out = Vec::with_capacity(text.len() / 3 + 4);
        let mut counts = BTreeMap::new();
        let mut scratch = Vec::new();
        for section in self.added.split(text, true) {
            match section {
                Section::Token(id) => {
                    out.push(id);
                    if self.is_special(id) {
                        *counts.entry(id).or_insert(0) += 1;
                    }
                }
                Section::Text(range) => {
                    let at_start = range.start == 0;
                    // Special tokens of the normalized kind are only looked for where no message was.
                    let parse = !text[range.clone()].contains(mark);
                    let plain = text[range].replace(mark, "");
                    // Added tokens that are no special ones are found again without the marks.
                    for section in self.added.split(&plain, false) {
                        match section {
                            Section::Token(id) => out.push(id),
                            Section::Text(range) => {
                                let at_start = at_start && range.start == 0;
                                self.encode_section(&plain[range], at_start, parse, &mut scratch, &mut out)?;
                            }
                        }
                    }
                }
            }
        }
        Ok((out, counts))
    }

    /// The token's spelling in the file, as bytes.
    pub(crate) fn token_spelling(&self, id: u32) -> Option<&[u8]> {
        self.token(id).map(|token| &*token.spelling)
    }

    /// Whether a text is its tokens' bytes one after the other, but for a space at its start: so it is in every vocabulary
    /// that models write with, and not in those whose tokens are words.
    pub fn spells_bytes(&self) -> bool {
        matches!(self.joining, Joining::Bytes | Joining::Pieces(_))
    }

    pub(crate) fn joining(&self) -> Joining {
        self.joining
    }

    fn token(&self, id: u32) -> Option<&Token> {
        self.tokens.get(usize::try_from(id).ok()?)?.as_ref()
    }
}
