//! SentencePiece's compiled table of replacements (`precompiled_charsmap`): a double array (Yata's `darts-clone`) over
//! the strings that are replaced, whose values are places among NUL-ended replacements (`normalizer.cc`).
//!
//! Layout, little-endian: the array's size in bytes as u32; the array, u32 units; the replacements. A unit's bits: 0–7
//! and 31 the label, 8 whether a leaf hangs here, 9 and 10–30 the offset to its children; a leaf's bits 0–30 its value.

use unicode_segmentation::UnicodeSegmentation;

use crate::error::TextError;

#[derive(Debug, Clone)]
pub(crate) struct Charsmap {
    units: Vec<u32>,
    replacements: String,
}

/// The longest replacement accepted, in bytes: a text grows by no more than that for each of its own. Real ones have 33.
const LONGEST_REPLACEMENT: usize = 1024;

impl Charsmap {
    /// Reads and checks the table.
    ///
    /// # Errors
    /// [`TextError::Vocabulary`] says what is wrong with it.
    pub(crate) fn new(bytes: &[u8]) -> Result<Charsmap, TextError> {
        let damaged = |reason: String| TextError::Vocabulary(format!("precompiled_charsmap: {reason}"));
        let Some((size, rest)) = bytes.split_first_chunk::<4>() else {
            return Err(damaged(format!("expected a size of 4 bytes, found {} bytes", bytes.len())));
        };
        let size = u32::from_le_bytes(*size) as usize;
        let Some((array, replacements)) = rest.split_at_checked(size) else {
            return Err(damaged(format!("expected an array of {size} bytes, found {}", rest.len())));
        };
        let (units, odd) = array.as_chunks::<4>();
        if !odd.is_empty() || units.is_empty() {
            return Err(damaged(format!("expected an array of 4-byte units, found {size} bytes")));
        }
        let units = units.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
        let Ok(replacements) = std::str::from_utf8(replacements) else {
            return Err(damaged("the replacements are not UTF-8".to_owned()));
        };
        let longest = replacements.split('\0').map(str::len).max().unwrap_or(0);
        if longest > LONGEST_REPLACEMENT {
            let limit = LONGEST_REPLACEMENT;
            return Err(damaged(format!("a replacement of {longest} bytes, at most {limit} are accepted")));
        }
        Ok(Charsmap { units, replacements: replacements.to_owned() })
    }

    fn unit(&self, at: usize) -> Option<u32> {
        self.units.get(at).copied()
    }

    /// Calls `each` with the length and value of every key that `text` begins with, shortest first, while it gives true.
    fn keys(&self, text: &[u8], mut each: impl FnMut(usize, usize) -> bool) -> Option<()> {
        let offset = |unit: u32| ((unit >> 10) << ((unit & (1 << 9)) >> 6)) as usize;
        let mut node = offset(self.unit(0)?);
        for (at, &byte) in text.iter().enumerate().take_while(|(_, byte)| **byte != 0) {
            node ^= usize::from(byte);
            let unit = self.unit(node)?;
            if unit & (1 << 31 | 0xff) != u32::from(byte) {
                return None;
            }
            node ^= offset(unit);
            if (unit >> 8) & 1 == 1 && !each(at + 1, (self.unit(node)? & 0x7fff_ffff) as usize) {
                return None;
            }
        }
        None
    }

    /// The replacement at `value`, up to the next NUL; nothing where no character begins there.
    fn replacement(&self, value: usize) -> &str {
        let rest = self.replacements.get(value..).unwrap_or_default();
        rest.split('\0').next().unwrap_or_default()
    }

    /// The longest key that `text` begins with: its length in bytes and its replacement. As SentencePiece has it.
    pub(crate) fn longest(&self, text: &str) -> Option<(usize, &str)> {
        let mut longest = None;
        self.keys(text.as_bytes(), |len, value| {
            if text.is_char_boundary(len) {
                longest = Some((len, value));
            }
            true
        });
        longest.map(|(len, value)| (len, self.replacement(value)))
    }

    /// As the `tokenizers` library applies it: to grapheme clusters of up to five bytes, then to characters, and each
    /// becomes what the *shortest* key that it begins with stands for.
    pub(crate) fn by_graphemes(&self, text: &str) -> String {
        let shortest = |text: &str| {
            let mut found = None;
            self.keys(text.as_bytes(), |_, value| {
                found = Some(value);
                false
            });
            found.map(|value| self.replacement(value))
        };
        let mut out = String::with_capacity(text.len());
        for cluster in text.graphemes(true) {
            if cluster.len() < 6
                && let Some(replacement) = shortest(cluster)
            {
                out.push_str(replacement);
                continue;
            }
            for (at, character) in cluster.char_indices() {
                let part = &cluster[at..at + character.len_utf8()];
                out.push_str(shortest(part).unwrap_or(part));
            }
        }
        out
    }
}
