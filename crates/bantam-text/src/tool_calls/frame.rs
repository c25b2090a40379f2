//! How calls are written, as data: what a grammar is made from, and what writes calls for tests.

use super::json;

/// Calls in a convention: `begin`, then calls with `separator` between them, then `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Stands before the first call. Together with the first text of a call it begins with a trigger of the convention.
    pub begin: &'static str,
    /// One call, piece by piece.
    pub call: &'static [Slot],
    /// Stands between two calls.
    pub separator: &'static str,
    /// Stands behind the last call.
    pub end: &'static str,
    /// Whether there may be more calls than one.
    pub parallel: bool,
}

/// A piece of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// This text. Spellings of the convention's `tokens` in it are special tokens where the vocabulary has them.
    Text(&'static str),
    /// The tool's name.
    Name,
    /// The call's number in the answer, from 0.
    Index,
    /// As many letters and digits, which the model chooses.
    Id(usize),
    /// The arguments.
    Arguments(Notation),
}

/// How arguments are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// A JSON object.
    Json,
    /// `key=value, key=value`, with Python's literals.
    Python,
    /// Each by itself, between marks; texts as they are, everything else as JSON.
    Parameters(Parameters),
    /// Each by itself, between marks; what stands between the key and a text says that it is one, and something else does before
    /// JSON.
    Told {
        /// The marks of texts.
        texts: Parameters,
        /// What stands between the key and JSON.
        between: &'static str,
    },
    /// `key:value,key:value`, keys bare, texts between these marks, everything else as JSON.
    Marked(&'static str),
}

/// The marks round each argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Before the key.
    pub before: &'static str,
    /// Between key and value.
    pub between: &'static str,
    /// Behind the value.
    pub after: &'static str,
}

impl Frame {
    /// The text with which calls begin, up to the first thing that the model chooses.
    pub fn opening(&self) -> String {
        let texts = self.call.iter().map_while(|slot| match slot {
            Slot::Text(text) => Some(*text),
            _ => None,
        });
        std::iter::once(self.begin).chain(texts).collect()
    }

    /// The text with which a call of this tool begins, up to its arguments.
    pub fn opening_for(&self, name: &str) -> String {
        let mut out = self.begin.to_owned();
        for slot in self.call {
            match slot {
                Slot::Text(text) => out.push_str(text),
                Slot::Name => out.push_str(name),
                Slot::Index => out.push('0'),
                Slot::Id(_) | Slot::Arguments(_) => break,
            }
        }
        out
    }

    /// Writes calls: names with the text of a JSON object each.
    pub fn write(&self, calls: &[(&str, &str)]) -> String {
        let mut out = self.begin.to_owned();
        for (index, (name, arguments)) in calls.iter().enumerate() {
            if index > 0 {
                out.push_str(self.separator);
            }
            for slot in self.call {
                match slot {
                    Slot::Text(text) => out.push_str(text),
                    Slot::Name => out.push_str(name),
                    Slot::Index => out.push_str(&index.to_string()),
                    Slot::Id(length) => out.extend(std::iter::repeat_n('0', *length)),
                    Slot::Arguments(notation) => notation.write(arguments, &mut out),
                }
            }
        }
        out.push_str(self.end);
        out
    }
}

impl Notation {
    fn write(self, arguments: &str, out: &mut String) {
        let members = json::members(arguments);
        match self {
            Notation::Json => out.push_str(arguments),
            Notation::Python => {
                let written = members.iter().map(|(key, value)| format!("{key}={}", python(value)));
                out.push_str(&written.collect::<Vec<_>>().join(", "));
            }
            Notation::Parameters(marks) => {
                for (key, value) in members {
                    let value = json::text(value).unwrap_or_else(|| value.to_owned());
                    out.extend([marks.before, &key, marks.between, &value, marks.after]);
                }
            }
            Notation::Told { texts, between } => {
                for (key, value) in members {
                    let text = json::text(value);
                    let between = if text.is_some() { texts.between } else { between };
                    let value = text.unwrap_or_else(|| value.to_owned());
                    out.extend([texts.before, &key, between, &value, texts.after]);
                }
            }
            Notation::Marked(mark) => {
                let written = members.iter().map(|(key, value)| format!("{key}:{}", marked(value, mark)));
                out.push_str(&written.collect::<Vec<_>>().join(","));
            }
        }
    }
}

/// A JSON value with Python's words.
fn python(value: &str) -> String {
    match value.chars().next() {
        Some('{') => {
            let written = json::members(value)
                .into_iter()
                .map(|(key, value)| format!("{}: {}", json::quoted(&key), python(value)));
            format!("{{{}}}", written.collect::<Vec<_>>().join(", "))
        }
        Some('[') => format!(
            "[{}]",
            json::elements(value).into_iter().map(|(value, _)| python(value)).collect::<Vec<_>>().join(", ")
        ),
        Some('t') => "True".to_owned(),
        Some('f') => "False".to_owned(),
        Some('n') => "None".to_owned(),
        _ => value.to_owned(),
    }
}

/// A JSON value with texts between marks.
fn marked(value: &str, mark: &str) -> String {
    let between = |text: &str| format!("{mark}{text}{mark}");
    match value.chars().next() {
        Some('{') => {
            let members = json::members(value);
            let written = members.iter().map(|(key, value)| format!("{key}:{}", marked(value, mark)));
            format!("{{{}}}", written.collect::<Vec<_>>().join(","))
        }
        Some('[') => {
            let elements = json::elements(value);
            format!("[{}]", elements.iter().map(|(value, _)| marked(value, mark)).collect::<Vec<_>>().join(","))
        }
        Some('"') => between(&json::text(value).unwrap_or_default()),
        _ => value.to_owned(),
    }
}
