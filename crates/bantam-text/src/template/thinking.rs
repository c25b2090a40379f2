//! How a model thinks aloud, as far as its template tells.

/// The template's variable that says whether, or how hard, the model thinks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thinking {
    /// A truth value.
    Switch {
        /// The variable's name.
        variable: &'static str,
    },
    /// A level: `low`, `medium` or `high`.
    Effort {
        /// The variable's name.
        variable: &'static str,
    },
}

/// What stands before and behind a thought in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReasoningMarkers {
    /// Begins a thought.
    pub start: &'static str,
    /// Ends it.
    pub end: &'static str,
}

impl ReasoningMarkers {
    /// Whether a prompt already begins the thought, so that the answer starts inside it.
    pub fn opened_by(&self, prompt: &str) -> bool {
        prompt.trim_end().ends_with(self.start.trim_end())
    }
}

const MARKERS: &[ReasoningMarkers] = &[
    ReasoningMarkers { start: "<think>", end: "</think>" },
    ReasoningMarkers { start: "[THINK]", end: "[/THINK]" },
    ReasoningMarkers { start: "<|channel|>analysis<|message|>", end: "<|end|>" },
    ReasoningMarkers { start: "<|channel>thought\n", end: "<channel|>" },
    ReasoningMarkers { start: "<|START_THINKING|>", end: "<|END_THINKING|>" },
    ReasoningMarkers { start: "<seed:think>", end: "</seed:think>" },
    ReasoningMarkers { start: "<thought>", end: "</thought>" },
    ReasoningMarkers { start: "<reasoning>", end: "</reasoning>" },
    ReasoningMarkers { start: "Here is my thought process:", end: "Here is my response:" },
];

/// Whether `source` names `word` as a whole word.
fn names(source: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    source
        .match_indices(word)
        .any(|(at, _)| !source[..at].ends_with(is_word) && !source[at + word.len()..].starts_with(is_word))
}

/// The variable that steers thinking in this template.
pub(super) fn switch(source: &str) -> Option<Thinking> {
    if names(source, "enable_thinking") {
        return Some(Thinking::Switch { variable: "enable_thinking" });
    }
    if names(source, "reasoning_effort") {
        return Some(Thinking::Effort { variable: "reasoning_effort" });
    }
    // As a bare word it may be prose or a key of the messages; a test or a choice names a variable.
    let tested = ["if thinking", "elif thinking", "and thinking", "not thinking", "thinking is defined", "or thinking"];
    if tested.iter().any(|phrase| names(source, phrase)) {
        return Some(Thinking::Switch { variable: "thinking" });
    }
    None
}

/// What delimits thoughts in the answers this template goes with.
pub(super) fn markers(source: &str) -> Option<ReasoningMarkers> {
    let plain = source.replace("\\n", "\n");
    MARKERS.iter().find(|pair| plain.contains(pair.end) && plain.contains(pair.start.trim_end())).cloned().or_else(
        || {
            // Templates of the channel kind put the start together from parts.
            MARKERS
                .iter()
                .find(|pair| pair.start.starts_with("<|channel|>") && plain.contains("<|channel|>analysis"))
                .cloned()
        },
    )
}
