//! Arguments of calls in the form that a template takes.

use serde_json::Value;

use super::ChatInput;
use crate::error::TextError;

/// Messages whose calls have arguments as objects, or as texts; and whether anything was changed. OpenAI's chat API has
/// texts, most templates want objects, as transformers gives them, and a few texts.
fn with_arguments(messages: &Value, as_objects: bool) -> (Value, bool) {
    let (mut messages, mut changed) = (messages.clone(), false);
    let calls = messages.as_array_mut().into_iter().flatten().filter_map(|message| message.get_mut("tool_calls"));
    for call in calls.filter_map(Value::as_array_mut).flatten() {
        let function = match call.get_mut("function") {
            Some(function) => function,
            None => call,
        };
        let Some(arguments) = function.get_mut("arguments") else { continue };
        let other = match arguments {
            Value::String(text) if as_objects => {
                let text = if text.trim().is_empty() { "{}" } else { text };
                serde_json::from_str::<Value>(text).ok().filter(Value::is_object)
            }
            Value::Object(_) if !as_objects => Some(Value::from(arguments.to_string())),
            _ => None,
        };
        if let Some(other) = other {
            *arguments = other;
            changed = true;
        }
    }
    (messages, changed)
}

/// Renders a chat whose calls have arguments as objects, or as texts for a template that takes no objects; the input keeps
/// what was taken.
///
/// # Errors
/// As the rendering with objects.
pub fn with_fitting_arguments<T>(
    input: &mut ChatInput,
    render: &dyn Fn(&ChatInput) -> Result<T, TextError>,
) -> Result<T, TextError> {
    let (objects, _) = with_arguments(&input.messages, true);
    let given = std::mem::replace(&mut input.messages, objects);
    let failure = match render(input) {
        Err(failure @ TextError::TemplateRender { .. }) => failure,
        other => return other,
    };
    let (texts, changed) = with_arguments(&given, false);
    let differs = changed || texts != input.messages;
    input.messages = texts;
    render(input).ok().filter(|_| differs).ok_or(failure)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_change_between_objects_and_texts() {
        let calls = |arguments: Value| json!([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": arguments}}]}]);
        let (text, object) = (calls(json!("{\"a\":1}")), calls(json!({"a": 1})));
        assert_eq!(with_arguments(&text, true), (object.clone(), true));
        assert_eq!(with_arguments(&object, true), (object.clone(), false));
        assert_eq!(with_arguments(&object, false), (text.clone(), true));
        assert_eq!(with_arguments(&calls(json!("")), true), (calls(json!({})), true));
        assert_eq!(with_arguments(&calls(json!("x")), true), (calls(json!("x")), false));
    }
}
