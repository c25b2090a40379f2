//! One line of `--jsonl`: what it asks for.

use serde_json::{Map, Value};

/// What the model is to answer.
#[derive(Debug, PartialEq)]
pub enum Subject {
    /// A text.
    Prompt(String),
    /// OpenAI's chat messages.
    Messages(Value),
}

/// A request, with the settings it brings of its own.
#[derive(Debug, PartialEq)]
pub struct Request {
    /// What to answer.
    pub subject: Subject,
    /// Descriptions of tools, for the template.
    pub tools: Option<Value>,
    /// Settings by name, as given.
    pub settings: Vec<(&'static str, Value)>,
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

/// Keys of the chat API that would change the answer, and that are not done here.
const REFUSED: [&str; 9] = [
    "response_format",
    "n",
    "best_of",
    "logit_bias",
    "tool_choice",
    "functions",
    "function_call",
    "logprobs",
    "top_logprobs",
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
    if let Some(key) = REFUSED.iter().find(|key| object.get(**key).is_some_and(|value| !changes_nothing(value))) {
        return Err(format!(
            "\"{key}\" is not supported in a line; the command's options or later versions may have it"
        ));
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
        Some(Value::Array(tools)) if tools.is_empty() => None,
        Some(tools @ Value::Array(_)) => Some(tools),
        Some(_) => return Err("\"tools\" is no array".into()),
        None => None,
    };
    if let Some(most) = take(&mut object, "max_completion_tokens") {
        // The chat API's newer name for the same thing.
        object.entry("max_tokens").or_insert(most);
    }
    let settings = SETTINGS.iter().filter_map(|name| Some((*name, take(&mut object, name)?))).collect();
    Ok(Request { subject, tools, settings })
}

/// Values with which those keys ask for nothing.
fn changes_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_u64() == Some(1),
        Value::Array(items) => items.is_empty(),
        Value::Object(items) => items.is_empty(),
        Value::Bool(true) | Value::String(_) => false,
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
        check(r#"{"prompt": "a", "tools": 1}"#, Err("\"tools\" is no array"));
    }
}
