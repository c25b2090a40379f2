//! What a row says: an example in one of the shapes that data come in, told by its keys and brought to one of three forms.

use serde_json::{Map, Value, json};

/// The shapes of rows, as the field calls them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    /// `messages`: a conversation in OpenAI's shape, with `tools` where there are some.
    Messages,
    /// `conversations` of `from` and `value` (ShareGPT).
    Turns,
    /// `instruction`, `input` and `output` (Alpaca).
    Alpaca,
    /// `prompt` and `completion`.
    Completion,
    /// `text`: all of it is to be said.
    Text,
    /// `chosen` and `rejected`, with `prompt` or as whole chats.
    Preference,
    /// `prompt`, `completion` and `label`: an answer that is good or bad.
    Judged,
}

/// What can be learned from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learning {
    /// What to say.
    Answers,
    /// What is better said than something else (DPO, ORPO), or good or bad by itself (KTO).
    Comparisons,
}

impl Shape {
    /// The shape by its keys.
    ///
    /// # Errors
    /// Keys of none, or of several that exclude each other.
    pub fn of(row: &Map<String, Value>) -> Result<Self, String> {
        let has = |key: &str| row.get(key).is_some_and(|value| !value.is_null());
        let (prompt, completion) = (has("prompt"), has("completion"));
        if has("chosen") || has("rejected") {
            return match has("chosen") && has("rejected") {
                true => Ok(Self::Preference),
                false => Err("expected both `chosen` and `rejected`".into()),
            };
        }
        if has("instruction") && has("output") {
            // The set that gave the shape its name has the whole of it again under `text`.
            return match has("messages") || has("conversations") || completion {
                true => Err(exclude()),
                false => Ok(Self::Alpaca),
            };
        }
        // Well-known sets repeat a chat's first message under `prompt`.
        let alone = [(has("messages"), Self::Messages), (has("conversations"), Self::Turns), (has("text"), Self::Text)];
        let found: Vec<Self> = alone.into_iter().filter(|(there, _)| *there).map(|(_, shape)| shape).collect();
        match (found.as_slice(), prompt, completion) {
            ([], true, true) if has("label") => Ok(Self::Judged),
            ([], true, true) => Ok(Self::Completion),
            ([], true, false) | ([], false, true) => Err("expected both `prompt` and `completion`".into()),
            ([shape @ (Self::Messages | Self::Turns)], _, false) => Ok(*shape),
            ([shape], false, false) => Ok(*shape),
            ([], false, false) if has("instruction") || has("output") => {
                Err("expected both `instruction` and `output`".into())
            }
            ([], false, false) => {
                let keys: Vec<String> = row.keys().take(6).map(|key| format!("`{}`", shorten(key, 40))).collect();
                let found = if keys.is_empty() { "no keys".into() } else { keys.join(", ") };
                Err(format!(
                    "expected `messages`, `conversations`, `instruction` and `output`, `prompt` and `completion`, `text`, or \
                     `chosen` and `rejected`; found {found}"
                ))
            }
            _ => Err(exclude()),
        }
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Turns => "sharegpt",
            Self::Alpaca => "alpaca",
            Self::Completion => "prompt/completion",
            Self::Text => "text",
            Self::Preference => "chosen/rejected",
            Self::Judged => "completion/label",
        }
    }

    /// What can be learned from it.
    pub fn learning(self) -> Learning {
        match self {
            Self::Messages | Self::Turns | Self::Alpaca | Self::Completion | Self::Text => Learning::Answers,
            Self::Preference | Self::Judged => Learning::Comparisons,
        }
    }
}

fn exclude() -> String {
    "`messages`, `conversations`, `instruction`/`output`, `prompt`/`completion` and `text` exclude each other".into()
}

/// A text's first characters.
pub(super) fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// What an answer answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Prompt {
    /// A text; a user's message where the model has a chat template.
    Text(String),
    /// Messages.
    Messages(Vec<Value>),
}

/// A prompt with an answer, in the same form as it.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// What it answers; where that is a text, the answer is one text, too.
    pub prompt: Prompt,
    /// The answer's messages, or one text.
    pub answer: Prompt,
}

/// A row in one of the forms that are encoded.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A text.
    Text(String),
    /// A conversation, in OpenAI's shape.
    Chat {
        /// Its messages.
        messages: Vec<Value>,
        /// Descriptions of tools.
        tools: Option<Value>,
        /// Messages before this one are no answers to learn.
        from: usize,
    },
    /// A prompt and its completion, both texts.
    Completion {
        /// The prompt.
        prompt: String,
        /// The completion.
        completion: String,
    },
    /// Two answers to one prompt, the first of which is better.
    Pair {
        /// The better.
        chosen: Exchange,
        /// The worse.
        rejected: Exchange,
        /// Descriptions of tools.
        tools: Option<Value>,
    },
    /// An answer that is good or bad.
    Judged {
        /// The answer.
        answer: Exchange,
        /// Whether it is good.
        good: bool,
        /// Descriptions of tools.
        tools: Option<Value>,
    },
}

impl Record {
    /// A row in its form.
    ///
    /// # Errors
    /// Says what was expected and found; the caller knows the line.
    pub fn of(shape: Shape, row: &Map<String, Value>) -> Result<Self, String> {
        let found = |key: &str| row.get(key).unwrap_or(&Value::Null);
        let text = |key: &str| match found(key) {
            Value::String(text) => Ok(text.clone()),
            _ => Err(format!("`{key}` is no string")),
        };
        let optional = |key: &str| match found(key) {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            _ => Err(format!("`{key}` is no string")),
        };
        Ok(match shape {
            Shape::Text => Self::Text(text("text")?),
            Shape::Messages => Self::Chat {
                messages: messages(found("messages"), "messages")?,
                tools: tools(found("tools"))?,
                from: 0,
            },
            Shape::Turns => {
                let messages = conversation(found("conversations"), optional("system")?)?;
                Self::Chat { messages, tools: tools(found("tools"))?, from: 0 }
            }
            Shape::Alpaca => {
                let (instruction, output) = (text("instruction")?, text("output")?);
                let asked = match optional("input")? {
                    Some(input) => format!("{instruction}\n{input}"),
                    None => instruction,
                };
                let (system, history) = (optional("system")?, found("history"));
                if system.is_none() && (history.is_null() || history.as_array().is_some_and(Vec::is_empty)) {
                    return Ok(Self::Completion { prompt: asked, completion: output });
                }
                let mut messages: Vec<Value> = system.map(|text| message("system", text)).into_iter().collect();
                for turn in list(history, "history")? {
                    let pair = turn.as_array().map(Vec::as_slice);
                    let Some([Value::String(question), Value::String(answer)]) = pair else {
                        return Err("`history` is no list of pairs of a question and an answer".into());
                    };
                    messages.extend([message("user", question), message("assistant", answer)]);
                }
                messages.extend([message("user", &asked), message("assistant", &output)]);
                Self::Chat { messages, tools: tools(found("tools"))?, from: 0 }
            }
            Shape::Completion => match exchange(found("prompt"), found("completion"), "completion")? {
                Exchange { prompt: Prompt::Messages(mut all), answer: Prompt::Messages(answer) } => {
                    let from = all.len();
                    all.extend(answer);
                    Self::Chat { messages: all, tools: tools(found("tools"))?, from }
                }
                Exchange { prompt: Prompt::Text(prompt), answer: Prompt::Text(completion) } => {
                    Self::Completion { prompt, completion }
                }
                _ => return Err(neither("completion")),
            },
            Shape::Judged => {
                let good = match found("label") {
                    Value::Bool(good) => *good,
                    Value::Number(number) if number.as_u64() == Some(1) => true,
                    Value::Number(number) if number.as_u64() == Some(0) => false,
                    other => return Err(format!("expected true or false as `label`, found {}", brief(other))),
                };
                let answer = exchange(found("prompt"), found("completion"), "completion")?;
                Self::Judged { answer, good, tools: tools(found("tools"))? }
            }
            Shape::Preference => pair(found("prompt"), found("chosen"), found("rejected"), tools(found("tools"))?)?,
        })
    }
}

/// A value in a few words.
pub(super) fn brief(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        other => shorten(&other.to_string(), 40),
    }
}

fn message(role: &str, content: &str) -> Value {
    json!({ "role": role, "content": content })
}

fn list<'v>(value: &'v Value, name: &str) -> Result<&'v [Value], String> {
    match value {
        Value::Null => Ok(&[]),
        Value::Array(list) => Ok(list),
        _ => Err(format!("`{name}` is no list")),
    }
}

fn neither(answer: &str) -> String {
    format!("`prompt` and `{answer}` are neither two strings nor two lists of messages")
}

/// Messages in OpenAI's shape, looked at one by one.
fn messages(value: &Value, name: &str) -> Result<Vec<Value>, String> {
    let Value::Array(list) = value else { return Err(format!("`{name}` is no list")) };
    for (at, message) in list.iter().enumerate() {
        if message.get("role").and_then(Value::as_str).is_none() {
            return Err(format!("message {at} has no `role`"));
        }
        let calls = message.get("tool_calls").unwrap_or(&Value::Null);
        let has_calls = calls.as_array().is_some_and(|calls| !calls.is_empty());
        match message.get("content").unwrap_or(&Value::Null) {
            Value::String(_) | Value::Array(_) => {}
            Value::Null if has_calls => {}
            _ => return Err(format!("message {at} has no `content`")),
        }
        // OpenAI's files say so where an answer is not to be learned.
        match message.get("weight") {
            None | Some(Value::Null) => {}
            Some(Value::Number(weight)) if weight.as_f64().is_some_and(|weight| weight == 0.0 || weight == 1.0) => {}
            Some(other) => {
                return Err(format!("expected 0 or 1 as the `weight` of message {at}, found {}", brief(other)));
            }
        }
    }
    Ok(list.clone())
}

/// Descriptions of tools: a list, or the JSON of one.
fn tools(value: &Value) -> Result<Option<Value>, String> {
    let tools = match value {
        Value::Null => return Ok(None),
        Value::Array(_) => value.clone(),
        Value::String(text) if text.trim().is_empty() => return Ok(None),
        Value::String(text) => match serde_json::from_str(text) {
            Ok(list @ Value::Array(_)) => list,
            _ => return Err("`tools` is neither a list nor the JSON of one".into()),
        },
        _ => return Err("`tools` is no list".into()),
    };
    Ok(Some(tools).filter(|tools| tools.as_array().is_some_and(|tools| !tools.is_empty())))
}

/// ShareGPT's turns as messages.
fn conversation(value: &Value, system: Option<&str>) -> Result<Vec<Value>, String> {
    let Value::Array(turns) = value else { return Err("`conversations` is no list".into()) };
    if turns.iter().all(|turn| turn.get("role").is_some()) && !turns.is_empty() {
        // The key alone is ShareGPT's.
        let mut all = messages(value, "conversations")?;
        if let Some(system) = system {
            all.insert(0, message("system", system));
        }
        return Ok(all);
    }
    let mut messages: Vec<Value> = system.map(|text| message("system", text)).into_iter().collect();
    for (at, turn) in turns.iter().enumerate() {
        let field = |key: &str| turn.get(key).and_then(Value::as_str);
        let from = field("from").ok_or_else(|| format!("turn {at} has no `from`"))?;
        let said = field("value").ok_or_else(|| format!("turn {at} has no `value`"))?;
        let mut made = match from {
            "human" | "user" => message("user", said),
            // tidy: allow(family-names) the shape's own word for whoever answers
            "gpt" | "assistant" | "chatgpt" | "model" => message("assistant", said),
            "system" => message("system", said),
            "tool" | "observation" | "function_response" => message("tool", said),
            "function_call" | "tool_call" => {
                json!({ "role": "assistant", "content": "", "tool_calls": calls(said).map_err(|problem| format!("turn {at}: {problem}"))? })
            }
            other => {
                return Err(format!(
                    "turn {at} is from `{}`; known are human, assistant, system, function_call and observation",
                    shorten(other, 40)
                ));
            }
        };
        if let (Some(weight), Some(made)) = (turn.get("weight"), made.as_object_mut()) {
            made.insert("weight".into(), weight.clone());
        }
        messages.push(made);
    }
    // What was taken over is looked at like any other.
    self::messages(&Value::Array(messages), "conversations")
}

/// Calls for tools out of their JSON: one, or a list.
fn calls(text: &str) -> Result<Vec<Value>, String> {
    let wrong = || "expected a call for a tool, `{\"name\": …, \"arguments\": …}`, or a list of them".to_owned();
    let list = match serde_json::from_str(text).map_err(|_| wrong())? {
        Value::Array(list) => list,
        one => vec![one],
    };
    let one = |call: &Value| {
        let name = call.get("name").and_then(Value::as_str).ok_or_else(wrong)?;
        let arguments = call.get("arguments").cloned().unwrap_or_else(|| json!({}));
        Ok(json!({ "type": "function", "function": { "name": name, "arguments": arguments } }))
    };
    list.iter().map(one).collect()
}

/// A prompt and an answer of the same form.
fn exchange(prompt: &Value, answer: &Value, name: &str) -> Result<Exchange, String> {
    match (prompt, answer) {
        (Value::String(prompt), Value::String(answer)) => {
            Ok(Exchange { prompt: Prompt::Text(prompt.clone()), answer: Prompt::Text(answer.clone()) })
        }
        (Value::Array(_), Value::Array(_)) => Ok(Exchange {
            prompt: Prompt::Messages(messages(prompt, "prompt")?),
            answer: Prompt::Messages(messages(answer, name)?),
        }),
        _ => Err(neither(name)),
    }
}

/// Two answers to one prompt, which stands beside them or at the beginning of both.
fn pair(prompt: &Value, chosen: &Value, rejected: &Value, tools: Option<Value>) -> Result<Record, String> {
    let (chosen, rejected) = match (prompt, chosen, rejected) {
        (Value::Null | Value::String(_), Value::Array(_), Value::Array(_)) => {
            let (chosen, rejected) = (messages(chosen, "chosen")?, messages(rejected, "rejected")?);
            let shared = chosen.iter().zip(&rejected).take_while(|(one, other)| one == other).count();
            let is_answer = |list: &[Value], at: usize| {
                list.get(at).and_then(|message| message.get("role")).and_then(Value::as_str) == Some("assistant")
            };
            let before = match (prompt, shared) {
                // Answers alone: the prompt is what a user asks.
                (Value::String(prompt), 0) if is_answer(&chosen, 0) => vec![message("user", prompt)],
                (_, 0) => return Err("`chosen` and `rejected` share no beginning that both would answer".into()),
                // The same answer twice shares everything; what both answer is what stands before it.
                (_, shared) if shared == chosen.len() || shared == rejected.len() => chosen[..shared - 1].to_vec(),
                (_, shared) => chosen[..shared].to_vec(),
            };
            let shared = if shared == 0 { 0 } else { before.len() };
            let one = |list: Vec<Value>| Exchange {
                prompt: Prompt::Messages(before.clone()),
                answer: Prompt::Messages(list.into_iter().skip(shared).collect()),
            };
            (one(chosen), one(rejected))
        }
        (Value::Null, Value::String(chosen), Value::String(rejected)) => {
            let shared = chosen.char_indices().zip(rejected.char_indices()).take_while(|(one, other)| one == other);
            let end = shared.last().map_or(0, |((at, character), _)| at + character.len_utf8());
            // Words are not cut: the answer begins at one.
            let end = if end == chosen.len() && end == rejected.len() { 0 } else { end };
            let end = chosen[..end].rfind(char::is_whitespace).map_or(0, |at| at);
            let one = |text: &str| Exchange {
                prompt: Prompt::Text(text[..end].to_owned()),
                answer: Prompt::Text(text[end..].to_owned()),
            };
            (one(chosen), one(rejected))
        }
        _ => (exchange(prompt, chosen, "chosen")?, exchange(prompt, rejected, "rejected")?),
    };
    Ok(Record::Pair { chosen, rejected, tools })
}
