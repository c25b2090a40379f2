//! The normalizing that SentencePiece itself does (`normalizer.cc`): replacements, white space folded, a mark for
//! spaces. GGUF's Unigram vocabularies mean the same.

use super::charsmap::Charsmap;
use super::sentencepiece::SPACE;
use super::trie::Trie;

#[derive(Debug, Clone)]
pub(crate) struct PieceNormalizer {
    pub(crate) charsmap: Option<Charsmap>,
    /// Pieces that are left as they are.
    pub(crate) kept: Option<Trie>,
    /// A space is written before a text…
    pub(crate) add_space: bool,
    /// …only where the whole text begins.
    pub(crate) at_start_only: bool,
    /// Runs of spaces become one, those at the ends none.
    pub(crate) remove_extra_spaces: bool,
}

impl PieceNormalizer {
    /// The length of what is replaced at the beginning of `text`, and what by.
    fn step<'t>(&'t self, text: &'t str) -> Option<(usize, &'t str)> {
        let kept = self.kept.as_ref().and_then(|kept| kept.longest(text.as_bytes()));
        if let Some((len, _)) = kept.filter(|&(len, _)| text.is_char_boundary(len)) {
            return Some((len, &text[..len]));
        }
        let mapped = self.charsmap.as_ref().and_then(|charsmap| charsmap.longest(text));
        mapped.or_else(|| {
            let len = text.chars().next()?.len_utf8();
            Some((len, &text[..len]))
        })
    }

    /// Normalizes one stretch of text; `at_start` says that the whole text begins there.
    pub(crate) fn apply(&self, text: &str, at_start: bool) -> String {
        let mut out = String::with_capacity(text.len() + SPACE.len());
        let mut rest = text;
        if self.remove_extra_spaces {
            while let Some((len, " ")) = self.step(rest) {
                rest = &rest[len..];
            }
        }
        if rest.is_empty() {
            return out;
        }
        if self.add_space && (at_start || !self.at_start_only) {
            out.push_str(SPACE);
        }
        let mut after_space = self.remove_extra_spaces;
        while let Some((len, replacement)) = self.step(rest) {
            let replacement = if after_space { replacement.trim_start_matches(' ') } else { replacement };
            for (number, part) in replacement.split(' ').enumerate() {
                if number > 0 {
                    out.push_str(SPACE);
                }
                out.push_str(part);
            }
            if !replacement.is_empty() {
                after_space = self.remove_extra_spaces && replacement.ends_with(' ');
            }
            rest = &rest[len..];
        }
        if self.remove_extra_spaces {
            out.truncate(out.trim_end_matches(SPACE).len());
        }
        out
    }
}
