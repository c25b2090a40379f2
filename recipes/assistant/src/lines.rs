//! Lines to learn from: chats of one turn, of each utterance as it is and in variations, and of what is made up.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context;
use bantam_formats::atomic::AtomicFile;
use serde_json::json;

use crate::augment::{Augmentation, Values, cross, vary};
use crate::elsewhere::Elsewhere;
use crate::{Chance, Example, OUT_OF_SCOPE, Source};

/// How many times as often as others an utterance out of scope is varied.
const STRANGERS_TIMES: u64 = 4;
/// Percent of the variations of utterances without slots whose end is another's with the same intent.
const CROSSED: usize = 20;
/// Utterances that are made up and out of scope, for a hundred others.
const MADE_UP: usize = 4;

/// How many variations an utterance gets, beside itself.
#[derive(Debug, Clone, Copy)]
pub struct Variations {
    /// Of those with slots.
    pub slots: u64,
    /// Of the others; of what is out of scope four times as many.
    pub others: u64,
}

/// All lines, in no order yet.
pub fn varied(learn: &[Example], variations: Variations, how: Augmentation, seed: u64) -> Vec<String> {
    let values = Values::of(learn);
    let mut lines = Vec::new();
    let mut alike: BTreeMap<&str, Vec<&Example>> = BTreeMap::new();
    for example in learn.iter().filter(|example| example.source == Source::ClincTrain) {
        alike.entry(&example.intent).or_default().push(example);
    }
    // Where the slots of an utterance are not marked, a call would say that there are none.
    for example in learn.iter().filter(|example| example.marked) {
        lines.push(line(example));
        let is_stranger = example.intent == OUT_OF_SCOPE;
        let times = if example.source == Source::Snips { variations.slots } else { variations.others };
        // There are few of what is out of scope.
        for number in 0..times * if is_stranger { STRANGERS_TIMES } else { 1 } {
            let mut chance = Chance::of(&format!("{seed} {number} {}", example.text()));
            let others = alike.get(&example.intent[..]).filter(|_| !is_stranger && chance.percent(CROSSED));
            let crossed = others.and_then(|others| cross(example, chance.choose(others)?, &mut chance));
            let example = crossed.as_ref().unwrap_or(example);
            lines.push(line(&vary(example, &values, how, &mut chance)));
        }
    }
    let (elsewhere, mut chance) = (Elsewhere::default(), Chance::of(&format!("{seed} elsewhere")));
    for _ in 0..lines.len() * MADE_UP / 100 {
        let example = elsewhere.utterance(&mut chance);
        lines.push(line(&vary(&example, &values, how, &mut chance)));
    }
    lines
}

/// A chat: the utterance, and the call it asks for.
pub fn line(example: &Example) -> String {
    chat(&example.text(), &example.call().json())
}

/// A chat of an utterance and a call.
pub fn chat(text: &str, call: &str) -> String {
    json!({ "messages": [{ "role": "user", "content": text }, { "role": "assistant", "content": call }] }).to_string()
}

/// Writes to a temporary file beside it, then takes its place.
///
/// # Errors
/// What the file system says.
pub fn write(path: &Path, lines: &[String]) -> anyhow::Result<()> {
    let mut file = AtomicFile::create(path)?;
    for line in lines {
        writeln!(file, "{line}").with_context(|| path.display().to_string())?;
    }
    Ok(file.commit()?)
}
