//! Penalties for tokens seen lately.
//!
//! The repeat penalty (Keskar and others, 2019, "CTRL") divides a positive logit and multiplies a negative one; then the
//! frequency penalty is subtracted for each occurrence and the presence penalty once (OpenAI's definition). As in
//! llama.cpp all three look at the last tokens of prompt and answer.

use super::{Candidates, History, SamplingSettings};

pub(super) fn apply(candidates: &mut Candidates, settings: &SamplingSettings, history: &History) {
    if !settings.has_penalties() {
        return;
    }
    let logits = candidates.logits_mut();
    for (id, count) in history.counts() {
        if let Some(logit) = logits.get_mut(id as usize) {
            let penalty = settings.repeat_penalty;
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            *logit -= count as f32 * settings.frequency_penalty + settings.presence_penalty;
        }
    }
}
