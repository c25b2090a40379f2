//! A vocabulary as model files carry it: plain data, filled by the crates that read files.

use crate::merges::Merges;

/// What a token is, with the numbers of SentencePiece's `ModelProto.SentencePiece.Type`, which GGUF's
/// `tokenizer.ggml.token_type` shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// An ordinary piece of text.
    Normal,
    /// The token for what the vocabulary cannot spell.
    Unknown,
    /// A token that steers the model and never comes from plain text (`<s>`, `<|im_end|>`).
    Control,
    /// A token that always matches its own spelling, before any merging.
    UserDefined,
    /// A reserved, never used place.
    Unused,
    /// One raw byte, spelled `<0x0A>`.
    Byte,
}

impl TokenKind {
    /// The kind with SentencePiece's number; anything else (0 is GGUF's "undefined") counts as normal.
    pub fn from_number(number: i32) -> TokenKind {
        match number {
            2 => TokenKind::Unknown,
            3 => TokenKind::Control,
            4 => TokenKind::UserDefined,
            5 => TokenKind::Unused,
            6 => TokenKind::Byte,
            _ => TokenKind::Normal,
        }
    }

    /// SentencePiece's number of the kind.
    pub fn number(self) -> i32 {
        match self {
            TokenKind::Normal => 1,
            TokenKind::Unknown => 2,
            TokenKind::Control => 3,
            TokenKind::UserDefined => 4,
            TokenKind::Unused => 5,
            TokenKind::Byte => 6,
        }
    }
}

/// The metadata `tokenizer.ggml.*` of a GGUF file, key by key; the crate that reads the file fills it in.
///
/// Nothing here is trusted: [`Tokenizer::from_vocabulary`](crate::Tokenizer::from_vocabulary) checks lengths and ids.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    /// `tokenizer.ggml.model`: `llama` (SentencePiece BPE), `gpt2` (byte-level BPE), `bert` (WordPiece), `t5` (Unigram).
    pub model: String,
    /// `tokenizer.ggml.pre`: the name of the pre-tokenizer.
    pub pre: Option<String>,
    /// `general.name`: some conventions are tied to it in practice, because GGUF has no key for them.
    pub name: Option<String>,
    /// `tokenizer.ggml.tokens`: spelling by id, as stored (bytes; old files are not always UTF-8).
    pub tokens: Vec<Vec<u8>>,
    /// `tokenizer.ggml.scores`: empty or one a token.
    pub scores: Vec<f32>,
    /// `tokenizer.ggml.token_type`: empty or one a token, numbered as [`TokenKind::from_number`] says.
    pub types: Vec<i32>,
    /// `tokenizer.ggml.merges`: `left right`, best first.
    pub merges: Merges,
    /// `tokenizer.ggml.bos_token_id`.
    pub bos: Option<u32>,
    /// `tokenizer.ggml.eos_token_id`.
    pub eos: Option<u32>,
    /// `tokenizer.ggml.eot_token_id`: end of a turn.
    pub eot: Option<u32>,
    /// `tokenizer.ggml.eom_token_id`: end of a message (a tool call follows).
    pub eom: Option<u32>,
    /// `tokenizer.ggml.unknown_token_id`.
    pub unknown: Option<u32>,
    /// `tokenizer.ggml.padding_token_id`.
    pub padding: Option<u32>,
    /// `tokenizer.ggml.seperator_token_id` (so spelled).
    pub separator: Option<u32>,
    /// `tokenizer.ggml.cls_token_id`.
    pub class: Option<u32>,
    /// `tokenizer.ggml.mask_token_id`.
    pub mask: Option<u32>,
    /// `tokenizer.ggml.add_bos_token`.
    pub add_bos: Option<bool>,
    /// `tokenizer.ggml.add_eos_token`.
    pub add_eos: Option<bool>,
    /// `tokenizer.ggml.add_space_prefix`.
    pub add_space_prefix: Option<bool>,
    /// `tokenizer.ggml.remove_extra_whitespaces`.
    pub remove_extra_whitespaces: Option<bool>,
    /// `tokenizer.ggml.precompiled_charsmap`.
    pub precompiled_charsmap: Vec<u8>,
}
