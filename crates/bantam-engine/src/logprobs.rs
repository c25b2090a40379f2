//! Log-probabilities in the shape of OpenAI's chat API.
//!
//! They are taken from the model's own distribution, the log-softmax of the raw logits: before bias, penalties, filters and
//! temperature. So they say what the model thinks, not what the settings make of it, and greedy answers have them too.

use bantam_text::Tokenizer;
use serde::Serialize;

use crate::sampling::{Candidates, exponential};

/// What stands for minus infinity, which JSON cannot spell; OpenAI's API has the same number.
const IMPOSSIBLE: f64 = -9999.0;

/// The log-probabilities of an answer, token by token.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Logprobs {
    /// One a token of the answer, the one that ended it and those of a stop string left out.
    pub content: Vec<TokenLogprob>,
    /// Always null: OpenAI's models may refuse in a text of its own, these do not.
    pub refusal: (),
}

/// A chosen token with its log-probability.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TokenLogprob {
    /// The token's text; U+FFFD where its bytes are no whole characters.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f64,
    /// The bytes of its text.
    pub bytes: Vec<u8>,
    /// The likeliest tokens at its place, likeliest first.
    pub top_logprobs: Vec<TopLogprob>,
}

/// One of the likeliest tokens.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TopLogprob {
    /// The token's text; U+FFFD where its bytes are no whole characters.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f64,
    /// The bytes of its text.
    pub bytes: Vec<u8>,
}

/// The log-probability of `chosen` and of the `top` likeliest tokens in a row of raw logits. `candidates` is scratch.
pub(crate) fn logprobs(
    tokenizer: &Tokenizer,
    logits: &[f32],
    chosen: u32,
    top: usize,
    candidates: &mut Candidates,
) -> TokenLogprob {
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max).min(f32::MAX);
    let distance = |logit: f32| f64::from(logit.min(f32::MAX)) - f64::from(greatest);
    let total: f64 = logits.iter().filter(|logit| !logit.is_nan()).map(|&logit| exponential(distance(logit))).sum();
    let logarithm = total.ln();
    let logprob = |logit: f32| {
        let value = distance(logit) - logarithm;
        if value.is_nan() { IMPOSSIBLE } else { value.max(IMPOSSIBLE) }
    };
    candidates.fill(logits);
    candidates.list_greatest(top);
    let top_logprobs = candidates.as_slice().iter().map(|candidate| {
        let (token, bytes) = spell(tokenizer, candidate.id);
        TopLogprob { token, logprob: logprob(candidate.logit), bytes }
    });
    let top_logprobs = top_logprobs.collect();
    let (token, bytes) = spell(tokenizer, chosen);
    let logit = logits.get(chosen as usize).copied().unwrap_or(f32::NAN);
    TokenLogprob { token, logprob: logprob(logit), bytes, top_logprobs }
}

fn spell(tokenizer: &Tokenizer, token: u32) -> (String, Vec<u8>) {
    let bytes = tokenizer.token_bytes(token).unwrap_or_default();
    (String::from_utf8_lossy(bytes).into_owned(), bytes.to_vec())
}
