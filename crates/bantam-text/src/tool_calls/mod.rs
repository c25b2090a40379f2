//! Calls for tools: which way of writing them a model has learnt, and how they are read from its answer.
//!
//! Every family writes calls in its own way. A [`Convention`] is one such way: how a model's files show that it is the
//! model's own ([`recognise`]: never a guess), how its calls look ([`Frame`], from which a grammar can be made) and how they
//! are read ([`ToolCallParser`], piece by piece). What is read has OpenAI's shape ([`ToolCall`]).
//!
//! Invariants: the result does not depend on how the answer is cut into pieces; what is no whole call stays text, to the
//! last character, and is said to be none; arguments are a JSON object; nothing is completed, repaired or invented.
//!
//! Not in here: running tools; the grammars that hold a model to their schemas (`bantam-constrain`).

mod conventions;
mod frame;
mod json;
mod parser;
mod python;
mod reader;
mod tools;
mod value;

use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};

pub use frame::{Frame, Notation, Parameters, Slot};
pub use parser::{Outcome, Piece, ToolCallParser};
pub use tools::{Tool, ToolChoice, Tools};

use reader::{Found, Reader, Stop};

/// A call as OpenAI's chat API has it. Serialised: `{"id", "type": "function", "function": {"name", "arguments"}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// What the tool's answer refers to.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The arguments: the text of a JSON object, as the model wrote it where it writes JSON.
    pub arguments: String,
}

#[derive(Serialize, Deserialize)]
struct Function {
    name: String,
    arguments: String,
}

impl Serialize for ToolCall {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("ToolCall", 3)?;
        object.serialize_field("id", &self.id)?;
        object.serialize_field("type", "function")?;
        let function = Function { name: self.name.clone(), arguments: self.arguments.clone() };
        object.serialize_field("function", &function)?;
        object.end()
    }
}

impl<'d> Deserialize<'d> for ToolCall {
    fn deserialize<D: serde::Deserializer<'d>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Call {
            id: String,
            function: Function,
        }
        let Call { id, function: Function { name, arguments } } = Call::deserialize(deserializer)?;
        Ok(Self { id, name, arguments })
    }
}

/// What a model's files say, as far as a convention shows in them.
#[derive(Clone, Copy)]
pub struct Signs<'s> {
    /// The source of the chat template that is used for tools.
    pub template: &'s str,
    /// Whether the vocabulary has a special token of this spelling.
    pub has_token: &'s dyn Fn(&str) -> bool,
    /// The template's variables that are set (`python_tools`, …).
    pub variables: &'s serde_json::Map<String, serde_json::Value>,
}

impl Signs<'_> {
    /// Whether the template's source has this text.
    fn says(&self, text: &str) -> bool {
        self.template.contains(text)
    }

    fn says_all(&self, texts: &[&str]) -> bool {
        texts.iter().all(|text| self.says(text))
    }

    fn has(&self, token: &str) -> bool {
        (self.has_token)(token)
    }
}

/// How the identifiers of calls look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdStyle {
    /// `call_` and 24 letters and digits.
    OpenAi,
    /// 9 letters and digits: templates of this convention refuse others.
    Nine,
    /// `functions.NAME:INDEX`, the index counted over the conversation.
    FunctionIndex,
}

/// What shows that a call begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// The text.
    pub text: &'static str,
    /// Whether it counts only where the answer begins with it: text that is too common elsewhere.
    pub at_start: bool,
}

impl Trigger {
    const fn anywhere(text: &'static str) -> Self {
        Self { text, at_start: false }
    }

    const fn at_start(text: &'static str) -> Self {
        Self { text, at_start: true }
    }
}

/// One way of writing calls.
#[derive(Clone, Copy)]
pub struct Convention {
    /// The name it goes by here.
    pub name: &'static str,
    /// Who writes so, and where it is published.
    pub about: &'static str,
    /// What shows that a call begins; none is the beginning of another of its kind.
    pub triggers: &'static [Trigger],
    /// Special tokens that the parser must see: a detokenizer that leaves special tokens out has to spell these.
    pub tokens: &'static [&'static str],
    /// Special tokens that end an answer with calls, beside those the model's files name.
    pub ends: &'static [&'static str],
    /// How identifiers look that the model does not give itself.
    pub ids: IdStyle,
    /// How its calls are written.
    pub frame: Frame,
    /// Whether thoughts and text stand in channels of their own, which the parser tells apart too.
    pub channels: bool,
    /// Whether this is the convention of a model with these signs.
    recognise: fn(&Signs<'_>) -> bool,
    /// Reads calls from a trigger on.
    parse: fn(&mut Reader<'_>, &Tools) -> Result<Vec<Found>, Stop>,
}

impl Convention {
    /// Whether calls can be held to their tools' schemas while they are written: where arguments are JSON, and a mark shows
    /// that a call begins. Elsewhere calls are read and said to be wrong where they are, but not held.
    pub fn is_held(&self) -> bool {
        let json = self.frame.call.contains(&Slot::Arguments(Notation::Json));
        let opening = self.frame.opening();
        // A mark that is text and token is no one thing that text could end at.
        let one = |mark: &str| self.tokens.iter().all(|token| mark == *token || !mark.contains(token));
        let shown = |mark: &str| !mark.is_empty() && one(mark) && opening.starts_with(mark);
        // Where channels are, control tokens show what begins.
        json && (self.channels || self.triggers.iter().any(|trigger| shown(trigger.text)))
    }
}

impl std::fmt::Debug for Convention {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Convention").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PartialEq for Convention {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Convention {}

/// Every convention. Where the signs of several are there, the first counts.
pub const CONVENTIONS: &[&Convention] = conventions::ALL;

/// The convention of a model with these signs, or `None` where none is shown.
pub fn recognise(signs: &Signs<'_>) -> Option<&'static Convention> {
    CONVENTIONS.iter().copied().find(|convention| (convention.recognise)(signs))
}

/// The convention of this name.
pub fn named(name: &str) -> Option<&'static Convention> {
    CONVENTIONS.iter().copied().find(|convention| convention.name == name)
}
