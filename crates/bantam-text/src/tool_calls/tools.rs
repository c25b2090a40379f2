//! Descriptions of tools, as a request brings them.

use serde_json::{Map, Value, json};

use super::reader;
use crate::error::TextError;

/// A tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does, where it says so.
    pub description: Option<String>,
    /// The JSON schema of its arguments, where it has one: an object.
    pub parameters: Option<Value>,
}

/// The tools of a request, none or more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tools {
    list: Vec<Tool>,
    json: Vec<Value>,
}

/// Whether the model is to call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// As it sees fit.
    #[default]
    Auto,
    /// Not at all.
    None,
    /// At least one tool.
    Required,
    /// This tool.
    Named(String),
}

impl ToolChoice {
    /// Reads `auto`, `none`, `required`, the name of a tool, or OpenAI's `{"type": "function", "function": {"name"}}`.
    ///
    /// # Errors
    /// [`TextError::Tools`] for anything else.
    pub fn from_json(value: &Value) -> Result<Self, TextError> {
        let named = || value.get("function").unwrap_or(value).get("name")?.as_str();
        match (value.as_str(), named()) {
            (Some("auto"), _) => Ok(Self::Auto),
            (Some("none"), _) => Ok(Self::None),
            (Some("required" | "any"), _) => Ok(Self::Required),
            (Some(name), _) | (None, Some(name)) => Ok(Self::Named(name.to_owned())),
            (None, None) => Err(wrong("tool_choice", "\"auto\", \"none\", \"required\" or the name of a tool", value)),
        }
    }
}

impl Tools {
    /// Reads OpenAI's list (`[{"type": "function", "function": {"name", "description", "parameters"}}]`), a list of bare
    /// functions, one of them alone, or an object with such a list as `tools`.
    ///
    /// # Errors
    /// [`TextError::Tools`] names the place of what is wrong.
    pub fn from_json(value: Value) -> Result<Self, TextError> {
        let (value, at) = match value {
            Value::Object(mut object) if object.contains_key("tools") => {
                (object.shift_remove("tools").unwrap_or_default(), "tools")
            }
            other => (other, ""),
        };
        let list = match value {
            Value::Array(list) => list,
            single @ Value::Object(_) => vec![single],
            other => return Err(wrong(if at.is_empty() { "the top" } else { at }, "a list of tools", &other)),
        };
        let mut tools = Self::default();
        for (index, value) in list.into_iter().enumerate() {
            let (tool, json) = tool(value, &format!("{at}[{index}]"))?;
            if tools.get(&tool.name).is_some() {
                return Err(TextError::Tools {
                    place: format!("{at}[{index}]"),
                    reason: format!("there is another tool called {:?}", tool.name),
                });
            }
            tools.list.push(tool);
            tools.json.push(json);
        }
        Ok(tools)
    }

    /// In OpenAI's shape, as chat templates take them.
    pub fn to_json(&self) -> Value {
        Value::Array(self.json.clone())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Every tool.
    pub fn iter(&self) -> impl Iterator<Item = &Tool> {
        self.list.iter()
    }

    /// The tool of this name.
    pub fn get(&self, name: &str) -> Option<&Tool> {
        self.list.iter().find(|tool| tool.name == name)
    }

    /// These tools without any but the one of this name.
    ///
    /// # Errors
    /// [`TextError::Tools`] where there is none.
    pub fn only(&self, name: &str) -> Result<Self, TextError> {
        match self.list.iter().position(|tool| tool.name == name) {
            Some(at) => Ok(Self { list: vec![self.list[at].clone()], json: vec![self.json[at].clone()] }),
            None => Err(TextError::Tools {
                place: "tool_choice".to_owned(),
                reason: format!("there is no tool called {name:?}"),
            }),
        }
    }
}

impl Tool {
    /// The schemas of the arguments by name, in their order.
    pub fn properties(&self) -> Option<&Map<String, Value>> {
        self.parameters.as_ref()?.get("properties")?.as_object()
    }
}

fn tool(value: Value, place: &str) -> Result<(Tool, Value), TextError> {
    let Value::Object(mut object) = value else {
        return Err(wrong(place, "an object", &value));
    };
    let bare = !object.contains_key("function");
    if let Some(kind) = object.get("type").filter(|kind| !bare && *kind != "function") {
        return Err(wrong(&format!("{place}.type"), "\"function\"", kind));
    }
    if bare && object.get("type").is_some_and(|kind| kind == "function") {
        // Flat, as in OpenAI's newer API.
        object.shift_remove("type");
    }
    let (place, function) = match object.get("function") {
        Some(function) => (format!("{place}.function"), function.clone()),
        None => (place.to_owned(), Value::Object(object.clone())),
    };
    let Value::Object(function) = function else {
        return Err(wrong(&place, "an object", &function));
    };
    let name = match function.get("name") {
        // What stands for a name in an answer is read under the same rule, and the name may be put into the prompt.
        Some(Value::String(name)) if reader::name(name).is_ok_and(|read| read == name) => name.clone(),
        Some(other @ Value::String(_)) => {
            let place = format!("{place}.name");
            return Err(wrong(&place, "a name of letters, digits and _ - . : / (256 bytes at most)", other));
        }
        other => return Err(wrong(&format!("{place}.name"), "a text", other.unwrap_or(&Value::Null))),
    };
    let description = match function.get("description") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => return Err(wrong(&format!("{place}.description"), "a text", other)),
    };
    let parameters = match function.get("parameters") {
        None | Some(Value::Null) => None,
        Some(schema @ Value::Object(_)) => Some(schema.clone()),
        Some(other) => return Err(wrong(&format!("{place}.parameters"), "a JSON schema, which is an object", other)),
    };
    let tool = Tool { name, description, parameters };
    if let Some(properties) = tool.parameters.as_ref().and_then(|schema| schema.get("properties"))
        && !properties.is_object()
    {
        return Err(wrong(&format!("{place}.parameters.properties"), "an object", properties));
    }
    let json = if bare { json!({ "type": "function", "function": function }) } else { Value::Object(object) };
    Ok((tool, json))
}

fn wrong(place: &str, expected: &str, found: &Value) -> TextError {
    let found = match found {
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) => "a truth value".to_owned(),
        Value::Number(_) => "a number".to_owned(),
        Value::String(text) => format!("the text {:?}", crate::error::shorten(text, 40)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    TextError::Tools { place: place.to_owned(), reason: format!("expected {expected}, found {found}") }
}
