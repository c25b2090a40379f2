//! SentencePiece's BPE: no merge list, the pair whose joined spelling has the best score merges first (Kudo and
//! Richardson 2018; `bpe_model.cc`). Equal scores merge from the left. What stays without a token is spelled in bytes.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::Map;
use super::spellings::Spellings;

/// SentencePiece's visible space, U+2581.
pub(crate) const SPACE: &str = "\u{2581}";

/// The tokens that can come out of merging, with their scores.
#[derive(Debug, Clone)]
pub(crate) struct ScoreBpe {
    /// Spelling → token, for every token that text may become (not control, unknown or byte tokens).
    pub(crate) by_bytes: Spellings,
    /// Score by token id.
    pub(crate) scores: Vec<f32>,
    /// Tokens that may be built on the way but never come out: they are taken apart again.
    pub(crate) unused: Vec<bool>,
    /// Byte tokens by byte.
    pub(crate) bytes: Box<[Option<u32>; 256]>,
    pub(crate) unknown: Option<u32>,
    /// Longest spelling in `by_bytes`, in bytes.
    pub(crate) longest: usize,
}

#[derive(Debug, Clone, Copy)]
struct Symbol {
    start: usize,
    /// 0 once absorbed by the symbol on its left.
    len: usize,
    previous: usize,
    next: usize,
}

struct Candidate {
    score: f32,
    left: usize,
    right: usize,
    len: usize,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then_with(|| other.left.cmp(&self.left))
    }
}
impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Candidate {}

const NONE: usize = usize::MAX;

impl ScoreBpe {
    /// Appends the tokens of `text`, whose spaces are already written as U+2581.
    pub(crate) fn encode(&self, text: &str, out: &mut Vec<u32>) {
        let first = out.len();
        let bytes = text.as_bytes();
        let mut symbols: Vec<Symbol> = Vec::with_capacity(text.len());
        for (start, character) in text.char_indices() {
            let at = symbols.len();
            symbols.push(Symbol { start, len: character.len_utf8(), previous: at.wrapping_sub(1), next: at + 1 });
        }
        let count = symbols.len();
        if let Some(last) = symbols.last_mut() {
            last.next = NONE;
        }
        // How each joined span came to be, to take unused tokens apart again.
        let mut halves: Map<(usize, usize), usize> = Map::default();
        let mut heap = BinaryHeap::with_capacity(count);
        for left in 0..count.saturating_sub(1) {
            self.propose(bytes, &symbols, left, left + 1, &mut heap);
        }
        while let Some(candidate) = heap.pop() {
            let (left, right) = (symbols[candidate.left], symbols[candidate.right]);
            if left.len == 0 || right.len == 0 || left.len + right.len != candidate.len {
                continue;
            }
            if self.is_unused(&bytes[left.start..left.start + candidate.len]) {
                halves.insert((left.start, candidate.len), left.len);
            }
            symbols[candidate.left].len = candidate.len;
            symbols[candidate.right].len = 0;
            symbols[candidate.left].next = right.next;
            if right.next != NONE {
                symbols[right.next].previous = candidate.left;
                self.propose(bytes, &symbols, candidate.left, right.next, &mut heap);
            }
            if left.previous != NONE {
                self.propose(bytes, &symbols, left.previous, candidate.left, &mut heap);
            }
        }
        let mut apart = Vec::new();
        for symbol in symbols.iter().filter(|symbol| symbol.len > 0) {
            apart.push((symbol.start, symbol.len));
            while let Some((start, len)) = apart.pop() {
                let spelling = &bytes[start..start + len];
                match self.by_bytes.get(spelling) {
                    Some(id) if !self.unused[id as usize] => out.push(id),
                    _ => match halves.get(&(start, len)) {
                        Some(&left) => {
                            apart.push((start + left, len - left));
                            apart.push((start, left));
                        }
                        None => self.spell(spelling, first, out),
                    },
                }
            }
        }
    }

    fn is_unused(&self, spelling: &[u8]) -> bool {
        self.by_bytes.get(spelling).is_some_and(|id| self.unused[id as usize])
    }

    fn propose(&self, bytes: &[u8], symbols: &[Symbol], left: usize, right: usize, heap: &mut BinaryHeap<Candidate>) {
        let start = symbols[left].start;
        let len = symbols[left].len + symbols[right].len;
        if len > self.longest {
            return;
        }
        if let Some(id) = self.by_bytes.get(&bytes[start..start + len]) {
            heap.push(Candidate { score: self.scores[id as usize], left, right, len });
        }
    }

    /// One character without a token: its bytes, or the unknown token where the vocabulary has no byte tokens.
    fn spell(&self, spelling: &[u8], first: usize, out: &mut Vec<u32>) {
        let ids: Option<Vec<u32>> = spelling.iter().map(|&byte| self.bytes[usize::from(byte)]).collect();
        match ids {
            Some(ids) => out.extend(ids),
            // A run of them is one unknown token.
            None if self.unknown.is_some() && out[first..].last() == self.unknown.as_ref() => {}
            None => out.extend(self.unknown),
        }
    }
}
