//! An utterance and the call it asks for.

use crate::Call;

/// Where an example comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// SNIPS: intents with slots.
    Snips,
    /// CLINC150's training part.
    ClincTrain,
    /// CLINC150's validation part.
    ClincValidation,
}

/// A stretch of an utterance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Its text, spaces included.
    pub text: String,
    /// The slot it fills.
    pub slot: Option<String>,
}

/// An utterance, cut where slots begin and end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The intent.
    pub intent: String,
    /// The utterance.
    pub fragments: Vec<Fragment>,
    /// Its data set.
    pub source: Source,
    /// Whether its slots are marked: those of the intents that both sets name are not in one of them.
    pub marked: bool,
}

impl Example {
    /// The utterance without white space at its ends, and single spaces where lines broke.
    pub fn text(&self) -> String {
        let whole: String = self.fragments.iter().map(|fragment| fragment.text.as_str()).collect();
        tidy(&whole)
    }

    /// The call it asks for.
    pub fn call(&self) -> Call {
        let mut call = Call::named(&self.intent);
        for fragment in &self.fragments {
            if let Some(slot) = &fragment.slot {
                let value = tidy(&fragment.text);
                if !value.is_empty() {
                    call.add(slot, &value);
                }
            }
        }
        call
    }

    /// What tells utterances apart: letters and digits in lower case. Utterances that differ in nothing else are one.
    pub fn key(&self) -> String {
        key(&self.text())
    }
}

/// See [`Example::key`].
pub fn key(text: &str) -> String {
    let words: Vec<String> = text
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    words.join(" ")
}

fn tidy(text: &str) -> String {
    text.trim().replace(['\n', '\r', '\t'], " ")
}
