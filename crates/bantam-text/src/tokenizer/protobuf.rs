//! A tokenizer from SentencePiece's own `tokenizer.model`, a protocol-buffers message (`sentencepiece_model.proto`).

use super::Tokenizer;
use crate::error::TextError;
use crate::vocabulary::Vocabulary;

const FILE: &str = "tokenizer.model";

impl Tokenizer {
    /// Builds the tokenizer of a SentencePiece model of the BPE kind from the bytes of `tokenizer.model`.
    ///
    /// # Errors
    /// [`TextError::File`] for bytes that are no such message, [`TextError::Unsupported`] for other kinds, by name.
    pub fn from_sentencepiece(model: &[u8]) -> Result<Tokenizer, TextError> {
        Tokenizer::from_sentencepiece_vocabulary(vocabulary(model)?)
    }
}

fn vocabulary(model: &[u8]) -> Result<Vocabulary, TextError> {
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
        1 => return refuse("tokenizer model", "unigram"),
        3 => return refuse("tokenizer model", "word"),
        4 => return refuse("tokenizer model", "char"),
        other => return refuse("tokenizer model", &other.to_string()),
    }
    if remove_extra_whitespaces {
        return refuse("normalizer setting", "remove_extra_whitespaces");
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
