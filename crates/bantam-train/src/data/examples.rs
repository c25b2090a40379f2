//! One row to tokens, with exactly those marked that the model is to say.
//!
//! A template with `{% generation %}` blocks says itself which of its words are the model's: those are learned, as
//! transformers' `return_assistant_tokens_mask` gives them.
//!
//! Without, where an answer begins and ends is found by rendering: the chat up to an answer, ready for it, is what the model
//! will see when it answers; the chat with the answer must begin with the very same tokens, and what follows them is the
//! answer. The last answer's rendering is the whole example. A template that writes earlier answers otherwise once others
//! follow (many drop earlier thoughts) gives an example for each answer. One where an answer's rendering does not begin as the
//! prompt does is refused: where its answers are could only be guessed.

use bantam_text::tool_calls::Tools;
use bantam_text::{ChatInput, ChatTemplate, Moment, Special, TextError, Tokenizer, with_fitting_arguments};
use serde_json::{Value, json};

use super::comparison::{Compared, Comparison};
use super::record::{Exchange, Prompt, Record};

/// Tokens, and which of them the model is to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Example {
    /// The tokens.
    pub tokens: Vec<u32>,
    /// By token: whether it is learned to be said; never the first.
    pub said: Vec<bool>,
    /// The line it comes from, counted from 1; of a JSON list or a Parquet file the row.
    pub line: usize,
}

impl Example {
    /// Tokens that are learned.
    pub fn learned(&self) -> usize {
        self.said.iter().filter(|said| **said).count()
    }
}

/// What turns a row into examples: a model's tokenizer and chat template.
pub struct Encoder<'m> {
    tokenizer: &'m Tokenizer,
    template: Option<ChatTemplate>,
    /// The template for chats with tools, where the model has one of its own.
    for_tools: Option<ChatTemplate>,
    now: Moment,
}

impl<'m> Encoder<'m> {
    /// For a model's own template; without one, `prompt` and `completion` are put one behind the other as they are. Templates
    /// that ask for the date are told the first of 1970, if [`Encoder::with_date`] says no other.
    pub fn new(tokenizer: &'m Tokenizer, template: Option<ChatTemplate>, for_tools: Option<ChatTemplate>) -> Self {
        Self { tokenizer, template, for_tools, now: ChatInput::default().now }
    }

    /// With the date that templates are told: one for all examples, so that a run that goes on another day is the same run.
    #[must_use]
    pub fn with_date(mut self, now: Moment) -> Self {
        self.now = now;
        self
    }

    /// The examples of a row. One that is longer than `limit` tokens is given back as long as it is, though not all that would
    /// be learned of it need be marked.
    pub(crate) fn encode(&self, record: &Record, limit: usize) -> Result<Vec<Example>, String> {
        let examples = match record {
            Record::Text(text) => vec![self.raw("", text)?],
            Record::Completion { prompt, completion } => match &self.template {
                Some(_) => self.chat(&[message("user", prompt), message("assistant", completion)], None, 0, limit)?,
                None => vec![self.raw(prompt, completion)?],
            },
            Record::Chat { messages, tools, from } => self.chat(messages, tools.as_ref(), *from, limit)?,
            Record::Pair { .. } => {
                return Err(
                    "`chosen` and `rejected` are compared (--method dpo or orpo), not learned as they are".into()
                );
            }
            Record::Judged { .. } => {
                return Err("`completion` with a `label` is judged (--method kto), not learned as it is".into());
            }
        };
        match examples.iter().any(|example| example.learned() == 0) {
            true => Err("there is nothing in it for the model to say".into()),
            false => Ok(examples),
        }
    }

    /// The comparisons of a row.
    pub(crate) fn compare(&self, record: &Record, wanted: Compared, limit: usize) -> Result<Vec<Comparison>, String> {
        match (record, wanted) {
            (Record::Pair { chosen, rejected, tools }, wanted) => {
                let chosen =
                    self.exchange(chosen, tools.as_ref(), limit).map_err(|error| format!("chosen: {error}"))?;
                let rejected =
                    self.exchange(rejected, tools.as_ref(), limit).map_err(|error| format!("rejected: {error}"))?;
                Ok(match wanted {
                    Compared::Pairs => vec![Comparison::Pair { chosen, rejected }],
                    Compared::Singles => vec![
                        Comparison::Single { answer: chosen, good: true },
                        Comparison::Single { answer: rejected, good: false },
                    ],
                })
            }
            (Record::Judged { answer, good, tools }, Compared::Singles) => {
                let answer = self.exchange(answer, tools.as_ref(), limit)?;
                Ok(vec![Comparison::Single { answer, good: *good }])
            }
            (Record::Judged { .. }, Compared::Pairs) => {
                Err("expected `chosen` and `rejected`; `completion` with a `label` is for --method kto".into())
            }
            (Record::Text(_) | Record::Completion { .. } | Record::Chat { .. }, Compared::Pairs) => {
                Err("expected `chosen` and `rejected`, which this method compares".into())
            }
            (Record::Text(_) | Record::Completion { .. } | Record::Chat { .. }, Compared::Singles) => {
                Err("expected `completion` with a `label`, or `chosen` and `rejected`, which this method compares"
                    .into())
            }
        }
    }

    fn exchange(&self, exchange: &Exchange, tools: Option<&Value>, limit: usize) -> Result<Example, String> {
        let mut examples = match (&exchange.prompt, &exchange.answer) {
            (Prompt::Text(prompt), Prompt::Text(answer)) => match &self.template {
                Some(_) if prompt.is_empty() => {
                    return Err(
                        "texts without a `prompt` beside them go with --raw; chats are lists of messages".into()
                    );
                }
                Some(_) => self.chat(&[message("user", prompt), message("assistant", answer)], None, 0, limit)?,
                None => vec![self.raw(prompt, answer)?],
            },
            (Prompt::Messages(before), Prompt::Messages(answer)) => {
                let all: Vec<Value> = before.iter().chain(answer).cloned().collect();
                self.chat(&all, tools, before.len(), limit)?
            }
            _ => return Err("the prompt and the answer are neither both texts nor both messages".into()),
        };
        match (examples.pop(), examples.is_empty()) {
            (Some(example), true) if example.learned() > 0 => Ok(example),
            (Some(_), true) => Err("there is nothing in it for the model to say".into()),
            _ => Err(
                "the chat template writes earlier answers otherwise once others follow, so several answers cannot be \
                      compared as one"
                    .into(),
            ),
        }
    }

    /// A text behind another, without a template; only the second is said.
    fn raw(&self, before: &str, text: &str) -> Result<Example, String> {
        let encode = |text: &str| self.tokenizer.encode(text, Special::AsText).map_err(|error| error.to_string());
        let mut tokens = self.tokenizer.prefix_ids().to_vec();
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

    /// Examples of a chat in which the answers from message `from` on are learned, but for those that weigh nothing.
    fn chat(
        &self,
        messages: &[Value],
        tools: Option<&Value>,
        from: usize,
        limit: usize,
    ) -> Result<Vec<Example>, String> {
        let is_answer = |message: &Value| message.get("role").and_then(Value::as_str) == Some("assistant");
        let weighs = |message: &Value| message.get("weight").and_then(Value::as_f64) != Some(0.0);
        let answers: Vec<usize> = (0..messages.len()).filter(|&at| is_answer(&messages[at])).collect();
        let learned: Vec<usize> = answers.iter().copied().filter(|&at| at >= from && weighs(&messages[at])).collect();
        let Some(&last) = learned.last() else {
            return Err("no message is the assistant's, so there is nothing to learn".into());
        };
        let tools =
            tools.map(|tools| Tools::from_json(tools.clone()).map_err(|error| error.to_string())).transpose()?;
        let tools = tools.filter(|tools| !tools.is_empty());
        let template = self.for_tools.as_ref().filter(|_| tools.is_some()).or(self.template.as_ref());
        let template = template.ok_or("`messages` need a chat template, and this model has none")?;
        let plain: Vec<Value> = messages.iter().cloned().map(without_weight).collect();
        let chat = Chat { encoder: self, template, messages: plain, tools: tools.map(|tools| tools.to_json()) };
        if template.marks_generation()
            && let Some(example) = chat.marked(&answers, &learned)?
        {
            return Ok(vec![example]);
        }
        chat.compared(&learned, last, limit)
    }
}

fn message(role: &str, content: &str) -> Value {
    json!({ "role": role, "content": content })
}

fn without_weight(mut message: Value) -> Value {
    if let Some(fields) = message.as_object_mut() {
        fields.shift_remove("weight");
    }
    message
}

/// A chat on its way to tokens.
struct Chat<'e, 'm> {
    encoder: &'e Encoder<'m>,
    template: &'e ChatTemplate,
    messages: Vec<Value>,
    tools: Option<Value>,
}

impl Chat<'_, '_> {
    /// Renders the first messages, as a chat is rendered that is to be answered.
    fn render<T>(
        &self,
        upto: usize,
        ready: bool,
        render: &dyn Fn(&ChatInput) -> Result<T, TextError>,
    ) -> Result<T, String> {
        let mut input = ChatInput {
            messages: Value::Array(self.messages[..upto].to_vec()),
            tools: self.tools.clone(),
            add_generation_prompt: ready,
            now: self.encoder.now,
            ..ChatInput::default()
        };
        with_fitting_arguments(&mut input, render).map_err(|error| error.to_string())
    }

    /// The example whose answers the template marks; none where it marks nothing, or what it marks is not to be told apart.
    fn marked(&self, answers: &[usize], learned: &[usize]) -> Result<Option<Example>, String> {
        let upto = learned.last().map_or(0, |last| last + 1);
        let tokenizer = self.encoder.tokenizer;
        let found = self.render(upto, false, &|input| self.template.render_marked(input, tokenizer))?;
        let Some(found) = found else { return Ok(None) };
        let before = answers.iter().filter(|at| **at < upto).count();
        let all = before == learned.len();
        if found.spans.is_empty() || (!all && found.spans.len() != before) {
            return Ok(None);
        }
        let mut said = vec![false; found.ids.len()];
        for (span, answer) in found.spans.iter().zip(answers.iter().map(Some).chain(std::iter::repeat(None))) {
            if all || answer.is_some_and(|answer| learned.contains(answer)) {
                said.get_mut(span.clone()).into_iter().flatten().for_each(|said| *said = true);
            }
        }
        Ok(Some(cut(found.ids, said)))
    }

    /// The examples whose answers are what follows the prompts they answer.
    fn compared(&self, learned: &[usize], last: usize, limit: usize) -> Result<Vec<Example>, String> {
        let tokenizer = self.encoder.tokenizer;
        let ids = |upto: usize, ready: bool| {
            self.render(upto, ready, &|input| self.template.render_guarded(input, tokenizer).map(|prompt| prompt.ids))
        };
        let span = |at: usize| {
            let (prompt, whole) = (ids(at, true)?, ids(at + 1, false)?);
            if !whole.starts_with(&prompt) {
                return Err(format!(
                    "the chat template writes message {at} in another way than the model is asked for it, so where the \
                     answer begins cannot be told"
                ));
            }
            // What the template puts behind the token that ends an answer is not the model's to say.
            let ends = |token: &u32| tokenizer.end_of_generation().contains(token);
            let end =
                whole.iter().rposition(ends).filter(|end| *end >= prompt.len()).map_or(whole.len(), |end| end + 1);
            Ok((prompt.len(), end, whole))
        };
        // The longest first: a chat that is too long is not rendered once for each of its answers, which would take the square
        // of its length.
        let (start, end, whole) = span(last)?;
        if end > limit {
            let said = (0..whole.len()).map(|at| at >= start && at < end).collect();
            return Ok(vec![cut(whole, said)]);
        }
        let mut spans = Vec::with_capacity(learned.len());
        for &at in learned.iter().filter(|at| **at != last) {
            spans.push(span(at)?);
        }
        if spans.iter().all(|(_, end, earlier)| whole.starts_with(&earlier[..*end])) {
            let mut said = vec![false; whole.len()];
            spans.iter().for_each(|(start, end, _)| said[*start..*end].fill(true));
            said[start..end].fill(true);
            return Ok(vec![cut(whole, said)]);
        }
        spans.push((start, end, whole));
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
