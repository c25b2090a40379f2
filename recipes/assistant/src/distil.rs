//! Utterances for the teacher to name: made of those at hand, by words near theirs and by pieces of each other.

use std::collections::{BTreeMap, BTreeSet};

use crate::near::{Near, dot};
use crate::teacher::Judgement;
use crate::{Chance, OUT_OF_SCOPE};

/// From so sure on, what the teacher names is learnt.
const SURE: f32 = 0.5;
/// Where it is less sure than this of all intents, the utterance is out of scope.
const UNSURE: f32 = 0.15;
/// Utterances among which the nearest with another intent is looked for.
const AMONG: usize = 40;

/// An utterance, its intent and its sentence vector.
#[derive(Debug, Clone, Copy)]
pub struct Told<'t> {
    /// The utterance.
    pub text: &'t str,
    /// Its intent.
    pub intent: &'t str,
    /// Its vector, of length 1.
    pub vector: &'t [f32],
}

/// `times` utterances made of each, none of which is among `told`, and none twice.
pub fn candidates(told: &[Told<'_>], near: &Near, times: u64, seed: u64) -> Vec<String> {
    let mut alike: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (number, told) in told.iter().enumerate() {
        alike.entry(told.intent).or_default().push(number);
    }
    let known: BTreeSet<&str> = told.iter().map(|told| told.text).collect();
    let (mut seen, mut made) = (BTreeSet::new(), Vec::new());
    for one in told {
        for number in 0..times {
            let mut chance = Chance::of(&format!("{seed} near {number} {}", one.text));
            let words: Vec<&str> = one.text.split_whitespace().collect();
            let kind = chance.below(100);
            let words: Vec<String> = match kind {
                // Words near its own.
                0..45 => replaced(&words, near, 1 + chance.below(words.len().div_ceil(3)), &mut chance),
                // The end of another of the same intent.
                45..65 => {
                    let other = alike.get(one.intent).and_then(|alike| chance.choose(alike)).map(|&n| told[n].text);
                    replaced(&joined(&words, other.unwrap_or(one.text), &mut chance), near, 1, &mut chance)
                }
                // The end, or the beginning, of another that is near it and asks for something else.
                65..85 => {
                    let others = (0..AMONG).filter_map(|_| chance.choose(told)).filter(|o| o.intent != one.intent);
                    let nearness = |other: &&Told<'_>| dot(one.vector, other.vector);
                    let other = others.max_by(|a, b| nearness(a).total_cmp(&nearness(b))).map_or(one.text, |o| o.text);
                    let others: Vec<&str> = other.split_whitespace().collect();
                    let joined = match chance.percent(50) {
                        true => joined(&words, other, &mut chance),
                        false => joined(&others, one.text, &mut chance),
                    };
                    joined.into_iter().map(str::to_owned).collect()
                }
                // Fewer words, one or two of them others.
                _ => {
                    let mut kept = words.clone();
                    for _ in 0..1 + chance.below(2) {
                        if kept.len() > 2 {
                            kept.remove(chance.below(kept.len()));
                        }
                    }
                    replaced(&kept, near, 1 + chance.below(2), &mut chance)
                }
            };
            let text = words.join(" ");
            if !text.is_empty() && !known.contains(text.as_str()) && seen.insert(text.clone()) {
                made.push(text);
            }
        }
    }
    made
}

/// The first half of an utterance's words and the second of another's.
fn joined<'t>(words: &[&'t str], other: &'t str, chance: &mut Chance) -> Vec<&'t str> {
    let others: Vec<&str> = other.split_whitespace().collect();
    let half = |count: usize, chance: &mut Chance| (count / 2 + chance.below(3)).saturating_sub(1).min(count);
    let (upto, from) = (half(words.len(), chance), half(others.len(), chance));
    [&words[..upto], &others[from..]].concat()
}

/// So many of the words, drawn, with others in their places where there are any.
fn replaced(words: &[&str], near: &Near, count: usize, chance: &mut Chance) -> Vec<String> {
    let mut made: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    for _ in 0..count {
        let place = chance.below(made.len());
        let Some(word) = made.get_mut(place) else { continue };
        // What stands around a word, such as a question mark, stays.
        let bare = word.trim_matches(|letter: char| !letter.is_alphanumeric()).to_owned();
        if let Some(other) = near.instead(&bare.to_lowercase(), chance) {
            *word = word.replacen(&bare, other, 1);
        }
    }
    made
}

/// The intent to learn for an utterance that the teacher has judged; `None` where it is neither sure nor at a loss.
pub fn lesson<'t>(judgement: &Judgement<'t>) -> Option<&'t str> {
    match judgement.probability {
        p if p >= SURE => Some(judgement.name),
        p if p < UNSURE => Some(OUT_OF_SCOPE),
        _ => None,
    }
}
