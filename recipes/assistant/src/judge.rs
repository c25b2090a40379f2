//! Figures from answers.

use std::collections::HashMap;

use crate::clinc::OUT_OF_SCOPE;
use crate::{Call, Example, Source};

/// What a model answered, and how sure it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The call; `None` where the answer was none.
    pub call: Option<Call>,
    /// The call's probability, 0 to 1.
    pub confidence: f64,
}

/// Counts of one part of a data set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// How many were right.
    pub right: usize,
    /// Of how many.
    pub of: usize,
}

impl Share {
    fn count(&mut self, right: bool) {
        self.right += usize::from(right);
        self.of += 1;
    }

    /// In percent; of nothing it is 0.
    pub fn percent(self) -> f64 {
        if self.of == 0 { 0.0 } else { 100.0 * self.right as f64 / self.of as f64 }
    }
}

/// The figures by which intents and slots are compared in the field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// SNIPS: utterances with the right intent.
    pub snips_intent: Share,
    /// SNIPS: utterances whose call is right in all.
    pub snips_call: Share,
    /// SNIPS: slot values that are right, of those answered.
    pub slot_precision: Share,
    /// SNIPS: slot values that were found, of those asked for.
    pub slot_recall: Share,
    /// CLINC150: utterances in scope with the right intent.
    pub in_scope: Share,
    /// CLINC150: utterances out of scope that were seen to be.
    pub out_of_scope: Share,
    /// Answers that are no call.
    pub invalid: usize,
}

impl Figures {
    /// F1 of slot values (name and words both right), in percent.
    pub fn slot_f1(&self) -> f64 {
        let (precision, recall) = (self.slot_precision.percent(), self.slot_recall.percent());
        if precision + recall == 0.0 { 0.0 } else { 2.0 * precision * recall / (precision + recall) }
    }
}

/// Counts what is right. An answer less sure than `threshold` counts as out of scope, but for what asks for a slot's worth of
/// words: SNIPS has nothing out of scope, yet a threshold is the model's and holds for it too.
pub fn judge(examples: &[Example], answers: &[Answer], threshold: f64) -> Figures {
    let mut figures = Figures::default();
    for (example, answer) in examples.iter().zip(answers) {
        let out_of_scope = Call::named(OUT_OF_SCOPE);
        let call = match &answer.call {
            Some(call) if answer.confidence >= threshold => call,
            Some(_) => &out_of_scope,
            None => {
                figures.invalid += 1;
                &Call::default()
            }
        };
        let right = call.name == example.intent;
        match example.source {
            Source::Snips => {
                let expected = example.call();
                figures.snips_intent.count(right);
                figures.snips_call.count(right && *call == expected);
                let found = common(&expected, call);
                figures.slot_precision.right += found;
                figures.slot_precision.of += call.pairs().count();
                figures.slot_recall.right += found;
                figures.slot_recall.of += expected.pairs().count();
            }
            Source::ClincTrain | Source::ClincValidation if example.intent == OUT_OF_SCOPE => {
                figures.out_of_scope.count(right);
            }
            Source::ClincTrain | Source::ClincValidation => figures.in_scope.count(right),
        }
    }
    figures
}

/// Pairs that both calls have, each as often as both have it.
fn common(expected: &Call, found: &Call) -> usize {
    let mut left: HashMap<(&str, &str), usize> = HashMap::new();
    for pair in expected.pairs() {
        *left.entry(pair).or_default() += 1;
    }
    found
        .pairs()
        .filter(|pair| match left.get_mut(pair) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            _ => false,
        })
        .count()
}

/// The threshold that sees most of what is out of scope while at least `in_scope` percent of the rest stay right; 0 where
/// none does. Chosen on one part, it is measured on another.
pub fn threshold(examples: &[Example], answers: &[Answer], in_scope: f64) -> f64 {
    let mut tries: Vec<f64> = answers.iter().map(|answer| answer.confidence).collect();
    tries.sort_by(f64::total_cmp);
    tries.dedup();
    let good = |threshold: f64| judge(examples, answers, threshold).in_scope.percent() >= in_scope;
    // What is right in scope only shrinks as the threshold grows.
    let passing = tries.partition_point(|threshold| good(*threshold));
    passing.checked_sub(1).map_or(0.0, |last| tries[last])
}
