//! The models of `tokenizer.json`: BPE, WordPiece and Unigram.

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt::Formatter;

use super::bpe::{Alphabet, Bpe};
use super::bytes::{char_to_byte, unmap, unmap_into};
use super::json::{FILE, damaged, unsupported};
use super::spellings::Spellings;
use super::trie::{LONGEST_PIECE, Trie};
use super::unigram::Unigram;
use super::wordpiece::{CONTINUING, LONGEST_WORD, WordPiece};
use super::{Map, Merger};
use crate::error::{TextError, shorten};

#[derive(Deserialize)]
pub(super) struct ModelFile {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    vocab: VocabFile,
    #[serde(default)]
    merges: Vec<Merge>,
    #[serde(default)]
    dropout: Option<f64>,
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    fuse_unk: bool,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    /// Unigram: the place of the unknown token in the list.
    #[serde(default)]
    unk_id: Option<u32>,
    /// WordPiece: longest word that is cut, in characters.
    #[serde(default)]
    max_input_chars_per_word: Option<usize>,
}

/// A map from token to id, or a list of tokens with their scores.
enum VocabFile {
    Ids(Map<String, u32>),
    Scored(Vec<(String, f64)>),
}

impl Default for VocabFile {
    fn default() -> Self {
        VocabFile::Ids(Map::default())
    }
}

impl<'de> Deserialize<'de> for VocabFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = VocabFile;

            fn expecting(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("model.vocab, a map from token to id or a list of tokens and scores")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<VocabFile, A::Error> {
                let mut ids = Map::default();
                while let Some((token, id)) = entries.next_entry()? {
                    ids.insert(token, id);
                }
                Ok(VocabFile::Ids(ids))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<VocabFile, A::Error> {
                let mut scored = Vec::new();
                while let Some(item) = items.next_element()? {
                    scored.push(item);
                }
                Ok(VocabFile::Scored(scored))
            }
        }
        deserializer.deserialize_any(Entries)
    }
}

/// `"left right"` or `["left", "right"]`.
enum Merge {
    Line(String),
    Pair(String, String),
}

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sides;
        impl<'de> Visitor<'de> for Sides {
            type Value = Merge;

            fn expecting(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a merge, two tokens")
            }

            fn visit_str<E: Error>(self, line: &str) -> Result<Merge, E> {
                Ok(Merge::Line(line.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sides: A) -> Result<Merge, A::Error> {
                match (sides.next_element()?, sides.next_element()?, sides.next_element::<IgnoredAny>()?) {
                    (Some(left), Some(right), None) => Ok(Merge::Pair(left, right)),
                    _ => Err(A::Error::custom("a merge needs two tokens")),
                }
            }
        }
        deserializer.deserialize_any(Sides)
    }
}

impl Merge {
    fn pair(&self) -> Option<(&str, &str)> {
        match self {
            Merge::Pair(left, right) => Some((left, right)),
            Merge::Line(line) => line.split_once(' ').filter(|(_, right)| !right.contains(' ')),
        }
    }
}

/// Which model a file holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bpe,
    WordPiece,
    Unigram,
}

impl ModelFile {
    fn kind(&self) -> Result<Kind, TextError> {
        let kind = match self.kind.as_deref() {
            Some("BPE") => Kind::Bpe,
            Some("WordPiece") => Kind::WordPiece,
            Some("Unigram") => Kind::Unigram,
            Some(other) => return unsupported("tokenizer model", other),
            None if matches!(self.vocab, VocabFile::Scored(_)) => Kind::Unigram,
            None if !self.merges.is_empty() => Kind::Bpe,
            None => return Err(damaged(FILE, "model has no type")),
        };
        match (kind, &self.vocab) {
            (Kind::Unigram, VocabFile::Ids(_)) => Err(damaged(FILE, "model.vocab is no list of tokens and scores")),
            (Kind::Bpe | Kind::WordPiece, VocabFile::Scored(_)) => {
                Err(damaged(FILE, "model.vocab is no map from token to id"))
            }
            _ => Ok(kind),
        }
    }

    /// Every token with its id. Of equal ones in a list the last counts, but each has its place.
    pub(super) fn tokens(&self) -> Result<Vec<(&str, u32)>, TextError> {
        Ok(match &self.vocab {
            VocabFile::Ids(ids) => ids.iter().map(|(token, &id)| (token.as_str(), id)).collect(),
            VocabFile::Scored(list) => {
                let count = u32::try_from(list.len()).map_err(|_| damaged(FILE, "model.vocab is too long"))?;
                list.iter().map(|(token, _)| token.as_str()).zip(0..count).collect()
            }
        })
    }

    pub(super) fn byte_fallback(&self) -> bool {
        self.byte_fallback
    }

    /// The token for what cannot be spelled.
    pub(super) fn unknown(&self) -> Result<Option<u32>, TextError> {
        match (&self.vocab, &self.unk_token) {
            (VocabFile::Scored(list), _) => match self.unk_id {
                Some(id) if id as usize >= list.len() => {
                    Err(TextError::Vocabulary(format!("unk_id is {id}, but there are {} tokens", list.len())))
                }
                id => Ok(id),
            },
            (VocabFile::Ids(_), None) => Ok(None),
            (VocabFile::Ids(ids), Some(text)) => match ids.get(text) {
                Some(&id) => Ok(Some(id)),
                None => Err(TextError::Vocabulary(format!(
                    "the unknown token {:?} is not in the vocabulary",
                    shorten(text, 40)
                ))),
            },
        }
    }

    /// What makes ids of words; `byte_level` says that words come as bytes.
    pub(super) fn merger(&self, byte_level: bool) -> Result<Merger, TextError> {
        let unknown = self.unknown()?;
        let kind = self.kind()?;
        if kind != Kind::Bpe && byte_level {
            return unsupported("tokenizer setting", "ByteLevel words for a model that is no BPE");
        }
        match (kind, &self.vocab) {
            (Kind::Bpe, VocabFile::Ids(vocab)) => Ok(Merger::Ranks(self.bpe(vocab, unknown, byte_level)?)),
            (Kind::WordPiece, _) => {
                let tokens = self.tokens()?;
                check_lengths(tokens.iter().map(|(token, _)| *token))?;
                let pieces = tokens.iter().map(|(token, id)| (token.as_bytes(), *id));
                let continuing = self.continuing_subword_prefix.as_deref().unwrap_or(CONTINUING);
                let longest = self.max_input_chars_per_word.unwrap_or(LONGEST_WORD);
                let Some(unknown) = unknown else {
                    return Err(damaged(FILE, "a WordPiece model needs an unk_token"));
                };
                Ok(Merger::Words(WordPiece::new(pieces, continuing, unknown, longest)))
            }
            (Kind::Unigram, VocabFile::Scored(list)) => Ok(Merger::Lattice(self.unigram(list, unknown)?)),
            (Kind::Bpe, VocabFile::Scored(_)) | (Kind::Unigram, VocabFile::Ids(_)) => {
                Err(damaged(FILE, "model.vocab has another shape"))
            }
        }
    }

    fn unigram(&self, list: &[(String, f64)], unknown: Option<u32>) -> Result<Unigram, TextError> {
        check_lengths(list.iter().map(|(token, _)| token.as_str()))?;
        if let Some((token, score)) = list.iter().find(|(_, score)| !score.is_finite()) {
            return Err(damaged(FILE, format!("the token {:?} has the score {score}", shorten(token, 40))));
        }
        let pieces = Trie::new(self.tokens()?.into_iter().map(|(token, id)| (token.as_bytes(), id)));
        let mut bytes = Box::new([None; 256]);
        for byte in 0..=255u8 {
            bytes[usize::from(byte)] = pieces.get(format!("<0x{byte:02X}>").as_bytes());
        }
        Ok(Unigram {
            pieces,
            scores: list.iter().map(|(_, score)| *score).collect(),
            lowest: list.iter().map(|(_, score)| *score).fold(f64::INFINITY, f64::min).min(f64::MAX),
            unknown,
            bytes: self.byte_fallback.then_some(bytes),
            fuse_unknown: true,
            single_precision: false,
        })
    }

    fn bpe(&self, vocab: &Map<String, u32>, unknown: Option<u32>, byte_level: bool) -> Result<Bpe, TextError> {
        if self.dropout.is_some_and(|dropout| dropout != 0.0) {
            return unsupported("tokenizer setting", "dropout");
        }
        let continuing_prefix = self.continuing_subword_prefix.clone().unwrap_or_default().into_bytes();
        let word_suffix = self.end_of_word_suffix.clone().unwrap_or_default().into_bytes();
        if byte_level && !(continuing_prefix.is_empty() && word_suffix.is_empty()) {
            return unsupported(
                "tokenizer setting",
                "continuing_subword_prefix or end_of_word_suffix of a byte-level model",
            );
        }
        let mut by_bytes = Spellings::with_capacity(vocab.len());
        for (spelling, &id) in vocab {
            if !byte_level {
                by_bytes.insert(spelling.as_bytes(), id);
            } else if spelling.chars().all(|character| char_to_byte(character).is_some()) {
                by_bytes.insert(&unmap(spelling.as_bytes()), id);
            }
        }
        let alphabet = if byte_level {
            let mut table = Box::new([None; 256]);
            for byte in 0..=255u8 {
                table[usize::from(byte)] = by_bytes.get(&[byte]);
            }
            Alphabet::Bytes(table)
        } else if self.byte_fallback {
            let mut table = Box::new([None; 256]);
            for byte in 0..=255u8 {
                table[usize::from(byte)] = vocab.get(&format!("<0x{byte:02X}>")).copied();
            }
            Alphabet::Characters(Some(table))
        } else {
            Alphabet::Characters(None)
        };
        let mut merger = Bpe {
            by_bytes,
            merges: Map::with_capacity_and_hasher(self.merges.len(), Default::default()),
            alphabet,
            unknown,
            fuse_unknown: self.fuse_unk,
            ignore_merges: self.ignore_merges,
            continuing_prefix,
            word_suffix,
        };
        let (mut left, mut right, mut joined) = (Vec::new(), Vec::new(), Vec::new());
        for (rank, merge) in self.merges.iter().enumerate() {
            let sides = merge.pair().ok_or_else(|| damaged(FILE, format!("merge {rank} is no pair of tokens")))?;
            for (side, text) in [(&mut left, sides.0), (&mut right, sides.1)] {
                side.clear();
                if byte_level {
                    unmap_into(text.as_bytes(), side);
                } else {
                    side.extend_from_slice(text.as_bytes());
                }
            }
            merger.add_merge(rank, (&left, &right), false, &mut joined)?;
        }
        Ok(merger)
    }
}

/// Refuses pieces longer than any real one: they would make work for each place of a text.
pub(super) fn check_lengths<'a>(mut pieces: impl Iterator<Item = &'a str>) -> Result<(), TextError> {
    match pieces.find(|piece| piece.len() > LONGEST_PIECE) {
        Some(piece) => Err(TextError::Vocabulary(format!(
            "the token {:?} is {} bytes long, at most {LONGEST_PIECE} are accepted",
            shorten(piece, 40),
            piece.len()
        ))),
        None => Ok(()),
    }
}
