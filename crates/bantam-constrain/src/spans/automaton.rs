//! The set of places where an answer may stand, moved byte by byte.

use serde_json::Value;

use super::CallForms;

/// What is the same for every utterance: the bytes of all that is no value.
#[derive(Debug)]
pub(super) struct Texts {
    /// By name: `{"name": "…", "arguments": {`.
    heads: Vec<Vec<u8>>,
    /// By name and slot: `"…": `.
    keys: Vec<Vec<Vec<u8>>>,
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

impl Texts {
    pub(super) fn new(forms: &CallForms) -> Self {
        let head = |name: &str| format!("{{\"name\": {}, \"arguments\": {{", quoted(name)).into_bytes();
        let keys = |slots: &[String]| slots.iter().map(|slot| format!("{}: ", quoted(slot)).into_bytes()).collect();
        Self {
            heads: forms.calls.iter().map(|call| head(&call.name)).collect(),
            keys: forms.calls.iter().map(|call| keys(&call.slots)).collect(),
        }
    }

    pub(super) fn names(&self) -> usize {
        self.heads.len()
    }
}

/// The utterance as JSON writes it within quotes, and where values may begin and end in it.
#[derive(Debug)]
pub(super) struct Utterance {
    bytes: Vec<u8>,
    starts: Vec<u32>,
    /// By place, the one behind the last byte included: whether a value may end before it.
    ends: Vec<bool>,
    /// Behind it no value may end.
    last_end: u32,
    /// Behind it no value may end that another one is to follow.
    last_but_one: u32,
}

impl Utterance {
    /// Values are made of whole words: a letter or digit beside another one is not parted from it. None begins or ends
    /// with white space.
    pub(super) fn new(text: &str) -> Self {
        let (mut bytes, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        let mut before: Option<char> = None;
        let parts = |before: Option<char>, after: Option<char>| match (before, after) {
            (Some(a), Some(b)) => !(a.is_alphanumeric() && b.is_alphanumeric()),
            _ => true,
        };
        for letter in text.chars().map(Some).chain([None]) {
            let place = bytes.len();
            let border = parts(before, letter);
            if border && letter.is_some_and(|letter| !letter.is_whitespace()) {
                starts.push(u32::try_from(place).unwrap_or(u32::MAX));
            }
            ends.resize(place, false);
            ends.push(border && before.is_some_and(|before| !before.is_whitespace()));
            if let Some(letter) = letter {
                let spelled = quoted(letter.encode_utf8(&mut [0; 4]));
                bytes.extend_from_slice(spelled.get(1..spelled.len() - 1).unwrap_or_default().as_bytes());
            }
            before = letter;
        }
        let last = |upto: usize| ends.iter().take(upto + 1).rposition(|end| *end).unwrap_or(0);
        let number = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        let last_end = number(last(bytes.len()));
        let last_but_one = number(starts.last().map_or(0, |start| last(*start as usize)));
        Self { bytes, starts, ends, last_end, last_but_one }
    }
}

/// What is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The beginning up to the arguments.
    Head,
    /// `, ` before a slot that is not the first.
    Comma(u8),
    /// A slot's name.
    Key(u8),
    /// `"` before a value that stands alone, `["` before the first of a list.
    Open(bool),
    /// A value, from `start` on; of a list the how manieth.
    Value { start: u32, listed: u8 },
    /// `"` behind a value.
    Close { listed: u8 },
    /// `, "` before the next value of a list.
    Next { listed: u8 },
    /// `]`.
    EndList,
    /// `}}`.
    End,
    /// Nothing may follow.
    Done,
}

/// One place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    name: u16,
    /// Slots written, a bit each.
    used: u64,
    part: Part,
    at: u32,
    /// Where the next slot's value may begin: slots come in the order of their first values, which do not overlap.
    from: u32,
    /// Where the last value ended: so do the values of a list.
    last: u32,
}

/// Values of a list that are told apart: further ones are like the last.
const MOST_LISTED: u8 = 2;

impl Place {
    /// Where an answer of that name begins.
    pub(super) fn begin(name: usize) -> Self {
        Self { name: u16::try_from(name).unwrap_or(u16::MAX), used: 0, part: Part::Head, at: 0, from: 0, last: 0 }
    }

    pub(super) fn is_done(&self) -> bool {
        self.part == Part::Done
    }

    /// The name of the call.
    pub(super) fn name(&self) -> usize {
        usize::from(self.name)
    }

    fn with(self, part: Part) -> Self {
        Self { part, at: 0, ..self }
    }

    /// The text of a part that is the same wherever it stands.
    fn text<'t>(&self, texts: &'t Texts) -> &'t [u8] {
        let name = usize::from(self.name);
        match self.part {
            Part::Head => texts.heads.get(name).map_or(&[], Vec::as_slice),
            Part::Key(slot) => {
                texts.keys.get(name).and_then(|keys| keys.get(usize::from(slot))).map_or(&[], Vec::as_slice)
            }
            Part::Comma(_) => b", ",
            Part::Open(false) | Part::Close { .. } => b"\"",
            Part::Open(true) => b"[\"",
            Part::Next { .. } => b", \"",
            Part::EndList => b"]",
            Part::End => b"}}",
            Part::Value { .. } | Part::Done => b"",
        }
    }

    /// Adds the places one byte further on to `into`.
    pub(super) fn step(self, byte: u8, (texts, utterance): (&Texts, &Utterance), into: &mut Vec<Self>) {
        if let Part::Value { start, listed } = self.part {
            let at = self.at as usize;
            // It may have ended here: then the byte is what closes it.
            if self.at > start
                && utterance.ends.get(at) == Some(&true)
                && (listed != 1 || self.at <= utterance.last_but_one)
            {
                let from = if listed < MOST_LISTED { self.at } else { self.from };
                let closed = Self { from, last: self.at, ..self.with(Part::Close { listed }) };
                closed.step(byte, (texts, utterance), into);
            }
            // It must still be able to end, and the first of a list before another one.
            let end = if listed == 1 { utterance.last_but_one } else { utterance.last_end };
            if utterance.bytes.get(at) == Some(&byte) && self.at < end {
                into.push(Self { at: self.at + 1, ..self });
            }
            return;
        }
        let text = self.text(texts);
        if text.get(self.at as usize) != Some(&byte) {
            return;
        }
        let next = Self { at: self.at + 1, ..self };
        if (next.at as usize) < text.len() {
            into.push(next);
        } else {
            next.behind((texts, utterance), into);
        }
    }

    /// Adds what may follow the whole of a part.
    fn behind(self, (texts, utterance): (&Texts, &Utterance), into: &mut Vec<Self>) {
        let values = |listed: u8, from: u32, into: &mut Vec<Self>| {
            let value = |start: &u32| Self { at: *start, ..self.with(Part::Value { start: *start, listed }) };
            into.extend(utterance.starts.iter().filter(|start| **start >= from).map(value));
        };
        match self.part {
            Part::Head => self.slots((texts, utterance), into, Part::Key),
            Part::Comma(slot) => into.push(self.with(Part::Key(slot))),
            Part::Key(slot) => {
                let used = self.used | 1 << slot;
                let open = |list| Self { used, ..self.with(Part::Open(list)) };
                into.push(open(false));
                if utterance.starts.iter().any(|start| *start >= self.from && *start < utterance.last_but_one) {
                    into.push(open(true));
                }
            }
            Part::Open(list) => values(u8::from(list), self.from, into),
            // Not in a list: the next slot, or the end.
            Part::Close { listed: 0 } | Part::EndList => self.slots((texts, utterance), into, Part::Comma),
            Part::Close { listed } => {
                if utterance.starts.last().is_some_and(|start| *start >= self.last) {
                    into.push(self.with(Part::Next { listed }));
                }
                if listed >= MOST_LISTED {
                    into.push(self.with(Part::EndList));
                }
            }
            Part::Next { listed } => values((listed + 1).min(MOST_LISTED), self.last, into),
            Part::End => into.push(self.with(Part::Done)),
            Part::Value { .. } | Part::Done => {}
        }
    }

    /// The slots that are left, and the end.
    fn slots(self, (texts, utterance): (&Texts, &Utterance), into: &mut Vec<Self>, part: fn(u8) -> Part) {
        into.push(self.with(Part::End));
        if utterance.starts.last().is_none_or(|start| *start < self.from) {
            return;
        }
        let count = texts.keys.get(usize::from(self.name)).map_or(0, Vec::len);
        let left = (0..u8::try_from(count).unwrap_or(u8::MAX)).filter(|slot| self.used >> slot & 1 == 0);
        into.extend(left.map(|slot| self.with(part(slot))));
    }
}
