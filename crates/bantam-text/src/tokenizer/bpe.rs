//! Byte-pair merging by rank (Sennrich et al. 2016; the byte-level form of GPT-2).
//!
//! The best-ranked pair merges first, the leftmost of equals before the others. Short words are scanned, long ones go
//! through a heap, so a word of `n` symbols costs O(n log n) whatever it holds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Map;
use super::spellings::Spellings;
use crate::error::TextError;

/// Words up to this many symbols are merged by scanning.
const SCANNED: usize = 24;
const GONE: u32 = u32::MAX;

/// How a word becomes its first symbols.
#[derive(Debug, Clone)]
pub(crate) enum Alphabet {
    /// Every byte is a symbol; the token of each byte, if the vocabulary has it.
    Bytes(Box<[Option<u32>; 256]>),
    /// Every character is a symbol; what has no token is spelled with the byte tokens, if there are any.
    Characters(Option<Box<[Option<u32>; 256]>>),
}

/// A merge table with its vocabulary.
#[derive(Debug, Clone)]
pub(crate) struct Bpe {
    /// Token by spelling (raw bytes).
    pub(crate) by_bytes: Spellings,
    /// (left, right) → (rank, merged token).
    pub(crate) merges: Map<(u32, u32), (u32, u32)>,
    pub(crate) alphabet: Alphabet,
    pub(crate) unknown: Option<u32>,
    /// A run of unknown characters is one unknown token.
    pub(crate) fuse_unknown: bool,
    /// A word that is itself a token is taken whole, whatever the merges would give.
    pub(crate) ignore_merges: bool,
    /// Written before every symbol of a word but the first (`##`).
    pub(crate) continuing_prefix: Vec<u8>,
    /// Written behind the last symbol of a word (`</w>`).
    pub(crate) word_suffix: Vec<u8>,
}

impl Bpe {
    /// Adds a merge of two spellings, of which each call's is worse than the one before. What spells no token is refused, or left
    /// out where `lenient`: GGUF files carry such pairs, and llama.cpp spells what they would have made byte by byte. `joined` is
    /// room that is used again.
    pub(crate) fn add_merge(
        &mut self,
        rank: usize,
        (left, right): (&[u8], &[u8]),
        lenient: bool,
        joined: &mut Vec<u8>,
    ) -> Result<(), TextError> {
        joined.clear();
        joined.extend_from_slice(left);
        joined.extend_from_slice(right.strip_prefix(self.continuing_prefix.as_slice()).unwrap_or(right));
        let [Some(left), Some(right), Some(merged)] = [left, right, joined].map(|spelling| self.by_bytes.get(spelling))
        else {
            let missing = [left, right, joined].into_iter().find(|spelling| self.by_bytes.get(spelling).is_none());
            return if lenient {
                Ok(())
            } else {
                Err(TextError::Vocabulary(format!(
                    "merge {rank} needs the token {:?}, which the vocabulary lacks",
                    String::from_utf8_lossy(missing.unwrap_or_default())
                )))
            };
        };
        let rank = u32::try_from(rank).map_err(|_| TextError::Vocabulary("too many merges".to_owned()))?;
        self.merges.insert((left, right), (rank, merged));
        Ok(())
    }

    /// Appends the tokens of one word.
    pub(crate) fn encode(&self, word: &[u8], scratch: &mut Vec<u32>, out: &mut Vec<u32>) {
        if self.ignore_merges
            && let Some(id) = self.by_bytes.get(word)
        {
            out.push(id);
            return;
        }
        scratch.clear();
        self.symbols(word, scratch);
        if scratch.len() <= SCANNED {
            self.merge_by_scanning(scratch);
            out.extend_from_slice(scratch);
        } else {
            self.merge_by_heap(scratch, out);
        }
    }

    fn symbols(&self, word: &[u8], symbols: &mut Vec<u32>) {
        match &self.alphabet {
            Alphabet::Bytes(bytes) => {
                for &byte in word {
                    // A byte without a token vanishes unless there is an unknown token, as in the reference.
                    symbols.extend(bytes[usize::from(byte)].or(self.unknown));
                }
            }
            Alphabet::Characters(bytes) => {
                let Ok(word) = std::str::from_utf8(word) else { return };
                let plain = self.continuing_prefix.is_empty() && self.word_suffix.is_empty();
                let mut after_unknown = false;
                let mut buffer = [0; 4];
                let mut spelled = Vec::new();
                for (at, character) in word.char_indices() {
                    let raw = character.encode_utf8(&mut buffer).as_bytes();
                    let id = if plain {
                        self.by_bytes.get(raw)
                    } else {
                        spelled.clear();
                        if at > 0 {
                            spelled.extend_from_slice(&self.continuing_prefix);
                        }
                        spelled.extend_from_slice(raw);
                        if at + raw.len() == word.len() {
                            spelled.extend_from_slice(&self.word_suffix);
                        }
                        self.by_bytes.get(spelled.as_slice())
                    };
                    let was_unknown = std::mem::take(&mut after_unknown);
                    if let Some(id) = id {
                        symbols.push(id);
                        continue;
                    }
                    let spelled_in_bytes = bytes.as_ref().and_then(|table| {
                        raw.iter().map(|&byte| table[usize::from(byte)]).collect::<Option<Vec<u32>>>()
                    });
                    if let Some(ids) = spelled_in_bytes {
                        symbols.extend(ids);
                    } else if let Some(unknown) = self.unknown {
                        if !(self.fuse_unknown && was_unknown) {
                            symbols.push(unknown);
                        }
                        after_unknown = true;
                    }
                }
            }
        }
    }

    fn merge_by_scanning(&self, symbols: &mut Vec<u32>) {
        while symbols.len() > 1 {
            let best = symbols
                .windows(2)
                .enumerate()
                .filter_map(|(at, pair)| self.merges.get(&(pair[0], pair[1])).map(|&(rank, id)| (rank, at, id)))
                .min();
            let Some((_, at, id)) = best else { break };
            symbols[at] = id;
            symbols.remove(at + 1);
        }
    }

    fn merge_by_heap(&self, symbols: &[u32], out: &mut Vec<u32>) {
        // A linked list over positions: `next[i]` and `previous[i]` are neighbours, an absorbed symbol is GONE.
        let count = symbols.len();
        let mut ids = symbols.to_vec();
        let mut next: Vec<usize> = (1..=count).collect();
        let mut previous: Vec<usize> = (0..count).map(|at| at.wrapping_sub(1)).collect();
        let mut heap = BinaryHeap::with_capacity(count);
        let candidate = |ids: &[u32], left: usize, right: usize| {
            self.merges.get(&(ids[left], ids[right])).map(|&(rank, id)| Reverse((rank, left, id)))
        };
        for left in 0..count.saturating_sub(1) {
            heap.extend(candidate(&ids, left, left + 1));
        }
        while let Some(Reverse((rank, left, id))) = heap.pop() {
            let right = next[left];
            if ids[left] == GONE || right >= count {
                continue;
            }
            // The entry is stale if either side has merged since.
            if self.merges.get(&(ids[left], ids[right])) != Some(&(rank, id)) {
                continue;
            }
            ids[left] = id;
            ids[right] = GONE;
            next[left] = next[right];
            if next[left] < count {
                previous[next[left]] = left;
                heap.extend(candidate(&ids, left, next[left]));
            }
            if previous[left] < count {
                heap.extend(candidate(&ids, previous[left], left));
            }
        }
        out.extend(ids.into_iter().filter(|&id| id != GONE));
    }
}
