//! The gate that an answer's tokens pass where it is held to a constraint: thoughts first, if the model thinks, then the
//! answer, which must be what the constraint says from its first token to its last.

use bantam_constrain::{Constraint, Session};
use bantam_text::Tokenizer;

use crate::EngineError;
use crate::reasoning::Reasoning;

/// Tokens of newlines that may stand between thoughts and answer: models write them, and they are shown in neither.
const SEPARATORS: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing was written: the answer may begin, or thoughts before it.
    Start,
    Thoughts,
    /// Thoughts have ended; this many tokens of newlines may still come.
    Between(u8),
    Answer,
}

/// What a token was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// A part of the thoughts, or of what stands between them and the answer.
    Before,
    /// The first token of the answer.
    First,
    /// A later one.
    Answer,
    /// The token that ends the answer.
    End,
}

/// See the module.
pub(crate) struct Gate<'t> {
    tokenizer: &'t Tokenizer,
    session: Session,
    phase: Phase,
    /// Whether the answer has begun.
    begun: bool,
    /// The token that begins thoughts, where they are marked by one.
    begin: Option<u32>,
    /// The text that ends them.
    end: String,
    /// Tokens that would end the thoughts and begin the answer in one, each with the text that must stand before it to do so.
    straddling: Vec<(u32, Vec<u8>)>,
    newlines: Vec<u32>,
    /// Tokens that were let through beside the constraint's, with their logits.
    beside: Vec<(u32, f32)>,
    /// The end of the thoughts so far.
    tail: String,
}

impl<'t> Gate<'t> {
    pub(crate) fn new(tokenizer: &'t Tokenizer, constraint: &Constraint, reasoning: Option<&Reasoning>) -> Self {
        let markers = reasoning.filter(|markers| !markers.start.is_empty() && !markers.end.is_empty());
        let (begin, end) = match markers {
            Some(markers) => (tokenizer.token_id(&markers.start), markers.end.clone()),
            None => (None, String::new()),
        };
        let phase = match markers {
            Some(markers) if markers.opened => Phase::Thoughts,
            Some(_) if begin.is_some() => Phase::Start,
            _ => Phase::Answer,
        };
        let mut gate = Self {
            tokenizer,
            session: constraint.begin(),
            phase,
            begun: false,
            begin,
            end,
            straddling: Vec::new(),
            newlines: Vec::new(),
            beside: Vec::new(),
            tail: String::new(),
        };
        if phase != Phase::Answer {
            gate.read_vocabulary();
        }
        gate
    }

    /// Finds the tokens that matter where thoughts end.
    fn read_vocabulary(&mut self) {
        let end = self.end.as_bytes();
        for id in (0..self.tokenizer.vocabulary_len()).filter_map(|id| u32::try_from(id).ok()) {
            if self.tokenizer.is_special(id) {
                continue;
            }
            let bytes = self.tokenizer.token_bytes(id).unwrap_or_default();
            if matches!(bytes, b"\n" | b"\n\n") {
                self.newlines.push(id);
            }
            let says_more = |from: usize| bytes.get(from..).is_some_and(|rest| !rest.trim_ascii().is_empty());
            for inside in 1..=end.len().min(bytes.len()) {
                let (before, within) = end.split_at(end.len() - inside);
                if bytes.starts_with(within) && says_more(inside) {
                    self.straddling.push((id, before.to_vec()));
                }
            }
            let whole = (1..bytes.len()).any(|at| bytes[at..].starts_with(end) && says_more(at + end.len()));
            if whole {
                self.straddling.push((id, Vec::new()));
            }
        }
    }

    /// Leaves only the tokens that may come. `at_start`: the text drops a leading space here.
    pub(crate) fn mask(&mut self, logits: &mut [f32], at_start: bool) -> Result<(), EngineError> {
        let mut forbid = |id: u32| {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit = f32::NEG_INFINITY;
            }
        };
        self.beside.clear();
        if self.phase == Phase::Thoughts {
            self.tokenizer.end_of_generation().iter().copied().for_each(&mut forbid);
            let tail = self.tail.as_bytes();
            let straddling = self.straddling.iter().filter(|(_, before)| tail.ends_with(before));
            straddling.for_each(|&(id, _)| forbid(id));
            return Ok(());
        }
        let free: &[u32] = match self.phase {
            Phase::Start => self.begin.as_slice(),
            Phase::Between(left) if left > 0 => &self.newlines,
            _ => &[],
        };
        self.beside.extend(free.iter().filter_map(|&id| Some((id, *logits.get(id as usize)?))));
        self.session.mask(logits, at_start)?;
        // What the constraint allows is its own; the others are let through beside it.
        self.beside.retain(|&(id, before)| {
            let Some(logit) = logits.get_mut(id as usize) else { return false };
            let masked = *logit == f32::NEG_INFINITY;
            *logit = before;
            masked
        });
        Ok(())
    }

    /// Takes the token that was chosen.
    pub(crate) fn take(&mut self, token: u32, at_start: bool) -> Result<Passed, EngineError> {
        if self.phase == Phase::Thoughts {
            return Ok(Passed::Before);
        }
        if self.beside.iter().any(|&(id, _)| id == token) {
            self.phase = match self.phase {
                Phase::Between(left) => Phase::Between(left.saturating_sub(1)),
                _ => Phase::Thoughts,
            };
            return Ok(Passed::Before);
        }
        // A grammar may name a token that ends answers elsewhere.
        if self.tokenizer.end_of_generation().contains(&token) && self.session.is_accepting() {
            return Ok(Passed::End);
        }
        self.session.accept(token, at_start)?;
        let first = !self.begun;
        self.begun = true;
        self.phase = Phase::Answer;
        Ok(if first { Passed::First } else { Passed::Answer })
    }

    /// Hears the text of a token, to find the end of thoughts.
    pub(crate) fn hear(&mut self, text: &str) {
        if self.phase != Phase::Thoughts {
            return;
        }
        self.tail.push_str(text);
        if self.tail.contains(&self.end) {
            self.phase = Phase::Between(SEPARATORS);
            self.tail.clear();
            return;
        }
        // Only what may be the marker's beginning is kept.
        let mut keep = self.tail.len().saturating_sub(self.end.len());
        while !self.tail.is_char_boundary(keep) {
            keep -= 1;
        }
        self.tail.drain(..keep);
    }

    /// Whether the answer is whole and nothing may follow.
    pub(crate) fn is_finished(&self) -> bool {
        self.session.is_finished()
    }

    /// How sure the model is, where the constraint can tell.
    pub(crate) fn confidence(&self) -> Option<f64> {
        self.session.confidence()
    }

    /// Whether the answer is valid as it stands.
    pub(crate) fn is_met(&mut self) -> bool {
        matches!(self.phase, Phase::Answer | Phase::Start | Phase::Between(_)) && self.session.is_accepting()
    }
}
