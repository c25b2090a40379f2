//! Calls told from the answer in streamed text.

use super::reader::{End, Found, Reader, Stop};
use super::{Convention, IdStyle, ToolCall, Tools, Trigger, conventions};

/// What an answer is made of, as it comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Piece<'a> {
    /// The text goes on.
    Text(&'a str),
    /// The thoughts go on; only in conventions with channels.
    Reasoning(&'a str),
    /// A call, whole.
    Call(&'a ToolCall),
}

/// What an answer was found to hold, beside its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The calls, in their order.
    pub calls: Vec<ToolCall>,
    /// What is wrong with the first call that is, one sentence: it stands in the text, or names no tool of the request.
    pub error: Option<String>,
}

/// Reads an answer piece by piece: text goes through, a call is held until it is whole.
///
/// White space between text and a call belongs to neither. What begins like a call and is none stays text.
#[derive(Clone, Debug)]
pub struct ToolCallParser {
    convention: &'static Convention,
    tools: Tools,
    seed: u64,
    earlier: usize,
    held: String,
    state: State,
    /// White space that may belong to the text.
    blank: String,
    /// The last thing was a call.
    behind_call: bool,
    /// Something else than white space was seen.
    begun: bool,
    outcome: Outcome,
    channels: Option<conventions::Channels>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Text,
    /// In a call whose trigger has so many bytes.
    Call(usize),
}

impl ToolCallParser {
    /// For an answer in this convention to a request with these tools. Identifiers that the model does not give are drawn
    /// from the seed; `earlier` calls came before in the conversation.
    pub fn new(convention: &'static Convention, tools: Tools, seed: u64, earlier: usize) -> Self {
        Self {
            convention,
            tools,
            seed,
            earlier,
            held: String::new(),
            state: State::Text,
            blank: String::new(),
            behind_call: false,
            begun: false,
            outcome: Outcome::default(),
            channels: convention.channels.then(conventions::Channels::default),
        }
    }

    /// Takes a piece and tells what can be told of it.
    pub fn push(&mut self, text: &str, emit: &mut dyn FnMut(Piece<'_>)) {
        self.held.push_str(text);
        // Every call ends with one of these; reading it again before is in vain.
        let may_end = |text: &str| text.contains(['}', ']', ')', '>', '`', '\n']);
        if matches!(self.state, State::Call(_)) && !may_end(text) && self.held.len() > 256 {
            return;
        }
        self.advance(End::Open, emit);
    }

    /// Ends the answer: what was held back is a call if it is whole, else text. `ended` says that the model itself ended it:
    /// where nothing else would show the end of a call, an answer that was cut short (by a limit, a stop text) has none.
    pub fn finish(mut self, ended: bool, emit: &mut dyn FnMut(Piece<'_>)) -> Outcome {
        self.advance(if ended { End::Ended } else { End::Cut }, emit);
        if !self.behind_call && !self.blank.is_empty() {
            emit(Piece::Text(&self.blank));
        }
        self.outcome
    }

    fn advance(&mut self, end: End, emit: &mut dyn FnMut(Piece<'_>)) {
        let whole = end != End::Open;
        loop {
            if self.channels.is_some() {
                if !self.step_in_channels(end, emit) {
                    return;
                }
                continue;
            }
            match self.state {
                State::Text => match self.locate(whole) {
                    Located::At(at, length) => {
                        self.release(at, emit);
                        self.state = State::Call(length);
                    }
                    Located::Nowhere { sure } => {
                        self.release(sure, emit);
                        return;
                    }
                },
                State::Call(trigger) => {
                    let mut reader = Reader::new(&self.held, end);
                    match (self.convention.parse)(&mut reader, &self.tools) {
                        Ok(found) => {
                            let (length, fault) = (reader.at(), reader.take_fault());
                            self.held.drain(..length);
                            self.begun = true;
                            self.add(found, emit);
                            fault.into_iter().for_each(|reason| self.blame(reason));
                        }
                        Err(Stop::More) if !whole => return,
                        Err(stop) => {
                            match reader.take_whole(&stop) {
                                Some((found, length)) => {
                                    self.held.drain(..length);
                                    self.add(found, emit);
                                }
                                None => self.release(trigger, emit),
                            }
                            if let Stop::Bad(reason) = stop {
                                self.blame(reason);
                            }
                            self.begun = true;
                        }
                    }
                    self.state = State::Text;
                }
            }
        }
    }

    /// Takes calls in.
    fn add(&mut self, found: Vec<Found>, emit: &mut dyn FnMut(Piece<'_>)) {
        for Found { name, arguments, id } in found {
            if !self.tools.is_empty() && self.tools.get(&name).is_none() {
                self.blame(format!("the model called {name}, which is not among the tools"));
            }
            let index = self.earlier + self.outcome.calls.len();
            let id = id.unwrap_or_else(|| new_id(self.convention.ids, self.seed, index, &name));
            let call = ToolCall { id, name, arguments };
            emit(Piece::Call(&call));
            self.outcome.calls.push(call);
            self.behind_call = true;
        }
    }

    fn blame(&mut self, reason: String) {
        self.outcome.error.get_or_insert(reason);
    }

    /// Does what is sure with what is held; true if more may be.
    fn step_in_channels(&mut self, end: End, emit: &mut dyn FnMut(Piece<'_>)) -> bool {
        let Some(mut channels) = self.channels.take() else { return false };
        let step = channels.step(&mut self.held, end);
        self.channels = Some(channels);
        match step {
            conventions::ChannelStep::Wait => return false,
            conventions::ChannelStep::Again => {}
            conventions::ChannelStep::Text(text) => self.text(&text, emit),
            conventions::ChannelStep::Reasoning(text) => emit(Piece::Reasoning(&text)),
            conventions::ChannelStep::Call(found) => self.add(vec![found], emit),
            conventions::ChannelStep::Bad(text, reason) => {
                self.blame(reason);
                self.text(&text, emit);
            }
        }
        true
    }

    /// Lets this many bytes go as text.
    fn release(&mut self, length: usize, emit: &mut dyn FnMut(Piece<'_>)) {
        let text: String = self.held.drain(..length).collect();
        self.text(&text, emit);
    }

    fn text(&mut self, text: &str, emit: &mut dyn FnMut(Piece<'_>)) {
        let text = if self.behind_call { text.trim_start() } else { text };
        if text.is_empty() {
            return;
        }
        let shown = text.trim_end();
        if !shown.is_empty() {
            self.behind_call = false;
            self.begun = true;
            if self.blank.is_empty() {
                emit(Piece::Text(shown));
            } else {
                self.blank.push_str(shown);
                emit(Piece::Text(&self.blank));
                self.blank.clear();
            }
        }
        self.blank.push_str(text.get(shown.len()..).unwrap_or_default());
    }

    /// Where the next call may begin in what is held.
    fn locate(&self, whole: bool) -> Located {
        let held = self.held.as_str();
        let triggers = self.convention.triggers;
        let mut sure = held.len();
        if !self.begun {
            let begin = held.len() - held.trim_start().len();
            let rest = held.get(begin..).unwrap_or_default();
            for Trigger { text, .. } in triggers.iter().filter(|trigger| trigger.at_start) {
                if rest.is_empty() && !whole {
                    sure = sure.min(begin);
                    continue;
                }
                if rest.starts_with(text) {
                    return Located::At(begin, text.len());
                }
                if !whole && text.starts_with(rest) {
                    sure = sure.min(begin);
                }
            }
        }
        let anywhere = triggers.iter().filter(|trigger| !trigger.at_start);
        let first = anywhere.clone().filter_map(|trigger| Some((held.find(trigger.text)?, trigger.text.len()))).min();
        if let Some((at, length)) = first {
            return Located::At(at, length);
        }
        if !whole {
            for Trigger { text, .. } in anywhere {
                sure = sure.min(held.len() - partial(held, text));
            }
        }
        Located::Nowhere { sure }
    }
}

enum Located {
    /// At this byte, with a trigger of so many.
    At(usize, usize),
    /// In none of the first bytes.
    Nowhere { sure: usize },
}

/// Length of the longest end of `text` that is a proper beginning of `mark`.
pub(super) fn partial(text: &str, mark: &str) -> usize {
    let longest = text.len().min(mark.len().saturating_sub(1));
    (1..=longest)
        .rev()
        .find(|&length| text.as_bytes().ends_with(mark.as_bytes().get(..length).unwrap_or_default()))
        .unwrap_or(0)
}

/// An identifier drawn from a seed.
fn new_id(style: IdStyle, seed: u64, index: usize, name: &str) -> String {
    const LETTERS: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let mut state = seed ^ (index as u64).wrapping_mul(0xd134_2543_de82_ef95);
    let mut letters = |count: usize| -> String {
        let letter = |_| {
            // SplitMix64 (Steele, Lea and Flood, 2014).
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            char::from(LETTERS[(mixed % 62) as usize])
        };
        (0..count).map(letter).collect()
    };
    match style {
        IdStyle::OpenAi => format!("call_{}", letters(24)),
        IdStyle::Nine => letters(9),
        IdStyle::FunctionIndex => format!("functions.{name}:{index}"),
    }
}
