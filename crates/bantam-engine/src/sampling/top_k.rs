//! Top-k (Fan and others, 2018): only the `k` likeliest tokens stay; 0 keeps all.

use super::{Candidates, History, SamplingSettings};

pub(super) fn apply(candidates: &mut Candidates, settings: &SamplingSettings, _: &History) {
    match settings.top_k {
        0 => candidates.list(),
        count if count >= candidates.logits_mut().len() => candidates.list(),
        count => candidates.list_greatest(count),
    }
}
