//! A tokenizer from the files of a Hugging Face directory: `tokenizer.json` and its companions.
//!
//! The format is the one the `tokenizers` library writes. Each part that is not understood is refused by its name.

use serde::Deserialize;
use serde_json::Value;

use super::added::{AddedToken, AddedTokens};
use super::companions::{Added, HfFiles, Settings, check_added, check_largest};
use super::decoding::Decoding;
use super::json_model::ModelFile;
use super::normalizer::Normalizer;
use super::pipeline::{frame, normalizers, steps};
use super::words::Step;
use super::{Ends, Joining, Token, Tokenizer};
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
        let file = serde_json::from_slice(json).map_err(|error| damaged(FILE, error))?;
        Tokenizer::from_file(file, files)
    }

    /// The same from what such a file would hold.
    pub(super) fn from_json_value(value: Value, files: HfFiles<'_>) -> Result<Tokenizer, TextError> {
        let file = serde_json::from_value(value).map_err(|error| damaged(FILE, error))?;
        Tokenizer::from_file(file, files)
    }

    fn from_file(mut file: File, files: HfFiles<'_>) -> Result<Tokenizer, TextError> {
        let settings = Settings::read(files)?;
        settings.config.add_tokens(&mut file.added_tokens);
        settings.add_older(&mut file.added_tokens, &file.model.tokens()?)?;
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
        let decoding = Decoding::new(file.decoder.as_ref(), byte_level)?;
        let model = file.model;
        let merger = model.merger(byte_level)?;
        let mut tokens = place(&model, &file.added_tokens, &normalizers, &decoding)?;
        let unknown = model.unknown()?;
        if let Some(Some(token)) = unknown.and_then(|id| tokens.get_mut(id as usize)) {
            token.kind = TokenKind::Unknown;
        }
        let (added, normalized_added) = added_tokens(file.added_tokens, &normalizers)?;

        let by_spelling = super::by_spelling(&tokens);
        let mut tokenizer = Tokenizer {
            tokens,
            by_spelling,
            added,
            normalized_added,
            normalizers,
            steps,
            merger,
            joining: decoding.joining,
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
    model: &ModelFile,
    added: &[Added],
    normalizers: &[Normalizer],
    decoding: &Decoding,
) -> Result<Vec<Option<Token>>, TextError> {
    let vocab = model.tokens()?;
    let count = vocab.len() + added.len();
    let largest = vocab.iter().map(|(_, id)| *id).chain(added.iter().map(|token| token.id)).max();
    let Some(largest) = largest else {
        return Err(TextError::Vocabulary("no tokens".to_owned()));
    };
    check_largest(largest, count)?;
    let mut tokens = vec![None; largest as usize + 1];
    for (spelling, id) in vocab {
        let kind = match decoding.byte(spelling).filter(|_| model.byte_fallback()) {
            Some(_) => TokenKind::Byte,
            None => TokenKind::Normal,
        };
        if tokens[id as usize].is_some() {
            return Err(TextError::Vocabulary(format!("two tokens have the id {id}")));
        }
        tokens[id as usize] = Some(Token::new(spelling, decoding.text(spelling)?, kind));
    }
    for token in added {
        let kind = if token.special { TokenKind::Control } else { TokenKind::UserDefined };
        // What is looked for in normalized text is written in normalized form too.
        let mut text = token.content.clone().into_bytes();
        if token.normalized || decoding.joining == Joining::Words {
            let mut normalized = token.content.clone();
            for normalizer in normalizers.iter().filter(|_| decoding.joining != Joining::Words) {
                normalized = normalizer.apply(normalized, true)?;
            }
            text = decoding.added(&normalized)?;
        }
        tokens[token.id as usize] = Some(Token::new(&token.content, text, kind));
    }
    Ok(tokens)
}

fn added_tokens(list: Vec<Added>, normalizers: &[Normalizer]) -> Result<(AddedTokens, AddedTokens), TextError> {
    let (mut raw, mut normalized) = (Vec::new(), Vec::new());
    for token in list {
        let mut spelling = token.content.clone();
        let target = if token.normalized {
            for normalizer in normalizers {
                spelling = normalizer.apply(spelling, true)?;
            }
            &mut normalized
        } else {
            &mut raw
        };
        target.push((spelling, AddedToken::from(token)));
    }
    Ok((AddedTokens::new(raw)?, AddedTokens::new(normalized)?))
}
