//! Logit bias: a number added to the logit of a token, as in OpenAI's API. Minus infinity forbids the token.

use super::{Candidates, History, SamplingSettings};

pub(super) fn apply(candidates: &mut Candidates, settings: &SamplingSettings, _: &History) {
    let logits = candidates.logits_mut();
    for (&id, bias) in &settings.logit_bias {
        if let Some(logit) = logits.get_mut(id as usize) {
            *logit += bias;
        }
    }
}
