//! A set of pieces in which all those that begin a text are found in one walk.

/// No piece ends here.
const NONE: u32 = u32::MAX;
/// The longest piece accepted, in bytes: a walk takes at most so many steps at each place of a text.
pub(crate) const LONGEST_PIECE: usize = 4096;

/// Nodes in breadth-first order, so that a node's children stand side by side, ascending.
#[derive(Debug, Clone)]
pub(crate) struct Trie {
    /// The byte that leads to a node.
    labels: Vec<u8>,
    /// Where a node's children begin; they end where the next node's begin.
    children: Vec<u32>,
    /// The piece that ends at a node.
    ids: Vec<u32>,
}

impl Trie {
    /// Of pieces with their ids; of equal ones the last counts. The empty piece, and pieces longer than
    /// [`LONGEST_PIECE`], are left out: callers refuse those before.
    pub(crate) fn new<'a>(pieces: impl Iterator<Item = (&'a [u8], u32)>) -> Trie {
        let mut pieces: Vec<(&[u8], u32)> =
            pieces.filter(|(piece, _)| !piece.is_empty() && piece.len() <= LONGEST_PIECE).collect();
        pieces.sort_by(|a, b| a.0.cmp(b.0));
        let mut trie = Trie { labels: vec![0], children: Vec::new(), ids: vec![NONE] };
        // For each node the pieces that go through it, and how many of their bytes lead to it.
        let mut spans = vec![(0usize, pieces.len(), 0usize)];
        let mut node = 0;
        while let Some(&(mut from, to, depth)) = spans.get(node) {
            trie.children.push(u32::try_from(spans.len()).unwrap_or(NONE));
            while from < to && pieces[from].0.len() == depth {
                trie.ids[node] = pieces[from].1;
                from += 1;
            }
            while from < to {
                let label = pieces[from].0[depth];
                let same = pieces[from..to].partition_point(|(piece, _)| piece[depth] == label);
                spans.push((from, from + same, depth + 1));
                trie.labels.push(label);
                trie.ids.push(NONE);
                from += same;
            }
            node += 1;
        }
        trie.children.push(u32::try_from(spans.len()).unwrap_or(NONE));
        trie
    }

    /// Calls `each` with the length and the id of every piece that `text` begins with, shortest first.
    pub(crate) fn prefixes(&self, text: &[u8], mut each: impl FnMut(usize, u32)) {
        let mut node = 0;
        for (at, byte) in text.iter().enumerate() {
            let (from, to) = (self.children[node] as usize, self.children[node + 1] as usize);
            match self.labels[from..to].binary_search(byte) {
                Ok(child) => node = from + child,
                Err(_) => return,
            }
            if self.ids[node] != NONE {
                each(at + 1, self.ids[node]);
            }
        }
    }

    /// The longest piece that `text` begins with.
    pub(crate) fn longest(&self, text: &[u8]) -> Option<(usize, u32)> {
        let mut longest = None;
        self.prefixes(text, |len, id| longest = Some((len, id)));
        longest
    }

    /// The piece that `text` is.
    pub(crate) fn get(&self, text: &[u8]) -> Option<u32> {
        self.longest(text).filter(|&(len, _)| len == text.len()).map(|(_, id)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_found() {
        let check = |pieces: &[&str], text: &str, expected: &[(usize, u32)]| {
            let trie = Trie::new(pieces.iter().zip(0..).map(|(piece, id)| (piece.as_bytes(), id)));
            let mut found = Vec::new();
            trie.prefixes(text.as_bytes(), |len, id| found.push((len, id)));
            assert_eq!(found, expected, "{pieces:?} {text:?}");
            assert_eq!(trie.longest(text.as_bytes()), expected.last().copied());
        };
        check(&[], "a", &[]);
        check(&[""], "a", &[]);
        check(&["b", "ab", "a", "abc", "x"], "abd", &[(1, 2), (2, 1)]);
        check(&["a", "é", "éa"], "éa", &[(2, 1), (3, 2)]);
        check(&["a", "a"], "a", &[(1, 1)]);
        check(&["abcdef"], "abc", &[]);
    }
}
