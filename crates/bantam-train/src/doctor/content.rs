//! What the doctor looks at in a row: what is asked, what is answered, and under which label.

use serde_json::Value;

use crate::data::{Exchange, Prompt, Record};

/// A row's content.
pub(super) struct Content {
    /// What is asked: all messages before the last answer.
    pub(super) prompt: String,
    /// The last answer, or the better one.
    pub(super) answer: String,
    /// The worse answer of a pair.
    pub(super) rejected: Option<String>,
    /// Whether it is good, of a judged answer.
    pub(super) good: Option<bool>,
    /// Answers that say nothing.
    pub(super) empty: usize,
    /// Names of the tools that the last answer calls, or a short answer itself.
    pub(super) label: Option<String>,
    /// Whether the label is the name of a tool.
    pub(super) calls: bool,
}

impl Content {
    pub(super) fn of(record: &Record) -> Self {
        match record {
            Record::Text(text) => Self::simple("", text),
            Record::Completion { prompt, completion } => Self::simple(prompt, completion),
            Record::Chat { messages, from, .. } => Self::chat(messages, *from),
            Record::Pair { chosen, rejected, .. } => {
                let (better, worse) = (Self::exchange(chosen), Self::exchange(rejected));
                Self { empty: better.empty + worse.empty, rejected: Some(worse.answer), ..better }
            }
            Record::Judged { answer, good, .. } => Self { good: Some(*good), ..Self::exchange(answer) },
        }
    }

    fn exchange(exchange: &Exchange) -> Self {
        match (&exchange.prompt, &exchange.answer) {
            (Prompt::Text(prompt), Prompt::Text(answer)) => Self::simple(prompt, answer),
            (before, answer) => {
                let list = |part: &Prompt| match part {
                    Prompt::Text(text) => vec![Value::from(text.as_str())],
                    Prompt::Messages(list) => list.clone(),
                };
                let (mut all, answer) = (list(before), list(answer));
                let from = all.len();
                all.extend(answer);
                Self::chat(&all, from)
            }
        }
    }

    fn simple(prompt: &str, answer: &str) -> Self {
        let (label, calls) = label(answer);
        Self {
            prompt: prompt.to_owned(),
            answer: answer.to_owned(),
            rejected: None,
            good: None,
            empty: usize::from(answer.trim().is_empty()),
            label,
            calls,
        }
    }

    fn chat(messages: &[Value], from: usize) -> Self {
        let role = |message: &Value| message.get("role").and_then(Value::as_str).unwrap_or_default().to_owned();
        let last = messages.iter().rposition(|message| role(message) == "assistant").unwrap_or(messages.len());
        let mut prompt = String::new();
        for message in &messages[..last] {
            prompt.push_str(&role(message));
            prompt.push('\t');
            prompt.push_str(&said(message));
            prompt.push('\n');
        }
        let answer = messages.get(last).map(said).unwrap_or_default();
        let answers = messages.iter().skip(from).filter(|message| role(message) == "assistant");
        let empty = answers.filter(|message| said(message).trim().is_empty()).count();
        let names: Vec<&str> = messages.get(last).map(called).unwrap_or_default();
        let (label, calls) = match names.is_empty() {
            true => label(&answer),
            false => (Some(names.join("+")), true),
        };
        Self { prompt, answer, rejected: None, good: None, empty, label, calls }
    }

    /// All of it, for comparing rows as wholes.
    pub(super) fn whole(&self) -> String {
        let rest = self.rejected.as_deref().unwrap_or_default();
        let good = match self.good {
            None => "",
            Some(true) => "+",
            Some(false) => "-",
        };
        format!("{}\u{0}{}\u{0}{rest}\u{0}{good}", self.prompt, self.answer)
    }
}

/// What a message says: its text, and its calls for tools.
fn said(message: &Value) -> String {
    let mut text = match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let parts = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str));
            parts.collect::<Vec<_>>().join("\n")
        }
        _ => message.as_str().unwrap_or_default().to_owned(),
    };
    for call in message.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
        text.push_str(&call.get("function").unwrap_or(call).to_string());
    }
    text
}

fn called(message: &Value) -> Vec<&str> {
    let calls = message.get("tool_calls").and_then(Value::as_array).into_iter().flatten();
    calls.filter_map(|call| call.get("function").unwrap_or(call).get("name")?.as_str()).collect()
}

/// Most characters of an answer that may be one of a few.
const SHORT: usize = 48;

/// The label that an answer is: the tool's name where it is a call written as JSON, itself where it is short.
fn label(answer: &str) -> (Option<String>, bool) {
    let answer = answer.trim();
    if answer.starts_with('{')
        && let Ok(Value::Object(call)) = serde_json::from_str(answer)
        && let Some(name) = call.get("name").and_then(Value::as_str)
        && (call.contains_key("arguments") || call.contains_key("parameters"))
    {
        return (Some(name.to_owned()), true);
    }
    let short = !answer.is_empty() && !answer.contains('\n') && answer.chars().take(SHORT + 1).count() <= SHORT;
    (short.then(|| answer.to_owned()), false)
}

/// Whether an answer declines: what a model should learn to do where it is not asked what it is for.
pub(super) fn declines(content: &Content) -> bool {
    const SIGNS: [&str; 14] = [
        "out_of_scope",
        "out of scope",
        "i can't",
        "i cannot",
        "i can’t",
        "i'm not able",
        "i am not able",
        "unable to",
        "sorry",
        "i don't know",
        "i do not know",
        "not sure",
        "no_tool",
        "unknown",
    ];
    let answer = content.label.as_deref().unwrap_or(&content.answer);
    let begin: String = answer.chars().take(200).flat_map(char::to_lowercase).collect();
    SIGNS.iter().any(|sign| begin.contains(sign))
        || ["none", "no", "other", "n/a"].contains(&begin.trim_end_matches('.'))
}
