//! One line of `--jsonl`: what it asks for.

use bantam_text::tool_calls::{ToolChoice, Tools};
use serde_json::{Map, Value};

use crate::constraints::{self, Form};

/// What the model is to answer.
#[derive(Debug, PartialEq)]
pub enum Subject {
    /// A text.
    Prompt(String),
    /// OpenAI's chat messages.
    Messages(Value),
}

impl Subject {
    /// What was said last: the prompt, or the last message that is a text.
    pub fn said(&self) -> &str {
        match self {
            Self::Prompt(text) => text,
            Self::Messages(messages) => {
                let last = messages.as_array().and_then(|messages| messages.last());
                last.and_then(|message| message.get("content")).and_then(Value::as_str).unwrap_or_default()
            }
        }
    }
}

/// A request, with the settings it brings of its own.
#[derive(Debug, PartialEq)]
pub struct Request {
    /// What to answer.
    pub subject: Subject,
    /// What the model may call.
    pub tools: Option<Tools>,
    /// Whether it is to call.
    pub tool_choice: Option<ToolChoice>,
    /// Whether it may call several at once.
    pub parallel_tool_calls: Option<bool>,
    /// The system prompt, for messages that bring none.
    pub system: Option<String>,
    /// Whether the model is asked to think.
    pub think: Option<bool>,
    /// The template's own variables: the chat API's `chat_template_kwargs`.
    pub variables: Map<String, Value>,
    /// What the answer is to be.
    pub form: Option<Form>,
    /// Settings by name, as given.
    pub settings: Vec<(&'static str, Value)>,
}

impl Request {
    /// What of it only a chat template could be told.
    pub fn needs_template(&self) -> Option<&'static str> {
        [
            ("tools", self.tools.as_ref().is_some_and(|tools| !tools.is_empty())),
            ("system", self.system.is_some()),
            ("chat_template_kwargs", !self.variables.is_empty()),
        ]
        .into_iter()
        .find_map(|(name, given)| given.then_some(name))
    }
}

/// Settings that a request may bring.
const SETTINGS: [&str; 12] = [
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "repeat_penalty",
    "repeat_last_n",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "stop",
    "max_tokens",
];

/// Keys of the APIs in use that would change the answer and are not done here, each with the number, if any, that asks for
/// nothing. Null, false and what is empty ask for nothing everywhere.
const REFUSED: [(&str, Option<f64>); 52] = [
    // OpenAI's.
    ("n", Some(1.0)),
    ("best_of", Some(1.0)),
    ("logit_bias", None),
    ("functions", None),
    ("function_call", None),
    ("logprobs", None),
    ("top_logprobs", Some(0.0)),
    ("reasoning_effort", None),
    ("reasoning", None),
    ("verbosity", None),
    ("modalities", None),
    ("audio", None),
    ("prediction", None),
    ("web_search_options", None),
    ("suffix", None),
    ("echo", None),
    // llama.cpp's.
    ("ignore_eos", None),
    ("json_schema", None),
    ("n_predict", Some(-1.0)),
    ("dynatemp_range", Some(0.0)),
    ("dry_multiplier", Some(0.0)),
    ("xtc_probability", Some(0.0)),
    ("top_n_sigma", Some(-1.0)),
    ("mirostat", Some(0.0)),
    ("tfs_z", Some(1.0)),
    ("samplers", None),
    ("lora", None),
    ("reasoning_format", None),
    ("reasoning_budget", Some(-1.0)),
    ("thinking_budget_tokens", Some(-1.0)),
    // vLLM's.
    ("repetition_penalty", Some(1.0)),
    ("length_penalty", Some(1.0)),
    ("min_tokens", Some(0.0)),
    ("stop_token_ids", None),
    ("bad_words", None),
    ("allowed_token_ids", None),
    ("use_beam_search", None),
    ("truncate_prompt_tokens", None),
    ("chat_template", None),
    ("continue_final_message", None),
    ("documents", None),
    ("structured_outputs", None),
    ("guided_json", None),
    ("guided_regex", None),
    ("guided_choice", None),
    ("guided_grammar", None),
    // Ollama's.
    ("options", None),
    ("format", None),
    ("template", None),
    ("images", None),
    ("context", None),
    ("num_predict", Some(-1.0)),
];

/// Reads one line.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse(line: &str) -> Result<Request, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| format!("the line is no JSON: {error}"))?;
    let Value::Object(mut object) = value else {
        return Err("the line is no JSON object with \"prompt\" or \"messages\"".into());
    };
    let asks =
        |(key, neutral): &&(&str, Option<f64>)| object.get(*key).is_some_and(|value| !changes_nothing(*neutral, value));
    if let Some((key, _)) = REFUSED.iter().find(asks) {
        let instead = match *key {
            "repetition_penalty" => "\"repeat_penalty\" is",
            "num_predict" | "n_predict" => "\"max_tokens\" is",
            "reasoning_effort" => "\"chat_template_kwargs\" may be what the model's template knows",
            "logprobs" | "top_logprobs" => "the option --logprobs is, for all lines",
            _ => return Err(format!("\"{key}\" is not supported in a line")),
        };
        return Err(format!("\"{key}\" is not supported in a line; {instead}"));
    }
    let subject = match (take(&mut object, "prompt"), take(&mut object, "messages")) {
        (Some(Value::String(prompt)), None) => Subject::Prompt(prompt),
        (Some(_), None) => return Err("\"prompt\" is no string".into()),
        (None, Some(messages @ Value::Array(_))) => Subject::Messages(messages),
        (None, Some(_)) => return Err("\"messages\" is no array".into()),
        (Some(_), Some(_)) => return Err("the line has both \"prompt\" and \"messages\"".into()),
        (None, None) => return Err("the line has neither \"prompt\" nor \"messages\"".into()),
    };
    let tools = match take(&mut object, "tools") {
        Some(tools @ Value::Array(_)) => Some(Tools::from_json(tools).map_err(|error| error.to_string())?),
        Some(_) => return Err("\"tools\" is no array".into()),
        None => None,
    };
    let tool_choice = match take(&mut object, "tool_choice") {
        Some(choice) => Some(ToolChoice::from_json(&choice).map_err(|error| error.to_string())?),
        None => None,
    };
    let parallel_tool_calls = match take(&mut object, "parallel_tool_calls") {
        Some(Value::Bool(parallel)) => Some(parallel),
        Some(_) => return Err("\"parallel_tool_calls\" is neither true nor false".into()),
        None => None,
    };
    let system = match take(&mut object, "system") {
        Some(Value::String(text)) => Some(text),
        Some(_) => return Err("\"system\" is no string".into()),
        None => None,
    };
    if let (Some(_), Subject::Messages(messages)) = (&system, &subject)
        && messages
            .get(0)
            .and_then(|first| first.get("role"))
            .is_some_and(|role| role == "system" || role == "developer")
    {
        return Err("the line has both \"system\" and a system message".into());
    }
    let think = match take(&mut object, "think") {
        Some(Value::Bool(think)) => Some(think),
        Some(_) => return Err("\"think\" is neither true nor false".into()),
        None => None,
    };
    let form = constraints::of_line(&mut object)?;
    let variables = match take(&mut object, "chat_template_kwargs") {
        Some(Value::Object(variables)) => variables,
        Some(_) => return Err("\"chat_template_kwargs\" is no object".into()),
        None => Map::new(),
    };
    if let Some(most) = take(&mut object, "max_completion_tokens") {
        // The chat API's newer name for the same thing.
        object.entry("max_tokens").or_insert(most);
    }
    let settings = SETTINGS.iter().filter_map(|name| Some((*name, take(&mut object, name)?))).collect();
    Ok(Request { subject, tools, tool_choice, parallel_tool_calls, system, think, variables, form, settings })
}

/// Values with which those keys ask for nothing.
fn changes_nothing(neutral: Option<f64>, value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => neutral.is_some() && number.as_f64() == neutral,
        Value::Array(items) => items.is_empty(),
        Value::Object(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(true) => false,
    }
}

/// Takes a key out; null means that it is not there, as in the chat API.
fn take(object: &mut Map<String, Value>, key: &str) -> Option<Value> {
    object.shift_remove(key).filter(|value| !value.is_null())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What a line asks about, and the settings it brings; or part of why it is refused.
    type Expected<'a> = Result<(Subject, &'a [(&'static str, Value)]), &'a str>;

    fn check(line: &str, expected: Expected<'_>) {
        let found = parse(line);
        match (&found, expected) {
            (Ok(request), Ok((subject, settings))) => {
                assert_eq!((&request.subject, request.settings.as_slice()), (&subject, settings), "{line}");
            }
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{line}: {found}"),
            _ => panic!("{line}: {found:?}"),
        }
    }

    #[test]
    fn lines_are_read() {
        check(r#"{"prompt": "a"}"#, Ok((Subject::Prompt("a".into()), &[])));
        check(r#"{"prompt": "", "id": 7, "tools": []}"#, Ok((Subject::Prompt(String::new()), &[])));
        check(
            r#"{"messages": [], "temperature": 0, "stop": ["x"], "seed": null}"#,
            Ok((Subject::Messages(json!([])), &[("temperature", json!(0)), ("stop", json!(["x"]))])),
        );
        check("", Err("no JSON"));
        check("hello", Err("no JSON"));
        check("[]", Err("no JSON object"));
        check("{}", Err("neither"));
        check(r#"{"prompt": 1}"#, Err("no string"));
        check(r#"{"messages": {}}"#, Err("no array"));
        check(r#"{"prompt": "a", "messages": []}"#, Err("both"));
        check(r#"{"prompt": "a", "n": 2}"#, Err("\"n\" is not supported"));
        check(
            r#"{"prompt": "a", "n": 1, "logprobs": false, "max_completion_tokens": 4}"#,
            Ok((Subject::Prompt("a".into()), &[("max_tokens", json!(4))])),
        );
        for key in ["reasoning_effort", "ignore_eos", "repetition_penalty", "guided_json", "min_tokens", "options"] {
            let refused = format!("\"{key}\" is not supported");
            check(&format!(r#"{{"prompt": "a", "{key}": 7}}"#), Err(&refused));
            check(&format!(r#"{{"prompt": "a", "{key}": null}}"#), Ok((Subject::Prompt("a".into()), &[])));
        }
        check(
            r#"{"prompt": "a", "tool_choice": "auto", "response_format": {"type": "text"}, "min_tokens": 0}"#,
            Ok((Subject::Prompt("a".into()), &[])),
        );
        check(r#"{"prompt": "a", "response_format": {"type": "xml"}}"#, Err("\"response_format\""));
        check(r#"{"messages": [{"role": "system", "content": "a"}], "system": "b"}"#, Err("both"));
        check(r#"{"prompt": "a", "system": 1}"#, Err("\"system\" is no string"));
        check(r#"{"prompt": "a", "think": "yes"}"#, Err("\"think\" is neither"));
        check(r#"{"prompt": "a", "chat_template_kwargs": []}"#, Err("\"chat_template_kwargs\" is no object"));
        check(r#"{"prompt": "a", "tools": 1}"#, Err("\"tools\" is no array"));
        check(r#"{"prompt": "a", "parallel_tool_calls": 0}"#, Err("\"parallel_tool_calls\" is neither"));
        check(r#"{"prompt": "a", "parallel_tool_calls": false}"#, Ok((Subject::Prompt("a".into()), &[])));
        check(r#"{"prompt": "a", "parallel_tool_calls": true}"#, Ok((Subject::Prompt("a".into()), &[])));
    }
}
