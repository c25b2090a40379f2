//! Unigram: of all ways to cut a text into pieces the one whose scores (log probabilities) sum highest (Kudo 2018;
//! `unigram_model.cc`). Equal sums keep the way found first, going by the last piece's beginning.

use super::trie::Trie;
use crate::error::{TextError, shorten};

/// How much less than the worst piece an unknown character scores.
const UNKNOWN_PENALTY: f64 = 10.0;

#[derive(Debug, Clone)]
pub(crate) struct Unigram {
    /// Every piece that text may become.
    pub(crate) pieces: Trie,
    /// Score by token id.
    pub(crate) scores: Vec<f64>,
    /// The worst score of a piece.
    pub(crate) lowest: f64,
    pub(crate) unknown: Option<u32>,
    /// The token of each byte, where what has no piece is spelled in bytes.
    pub(crate) bytes: Option<Box<[Option<u32>; 256]>>,
    /// A run of unknown characters is one unknown token.
    pub(crate) fuse_unknown: bool,
    /// Sums are kept in single precision, as SentencePiece itself keeps them.
    pub(crate) single_precision: bool,
}

/// The best way to get to a place in the text.
#[derive(Debug, Clone, Copy)]
struct Best {
    score: f64,
    /// Where its last piece begins; `usize::MAX` where the place was not reached yet.
    from: usize,
    /// The last piece; `None` for a character that has none.
    id: Option<u32>,
}

impl Unigram {
    /// Appends the tokens of `text`.
    ///
    /// # Errors
    /// [`TextError::Vocabulary`] where a character has no piece and the vocabulary no token for such.
    pub(crate) fn encode(&self, word: &[u8], out: &mut Vec<u32>) -> Result<(), TextError> {
        let Ok(text) = std::str::from_utf8(word) else { return Ok(()) };
        let bytes = text.as_bytes();
        let unknown_score = self.rounded(self.lowest - UNKNOWN_PENALTY);
        let mut best = vec![Best { score: 0.0, from: usize::MAX, id: None }; bytes.len() + 1];
        for (start, character) in text.char_indices() {
            let before = best[start].score;
            let mut whole_character = false;
            let mut offer = |len: usize, score: f64, id: Option<u32>| {
                let (target, score) = (&mut best[start + len], self.rounded(score));
                if target.from == usize::MAX || score > target.score {
                    *target = Best { score, from: start, id };
                }
            };
            self.pieces.prefixes(&bytes[start..], |len, id| {
                whole_character |= len == character.len_utf8();
                // A piece that ends inside a character leads nowhere.
                if text.is_char_boundary(start + len) {
                    offer(len, self.scores[id as usize] + before, Some(id));
                }
            });
            if !whole_character {
                offer(character.len_utf8(), unknown_score + before, None);
            }
        }
        let mut spans = Vec::new();
        let mut end = bytes.len();
        while end > 0 {
            let Best { from, id, .. } = best[end];
            let id = id.filter(|&id| Some(id) != self.unknown);
            match spans.last_mut() {
                Some((start, _, None)) if id.is_none() && self.fuse_unknown => *start = from,
                _ => spans.push((from, end, id)),
            }
            end = from;
        }
        for (start, end, id) in spans.into_iter().rev() {
            match id.or_else(|| self.pieces.get(&bytes[start..end])) {
                Some(id) => out.push(id),
                None => self.spell(&text[start..end], out)?,
            }
        }
        Ok(())
    }

    fn rounded(&self, score: f64) -> f64 {
        #[allow(clippy::cast_possible_truncation)] // That is what rounding is.
        if self.single_precision { f64::from(score as f32) } else { score }
    }

    /// What has no piece: its bytes, or the unknown token.
    fn spell(&self, text: &str, out: &mut Vec<u32>) -> Result<(), TextError> {
        let in_bytes = self
            .bytes
            .as_ref()
            .and_then(|bytes| text.bytes().map(|byte| bytes[usize::from(byte)]).collect::<Option<Vec<u32>>>());
        match (in_bytes, self.unknown) {
            (Some(ids), _) => out.extend(ids),
            (None, Some(unknown)) => out.push(unknown),
            (None, None) => {
                let text = shorten(text, 20);
                return Err(TextError::Vocabulary(format!("{text:?} has no token, and there is none for the unknown")));
            }
        }
        Ok(())
    }
}
