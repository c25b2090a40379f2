//! The tokens still in question, in buffers that are kept from token to token.

use std::cmp::Ordering;

use super::exponential;

/// A token that may be chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Its id.
    pub id: u32,
    /// Its logit after the steps so far; finite.
    pub logit: f32,
    /// `exp(logit - greatest logit)`, where [`Candidates::weigh`] was called since the logits changed.
    pub weight: f64,
}

/// The order of candidates: greater logit first, then lower id.
pub(crate) fn likeliest(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id))
}

/// The candidates of one token to come. One buffer serves any number of sequences, one after the other.
///
/// First all logits stand in [`logits_mut`](Self::logits_mut), one a token of the vocabulary; [`list`](Self::list) or
/// [`list_greatest`](Self::list_greatest) then turn them into candidates, which filters take from.
#[derive(Debug, Default)]
pub struct Candidates {
    logits: Vec<f32>,
    list: Vec<Candidate>,
    /// The greatest logit of each stretch.
    stretches: Vec<f32>,
    /// What the weights of the candidates amount to.
    total: f64,
    weighed: bool,
}

impl Candidates {
    /// Buffers for a vocabulary of this size.
    pub fn new(vocabulary_len: usize) -> Self {
        Self { logits: Vec::with_capacity(vocabulary_len), ..Self::default() }
    }

    /// Begins anew with the logits of a row.
    pub fn fill(&mut self, logits: &[f32]) {
        self.logits.clear();
        self.logits.extend_from_slice(logits);
        self.list.clear();
        self.weighed = false;
    }

    /// All logits, for the steps that change them.
    pub fn logits_mut(&mut self) -> &mut [f32] {
        &mut self.logits
    }

    /// The token with the greatest logit, the lowest id of equal ones.
    pub fn greatest(&self) -> Option<u32> {
        greatest(&self.logits)
    }

    /// Makes a candidate of every token whose logit is a number, in the order of their ids.
    pub fn list(&mut self) {
        self.list.clear();
        let usable = (0..).zip(&self.logits).filter(|(_, logit)| **logit > f32::NEG_INFINITY);
        self.list.extend(usable.map(|(id, &logit)| candidate(id, logit)));
        self.weighed = false;
    }

    /// Makes candidates of the `count` tokens with the greatest logits, greatest first.
    pub fn list_greatest(&mut self, count: usize) {
        list_greatest(&self.logits, count, &mut self.list, &mut self.stretches);
        self.weighed = false;
    }

    /// The candidates.
    pub fn as_slice(&self) -> &[Candidate] {
        &self.list
    }

    /// Gives every candidate its weight. Cheap where nothing changed since the last time.
    pub fn weigh(&mut self) {
        if !self.weighed {
            let greatest = self.list.iter().map(|candidate| candidate.logit).fold(f32::NEG_INFINITY, f32::max);
            for candidate in &mut self.list {
                candidate.weight = exponential(f64::from(candidate.logit) - f64::from(greatest));
            }
            self.sum();
            self.weighed = true;
        }
    }

    /// What the weights amount to, after [`weigh`](Self::weigh); at least 1 as the greatest weight is 1.
    pub fn total(&self) -> f64 {
        self.total
    }

    /// Keeps the candidates that fulfil a condition.
    pub fn retain(&mut self, keep: impl FnMut(&Candidate) -> bool) {
        self.list.retain(keep);
        self.changed();
    }

    /// Orders the candidates and keeps the first ones until together they have `share` of the total weight, at least one.
    ///
    /// Only as many are sorted as are kept, about: a few of 150,000, most often.
    pub fn keep_share(&mut self, share: f64, order: impl Fn(&Candidate, &Candidate) -> Ordering) {
        self.weigh();
        let wanted = share * self.total;
        let (mut sum, mut begin, mut size) = (0.0, 0, 64);
        while begin < self.list.len() {
            let rest = &mut self.list[begin..];
            if rest.len() > size {
                rest.select_nth_unstable_by(size - 1, &order);
            }
            let end = size.min(rest.len());
            let first = &mut rest[..end];
            first.sort_unstable_by(&order);
            for (index, candidate) in first.iter().enumerate() {
                sum += candidate.weight;
                if sum >= wanted {
                    self.list.truncate(begin + index + 1);
                    self.changed();
                    return;
                }
            }
            begin += end;
            size *= 4;
        }
        self.changed();
    }

    /// Divides the logits (after the greatest was taken off, so that nothing overflows).
    pub fn divide(&mut self, divisor: f32) {
        let greatest = self.list.iter().map(|candidate| candidate.logit).fold(f32::NEG_INFINITY, f32::max);
        for candidate in &mut self.list {
            let distance = f64::from(candidate.logit) - f64::from(greatest);
            candidate.logit = ((distance / f64::from(divisor)) as f32).max(f32::MIN);
        }
        self.weighed = false;
    }

    /// The candidate at a point of the total weight, `0 ≤ point < 1`.
    pub fn at(&mut self, point: f64) -> Option<u32> {
        self.weigh();
        let mut rest = point * self.total;
        for candidate in &self.list {
            rest -= candidate.weight;
            if rest < 0.0 {
                return Some(candidate.id);
            }
        }
        // Rounding may leave a crumb: the last one that has any weight takes it.
        self.list.iter().rev().find(|candidate| candidate.weight > 0.0).map(|candidate| candidate.id)
    }

    /// After candidates were dropped: the greatest may be gone, so weights may have to be taken anew.
    fn changed(&mut self) {
        if self.list.iter().any(|candidate| candidate.weight == 1.0) {
            self.sum();
        } else {
            self.weighed = false;
        }
    }

    fn sum(&mut self) {
        self.total = self.list.iter().map(|candidate| candidate.weight).sum();
    }
}

fn candidate(id: u32, logit: f32) -> Candidate {
    Candidate { id, logit: logit.min(f32::MAX), weight: 0.0 }
}

/// Logits looked at together: a vocabulary has a few thousand times as many.
const STRETCH: usize = 128;

/// The greatest of a stretch, minus infinity where there is no number above it. In lanes, so that the processor compares many at
/// once: a vocabulary's logits then cost no more than reading them.
fn greatest_of(stretch: &[f32]) -> f32 {
    let greater = |a: f32, b: f32| if b > a { b } else { a };
    let (groups, rest) = stretch.as_chunks::<16>();
    let mut lanes = [f32::NEG_INFINITY; 16];
    for group in groups {
        for (lane, &logit) in lanes.iter_mut().zip(group) {
            *lane = greater(*lane, logit);
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| greater(a, b))
}

/// The index of the greatest logit, the lowest of equal ones; none if there is no number above minus infinity.
pub(crate) fn greatest(logits: &[f32]) -> Option<u32> {
    let (mut best, mut found) = (f32::NEG_INFINITY, None);
    for stretch in (0..).step_by(STRETCH).zip(logits.chunks(STRETCH)) {
        let greatest = greatest_of(stretch.1);
        if greatest > best {
            (best, found) = (greatest, Some(stretch));
        }
    }
    let (start, stretch) = found?;
    (start..).zip(stretch).find(|(_, logit)| **logit == best).map(|(id, _)| id)
}

/// The `count` greatest logits, greatest first, into a buffer that is reused, as is the one for the greatest of each
/// stretch.
///
/// Where there are `count` stretches with a logit of at least so much, no lesser logit is among the `count` greatest: so after the
/// stretches' own greatest are found, few stretches are looked at again.
fn list_greatest(logits: &[f32], count: usize, list: &mut Vec<Candidate>, stretches: &mut Vec<f32>) {
    list.clear();
    if count == 0 {
        return;
    }
    let limit = count.saturating_mul(2).saturating_add(64).min(logits.len().max(1));
    list.reserve(limit);
    stretches.clear();
    stretches.extend(logits.chunks(STRETCH).map(greatest_of));
    let number = stretches.len();
    let mut least = f32::NEG_INFINITY;
    if count <= number {
        stretches.extend_from_within(..);
        let (_, nth, _) = stretches[number..].select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a));
        // Candidates' logits are finite: infinity counts as the greatest number.
        least = nth.min(f32::MAX).next_down();
    }
    for ((start, stretch), &greatest) in (0..).step_by(STRETCH).zip(logits.chunks(STRETCH)).zip(&*stretches) {
        if greatest <= least {
            continue;
        }
        for (id, &logit) in (start..).zip(stretch) {
            // A later token with an equal logit comes after the earlier one, so "greater" is enough.
            if logit > least {
                if list.len() == limit && limit > count {
                    list.select_nth_unstable_by(count - 1, likeliest);
                    list.truncate(count);
                    least = least.max(list[count - 1].logit);
                    if logit <= least {
                        continue;
                    }
                }
                list.push(candidate(id, logit));
            }
        }
    }
    list.sort_unstable_by(likeliest);
    list.truncate(count);
}
