//! Temperature: logits are divided by it, so that below 1 the likely tokens gain and above 1 the unlikely ones do.

use super::{Candidates, History, SamplingSettings};

pub(super) fn apply(candidates: &mut Candidates, settings: &SamplingSettings, _: &History) {
    if settings.temperature != 1.0 {
        candidates.divide(settings.temperature);
    }
}
