//! Utterances that no intent fits: questions and wishes about everything else, made of patterns and words.
//!
//! CLINC150 has a hundred of them to learn from, too few to say what the rest of the world is about. These are made up, of what people
//! ask: sports, history, science, work, the house, health, shops. None is taken from a data set.

use std::collections::BTreeMap;

use crate::clinc::OUT_OF_SCOPE;
use crate::words::list;
use crate::{Chance, Example, Fragment, Source};

/// Patterns, in which a name in braces is a word of the list of that name, and these lists.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    patterns: Vec<&'static str>,
    before: Vec<&'static str>,
    lists: BTreeMap<&'static str, Vec<&'static str>>,
}

impl Default for Elsewhere {
    fn default() -> Self {
        let patterns = list("pattern");
        let names = patterns.iter().flat_map(|pattern| pattern.split('{').skip(1));
        let names = names.filter_map(|rest| rest.split_once('}').map(|(name, _)| name));
        Self { lists: names.map(|name| (name, list(name))).collect(), before: list("before"), patterns }
    }
}

impl Elsewhere {
    /// An utterance of a pattern and words of chance.
    pub fn utterance(&self, chance: &mut Chance) -> Example {
        let mut rest = chance.choose(&self.patterns).copied().unwrap_or_default();
        let mut text = String::new();
        while let Some((before, behind)) = rest.split_once('{') {
            let (name, behind) = behind.split_once('}').unwrap_or((behind, ""));
            let words = self.lists.get(name).map_or(&[][..], Vec::as_slice);
            text.push_str(before);
            text.push_str(&chance.choose(words).copied().unwrap_or_default().to_lowercase());
            rest = behind;
        }
        text.push_str(rest);
        if chance.percent(25) {
            text = format!("{} {text}", chance.choose(&self.before).copied().unwrap_or_default());
        }
        Example {
            intent: OUT_OF_SCOPE.to_owned(),
            fragments: vec![Fragment { text, slot: None }],
            source: Source::ClincTrain,
            marked: true,
        }
    }
}
