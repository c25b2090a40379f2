//! The sampler of one sequence: settings, generator and history.

use super::{CHAIN, Candidates, History, LOGIT_STEPS, Mask, Random, SamplingSettings};
use crate::EngineError;

/// Chooses the tokens of one sequence.
pub struct Sampler {
    settings: SamplingSettings,
    random: Random,
    history: History,
}

impl Sampler {
    /// A sampler at the start of a sequence.
    ///
    /// # Errors
    /// [`EngineError::Setting`] for settings that mean nothing.
    pub fn new(settings: SamplingSettings, seed: u64, vocabulary_len: usize) -> Result<Self, EngineError> {
        settings.check(vocabulary_len)?;
        let window = if settings.has_penalties() { settings.penalty_window } else { Some(0) };
        Ok(Self { random: Random::new(seed), history: History::new(window), settings })
    }

    /// Tells it the prompt, for the penalties.
    pub fn read_prompt(&mut self, tokens: &[u32]) {
        self.history.extend(tokens);
    }

    /// Chooses the next token from a row of logits, one a token of the vocabulary. `candidates` is scratch.
    ///
    /// # Errors
    /// [`EngineError::NoCandidate`] if no logit is a number above minus infinity.
    pub fn sample(&mut self, logits: &[f32], candidates: &mut Candidates) -> Result<u32, EngineError> {
        self.sample_under(logits, candidates, None)
    }

    /// The same, with a mask laid over the logits once bias and penalties have changed them, and before any filter: so no
    /// filter takes the last token that may come.
    ///
    /// # Errors
    /// As [`sample`](Self::sample), and what the mask says.
    pub fn sample_under(
        &mut self,
        logits: &[f32],
        candidates: &mut Candidates,
        mask: Option<Mask<'_>>,
    ) -> Result<u32, EngineError> {
        let plain = self.settings.logit_bias.is_empty() && !self.settings.has_penalties() && mask.is_none();
        let token = if self.settings.temperature == 0.0 && plain {
            super::greatest(logits)
        } else {
            candidates.fill(logits);
            let (on_logits, on_candidates) = CHAIN.split_at(LOGIT_STEPS);
            for step in on_logits {
                (step.apply)(candidates, &self.settings, &self.history);
            }
            if let Some(mask) = mask {
                mask(candidates.logits_mut())?;
            }
            if self.settings.temperature == 0.0 {
                candidates.greatest()
            } else {
                for step in on_candidates {
                    (step.apply)(candidates, &self.settings, &self.history);
                }
                candidates.at(self.random.next_unit())
            }
        };
        let token = token.ok_or(EngineError::NoCandidate { vocabulary_len: logits.len() })?;
        self.history.push(token);
        Ok(token)
    }
}
