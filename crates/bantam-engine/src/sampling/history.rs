//! The tokens lately seen, for the penalties.

use std::collections::{HashMap, VecDeque};

/// The last tokens of a sequence (prompt and answer alike) and how often each occurs among them.
#[derive(Clone, Debug)]
pub struct History {
    window: Option<usize>,
    tokens: VecDeque<u32>,
    counts: HashMap<u32, u32>,
}

impl History {
    /// A history of the last `window` tokens; `None` keeps all.
    pub fn new(window: Option<usize>) -> Self {
        // A window may be absurdly large; then the buffers grow as tokens come.
        let capacity = window.unwrap_or(0).min(4096);
        Self { window, tokens: VecDeque::with_capacity(capacity + 1), counts: HashMap::with_capacity(capacity + 1) }
    }

    /// Adds a token, and forgets the one that leaves the window.
    pub fn push(&mut self, token: u32) {
        if self.window == Some(0) {
            return;
        }
        if self.window.is_some_and(|window| self.tokens.len() >= window)
            && let Some(oldest) = self.tokens.pop_front()
            && let Some(count) = self.counts.get_mut(&oldest)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&oldest);
            }
        }
        self.tokens.push_back(token);
        *self.counts.entry(token).or_insert(0) += 1;
    }

    /// Adds the tokens of a prompt.
    pub fn extend(&mut self, tokens: &[u32]) {
        let skipped = self.window.map_or(0, |window| tokens.len().saturating_sub(window));
        tokens.iter().skip(skipped).for_each(|&token| self.push(token));
    }

    /// The tokens in the window with their counts, each once, in no order.
    pub fn counts(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.counts.iter().map(|(&token, &count)| (token, count))
    }
}
