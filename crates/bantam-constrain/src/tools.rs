//! Calls for tools, held to the tools' schemas: a grammar made from a convention's frame.
//!
//! An answer is text in which no call begins, or text and then the convention's frame, which ends it. In the frame the name is
//! one of the tools', and the arguments are what that tool's schema describes, read and written anew as any other schema. The
//! frame is the one that the convention writes: other spellings that its parser reads as calls, too, are kept out of the text,
//! so that whatever is a call in the answer is one that was held.

use std::fmt::Write as _;

use bantam_text::tool_calls::{Convention, Notation, Slot, Tool, Tools};
use bantam_text::{TokenKind, Tokenizer};
use serde_json::{Map, Value, json};

use crate::ConstraintError;
use crate::compiler::LONGEST_SOURCE;
use crate::schema;

/// What calls are to be held to.
#[derive(Clone, Copy, Debug)]
pub struct CallRules<'r> {
    /// How the model writes them.
    pub convention: &'static Convention,
    /// What it may call.
    pub tools: &'r Tools,
    /// Whether the answer has to be a call.
    pub required: bool,
    /// Whether there may be several, where the convention knows how.
    pub parallel: bool,
}

/// A grammar, with the schemas' notes.
#[derive(Debug)]
pub(crate) struct Grammar {
    pub(crate) lark: String,
    pub(crate) notes: Vec<String>,
}

/// The grammar of answers, or nothing for a convention whose calls can't be held in this vocabulary.
pub(crate) fn grammar(rules: &CallRules<'_>, tokenizer: &Tokenizer) -> Result<Option<Grammar>, ConstraintError> {
    let convention = rules.convention;
    if !convention.is_held() || rules.tools.is_empty() {
        return Ok(None);
    }
    let mut writer = Writer { convention, tokenizer, out: "%llguidance {}\n".to_owned() };
    let mut notes = Vec::new();
    for (number, tool) in rules.tools.iter().enumerate() {
        let arguments = arguments(tool, &mut notes)?;
        let _ = writeln!(writer.out, "arguments_{number}: %json {arguments}");
        if writer.out.len() > LONGEST_SOURCE {
            return Err(ConstraintError::Grammar("the tools' schemas are longer than 1 MiB".to_owned()));
        }
    }
    let written = if convention.channels { writer.channels(rules) } else { writer.frame(rules) };
    Ok(written.map(|()| Grammar { lark: writer.out, notes }))
}

/// What the arguments of a tool must be: an object, by its schema. A tool without a schema has none.
fn arguments(tool: &Tool, notes: &mut Vec<String>) -> Result<Value, ConstraintError> {
    let refuse = |reason: String| ConstraintError::Tool { tool: tool.name.clone(), reason };
    if tool.name.chars().any(|c| c.is_control() || matches!(c, '"' | '\\')) {
        return Err(refuse("its name has a quotation mark, a backslash or a control character".to_owned()));
    }
    let nothing = || json!({ "type": "object", "properties": {}, "additionalProperties": false });
    let mut parameters = tool.parameters.clone().unwrap_or_else(nothing);
    if let Value::Object(keywords) = &mut parameters {
        only_objects(keywords).map_err(refuse)?;
    }
    let rewritten = schema::rewrite(&parameters).map_err(|error| refuse(error.to_string()))?;
    notes.extend(rewritten.notes.into_iter().map(|note| format!("tool {:?}: {note}", tool.name)));
    Ok(rewritten.schema)
}

/// Arguments are an object, whatever else their schema would allow.
fn only_objects(keywords: &mut Map<String, Value>) -> Result<(), String> {
    let allowed = match keywords.get("type") {
        None => true,
        Some(Value::String(kind)) => kind == "object",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        // The reader of schemas says what is wrong with it.
        Some(_) => return Ok(()),
    };
    if !allowed {
        return Err("its \"type\" at its top allows no object, which arguments are".to_owned());
    }
    keywords.insert("type".to_owned(), json!("object"));
    Ok(())
}

struct Writer<'w> {
    convention: &'static Convention,
    tokenizer: &'w Tokenizer,
    out: String,
}

impl Writer<'_> {
    /// Calls in the convention's frame, behind text or alone.
    fn frame(&mut self, rules: &CallRules<'_>) -> Option<()> {
        let frame = &self.convention.frame;
        let opening = frame.opening();
        let trigger = self
            .convention
            .triggers
            .iter()
            .find(|trigger| !trigger.text.is_empty() && opening.starts_with(trigger.text))?;
        let first = opening.get(trigger.text.len()..)?.to_owned();
        // What the opening has is left out of the first call.
        let texts = frame.call.iter().take_while(|slot| matches!(slot, Slot::Text(_))).count();
        let behind = frame.call.get(texts..)?;
        let rest = self.calls("rest", behind, rules)?;
        let again = self.calls("call", frame.call, rules)?;
        let first = self.literal(&first);
        let separator = self.literal(frame.separator);
        let end = self.literal(frame.end);
        let more = if frame.parallel && rules.parallel { format!("({separator} {again})*") } else { String::new() };
        let ends = self.ends();
        let _ = writeln!(self.out, "calls: {first} {rest} {more} {end} {ends}");
        let opened = self.literal(trigger.text);
        if rules.required {
            let _ = writeln!(self.out, "start: {opened} calls");
            return Some(());
        }
        let text = self.free_text();
        let _ = writeln!(self.out, "TEXT: {text}");
        let opened = match (self.control(trigger.text).is_some(), trigger.at_start) {
            (true, false) => format!("TEXT? {opened}"),
            // The first mark ends the text, so text and mark are one lexeme: it has the mark at its end and nowhere else.
            (false, false) => {
                let _ = writeln!(self.out, "OPENED: {opened} | (TEXT {opened})");
                "OPENED".to_owned()
            }
            (true, true) => opened,
            (false, true) => {
                let _ = writeln!(self.out, "OPENED: /\\s{{0,4}}/ {opened}");
                "OPENED".to_owned()
            }
        };
        let _ = writeln!(self.out, "start: TEXT? | {opened} calls");
        Some(())
    }

    /// Text in which nothing begins that would be read as a call.
    fn free_text(&self) -> String {
        let mut text = "/(?s:.+)/".to_owned();
        for trigger in self.convention.triggers {
            let mark = regex(trigger.text);
            let _ = if trigger.at_start {
                write!(text, r" & ~/\s*{mark}(?s:.*)/")
            } else {
                write!(text, " & ~/(?s:.*){mark}(?s:.*)/")
            };
        }
        text
    }

    /// Thoughts and text in channels of their own, each in a message, then an answer or a call (OpenAI's harmony format).
    fn channels(&mut self, rules: &CallRules<'_>) -> Option<()> {
        let token = |text: &str| self.control(text);
        let [channel, message, constrain] = [token("<|channel|>")?, token("<|message|>")?, token("<|constrain|>")?];
        let [start, end, call] = [token("<|start|>")?, token("<|end|>")?, token("<|call|>")?];
        let names: Vec<String> = (rules.tools.iter().enumerate())
            .map(|(number, tool)| {
                let name = quoted(&format!("commentary to=functions.{} ", tool.name));
                format!("{channel} {name} {constrain} \"json\" {message} arguments_{number}")
            })
            .collect();
        let _ = writeln!(self.out, "TEXT: /(?s:.+)/");
        let _ = writeln!(
            self.out,
            "before: {channel} (\"analysis\" | \"commentary\") {message} TEXT? {end} {start} \"assistant\""
        );
        // Where the token ends an answer by itself, the grammar needs none.
        let call = if self.ends_answers("<|call|>") { String::new() } else { format!("{call}?") };
        let _ = writeln!(self.out, "call: ({}) {call}", names.join(" | "));
        let last =
            if rules.required { "call".to_owned() } else { format!("(call | {channel} \"final\" {message} TEXT?)") };
        let _ = writeln!(self.out, "start: before* {last}");
        Some(())
    }

    /// One call of any tool, from a slot on: a rule of this name.
    fn calls(&mut self, rule: &str, slots: &[Slot], rules: &CallRules<'_>) -> Option<String> {
        for (number, tool) in rules.tools.iter().enumerate() {
            let mut pieces: Vec<String> = Vec::new();
            // Texts and names are joined: "{" and a name behind it may be one token.
            let mut text = String::new();
            for slot in slots {
                let other = match slot {
                    Slot::Text(more) => {
                        text.push_str(more);
                        continue;
                    }
                    Slot::Name => {
                        text.push_str(&tool.name);
                        continue;
                    }
                    Slot::Index => "/0|[1-9][0-9]{0,2}/".to_owned(),
                    Slot::Id(length) => format!("/[a-zA-Z0-9]{{{length}}}/"),
                    Slot::Arguments(Notation::Json) => format!("arguments_{number}"),
                    Slot::Arguments(_) => return None,
                };
                pieces.push(self.literal(&std::mem::take(&mut text)));
                pieces.push(other);
            }
            pieces.push(self.literal(&text));
            let _ = writeln!(self.out, "{rule}_{number}: {}", pieces.join(" "));
        }
        let names: Vec<String> = (0..rules.tools.iter().count()).map(|number| format!("{rule}_{number}")).collect();
        let _ = writeln!(self.out, "{rule}: {}", names.join(" | "));
        Some(rule.to_owned())
    }

    /// Text as the grammar has it, its control tokens by number.
    fn literal(&self, text: &str) -> String {
        let mut out = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let tokens = self
                .convention
                .tokens
                .iter()
                .filter_map(|token| Some((rest.find(token)?, *token, self.control(token)?)));
            let Some((at, token, number)) = tokens.min_by_key(|(at, ..)| *at) else {
                out.push(quoted(rest));
                break;
            };
            let (before, from) = rest.split_at(at);
            if !before.is_empty() {
                out.push(quoted(before));
            }
            out.push(number);
            rest = from.get(token.len()..).unwrap_or_default();
        }
        out.join(" ")
    }

    /// Tokens that may end calls and end no other answer.
    fn ends(&self) -> String {
        let ends = self.convention.ends.iter().filter(|text| !self.ends_answers(text));
        let ends: Vec<String> = ends.filter_map(|text| self.control(text)).collect();
        if ends.is_empty() { String::new() } else { format!("({})?", ends.join(" | ")) }
    }

    fn ends_answers(&self, text: &str) -> bool {
        self.tokenizer.token_id(text).is_some_and(|id| self.tokenizer.end_of_generation().contains(&id))
    }

    /// A control token as the grammar has it; others are written as their text.
    fn control(&self, text: &str) -> Option<String> {
        let id = self.tokenizer.token_id(text)?;
        (self.tokenizer.token_kind(id) == Some(TokenKind::Control)).then(|| format!("<[{id}]>"))
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Text as an expression between slashes.
fn regex(text: &str) -> String {
    schema::escape(text).replace('/', "\\/")
}
