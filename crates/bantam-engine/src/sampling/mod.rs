//! How the next token is chosen from a row of logits.
//!
//! The steps stand in [`CHAIN`] and run in that order, which is llama.cpp's default one: what changes logits first
//! (bias, penalties, a constraint's mask), then what drops candidates (top-k, typical-p, top-p, min-p), then the
//! temperature, then one draw. A step whose setting is neutral does nothing. Each filter sees the probabilities that
//! the candidates left over by the earlier ones have among themselves.
//!
//! Temperature 0 is greedy: the largest logit after bias, penalties and mask, the lowest id where several are equal; the
//! filters are then not asked. A logit that is no number or minus infinity is never chosen; if there is no other,
//! [`EngineError::NoCandidate`](crate::EngineError::NoCandidate) says so.
//!
//! The same settings, seed and logits choose the same tokens on every machine: the generator and the exponential are our
//! own, and nothing runs in parallel.

mod candidates;
mod constraint;
mod exponential;
mod history;
mod logit_bias;
mod min_p;
mod penalties;
mod random;
mod sampler;
mod settings;
mod temperature;
mod top_k;
mod top_p;
mod typical_p;

pub use candidates::{Candidate, Candidates};
pub(crate) use candidates::{greatest, likeliest};
pub use constraint::Mask;
pub(crate) use exponential::exponential;
pub use history::History;
pub use random::Random;
pub use sampler::Sampler;
pub use settings::{SamplingOptions, SamplingSettings};

/// One step of the chain.
pub struct Step {
    /// Its name, as in the options of the command.
    pub name: &'static str,
    /// What it does to the candidates.
    pub apply: fn(&mut Candidates, &SamplingSettings, &History),
}

/// The steps in the order they run. A constraint's [`Mask`] is laid between the last step on logits and the first filter.
pub const CHAIN: &[Step] = &[
    Step { name: "logit-bias", apply: logit_bias::apply },
    Step { name: "penalties", apply: penalties::apply },
    Step { name: "top-k", apply: top_k::apply },
    Step { name: "typical-p", apply: typical_p::apply },
    Step { name: "top-p", apply: top_p::apply },
    Step { name: "min-p", apply: min_p::apply },
    Step { name: "temperature", apply: temperature::apply },
];

/// How many steps at the start of [`CHAIN`] work on all logits.
pub(crate) const LOGIT_STEPS: usize = 2;
