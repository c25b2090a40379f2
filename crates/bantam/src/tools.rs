//! The tools of a request: read from a file, and what becomes of them in the prompt and in the answer.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use bantam_text::TextError;
use bantam_text::tool_calls::{self, CONVENTIONS, Convention, ToolCall, ToolChoice, Tools};
use clap::Args;
use serde_json::Value;

use crate::prompt;

/// Tools that the model may call.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Tools")]
pub struct ToolArguments {
    /// Tools the model may call: a JSON file with OpenAI's list of functions
    #[arg(long, value_name = "FILE", conflicts_with = "raw", value_hint = clap::ValueHint::FilePath)]
    pub tools: Option<std::path::PathBuf>,
    /// Whether it is to call: auto, none, required, or the name of a tool
    #[arg(long, value_name = "CHOICE")]
    pub tool_choice: Option<String>,
    /// How the model writes its calls, where its template does not show it
    #[arg(long, value_name = "NAME", value_parser = convention, hide_possible_values = true)]
    pub tool_format: Option<&'static Convention>,
}

fn convention(name: &str) -> Result<&'static Convention, String> {
    tool_calls::named(name).ok_or_else(|| format!("there is no format '{name}'; known are {}", convention_names()))
}

/// The names of all conventions.
pub fn convention_names() -> String {
    CONVENTIONS.iter().map(|convention| convention.name).collect::<Vec<_>>().join(", ")
}

/// The tools of a request.
#[derive(Clone, Debug, Default)]
pub struct ToolRequest {
    /// What may be called.
    pub tools: Tools,
    /// Whether the model is to call.
    pub choice: ToolChoice,
    /// How it writes its calls, where that was said.
    pub convention: Option<&'static Convention>,
    /// Whether an answer may have no more than one call.
    pub single: bool,
}

impl ToolRequest {
    /// What the arguments ask for.
    ///
    /// # Errors
    /// Where the file cannot be read or is wrong, by file and place, or the choice names none of the tools.
    pub fn from_arguments(arguments: &ToolArguments) -> anyhow::Result<Self> {
        let tools = arguments.tools.as_deref().map(read).transpose()?.unwrap_or_default();
        let choice = match &arguments.tool_choice {
            Some(text) => ToolChoice::from_json(&Value::from(text.as_str()))?,
            None => ToolChoice::Auto,
        };
        let asked = Self { tools, choice, convention: arguments.tool_format, single: false };
        if let Some(path) = arguments.tools.as_ref().filter(|_| asked.tools.is_empty()) {
            return Err(anyhow!("{} describes no tool", path.display()));
        }
        if arguments.tools.is_some() {
            asked.offered().context("--tool-choice")?;
        }
        Ok(asked)
    }

    /// Refuses a choice that asks for a call where there is nothing to call.
    ///
    /// # Errors
    /// Where the choice names none of the tools, or asks for one and there is none.
    pub fn check(&self) -> Result<(), TextError> {
        if self.tools.is_empty() && self.choice == ToolChoice::Required {
            return Err(TextError::Tools {
                place: "tool_choice".to_owned(),
                reason: "a call is required, and there are no tools".to_owned(),
            });
        }
        self.offered().map(|_| ())
    }

    /// The tools the model is told of: all, the one it has to call, or none.
    ///
    /// # Errors
    /// Where the choice names none of them.
    pub fn offered(&self) -> Result<Tools, TextError> {
        match &self.choice {
            ToolChoice::Auto | ToolChoice::Required => Ok(self.tools.clone()),
            ToolChoice::None => Ok(Tools::default()),
            ToolChoice::Named(name) => self.tools.only(name),
        }
    }
}

fn read(path: &Path) -> anyhow::Result<Tools> {
    let text = prompt::read_file(path)?;
    let value = serde_json::from_str(&text).map_err(|error| anyhow!("{} is no JSON: {error}", path.display()))?;
    Tools::from_json(value).map_err(|error| anyhow!("{}: {error}", path.display()))
}

/// Calls as they are shown where no JSON is asked for, one a line.
pub fn shown(calls: &[ToolCall]) -> String {
    calls.iter().map(|call| format!("{}({})", call.name, call.arguments)).collect::<Vec<_>>().join("\n")
}

/// How many calls messages have.
pub fn count_calls(messages: &Value) -> usize {
    let messages = messages.as_array().into_iter().flatten();
    messages.filter_map(|message| message.get("tool_calls")?.as_array()).map(Vec::len).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn calls_are_counted() {
        let text = json!([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]);
        assert_eq!(count_calls(&text), 1);
    }

    #[test]
    fn a_choice_decides_what_is_offered() {
        let tools = Tools::from_json(json!([{"name": "a"}, {"name": "b"}])).expect("tools");
        let offered = |choice: &str| {
            let choice = ToolChoice::from_json(&Value::from(choice)).expect("a choice");
            let asked = ToolRequest { tools: tools.clone(), choice, ..ToolRequest::default() };
            asked.offered().map(|tools| tools.iter().map(|tool| tool.name.clone()).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(offered("auto").as_deref(), Ok("a b"));
        assert_eq!(offered("required").as_deref(), Ok("a b"));
        assert_eq!(offered("none").as_deref(), Ok(""));
        assert_eq!(offered("b").as_deref(), Ok("b"));
        assert!(offered("c").is_err());
        let check = |choice: ToolChoice| ToolRequest { choice, ..ToolRequest::default() }.check();
        assert!(check(ToolChoice::Auto).is_ok() && check(ToolChoice::None).is_ok());
        assert!(check(ToolChoice::Required).is_err() && check(ToolChoice::Named("a".into())).is_err());
    }
}
