//! What is learnt, what choices are made by, and what is measured: three parts with no utterance in common.

use std::collections::HashSet;

use crate::clinc::OUT_OF_SCOPE;
use crate::{Chance, Example, Source};

/// The three parts.
#[derive(Debug, Clone, Default)]
pub struct Split {
    /// What the model is trained on.
    pub learn: Vec<Example>,
    /// What thresholds, calibration and the best of several tries are chosen by.
    pub choose: Vec<Example>,
    /// What is only ever measured.
    pub measure: Vec<Example>,
}

/// Splits by the utterances themselves, so that the split stays what it is when files are put into another order: SNIPS 90,
/// 5 and 5 in a hundred; of CLINC150 its validation part is measured, and of its training part 5 in a hundred choose, but 40
/// of what is out of scope, which is little.
///
/// An utterance that two parts would have (but for case and punctuation) stays in the later one alone.
pub fn split(examples: Vec<Example>) -> Split {
    let mut split = Split::default();
    for example in examples {
        let place = Chance::of(&format!("split {}", example.key())).below(100);
        let choosing = if example.intent == OUT_OF_SCOPE { 40 } else { 5 };
        let part = match example.source {
            Source::ClincValidation => &mut split.measure,
            Source::Snips if place >= 95 => &mut split.measure,
            Source::Snips if place >= 90 => &mut split.choose,
            Source::ClincTrain if place < choosing => &mut split.choose,
            Source::Snips | Source::ClincTrain => &mut split.learn,
        };
        part.push(example);
    }
    let mut taken: HashSet<String> = split.measure.iter().map(Example::key).collect();
    split.choose.retain(|example| !taken.contains(&example.key()));
    taken.extend(split.choose.iter().map(Example::key));
    split.learn.retain(|example| !taken.contains(&example.key()));
    split
}
