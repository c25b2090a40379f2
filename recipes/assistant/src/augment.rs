//! More utterances from those at hand: other values in their slots, other ways to write and to frame them.

use std::collections::BTreeMap;

use crate::{Chance, Example, Fragment};

/// How often, in a hundred, an utterance is changed in each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Augmentation {
    /// A slot gets a value that another utterance has there.
    pub swap: usize,
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
        Self { swap: 50, lower: 30, mistype: 10, drop: 25, frame: 10, end: 20 }
    }
}

/// The values seen in each slot, each as often as it was seen.
#[derive(Debug, Clone, Default)]
pub struct Values(BTreeMap<String, Vec<String>>);

impl Values {
    /// Those of some examples.
    pub fn of(examples: &[Example]) -> Self {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for fragment in examples.iter().flat_map(|example| &example.fragments) {
            if let Some(slot) = &fragment.slot {
                values.entry(slot.clone()).or_default().push(fragment.text.trim().to_owned());
            }
        }
        Self(values)
    }
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
                if let Some(value) = values.0.get(slot).and_then(|values| chance.choose(values)) {
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
