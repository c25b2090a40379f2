//! The merges of a vocabulary: hundreds of thousands of short texts, in one buffer.

/// `left right` for each merge, best first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merges {
    text: String,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Merges {
    /// Adds one that is worse than all so far.
    pub fn push(&mut self, merge: &str) {
        self.text.push_str(merge);
        self.ends.push(self.text.len());
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All of them, best first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        let mut start = 0;
        self.ends.iter().map(move |&end| &self.text[std::mem::replace(&mut start, end)..end])
    }
}

impl<S: AsRef<str>> FromIterator<S> for Merges {
    fn from_iter<I: IntoIterator<Item = S>>(merges: I) -> Self {
        let mut all = Self::default();
        for merge in merges {
            all.push(merge.as_ref());
        }
        all
    }
}
