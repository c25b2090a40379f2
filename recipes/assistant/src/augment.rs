//! More utterances from those at hand: other values in their slots, other ways to write and to frame them.

use std::collections::BTreeMap;

use crate::words::list;
use crate::{Chance, Example, Fragment};

/// How often, in a hundred, an utterance is changed in each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Augmentation {
    /// A slot gets a value that another utterance has there.
    pub swap: usize,
    /// That value comes from a list of names, where the slot has one.
    pub listed: usize,
    /// All letters become small.
    pub lower: usize,
    /// A word outside of slots is mistyped.
    pub mistype: usize,
    /// A word outside of slots is left out.
    pub drop: usize,
    /// Something polite stands before or behind it.
    pub frame: usize,
    /// Punctuation at its end comes or goes.
    pub end: usize,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self { swap: 50, listed: 25, lower: 30, mistype: 10, drop: 35, frame: 10, end: 20 }
    }
}

/// What may stand in each slot.
#[derive(Debug, Clone, Default)]
pub struct Values(BTreeMap<String, Slot>);

/// What may stand in one.
#[derive(Debug, Clone, Default)]
struct Slot {
    /// The values seen, each as often as it was seen.
    seen: Vec<String>,
    /// Each once.
    distinct: Vec<String>,
    /// What is known to fit beside these.
    others: Vec<String>,
}

/// Slots that hold what others hold, too: titles are titles.
const KIN: [(&str, &[&str]); 6] = [
    ("entity_name", &["track", "album", "object_name"]),
    ("track", &["entity_name", "album", "object_name"]),
    ("album", &["entity_name", "track", "object_name"]),
    ("movie_name", &["object_name"]),
    ("object_name", &["movie_name"]),
    ("poi", &["geographic_poi"]),
];

/// Slots of which there is a list of names.
const PLACES: [&str; 2] = ["country", "state"];

impl Values {
    /// Those of some examples, those of their kin, and names of places.
    pub fn of(examples: &[Example]) -> Self {
        let mut values: BTreeMap<String, Slot> = BTreeMap::new();
        for fragment in examples.iter().flat_map(|example| &example.fragments) {
            if let Some(slot) = &fragment.slot {
                values.entry(slot.clone()).or_default().seen.push(fragment.text.trim().to_owned());
            }
        }
        for slot in values.values_mut() {
            slot.distinct.clone_from(&slot.seen);
            slot.distinct.sort_unstable();
            slot.distinct.dedup();
        }
        let seen: BTreeMap<String, Vec<String>> =
            values.iter().map(|(name, slot)| (name.clone(), slot.distinct.clone())).collect();
        for (name, slot) in &mut values {
            let kin = KIN.iter().filter(|(of, _)| of == name).flat_map(|(_, kin)| *kin);
            slot.others.extend(kin.filter_map(|kin| seen.get(*kin)).flatten().cloned());
            if PLACES.contains(&name.as_str()) {
                slot.others.extend(list(name).into_iter().map(str::to_owned));
            }
        }
        Self(values)
    }

    /// One for a slot: of those seen as often as they were, of the rare as often as of the frequent, or of others.
    fn draw(&self, slot: &str, listed: usize, chance: &mut Chance) -> Option<&String> {
        // Of kin, a quarter whatever the list.
        let others = if PLACES.contains(&slot) { listed } else { 25 };
        let slot = self.0.get(slot)?;
        let seen = (100 - others.min(100)) * 40 / 75;
        match chance.below(100) {
            drawn if drawn < seen => chance.choose(&slot.seen),
            drawn if drawn < 100 - others.min(100) => chance.choose(&slot.distinct),
            _ => chance.choose(if slot.others.is_empty() { &slot.distinct } else { &slot.others }),
        }
    }
}

/// The first words of one utterance and the last of another that asks for the same; only of those without slots.
pub fn cross(example: &Example, other: &Example, chance: &mut Chance) -> Option<Example> {
    let (first, second) = (example.text(), other.text());
    let words = |text: &'_ str| text.split_whitespace().map(str::to_owned).collect::<Vec<String>>();
    let (first, second) = (words(&first), words(&second));
    let slots = |example: &Example| example.fragments.iter().any(|fragment| fragment.slot.is_some());
    if first.len() < 4 || second.len() < 4 || slots(example) || slots(other) {
        return None;
    }
    // Near their middles, or one wholly behind the other.
    let (upto, from) = match chance.percent(30) {
        true => (first.len(), 0),
        false => (first.len() / 2 + chance.below(2), second.len() / 2 - chance.below(2)),
    };
    let text = [&first[..upto], &second[from..]].concat().join(" ");
    Some(Example { fragments: vec![Fragment { text, slot: None }], ..example.clone() })
}

const BEFORE: [&str; 14] = [
    "please",
    "hey",
    "can you",
    "could you please",
    "i want you to",
    "ok",
    "hi,",
    "would you",
    "i'd like you to",
    "um",
    "hello,",
    "i need you to",
    "hey there,",
    "so",
];
const BEHIND: [&str; 7] = ["please", "thanks", "thank you", "now", "for me", "if you can", "right now"];

/// One variation of an example. Its slots hold its own words still.
pub fn vary(example: &Example, values: &Values, how: Augmentation, chance: &mut Chance) -> Example {
    let mut varied = example.clone();
    for fragment in &mut varied.fragments {
        match &fragment.slot {
            Some(slot) if chance.percent(how.swap) => {
                if let Some(value) = values.draw(slot, how.listed, chance) {
                    fragment.text.clone_from(value);
                }
            }
            Some(_) => {}
            None if chance.percent(how.mistype) => fragment.text = mistyped(&fragment.text, chance),
            None => {}
        }
    }
    if chance.percent(how.drop) {
        drop_word(&mut varied.fragments, chance);
    }
    if chance.percent(how.frame) {
        frame(&mut varied.fragments, chance);
    }
    if chance.percent(how.end) {
        end(&mut varied.fragments);
    }
    if chance.percent(how.lower) {
        for fragment in &mut varied.fragments {
            fragment.text = fragment.text.to_lowercase();
        }
    }
    varied
}

/// Leaves one word outside of slots out, where there are several.
fn drop_word(fragments: &mut [Fragment], chance: &mut Chance) {
    let words = |fragment: &Fragment| fragment.text.split_whitespace().count();
    let outside: Vec<usize> = (0..fragments.len()).filter(|&n| fragments[n].slot.is_none()).collect();
    let places: Vec<(usize, usize)> =
        outside.iter().flat_map(|&n| (0..words(&fragments[n])).map(move |word| (n, word))).collect();
    if places.len() < 4 {
        return;
    }
    let Some(&(number, word)) = chance.choose(&places) else { return };
    let text = &fragments[number].text;
    let kept: Vec<&str> =
        text.split_whitespace().enumerate().filter(|(n, _)| *n != word).map(|(_, word)| word).collect();
    // What parts it from its neighbours stays.
    let end = |is_there: bool| if is_there { " " } else { "" };
    let (before, behind) = (end(text.starts_with(char::is_whitespace)), end(text.ends_with(char::is_whitespace)));
    fragments[number].text = match kept.is_empty() {
        true => " ".to_owned(),
        false => format!("{before}{}{behind}", kept.join(" ")),
    };
}

fn frame(fragments: &mut Vec<Fragment>, chance: &mut Chance) {
    let plain = |text: String| Fragment { text, slot: None };
    if chance.percent(60) {
        if let Some(word) = chance.choose(&BEFORE) {
            fragments.insert(0, plain(format!("{word} ")));
        }
    } else if let Some(word) = chance.choose(&BEHIND) {
        if let Some(last) = fragments.last_mut() {
            last.text.truncate(last.text.trim_end().len());
        }
        fragments.push(plain(format!(" {word}")));
    }
}

fn end(fragments: &mut Vec<Fragment>) {
    let Some(last) = fragments.last_mut() else { return };
    last.text.truncate(last.text.trim_end().len());
    match (&last.slot, last.text.ends_with(['.', '?', '!'])) {
        // What belongs to a value stays.
        (Some(_), true) => {}
        (None, true) => {
            last.text.pop();
        }
        (_, false) => fragments.push(Fragment { text: ".".to_owned(), slot: None }),
    }
}

/// A letter of one word is left out, doubled, or changes places with the next.
fn mistyped(text: &str, chance: &mut Chance) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    let inner: Vec<usize> = (1..letters.len().saturating_sub(1))
        .filter(|&at| letters[at - 1..=at + 1].iter().all(|letter| letter.is_alphabetic()))
        .collect();
    if let Some(&at) = chance.choose(&inner) {
        match chance.below(3) {
            0 => {
                letters.remove(at);
            }
            1 => letters.insert(at, letters[at]),
            _ => letters.swap(at, at + 1),
        }
    }
    letters.into_iter().collect()
}
