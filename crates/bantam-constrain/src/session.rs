//! One answer under a constraint.

use std::fmt;
use std::sync::Arc;

use llguidance::api::StopReason;
use llguidance::toktrie::{SimpleVob, TokEnv};
use llguidance::{CancellationHandle, Matcher};

use crate::ConstraintError;
use crate::spans::SpanSession;
use crate::text::sentence;
use crate::watch;

/// Tokens that begin with a space, for vocabularies whose texts drop the space at their start (SentencePiece).
#[derive(Debug, Default)]
pub(crate) struct Leading {
    /// A token that begins with its only space, and the one that spells the rest of it.
    pairs: Vec<(u32, u32)>,
    /// Every token with a space.
    spaced: Vec<u32>,
    /// The token that is one space.
    space: Option<u32>,
}

impl Leading {
    pub(crate) fn new(environment: &TokEnv) -> Self {
        let trie = environment.tok_trie();
        let mut leading = Self::default();
        for id in (0..trie.vocab_size()).filter_map(|id| u32::try_from(id).ok()) {
            let bytes = trie.token(id);
            if bytes.contains(&b' ') {
                leading.spaced.push(id);
            }
            if let Some(rest) = bytes.strip_prefix(b" ") {
                if rest.is_empty() {
                    leading.space = leading.space.or(Some(id));
                } else if rest.contains(&b' ') {
                    // Some vocabularies drop this space, too.
                } else if let Some(bare) = trie.token_id_at_bytes(rest) {
                    leading.pairs.push((id, bare));
                }
            }
        }
        leading
    }

    fn bare(&self, token: u32) -> Option<u32> {
        self.pairs.binary_search_by_key(&token, |&(spaced, _)| spaced).ok().map(|at| self.pairs[at].1)
    }
}

/// One answer on its way.
pub struct Session {
    by: By,
    /// Whether the answer is over: nothing may follow.
    finished: bool,
}

/// What says which tokens may come.
enum By {
    Matcher(Box<ByMatcher>),
    Spans(SpanSession),
}

struct ByMatcher {
    matcher: Matcher,
    cancel: Option<CancellationHandle>,
    leading: Arc<Leading>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("finished", &self.finished).finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(matcher: Matcher, leading: Arc<Leading>) -> Self {
        let cancel = matcher.cancellation_handle();
        Self { by: By::Matcher(Box::new(ByMatcher { matcher, cancel, leading })), finished: false }
    }

    pub(crate) fn of_spans(spans: SpanSession) -> Self {
        Self { by: By::Spans(spans), finished: false }
    }

    /// Sets the logits of tokens that may not come next to minus infinity; `logits` has one place a token, those behind the
    /// vocabulary's end included, which are never allowed. Tokens that end an answer are allowed where it may end.
    ///
    /// `at_start` says that the text drops one space if the next token begins with it, as SentencePiece texts do at their
    /// start: `▁Yes` is then `Yes`.
    ///
    /// # Errors
    /// [`ConstraintError::Stuck`] where no token may come, or finding out takes more work than any honest grammar asks for.
    pub fn mask(&mut self, logits: &mut [f32], at_start: bool) -> Result<(), ConstraintError> {
        if self.finished {
            return Err(ConstraintError::Stuck("it is over".to_owned()));
        }
        match &mut self.by {
            By::Matcher(by) => {
                let mut allowed = by.allowed()?;
                if at_start {
                    by.shift(&mut allowed);
                }
                cover(&allowed, logits);
                Ok(())
            }
            By::Spans(spans) => spans.mask(logits),
        }
    }

    /// Takes the token that was chosen; `at_start` as for the mask it was chosen under.
    ///
    /// # Errors
    /// [`ConstraintError::Stuck`] for a token that the mask did not allow.
    pub fn accept(&mut self, token: u32, at_start: bool) -> Result<(), ConstraintError> {
        self.finished = match &mut self.by {
            By::Matcher(by) => by.accept(token, at_start)?,
            By::Spans(spans) => {
                spans.accept(token)?;
                spans.is_finished()
            }
        };
        Ok(())
    }

    /// How sure the model is of what it has answered so far, from 0 to 1, where the constraint can tell.
    pub fn confidence(&self) -> Option<f64> {
        match &self.by {
            By::Matcher(_) => None,
            By::Spans(spans) => Some(spans.confidence()),
        }
    }

    /// Whether the answer is whole and nothing may follow.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether the answer is valid as it stands.
    pub fn is_accepting(&mut self) -> bool {
        match &mut self.by {
            By::Matcher(by) if self.finished => {
                matches!(by.matcher.stop_reason(), StopReason::NoExtension | StopReason::EndOfSentence)
            }
            By::Matcher(by) => by.matcher.is_accepting().unwrap_or(false),
            By::Spans(spans) => spans.is_accepting(),
        }
    }
}

impl ByMatcher {
    /// Takes a token; whether nothing may follow.
    fn accept(&mut self, token: u32, at_start: bool) -> Result<bool, ConstraintError> {
        let token = match at_start.then(|| self.leading.bare(token)).flatten() {
            Some(bare) => bare,
            None if at_start && self.leading.space == Some(token) => return Ok(self.matcher.is_stopped()),
            None => token,
        };
        let watched = self.cancel.as_ref().map(watch::begin);
        let taken = self.matcher.consume_token(token);
        drop(watched);
        taken.map_err(|error| stuck(&error.to_string()))?;
        Ok(self.matcher.is_stopped())
    }

    fn allowed(&mut self) -> Result<SimpleVob, ConstraintError> {
        let _watched = self.cancel.as_ref().map(watch::begin);
        self.matcher.compute_mask().map_err(|error| stuck(&error.to_string()))
    }

    /// What may come where a leading space is dropped: ` Yes` where `Yes` may, and one space, which says nothing. Others with
    /// spaces wait for the second token.
    fn shift(&self, allowed: &mut SimpleVob) {
        let leading = &self.leading;
        let bare: Vec<bool> = leading.pairs.iter().map(|&(_, bare)| allowed.is_allowed(bare)).collect();
        leading.spaced.iter().for_each(|&id| allowed.disallow_token(id));
        for (&(spaced, _), _) in leading.pairs.iter().zip(bare).filter(|(_, bare)| *bare) {
            allowed.allow_token(spaced);
        }
        leading.space.into_iter().for_each(|space| allowed.allow_token(space));
    }
}

/// Minus infinity wherever the set has no member.
fn cover(allowed: &SimpleVob, logits: &mut [f32]) {
    let mut blocks = logits.chunks_mut(32);
    let len = allowed.len();
    for (index, &word) in allowed.as_slice().iter().enumerate() {
        let Some(block) = blocks.next() else { return };
        let left = len.saturating_sub(index * 32);
        let word = if left >= 32 { word } else { word & ((1_u32 << left) - 1) };
        match word {
            u32::MAX => {}
            0 => block.fill(f32::NEG_INFINITY),
            _ => {
                for (bit, logit) in block.iter_mut().enumerate() {
                    if word >> bit & 1 == 0 {
                        *logit = f32::NEG_INFINITY;
                    }
                }
            }
        }
    }
    blocks.for_each(|block| block.fill(f32::NEG_INFINITY));
}

fn stuck(error: &str) -> ConstraintError {
    let line = sentence(error);
    ConstraintError::Stuck(match () {
        () if line.contains("NoExtensionBias") => "no token of the vocabulary can follow".to_owned(),
        () if line.to_lowercase().contains("cancel") => "the constraint needs more than two seconds here".to_owned(),
        () if line.contains("TooComplex") || line.contains("too many") || line.contains("fuel") => {
            format!("the constraint needs too much work here ({line})")
        }
        () => line,
    })
}
