//! Conversations: what was said, kept in a file or not, and what of it the model holds already.

mod file;
mod session;

use bantam_text::tool_calls::ToolCall;
use serde::{Deserialize, Serialize};

use crate::reasoning::Reasoning;
use crate::tools::ToolReading;
use crate::{EngineError, LanguageModel, SamplingOptions};

pub use session::ChatSession;

/// Something said in a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who said it: `user`, `assistant` or `tool`; `system` only in what is given to be rendered.
    pub role: String,
    /// What was said, without thoughts.
    pub content: String,
    /// The thoughts before it, where there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// The calls for tools behind it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// The call that a tool's message answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// The tool's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Message {
    /// A message without thoughts and calls.
    pub fn new(role: &str, content: impl Into<String>) -> Self {
        Self {
            role: role.to_owned(),
            content: content.into(),
            reasoning_content: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
            name: None,
        }
    }
}

/// How a conversation is answered: what the user chose, the rest left to the model's defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChatSettings {
    /// How tokens are chosen.
    pub sampling: SamplingOptions,
    /// The same seed gives the same conversation; an answer given once more draws from another stream of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// An answer ends before the first of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// Most tokens of an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// Whether the model is asked to think, where its template knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub think: Option<bool>,
}

/// A conversation rendered by the model's template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// The tokens, up to where the answer begins.
    pub tokens: Vec<u32>,
    /// How thoughts are told from the answer, where the model thinks.
    pub reasoning: Option<Reasoning>,
    /// How calls for tools are told from the answer, where there are tools.
    pub tools: Option<ToolReading>,
}

/// Renders messages (the system prompt first, if there is one) for an answer to follow.
pub type Render<'r> = dyn FnMut(&[Message], &ChatSettings) -> Result<Prompt, EngineError> + 'r;

/// What a conversation is held with.
pub struct ChatModel<'a> {
    /// The model.
    pub model: &'a mut dyn LanguageModel,
    /// Its tokens.
    pub tokenizer: &'a bantam_text::Tokenizer,
    /// Its template.
    pub render: &'a mut Render<'a>,
    /// Its own sampling defaults, for what the settings leave open.
    pub defaults: &'a SamplingOptions,
    /// Texts before which its makers end answers, beside those of the settings.
    pub stops: &'a [String],
    /// Set from elsewhere to stop an answer.
    pub cancel: &'a std::sync::atomic::AtomicBool,
}
