//! WordPiece as BERT has it: each word is cut into the longest pieces the vocabulary has, left to right; pieces that do
//! not begin a word carry a mark (`##`). A word that cannot be cut so is one unknown token (Devlin et al. 2018).

use super::trie::Trie;

/// The mark of pieces inside a word, where files do not say another.
pub(crate) const CONTINUING: &str = "##";
/// Longest word that is cut, in characters, where files do not say another; a longer one is unknown.
pub(crate) const LONGEST_WORD: usize = 100;

#[derive(Debug, Clone)]
pub(crate) struct WordPiece {
    /// Every piece as the vocabulary spells it: what a word may begin with.
    first: Trie,
    /// Pieces with the mark, without it.
    rest: Trie,
    unknown: u32,
    /// In characters.
    longest_word: usize,
}

impl WordPiece {
    /// Of a vocabulary with the pieces' own spelling.
    pub(crate) fn new<'a>(
        pieces: impl Iterator<Item = (&'a [u8], u32)> + Clone,
        continuing: &str,
        unknown: u32,
        longest_word: usize,
    ) -> WordPiece {
        let rest = pieces.clone().filter_map(|(piece, id)| Some((piece.strip_prefix(continuing.as_bytes())?, id)));
        WordPiece { first: Trie::new(pieces), rest: Trie::new(rest), unknown, longest_word }
    }

    /// Appends the pieces of one word.
    pub(crate) fn encode(&self, word: &[u8], out: &mut Vec<u32>) {
        let characters = std::str::from_utf8(word).map_or(usize::MAX, |word| word.chars().count());
        let before = out.len();
        let mut at = 0;
        while characters <= self.longest_word && at < word.len() {
            let pieces = if at == 0 { &self.first } else { &self.rest };
            let Some((len, id)) = pieces.longest(&word[at..]) else { break };
            out.push(id);
            at += len;
        }
        if at < word.len() {
            out.truncate(before);
            out.push(self.unknown);
        }
    }
}
