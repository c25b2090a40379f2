//! Messages in channels: `<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{…}<|call|>`. Thoughts stand in the
//! channel `analysis`, text in `final`, and in `commentary` where it is to nobody.

use super::super::parser::partial;
use super::{BASE, Convention, End, Found, Frame, Notation, Slot, Trigger, json, name};

const START: &str = "<|start|>";
const CHANNEL: &str = "<|channel|>";
const MESSAGE: &str = "<|message|>";
/// What ends a message.
const ENDS: &[&str] = &["<|end|>", "<|call|>", "<|return|>", START];
/// Longest head of a message.
const LONGEST_HEAD: usize = 512;

const CALL: &[Slot] = &[
    Slot::Text("<|channel|>commentary to=functions."),
    Slot::Name,
    Slot::Text(" <|constrain|>json<|message|>"),
    Slot::Arguments(Notation::Json),
];

pub(super) const CONVENTION: Convention = Convention {
    name: "harmony",
    about: "gpt-oss; cookbook.openai.com/articles/openai-harmony",
    triggers: &[Trigger::anywhere("<|channel|>commentary to=functions.")],
    tokens: &[START, "<|end|>", MESSAGE, CHANNEL, "<|constrain|>", "<|call|>", "<|return|>"],
    ends: &["<|call|>", "<|return|>"],
    frame: Frame { begin: "", call: CALL, separator: "", end: "", parallel: false },
    channels: true,
    recognise: |signs| signs.says_all(&[CHANNEL, MESSAGE, "functions."]),
    ..BASE
};

/// Where an answer in channels stands.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Channels {
    state: State,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum State {
    /// In the head of a message, up to `<|message|>`.
    #[default]
    Head,
    /// In a message for the reader.
    Text,
    /// In thoughts.
    Reasoning,
    /// In the arguments of this tool, with the head before them.
    Call(String, String),
    /// In an answer without channels.
    Plain,
}

/// What was found.
#[derive(Debug)]
pub(in super::super) enum ChannelStep {
    /// Nothing is sure.
    Wait,
    /// Something was read over.
    Again,
    /// Text.
    Text(String),
    /// Thoughts.
    Reasoning(String),
    /// A call.
    Call(Found),
    /// What looks like a call and is none, and why.
    Bad(String, String),
}

impl Channels {
    /// Does what is sure with what is held, and takes it from there.
    pub(in super::super) fn step(&mut self, held: &mut String, end: End) -> ChannelStep {
        let whole = end != End::Open;
        match self.state.clone() {
            State::Head => self.head(held, end),
            State::Plain => {
                if held.is_empty() {
                    ChannelStep::Wait
                } else {
                    ChannelStep::Text(std::mem::take(held))
                }
            }
            State::Text | State::Reasoning => {
                let wrap = |text| {
                    if self.state == State::Text { ChannelStep::Text(text) } else { ChannelStep::Reasoning(text) }
                };
                let end = ENDS.iter().filter_map(|end| Some((held.find(end)?, *end))).min();
                if let Some((at, end)) = end {
                    let text: String = held.drain(..at).collect();
                    if end != START {
                        held.drain(..end.len());
                    }
                    let step = wrap(text);
                    self.state = State::Head;
                    return step;
                }
                let kept = if whole { 0 } else { ENDS.iter().map(|end| partial(held, end)).max().unwrap_or(0) };
                if held.len() == kept {
                    return ChannelStep::Wait;
                }
                wrap(held.drain(..held.len() - kept).collect())
            }
            State::Call(called, head) => {
                let end = ENDS.iter().filter_map(|end| Some((held.find(end)?, *end))).min();
                let (at, end) = match end {
                    Some(found) => found,
                    None if whole => (held.len(), ""),
                    None => return ChannelStep::Wait,
                };
                let text: String = held.drain(..at).collect();
                if end != START {
                    held.drain(..end.len());
                }
                self.state = State::Head;
                let plain = text.trim();
                let arguments = if json::is_value(plain) { json::arguments(&called, Some(plain)).ok() } else { None };
                match arguments {
                    Some(arguments) => ChannelStep::Call(Found::new(called, arguments)),
                    None => {
                        let reason = format!("the arguments of {called} are no JSON object");
                        ChannelStep::Bad(format!("{head}{text}"), reason)
                    }
                }
            }
        }
    }

    fn head(&mut self, held: &mut String, end: End) -> ChannelStep {
        let whole = end != End::Open;
        let begin = held.trim_start();
        if begin.is_empty() {
            return ChannelStep::Wait;
        }
        let marks = [CHANNEL, START, "to=", "assistant"];
        let marked = marks.iter().any(|mark| begin.starts_with(mark));
        let at = held.find(MESSAGE).filter(|&at| at <= LONGEST_HEAD);
        if let Some(at) = at.filter(|_| marked) {
            let head: String = held.drain(..at + MESSAGE.len()).collect();
            self.state = after_head(head);
            return ChannelStep::Again;
        }
        let possible = marked || marks.iter().any(|mark| mark.starts_with(begin));
        if possible && !whole && held.len() < LONGEST_HEAD + MESSAGE.len() {
            return ChannelStep::Wait;
        }
        // No head: an answer without channels, or one that ended inside of a head.
        self.state = State::Plain;
        if whole && marked && held.contains("to=") {
            let how = if end == End::Cut { "was cut" } else { "ends" };
            return ChannelStep::Bad(std::mem::take(held), format!("the answer {how} inside of a call"));
        }
        ChannelStep::Again
    }
}

/// What follows a head: a message to a tool, thoughts, or text.
fn after_head(head: String) -> State {
    let (role, channel) = head.rsplit_once(CHANNEL).unwrap_or((&head, ""));
    let mut words = role.split_whitespace().chain(channel.split_whitespace());
    let recipient = words.find_map(|word| word.strip_prefix("to=")).map(|word| word.split("<|").next().unwrap_or(word));
    match recipient {
        Some(recipient) => match name(recipient.strip_prefix("functions.").unwrap_or(recipient)) {
            Ok(called) if called != "assistant" && called != "user" => State::Call(called.to_owned(), head.clone()),
            _ => State::Text,
        },
        None if channel.trim_start().starts_with("analysis") => State::Reasoning,
        None => State::Text,
    }
}
