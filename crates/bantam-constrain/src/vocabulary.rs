//! A tokenizer as llguidance wants to see it: a trie of the bytes of every token, and text cut into tokens as the model
//! would cut it.

use std::sync::Arc;

use bantam_text::{Special, TokenKind, Tokenizer};
use llguidance::toktrie::{INVALID_TOKEN, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

use crate::ConstraintError;

/// Longest token, in bytes, that is offered at all: the trie counts depth in ten bits.
const LONGEST_TOKEN: usize = 1000;
/// Most bytes of all tokens: the trie counts nodes in 22 bits.
const MOST_BYTES: usize = (1 << 22) - (1 << 16);

/// The environment of a tokenizer.
pub(crate) struct Vocabulary {
    tokenizer: Tokenizer,
    trie: TokTrie,
}

impl Vocabulary {
    pub(crate) fn environment(tokenizer: Tokenizer) -> Result<TokEnv, ConstraintError> {
        let refuse = |reason: &str| Err(ConstraintError::Vocabulary(reason.to_owned()));
        if !tokenizer.spells_bytes() {
            return refuse("its tokens are words, which are not written one behind the other");
        }
        let Ok(vocab_size) = u32::try_from(tokenizer.vocabulary_len()) else {
            return refuse("it has more tokens than can be numbered");
        };
        if vocab_size == 0 || vocab_size >= 1 << 24 {
            return refuse("it has no tokens, or more than 16 million");
        }
        let words: Vec<Vec<u8>> = (0..vocab_size).map(|id| word(&tokenizer, id)).collect();
        if words.iter().map(Vec::len).sum::<usize>() > MOST_BYTES {
            return refuse("its tokens have more than 4 million bytes");
        }
        let ends: Vec<u32> = tokenizer.end_of_generation().iter().copied().filter(|&id| id < vocab_size).collect();
        let info = TokRxInfo::new(vocab_size, ends.first().copied().unwrap_or(INVALID_TOKEN));
        let mut trie = TokTrie::from(&info, &words);
        if ends.len() > 1 {
            trie = trie.with_eos_tokens(&ends);
        }
        Ok(Arc::new(Self { tokenizer, trie }))
    }

    /// The model's own tokens of a text that goes on behind other text.
    fn canonical(&self, text: &str) -> Option<Vec<TokenId>> {
        // A newline before it keeps what is written before the first word of a text (SentencePiece's mark) away.
        let encode = |text: &str| self.tokenizer.encode(text, Special::AsText).ok();
        let line = encode("\n")?;
        let behind =
            encode(&format!("\n{text}")).and_then(|ids| ids.strip_prefix(line.as_slice()).map(<[u32]>::to_vec));
        [behind, encode(text)].into_iter().flatten().find(|ids| self.spells(ids, text.as_bytes()))
    }

    /// Whether tokens spell exactly these bytes.
    fn spells(&self, ids: &[TokenId], mut bytes: &[u8]) -> bool {
        for &id in ids {
            let token = if (id as usize) < self.trie.vocab_size() { self.trie.token(id) } else { &[] };
            if token.is_empty() {
                return false;
            }
            match bytes.strip_prefix(token) {
                Some(rest) => bytes = rest,
                None => return false,
            }
        }
        bytes.is_empty()
    }
}

/// What stands in the trie for a token: its bytes, the marker and its spelling for a control token, nothing for one that
/// is never allowed.
fn word(tokenizer: &Tokenizer, id: u32) -> Vec<u8> {
    let special = match tokenizer.token_kind(id) {
        None | Some(TokenKind::Unknown | TokenKind::Unused) => return Vec::new(),
        Some(TokenKind::Control) => true,
        Some(TokenKind::Normal | TokenKind::UserDefined | TokenKind::Byte) => {
            tokenizer.end_of_generation().contains(&id)
        }
    };
    let bytes = tokenizer.token_bytes(id).unwrap_or_default();
    if bytes.len() > LONGEST_TOKEN {
        return Vec::new();
    }
    if special {
        let mut word = vec![TokTrie::SPECIAL_TOKEN_MARKER];
        word.extend_from_slice(bytes);
        return word;
    }
    // A text token that begins with the marker's byte, which begins no character, could be taken for a control token.
    if bytes.len() > 1 && bytes.first() == Some(&TokTrie::SPECIAL_TOKEN_MARKER) {
        return Vec::new();
    }
    bytes.to_vec()
}

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        // What is forced may end in the midst of a character.
        let valid = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                bytes.get(..error.valid_up_to()).and_then(|head| std::str::from_utf8(head).ok()).unwrap_or_default()
            }
        };
        let rest = bytes.get(valid.len()..).unwrap_or_default();
        let mut ids = self.canonical(valid).unwrap_or_else(|| self.trie.greedy_tokenize(valid.as_bytes()));
        ids.extend(self.trie.greedy_tokenize(rest));
        ids
    }

    fn tokenize_is_canonical(&self) -> bool {
        true
    }
}
