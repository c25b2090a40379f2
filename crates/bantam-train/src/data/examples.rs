//! One line to tokens, with exactly those marked that the model is to say.
//!
//! Where an answer begins and ends is found by rendering: the chat up to an answer, ready for it, is what the model will see
//! when it answers; the chat with the answer must begin with the very same tokens, and what follows them is the answer. The
//! last answer's rendering is the whole example. A template that writes earlier answers otherwise once others follow (many
//! drop earlier thoughts) gives an example for each answer. One where an answer's rendering does not begin as the prompt
//! does is refused: where its answers are could only be guessed.

use bantam_text::{ChatInput, ChatTemplate, Special, Tokenizer};
use serde_json::{Map, Value, json};

use super::LineKind;
use super::lines::begin;

/// Tokens, and which of them the model is to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Example {
    /// The tokens.
    pub tokens: Vec<u32>,
    /// By token: whether it is learned to be said; never the first.
    pub said: Vec<bool>,
    /// The line it comes from, counted from 1.
    pub line: usize,
}

impl Example {
    /// Tokens that are learned.
    pub fn learned(&self) -> usize {
        self.said.iter().filter(|said| **said).count()
    }
}

/// What turns a line into examples: a model's tokenizer and chat template.
pub struct Encoder<'m> {
    tokenizer: &'m Tokenizer,
    template: Option<ChatTemplate>,
    /// The template for chats with tools, where the model has one of its own.
    for_tools: Option<ChatTemplate>,
}

impl<'m> Encoder<'m> {
    /// For a model's own template; without one, `prompt` and `completion` are put one behind the other as they are.
    pub fn new(tokenizer: &'m Tokenizer, template: Option<ChatTemplate>, for_tools: Option<ChatTemplate>) -> Self {
        Self { tokenizer, template, for_tools }
    }

    /// The examples of a line.
    pub(super) fn encode(&self, kind: LineKind, line: &Map<String, Value>) -> Result<Vec<Example>, String> {
        let found = |key: &str| line.get(key).unwrap_or(&Value::Null);
        let examples = match kind {
            LineKind::Text => {
                let text = found("text").as_str().ok_or("`text` is no string")?;
                vec![self.raw("", text)?]
            }
            LineKind::Completion => match (found("prompt"), found("completion")) {
                (Value::String(prompt), Value::String(completion)) => match &self.template {
                    Some(_) => {
                        let messages = json!([
                            { "role": "user", "content": prompt },
                            { "role": "assistant", "content": completion },
                        ]);
                        self.chat(&messages, None)?
                    }
                    None => vec![self.raw(prompt, completion)?],
                },
                (Value::Array(prompt), Value::Array(completion)) => {
                    let all = prompt.iter().chain(completion).cloned().collect();
                    // Answers within the prompt are not learned.
                    self.answers(&Value::Array(all), line.get("tools"), prompt.len())?
                }
                _ => return Err("`prompt` and `completion` are neither two strings nor two lists of messages".into()),
            },
            LineKind::Messages => self.chat(found("messages"), line.get("tools"))?,
        };
        match examples.iter().any(|example| example.learned() == 0) {
            true => Err("there is nothing in it for the model to say".into()),
            false => Ok(examples),
        }
    }

    /// A text behind another, without a template; only the second is said.
    fn raw(&self, before: &str, text: &str) -> Result<Example, String> {
        let encode = |text: &str| self.tokenizer.encode(text, Special::AsText).map_err(|error| error.to_string());
        let mut tokens = begin(self.tokenizer);
        if !before.is_empty() {
            tokens.extend(encode(before)?);
        }
        let first = tokens.len().max(1);
        tokens.extend(encode(text)?);
        // An answer ends.
        tokens.extend(self.tokenizer.eos());
        let said = (0..tokens.len()).map(|at| at >= first).collect();
        Ok(Example { tokens, said, line: 0 })
    }

    fn chat(&self, messages: &Value, tools: Option<&Value>) -> Result<Vec<Example>, String> {
        self.answers(messages, tools, 0)
    }

    /// Examples of a chat in which the answers from message `from` on are learned.
    fn answers(&self, messages: &Value, tools: Option<&Value>, from: usize) -> Result<Vec<Example>, String> {
        let Some(list) = messages.as_array() else { return Err("`messages` is no list".into()) };
        for (at, message) in list.iter().enumerate() {
            let role = message.get("role").and_then(Value::as_str);
            if role.is_none() {
                return Err(format!("message {at} has no `role`"));
            }
            let content = message.get("content").unwrap_or(&Value::Null);
            let has_calls =
                message.get("tool_calls").is_some_and(|calls| calls.as_array().is_some_and(|c| !c.is_empty()));
            match content {
                Value::String(_) | Value::Array(_) => {}
                Value::Null if has_calls => {}
                _ => return Err(format!("message {at} has no `content`")),
            }
        }
        let tools = tools.filter(|tools| tools.as_array().is_some_and(|tools| !tools.is_empty()));
        let template = self.for_tools.as_ref().filter(|_| tools.is_some()).or(self.template.as_ref());
        let template = template.ok_or("`messages` need a chat template, and this model has none")?;
        let render = |upto: usize, ready: bool| {
            let input = ChatInput {
                messages: Value::Array(list[..upto].to_vec()),
                tools: tools.cloned(),
                add_generation_prompt: ready,
                ..ChatInput::default()
            };
            template.render_guarded(&input, self.tokenizer).map(|prompt| prompt.ids).map_err(|error| error.to_string())
        };
        let is_answer = |message: &Value| message.get("role").and_then(Value::as_str) == Some("assistant");
        let answers: Vec<usize> = (from..list.len()).filter(|&at| is_answer(&list[at])).collect();
        if answers.is_empty() {
            return Err("no message is the assistant's, so there is nothing to learn".into());
        }
        let mut spans = Vec::new();
        for &at in &answers {
            let (prompt, whole) = (render(at, true)?, render(at + 1, false)?);
            if !whole.starts_with(&prompt) {
                return Err(format!(
                    "the chat template writes message {at} in another way than the model is asked for it, so where the \
                     answer begins cannot be told"
                ));
            }
            // What the template puts behind the token that ends an answer is not the model's to say.
            let ends = |token: &u32| self.tokenizer.end_of_generation().contains(token);
            let end =
                whole.iter().rposition(ends).filter(|end| *end >= prompt.len()).map_or(whole.len(), |end| end + 1);
            spans.push((prompt.len(), end, whole));
        }
        let Some((_, _, last)) = spans.last() else { return Ok(Vec::new()) };
        if spans.iter().all(|(_, end, whole)| last.starts_with(&whole[..*end])) {
            let mut said = vec![false; last.len()];
            spans.iter().for_each(|(start, end, _)| said[*start..*end].fill(true));
            return Ok(vec![cut(last.clone(), said)]);
        }
        let each = spans.into_iter().map(|(start, end, whole)| {
            let said = (0..whole.len()).map(|at| at >= start && at < end).collect();
            cut(whole, said)
        });
        Ok(each.collect())
    }
}

/// The example without what follows the last token that is learned: nothing is predicted from there on.
fn cut(mut tokens: Vec<u32>, mut said: Vec<bool>) -> Example {
    let end = said.iter().rposition(|said| *said).map_or(0, |last| last + 1);
    tokens.truncate(end);
    said.truncate(end);
    if let Some(first) = said.first_mut() {
        *first = false;
    }
    Example { tokens, said, line: 0 }
}
