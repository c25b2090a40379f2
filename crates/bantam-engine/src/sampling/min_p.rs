//! Min-p (Nguyen and others, 2024): tokens go whose probability is less than the share `p` of the likeliest token's; 0
//! keeps all.

use super::{Candidates, History, SamplingSettings};

pub(super) fn apply(candidates: &mut Candidates, settings: &SamplingSettings, _: &History) {
    if settings.min_p > 0.0 {
        candidates.weigh();
        let least = f64::from(settings.min_p);
        candidates.retain(|candidate| candidate.weight >= least);
    }
}
