//! A tokenizer from SentencePiece's own `tokenizer.model`, a protocol-buffers message (`sentencepiece_model.proto`).

use super::companions::{Added, HfFiles, Settings, check_added};
use super::gguf::{Additions, Symbols, check, score_bpe};
use super::gguf_words::unigram;
use super::{Map, Tokenizer};
use crate::error::{TextError, shorten};
use crate::vocabulary::Vocabulary;

const FILE: &str = "tokenizer.model";
/// The name that GGUF has for this kind of model.
const UNIGRAM: &str = "t5";

impl Tokenizer {
    /// Builds the tokenizer of a SentencePiece model of the BPE or the Unigram kind from the bytes of `tokenizer.model`, exactly as
    /// SentencePiece itself runs it.
    ///
    /// # Errors
    /// [`TextError::File`] for bytes that are no such message, [`TextError::Unsupported`] for other kinds, by name.
    pub fn from_sentencepiece(model: &[u8]) -> Result<Tokenizer, TextError> {
        let vocabulary = vocabulary(model)?;
        check(&vocabulary)?;
        of_kind(vocabulary, Additions::default())
    }

    /// Builds the tokenizer of a Hugging Face directory from the bytes of `tokenizer.model` and its companions, as the
    /// `LlamaTokenizer` of transformers reads them: added tokens keep the ids that `added_tokens_decoder` gives them, in
    /// the place of a piece where there is one; `legacy` (true where it is not said) writes the space before every text
    /// between added tokens, else it stands only where the whole text begins.
    ///
    /// # Errors
    /// As [`Tokenizer::from_sentencepiece`], and for companions as [`Tokenizer::from_json`].
    pub fn from_sentencepiece_directory(model: &[u8], files: HfFiles<'_>) -> Result<Tokenizer, TextError> {
        let mut vocabulary = vocabulary(model)?;
        check(&vocabulary)?;
        let settings = Settings::read(files)?;
        let flag = |key: &str| settings.config.flag(key);
        let (added, missing) = added(&settings, &vocabulary)?;
        check_added(&added)?;
        let legacy = flag("legacy").unwrap_or(true);
        let model_says = !legacy || vocabulary.add_space_prefix != Some(false);
        vocabulary.add_space_prefix = Some(flag("add_prefix_space").unwrap_or(true) && model_says);
        let additions = Additions { added, prefix_first: !legacy };
        let mut tokenizer = of_kind(vocabulary, additions)?;

        let (add_bos, add_eos) = (flag("add_bos_token").unwrap_or(true), flag("add_eos_token").unwrap_or(false));
        let id = |key: &str, own: Option<u32>, needed: bool| {
            if settings.says(key) { settings.id(&tokenizer, key, needed) } else { Ok(own) }
        };
        let bos = id("bos_token", tokenizer.ends.bos, add_bos)?;
        let eos = id("eos_token", tokenizer.ends.eos, add_eos)?;
        let unknown = id("unk_token", tokenizer.ends.unknown, false)?;
        let padding = id("pad_token", tokenizer.ends.padding, false)?;
        let (prefix, suffix) = (bos.filter(|_| add_bos), eos.filter(|_| add_eos));
        let ends = &mut tokenizer.ends;
        (ends.bos, ends.eos, ends.unknown, ends.padding) = (bos, eos, unknown, padding);
        (ends.prefix, ends.suffix) = (prefix.into_iter().collect(), suffix.into_iter().collect());
        tokenizer.gather_ends(&files.end_ids(tokenizer.tokens.len())?);
        if let [first, others @ ..] = missing.as_slice() {
            let others = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
            let note = format!("the special token {:?}{others} has no id and stays text", shorten(first, 60));
            tokenizer.notes.push(note);
        }
        Ok(tokenizer)
    }
}

fn of_kind(vocabulary: Vocabulary, additions: Additions) -> Result<Tokenizer, TextError> {
    let kind = if vocabulary.model == UNIGRAM { unigram } else { score_bpe };
    kind(vocabulary, Symbols::InNormalized, additions)
}

/// The tokens that companions add, pieces that they call special among them; and the special ones that have no id.
fn added(settings: &Settings, vocabulary: &Vocabulary) -> Result<(Vec<Added>, Vec<String>), TextError> {
    let (mut added, mut missing) = (Vec::new(), Vec::new());
    settings.config.add_tokens(&mut added);
    let spelled = vocabulary.tokens.iter().zip(0u32..);
    let spelled = spelled.filter_map(|(piece, id)| Some((std::str::from_utf8(piece).ok()?, id)));
    settings.add_older(&mut added, &spelled.collect::<Vec<_>>())?;
    let mut pieces: Map<&[u8], u32> = Map::default();
    for (id, piece) in vocabulary.tokens.iter().enumerate() {
        pieces.entry(piece).or_insert(u32::try_from(id).unwrap_or(u32::MAX));
    }
    let mut known: Map<String, ()> = added.iter().map(|token| (token.content.clone(), ())).collect();
    let taken: Map<u32, ()> = added.iter().map(|token| (token.id, ())).collect();
    for spelling in settings.special_spellings() {
        if known.insert(spelling.clone(), ()).is_some() {
            continue;
        }
        match pieces.get(spelling.as_bytes()).filter(|id| !taken.contains_key(id)) {
            Some(&id) => added.push(Added::special(id, spelling)),
            None => missing.push(spelling),
        }
    }
    Ok((added, missing))
}

pub(crate) fn vocabulary(model: &[u8]) -> Result<Vocabulary, TextError> {
    let mut vocabulary = Vocabulary { model: "llama".to_owned(), add_bos: Some(true), ..Vocabulary::default() };
    // The defaults of the message's fields.
    let (mut kind, mut unknown, mut bos, mut eos, mut padding) = (1, 0, 1, 2, -1);
    let mut add_dummy_prefix = true;
    let mut remove_extra_whitespaces = true;
    let mut escape_whitespaces = true;
    let mut suffix_whitespace = false;
    for field in Fields(model) {
        match field? {
            (1, Field::Bytes(piece)) => {
                let (mut text, mut score, mut kind) = (Vec::new(), 0.0, 1);
                for field in Fields(piece) {
                    match field? {
                        (1, Field::Bytes(bytes)) => text = bytes.to_vec(),
                        (2, Field::Fixed32(bits)) => score = f32::from_bits(bits),
                        (3, Field::Integer(value)) => kind = signed(value),
                        _ => {}
                    }
                }
                vocabulary.tokens.push(text);
                vocabulary.scores.push(score);
                vocabulary.types.push(kind);
            }
            (2, Field::Bytes(trainer)) => {
                for field in Fields(trainer) {
                    match field? {
                        (3, Field::Integer(value)) => kind = value,
                        (24, Field::Integer(value)) => suffix_whitespace = value != 0,
                        (40, Field::Integer(value)) => unknown = signed(value),
                        (41, Field::Integer(value)) => bos = signed(value),
                        (42, Field::Integer(value)) => eos = signed(value),
                        (43, Field::Integer(value)) => padding = signed(value),
                        _ => {}
                    }
                }
            }
            (3, Field::Bytes(normalizer)) => {
                for field in Fields(normalizer) {
                    match field? {
                        (2, Field::Bytes(map)) => vocabulary.precompiled_charsmap = map.to_vec(),
                        (3, Field::Integer(value)) => add_dummy_prefix = value != 0,
                        (4, Field::Integer(value)) => remove_extra_whitespaces = value != 0,
                        (5, Field::Integer(value)) => escape_whitespaces = value != 0,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let refuse = |what, name: &str| Err(TextError::Unsupported { what, name: name.to_owned() });
    match kind {
        2 => {}
        1 => vocabulary.model = UNIGRAM.to_owned(),
        3 => return refuse("tokenizer model", "word"),
        4 => return refuse("tokenizer model", "char"),
        other => return refuse("tokenizer model", &other.to_string()),
    }
    if !escape_whitespaces {
        return refuse("normalizer setting", "escape_whitespaces = false");
    }
    if suffix_whitespace {
        return refuse("trainer setting", "treat_whitespace_as_suffix");
    }
    let id = |value: i32| u32::try_from(value).ok();
    vocabulary.unknown = id(unknown);
    vocabulary.bos = id(bos);
    vocabulary.eos = id(eos);
    vocabulary.padding = id(padding);
    vocabulary.add_space_prefix = Some(add_dummy_prefix);
    vocabulary.remove_extra_whitespaces = Some(remove_extra_whitespaces);

    Ok(vocabulary)
}

/// An `int32` or enum is sent as the 64-bit two's complement.
fn signed(value: u64) -> i32 {
    #[allow(clippy::cast_possible_truncation)]
    let low = value as u32;
    low.cast_signed()
}

enum Field<'a> {
    Integer(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
    Other,
}

/// The fields of one message, number and value.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Field<'a>), TextError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| TextError::File {
            file: FILE,
            reason: "expected a SentencePiece model message, found bytes that are none".to_owned(),
        }))
    }
}

impl<'a> Fields<'a> {
    fn read(&mut self) -> Option<(u64, Field<'a>)> {
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Integer(self.varint()?),
            1 => {
                self.take(8)?;
                Field::Other
            }
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                Field::Bytes(self.take(len)?)
            }
            5 => Field::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((key >> 3, field))
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}
