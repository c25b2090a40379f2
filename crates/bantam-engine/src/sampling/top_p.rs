//! Top-p, nucleus sampling (Holtzman and others, 2019): the likeliest tokens stay that together have the probability `p`,
//! at least one; 1 keeps all.

use super::{Candidates, History, SamplingSettings, likeliest};

pub(super) fn apply(candidates: &mut Candidates, settings: &SamplingSettings, _: &History) {
    if settings.top_p < 1.0 {
        candidates.keep_share(f64::from(settings.top_p), likeliest);
    }
}
