//! Typical-p, locally typical sampling (Meister and others, 2022): the tokens stay whose surprise is closest to the
//! expected one (the entropy), until together they have the probability `p`, at least one; 1 keeps all.

use super::{Candidates, History, SamplingSettings, likeliest};

pub(super) fn apply(candidates: &mut Candidates, settings: &SamplingSettings, _: &History) {
    if settings.typical_p >= 1.0 {
        return;
    }
    candidates.weigh();
    // With z the logarithm of the sum of exponentials, the surprise of a token is z - logit and the entropy z - mean, mean
    // being the expected logit; so the distance between the two is |mean - logit|.
    let total = candidates.total();
    let products = candidates.as_slice().iter().map(|candidate| candidate.weight * f64::from(candidate.logit));
    let mean = products.sum::<f64>() / total;
    candidates.keep_share(f64::from(settings.typical_p), |a, b| {
        let distance = |logit: f32| (mean - f64::from(logit)).abs();
        distance(a.logit).total_cmp(&distance(b.logit)).then_with(|| likeliest(a, b))
    });
}
