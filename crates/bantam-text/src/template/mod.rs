//! Chat templates: Jinja, rendered exactly as transformers' `apply_chat_template` renders it.
//!
//! The engine is this crate's own, for one reason: a template comes from a stranger's model file, and a general engine
//! lets it allocate without end (`'-' * 10**10`, `x ~ x` in a loop, constant folding before the first line runs) or
//! recurse until the stack overflows (long operator chains, deep nesting, values that hold values). Here every operation
//! pays for its time and memory before it works (`meter.rs`), chains are flat, and nesting is bounded in the parser, in
//! calls and in values. So templates render in this process, need no child to contain them, and work on `wasm32`.
//!
//! What is left out says so by name: `include`, `import`, `extends` (a chat template is one file), and filters that have
//! no use in prompts (`urlize`, `xmlattr`, `random`…).

mod arguments;
mod ast;
mod calls;
mod checks;
mod expressions;
mod filters;
mod fitting;
mod format;
mod generation;
mod guard;
mod html;
mod lexer;
mod meter;
mod methods;
mod operators;
mod parser;
mod print;
mod render;
mod thinking;
mod time;
mod value;
mod wrap;

use std::collections::HashMap;

pub use fitting::with_fitting_arguments;
pub use generation::Marked;
pub use guard::Prompt;
pub use thinking::{ReasoningMarkers, Thinking};
pub use time::Moment;

use self::ast::Statement;
use self::meter::Meter;
use self::render::{Rendered, Renderer};
use self::value::{Function, Value};
use crate::error::TextError;

/// A parsed chat template, ready to render any number of chats.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    name: String,
    source: String,
    body: Vec<Statement>,
    generation: bool,
    bos: String,
    eos: String,
    thinking: Option<Thinking>,
    reasoning: Option<ReasoningMarkers>,
}

/// One chat to render.
#[derive(Debug, Clone)]
pub struct ChatInput {
    /// The array of messages in OpenAI's shape: `{"role", "content", "tool_calls", …}`.
    pub messages: serde_json::Value,
    /// The array of tools in OpenAI's shape, if there are any.
    pub tools: Option<serde_json::Value>,
    /// Whether the prompt ends where the assistant is to begin.
    pub add_generation_prompt: bool,
    /// The template's own variables (`enable_thinking`, …).
    pub variables: serde_json::Map<String, serde_json::Value>,
    /// What `strftime_now` sees.
    pub now: Moment,
}

impl Default for ChatInput {
    fn default() -> Self {
        ChatInput {
            messages: serde_json::Value::Array(Vec::new()),
            tools: None,
            add_generation_prompt: true,
            variables: serde_json::Map::new(),
            now: Moment::date(1970, 1, 1),
        }
    }
}

impl ChatTemplate {
    /// Parses a template. `bos` and `eos` are the spellings of the model's tokens, `name` is for messages (`default`).
    ///
    /// # Errors
    /// [`TextError::TemplateSyntax`] says what was expected and what was found, and the line.
    pub fn new(source: &str, bos: &str, eos: &str, name: &str) -> Result<ChatTemplate, TextError> {
        let (body, generation) = parser::parse(source)?;
        Ok(ChatTemplate {
            name: name.to_owned(),
            source: source.to_owned(),
            body,
            generation,
            bos: bos.to_owned(),
            eos: eos.to_owned(),
            thinking: thinking::switch(source),
            reasoning: thinking::markers(source),
        })
    }

    /// The name given to [`ChatTemplate::new`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The source as given.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The variable that turns thinking on and off, if the template has one.
    pub fn thinking(&self) -> Option<&Thinking> {
        self.thinking.as_ref()
    }

    /// What stands before and behind thoughts in this model's answers, if it thinks.
    pub fn reasoning_markers(&self) -> Option<&ReasoningMarkers> {
        self.reasoning.as_ref()
    }

    /// Renders the exact prompt.
    ///
    /// # Errors
    /// [`TextError::Chat`] if the messages are no array of objects; [`TextError::TemplateRefused`] with the template's
    /// own words; [`TextError::TemplateRender`] for what Python would raise; [`TextError::TemplateLimit`] for a template
    /// that does more work or grows larger than the chat can need (tens of milliseconds, 8 MiB and some of the chat).
    pub fn render(&self, input: &ChatInput) -> Result<String, TextError> {
        Ok(self.render_spans(input)?.0)
    }

    /// Whether it marks the model's own words, in `{% generation %}` blocks.
    pub fn marks_generation(&self) -> bool {
        self.generation
    }

    /// The prompt, and the bytes of it that the template marks as the model's own, in order; none where that cannot be told.
    fn render_spans(&self, input: &ChatInput) -> Result<Rendered, TextError> {
        let Some(messages) = input.messages.as_array() else {
            return Err(TextError::Chat("expected an array of messages".to_owned()));
        };
        for (at, message) in messages.iter().enumerate() {
            if !message.is_object() {
                return Err(TextError::Chat(format!("message {at} is no object")));
            }
        }
        let mut bytes = size(&input.messages) + self.bos.len() + self.eos.len();
        bytes += input.tools.as_ref().map_or(0, size) + input.variables.values().map(size).sum::<usize>();
        let meter = Meter::new(bytes);
        let json = |value: &serde_json::Value| Value::from_json(value, 0, &meter);
        let mut globals: HashMap<String, Value> = [
            ("range", Value::Function(Function::Range)),
            ("dict", Value::Function(Function::Dict)),
            ("namespace", Value::Function(Function::Namespace)),
            ("cycler", Value::Function(Function::Cycler)),
            ("joiner", Value::Function(Function::Joiner)),
            ("raise_exception", Value::Function(Function::RaiseException)),
            ("strftime_now", Value::Function(Function::StrftimeNow)),
            ("messages", json(&input.messages)?),
            ("tools", input.tools.as_ref().map_or(Ok(Value::None), json)?),
            ("documents", Value::None),
            ("add_generation_prompt", Value::Bool(input.add_generation_prompt)),
            ("bos_token", Value::text(&self.bos)),
            ("eos_token", Value::text(&self.eos)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        for (name, value) in &input.variables {
            globals.insert(name.clone(), json(value)?);
        }
        Renderer::new(globals, meter, input.now).render(&self.body)
    }
}

/// Bytes of text and structure in a JSON value, roughly.
fn size(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::String(text) => text.len() + 8,
        serde_json::Value::Array(items) => 8 + items.iter().map(size).sum::<usize>(),
        serde_json::Value::Object(entries) => 8 + entries.iter().map(|(k, v)| k.len() + 8 + size(v)).sum::<usize>(),
        _ => 8,
    }
}

/// The chat templates in a `tokenizer_config.json` (or a `chat_template.json`), name and source: one called `default`,
/// or a list of them.
///
/// # Errors
/// [`TextError::File`] if the bytes are no JSON.
pub fn templates_in_config(json: &[u8]) -> Result<Vec<(String, String)>, TextError> {
    let config: serde_json::Value = serde_json::from_slice(json)
        .map_err(|error| TextError::File { file: "tokenizer_config.json", reason: error.to_string() })?;
    Ok(match config.get("chat_template") {
        Some(serde_json::Value::String(source)) => vec![("default".to_owned(), source.clone())],
        Some(serde_json::Value::Array(list)) => list
            .iter()
            .filter_map(|entry| {
                let text = |key: &str| entry.get(key)?.as_str().map(str::to_owned);
                Some((text("name")?, text("template")?))
            })
            .collect(),
        _ => Vec::new(),
    })
}

/// The template to use: `tool_use` for a chat with tools where there is one, else `default`, else the only one.
pub fn select_template(templates: &[(String, String)], with_tools: bool) -> Option<&(String, String)> {
    let named = |name: &str| templates.iter().find(|(found, _)| found == name);
    let tool_use = if with_tools { named("tool_use") } else { None };
    tool_use.or_else(|| named("default")).or(if templates.len() == 1 { templates.first() } else { None })
}
