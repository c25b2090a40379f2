//! A tokenizer from the files of a Hugging Face directory: `tokenizer.json` and its companions.
//!
//! The format is the one the `tokenizers` library writes. Each part that is not understood is refused by its name.

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt::Formatter;

use super::added::{AddedToken, AddedTokens};
use super::bpe::{Alphabet, Bpe};
use super::bytes::{byte_token, char_to_byte, unmap};
use super::companions::{Added, HfFiles, Settings, check_added, check_largest};
use super::normalizer::Normalizer;
use super::pipeline::{frame, joining, normalizers, steps};
use super::sentencepiece::SPACE;
use super::words::Step;
use super::{Ends, Joining, Map, Merger, Token, Tokenizer};
use crate::error::{TextError, shorten};
use crate::vocabulary::TokenKind;

pub(super) const FILE: &str = "tokenizer.json";

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    normalizer: Option<Value>,
    #[serde(default)]
    pre_tokenizer: Option<Value>,
    #[serde(default)]
    post_processor: Option<Value>,
    #[serde(default)]
    decoder: Option<Value>,
    model: ModelFile,
}

#[derive(Deserialize)]
struct ModelFile {
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
}

/// A map from token to id; other models have lists here, of which only the fact is kept.
enum VocabFile {
    Ids(Map<String, u32>),
    Other,
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
                formatter.write_str("model.vocab, a map from token to id")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<VocabFile, A::Error> {
                let mut ids = Map::default();
                while let Some((token, id)) = entries.next_entry()? {
                    ids.insert(token, id);
                }
                Ok(VocabFile::Ids(ids))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<VocabFile, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(VocabFile::Other)
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

pub(super) fn damaged(file: &'static str, reason: impl ToString) -> TextError {
    TextError::File { file, reason: shorten(&reason.to_string(), 200) }
}

pub(super) fn unsupported<T>(what: &'static str, name: &str) -> Result<T, TextError> {
    Err(TextError::Unsupported { what, name: shorten(name, 60) })
}

impl Tokenizer {
    /// Builds the tokenizer of a Hugging Face directory from the bytes of `tokenizer.json` and its companions.
    ///
    /// # Errors
    /// [`TextError::File`] for JSON that is not what it should be, [`TextError::Unsupported`] names a part of the
    /// pipeline that is not known, [`TextError::Vocabulary`] says what contradicts itself.
    pub fn from_json(json: &[u8], files: HfFiles<'_>) -> Result<Tokenizer, TextError> {
        let mut file: File = serde_json::from_slice(json).map_err(|error| damaged(FILE, error))?;
        let settings = Settings::read(files)?;
        settings.config.add_tokens(&mut file.added_tokens);
        check_added(&file.added_tokens)?;

        let normalizers = match &file.normalizer {
            Some(value) => normalizers(value)?,
            None => Vec::new(),
        };
        let steps = match &file.pre_tokenizer {
            Some(value) => steps(value)?,
            None => Vec::new(),
        };
        let byte_level = steps.iter().any(|step| matches!(step, Step::ByteLevel { .. }));
        let joining = joining(file.decoder.as_ref(), byte_level)?;
        let model = file.model;
        match model.kind.as_deref() {
            Some("BPE") => {}
            None if !model.merges.is_empty() => {}
            Some(other) => return unsupported("tokenizer model", other),
            None => return Err(damaged(FILE, "model has no type")),
        }
        let VocabFile::Ids(vocab) = &model.vocab else {
            return Err(damaged(FILE, "model.vocab is no map from token to id"));
        };

        let mut tokens = place(vocab, &file.added_tokens, &normalizers, joining, model.byte_fallback)?;
        let unknown = match &model.unk_token {
            Some(text) => Some(*vocab.get(text).ok_or_else(|| {
                TextError::Vocabulary(format!("the unknown token {:?} is not in the vocabulary", shorten(text, 40)))
            })?),
            None => None,
        };
        if let Some(Some(token)) = unknown.and_then(|id| tokens.get_mut(id as usize)) {
            token.kind = TokenKind::Unknown;
        }
        let merger = merger(&model, vocab, unknown, byte_level)?;
        let (added, normalized_added) = added_tokens(file.added_tokens, &normalizers)?;

        let mut by_spelling = Map::with_capacity_and_hasher(tokens.len(), Default::default());
        for (id, token) in tokens.iter().enumerate() {
            if let (Some(token), Ok(id)) = (token, u32::try_from(id)) {
                by_spelling.entry(token.spelling.clone()).or_insert(id);
            }
        }
        let mut tokenizer = Tokenizer {
            tokens,
            by_spelling,
            added,
            normalized_added,
            normalizers,
            steps,
            merger: Merger::Ranks(merger),
            joining,
            ends: Ends::default(),
            notes: Vec::new(),
        };
        tokenizer.read_ends(&settings, file.post_processor.as_ref(), unknown)?;
        tokenizer.gather_ends(&files.end_ids(tokenizer.tokens.len())?);
        Ok(tokenizer)
    }

    fn read_ends(
        &mut self,
        settings: &Settings,
        post_processor: Option<&Value>,
        unknown: Option<u32>,
    ) -> Result<(), TextError> {
        let config = &settings.config;
        let adds = |key: &str| config.flag(key).unwrap_or(false);
        let bos = settings.id(self, "bos_token", adds("add_bos_token"))?;
        let eos = settings.id(self, "eos_token", adds("add_eos_token"))?;
        let padding = settings.id(self, "pad_token", false)?;
        let unknown = unknown.or(settings.id(self, "unk_token", false)?);
        let (mut prefix, mut suffix) = (Vec::new(), Vec::new());
        let mut framed = false;
        if let Some(value) = post_processor {
            framed = frame(value, &mut prefix, &mut suffix)?;
        }
        for id in prefix.iter().chain(&suffix) {
            if self.token(*id).is_none() {
                return Err(TextError::TokenId { id: *id, len: self.tokens.len() });
            }
        }
        // The switches of tokenizer_config.json win over the post-processor, as they do in transformers.
        if let Some(bos) = bos {
            match config.flag("add_bos_token") {
                Some(true) if !prefix.contains(&bos) => prefix.insert(0, bos),
                Some(false) if framed => prefix.retain(|&id| id != bos),
                _ => {}
            }
        }
        if let Some(eos) = eos {
            match config.flag("add_eos_token") {
                Some(true) if !suffix.contains(&eos) => suffix.push(eos),
                Some(false) if framed => suffix.retain(|&id| id != eos),
                _ => {}
            }
        }
        self.ends = Ends { bos, eos, unknown, padding, prefix, suffix, end_of_generation: Vec::new() };
        Ok(())
    }
}

/// Puts every token at its id, bounding the table by the number of tokens there are.
fn place(
    vocab: &Map<String, u32>,
    added: &[Added],
    normalizers: &[Normalizer],
    joining: Joining,
    byte_fallback: bool,
) -> Result<Vec<Option<Token>>, TextError> {
    let count = vocab.len() + added.len();
    let largest = vocab.values().copied().chain(added.iter().map(|token| token.id)).max();
    let Some(largest) = largest else {
        return Err(TextError::Vocabulary("no tokens".to_owned()));
    };
    check_largest(largest, count)?;
    let mut tokens = vec![None; largest as usize + 1];
    for (spelling, &id) in vocab {
        let mut kind = TokenKind::Normal;
        let text = match joining {
            Joining::Bytes => Some(unmap(spelling.as_bytes())),
            Joining::Pieces { .. } => match byte_token(spelling.as_bytes()).filter(|_| byte_fallback) {
                Some(byte) => {
                    kind = TokenKind::Byte;
                    Some(vec![byte])
                }
                None => Some(spelling.replace(SPACE, " ").into_bytes()),
            },
        };
        let text = text.filter(|text| text != spelling.as_bytes()).map(Vec::into_boxed_slice);
        if tokens[id as usize].is_some() {
            return Err(TextError::Vocabulary(format!("two tokens have the id {id}")));
        }
        tokens[id as usize] = Some(Token { spelling: spelling.as_bytes().into(), text, kind });
    }
    for token in added {
        let kind = if token.special { TokenKind::Control } else { TokenKind::UserDefined };
        // What is looked for in normalized text is written in normalized form too.
        let mut text = token.content.clone();
        if token.normalized {
            for normalizer in normalizers {
                text = normalizer.apply(text)?;
            }
            if joining != Joining::Bytes {
                text = text.replace(SPACE, " ");
            }
        }
        let text = (text != token.content).then(|| text.into_bytes().into_boxed_slice());
        tokens[token.id as usize] = Some(Token { spelling: token.content.as_bytes().into(), text, kind });
    }
    Ok(tokens)
}

fn merger(
    model: &ModelFile,
    vocab: &Map<String, u32>,
    unknown: Option<u32>,
    byte_level: bool,
) -> Result<Bpe, TextError> {
    if model.dropout.is_some_and(|dropout| dropout != 0.0) {
        return unsupported("tokenizer setting", "dropout");
    }
    let continuing_prefix = model.continuing_subword_prefix.clone().unwrap_or_default().into_bytes();
    let word_suffix = model.end_of_word_suffix.clone().unwrap_or_default().into_bytes();
    if byte_level && !(continuing_prefix.is_empty() && word_suffix.is_empty()) {
        return unsupported(
            "tokenizer setting",
            "continuing_subword_prefix or end_of_word_suffix of a byte-level model",
        );
    }
    let mut by_bytes = Map::with_capacity_and_hasher(vocab.len(), Default::default());
    for (spelling, &id) in vocab {
        if !byte_level {
            by_bytes.insert(Box::from(spelling.as_bytes()), id);
        } else if spelling.chars().all(|character| char_to_byte(character).is_some()) {
            by_bytes.insert(unmap(spelling.as_bytes()).into_boxed_slice(), id);
        }
    }
    let alphabet = if byte_level {
        let mut table = Box::new([None; 256]);
        for byte in 0..=255u8 {
            table[usize::from(byte)] = by_bytes.get([byte].as_slice()).copied();
        }
        Alphabet::Bytes(table)
    } else if model.byte_fallback {
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
        merges: Map::with_capacity_and_hasher(model.merges.len(), Default::default()),
        alphabet,
        unknown,
        fuse_unknown: model.fuse_unk,
        ignore_merges: model.ignore_merges,
        continuing_prefix,
        word_suffix,
    };
    let mut pairs = Vec::with_capacity(model.merges.len());
    for (rank, merge) in model.merges.iter().enumerate() {
        let (left, right) = merge.pair().ok_or_else(|| damaged(FILE, format!("merge {rank} is no pair of tokens")))?;
        let spell = |text: &str| if byte_level { unmap(text.as_bytes()) } else { text.as_bytes().to_vec() };
        pairs.push((spell(left), spell(right)));
    }
    merger.add_merges(pairs.iter().map(|(left, right)| (left.as_slice(), right.as_slice())), false)?;
    Ok(merger)
}

fn added_tokens(list: Vec<Added>, normalizers: &[Normalizer]) -> Result<(AddedTokens, AddedTokens), TextError> {
    let (mut raw, mut normalized) = (Vec::new(), Vec::new());
    for token in list {
        let mut spelling = token.content.clone();
        let target = if token.normalized {
            for normalizer in normalizers {
                spelling = normalizer.apply(spelling)?;
            }
            &mut normalized
        } else {
            &mut raw
        };
        target.push((spelling, AddedToken::from(token)));
    }
    Ok((AddedTokens::new(raw)?, AddedTokens::new(normalized)?))
}
