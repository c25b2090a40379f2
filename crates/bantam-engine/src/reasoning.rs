//! Thoughts told from the answer in streamed text.

/// How thoughts are marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reasoning {
    /// What begins them: `<think>`.
    pub start: String,
    /// What ends them: `</think>`.
    pub end: String,
    /// Whether the prompt has begun them already.
    pub opened: bool,
}

impl Reasoning {
    /// The markers behind a prompt: its own end says whether thoughts have begun.
    pub fn behind(prompt: &str, start: &str, end: &str) -> Self {
        let opened = !start.is_empty() && prompt.trim_end().ends_with(start);
        Self { start: start.to_owned(), end: end.to_owned(), opened }
    }
}

/// Where a piece of text belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// To the thoughts.
    Reasoning,
    /// To the answer.
    Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing but white space was seen yet.
    Start,
    /// In the thoughts; true until something else than white space came.
    Thoughts { fresh: bool },
    /// Behind the thoughts; true until something else than white space came.
    Answer { fresh: bool },
}

/// Splits text that comes in pieces.
///
/// Thoughts stand at the beginning, once; a marker later in the answer is text. White space between markers and text
/// belongs to neither. Thoughts that never end are thoughts to the last.
#[derive(Clone, Debug)]
pub struct ReasoningSplitter {
    markers: Reasoning,
    state: State,
    held: String,
}

impl ReasoningSplitter {
    /// For an answer marked so.
    pub fn new(markers: Reasoning) -> Self {
        let state = match (markers.opened, markers.start.is_empty() || markers.end.is_empty()) {
            (_, true) => State::Answer { fresh: false },
            (true, _) => State::Thoughts { fresh: true },
            (false, _) => State::Start,
        };
        Self { markers, state, held: String::new() }
    }

    /// From here on all is answer, white space and markers too. What was held back was white space.
    pub fn begin_answer(&mut self) {
        self.state = State::Answer { fresh: false };
        self.held.clear();
    }

    /// Takes a piece and tells what can be told of it.
    pub fn push(&mut self, text: &str, emit: &mut dyn FnMut(Part, &str)) {
        if self.state == (State::Answer { fresh: false }) {
            if !text.is_empty() {
                emit(Part::Answer, text);
            }
            return;
        }
        self.held.push_str(text);
        while self.step(emit) {}
    }

    /// Ends the text: what was held back was no marker.
    pub fn finish(&mut self, emit: &mut dyn FnMut(Part, &str)) {
        let rest = std::mem::take(&mut self.held);
        let (part, rest) = match self.state {
            State::Start => (Part::Answer, rest.as_str()),
            State::Thoughts { fresh } => (Part::Reasoning, if fresh { rest.trim() } else { rest.trim_end() }),
            State::Answer { fresh } => (Part::Answer, if fresh { rest.trim_start() } else { &rest }),
        };
        if !rest.is_empty() {
            emit(part, rest);
        }
    }

    /// Does what is sure with what is held; true if more may be.
    fn step(&mut self, emit: &mut dyn FnMut(Part, &str)) -> bool {
        match self.state {
            State::Start => {
                let begin = self.held.trim_start();
                if begin.starts_with(self.markers.start.as_str()) {
                    let skipped = self.held.len() - begin.len() + self.markers.start.len();
                    self.held.drain(..skipped);
                    self.state = State::Thoughts { fresh: true };
                    true
                } else if self.markers.start.starts_with(begin) {
                    false
                } else {
                    // No thoughts: the white space was the answer's own.
                    emit(Part::Answer, &self.held);
                    self.held.clear();
                    self.state = State::Answer { fresh: false };
                    false
                }
            }
            State::Thoughts { fresh } => self.step_in_thoughts(fresh, emit),
            State::Answer { fresh: true } => {
                let begin = self.held.trim_start();
                if begin.is_empty() {
                    self.held.clear();
                } else {
                    emit(Part::Answer, begin);
                    self.held.clear();
                    self.state = State::Answer { fresh: false };
                }
                false
            }
            State::Answer { fresh: false } => false,
        }
    }

    fn step_in_thoughts(&mut self, fresh: bool, emit: &mut dyn FnMut(Part, &str)) -> bool {
        if fresh {
            let begin = self.held.len() - self.held.trim_start().len();
            self.held.drain(..begin);
            // Some models write the marker although the prompt did.
            if self.markers.opened && self.held.starts_with(self.markers.start.as_str()) {
                self.held.drain(..self.markers.start.len());
                self.markers.opened = false;
                return true;
            }
            if self.held.is_empty() || (self.markers.opened && self.markers.start.starts_with(self.held.as_str())) {
                return false;
            }
        }
        let (shown, found) = match self.held.find(self.markers.end.as_str()) {
            Some(at) => (self.held.get(..at).unwrap_or_default().trim_end().len(), Some(at)),
            None => {
                let partial = partial_suffix(&self.held, &self.markers.end);
                let sure = self.held.get(..self.held.len() - partial).unwrap_or_default();
                (sure.trim_end().len(), None)
            }
        };
        if shown > 0 {
            emit(Part::Reasoning, self.held.get(..shown).unwrap_or_default());
            self.state = State::Thoughts { fresh: false };
        }
        match found {
            Some(at) => {
                self.held.drain(..at + self.markers.end.len());
                self.state = State::Answer { fresh: true };
                true
            }
            None => {
                self.held.drain(..shown);
                false
            }
        }
    }
}

/// Length of the longest end of `text` that is a proper beginning of `marker`.
fn partial_suffix(text: &str, marker: &str) -> usize {
    let longest = text.len().min(marker.len().saturating_sub(1));
    (1..=longest).rev().find(|&length| text.as_bytes().ends_with(&marker.as_bytes()[..length])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces separated by `|`; thoughts and answer, the pieces each came in separated likewise.
    fn check(opened: bool, pieces: &str, thoughts: &str, answer: &str) {
        let markers = Reasoning { start: "<think>".into(), end: "</think>".into(), opened };
        let split = |pieces: &mut dyn Iterator<Item = &str>| {
            let mut found = [Vec::new(), Vec::new()];
            let mut splitter = ReasoningSplitter::new(markers.clone());
            let mut emit = |part: Part, text: &str| found[usize::from(part == Part::Answer)].push(text.to_owned());
            pieces.for_each(|piece| splitter.push(piece, &mut emit));
            splitter.finish(&mut emit);
            found
        };
        let found = split(&mut pieces.split('|'));
        assert_eq!((found[0].join("|").as_str(), found[1].join("|").as_str()), (thoughts, answer), "{pieces:?}");
        let whole = pieces.replace('|', "");
        let expected = [thoughts.replace('|', ""), answer.replace('|', "")];
        let cut = (0..whole.len()).map(|index| &whole[index..index + 1]).collect::<Vec<_>>();
        assert_eq!(split(&mut cut.into_iter()).map(|parts| parts.concat()), expected, "{pieces:?} byte by byte");
        assert_eq!(split(&mut [whole.as_str()].into_iter()).map(|parts| parts.concat()), expected, "{pieces:?} whole");
    }

    #[test]
    fn thoughts_are_split_off() {
        check(false, "Hello| there", "", "Hello| there");
        check(false, " \n Hello", "", " \n Hello");
        check(false, "<think>|I see|.\n|</think>|\n\n|Yes|.", "I see|.", "Yes|.");
        check(false, "\n<th|ink>\nI see </thi|s> </think>Yes", "I see| </this>", "Yes");
        check(false, "<thin| air", "", "<thin air");
        check(false, "So: <think>no</think>", "", "So: <think>no</think>");
        check(false, "<think></think>a</think>b", "", "a</think>b");
        check(false, "<think>|never ends |</th", "never ends| </th", "");
        check(true, "I see.</think>|Yes", "I see.", "Yes");
        check(true, "\n|<think>|\nI see.\n</think>\nYes\n", "I see.", "Yes\n");
        check(true, "<this>|</think>\n", "<this>", "");
        check(true, "", "", "");
        check(false, "", "", "");
    }

    #[test]
    fn prompts_open_thoughts() {
        for (prompt, opened) in
            [("a<think>\n", true), ("a<think>\n\n</think>\n\n", false), ("<think> a", false), ("", false)]
        {
            assert_eq!(Reasoning::behind(prompt, "<think>", "</think>").opened, opened, "{prompt:?}");
        }
    }
}
