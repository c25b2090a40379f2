//! From text and messages to the tokens a model sees: through its chat template, or raw.

use std::time::{SystemTime, UNIX_EPOCH};

use bantam_constrain::CallRules;
use bantam_engine::{ChatSettings, EngineError, Message, Prompt, Reasoning, Request, SamplingOptions, ToolReading};
use bantam_runtime::Model;
use bantam_text::template::Thinking;
use bantam_text::tool_calls::{Convention, Signs, ToolChoice, recognise};
use bantam_text::{ChatInput, ChatTemplate, Moment, Special, Tokenizer, with_fitting_arguments};
use serde_json::{Map, Value, json};

use crate::constraints::LazyCompiler;
use crate::models;
use crate::tools::{ToolRequest, convention_names, count_calls};

/// Variables of a template that the chat itself sets.
const OWN_VARIABLES: [&str; 6] = ["messages", "tools", "documents", "add_generation_prompt", "bos_token", "eos_token"];

/// What a template may be told beside the messages.
#[derive(Debug, Default)]
pub struct Extras<'e> {
    /// What the model may call.
    pub tools: ToolRequest,
    /// The system prompt, for messages that bring none.
    pub system: Option<&'e str>,
    /// Whether the model is asked to think.
    pub think: Option<bool>,
    /// The template's own variables.
    pub variables: Map<String, Value>,
}

/// What turns text into prompts and settings into requests, for one model.
pub struct Prompter<'m> {
    model: &'m Model,
    tokenizer: &'m Tokenizer,
    template: Option<ChatTemplate>,
    defaults: SamplingOptions,
    most_tokens: Option<usize>,
    stops: &'m [String],
    compiler: LazyCompiler<'m>,
}

impl<'m> Prompter<'m> {
    /// For a model's own template, or none where `raw` is set or it has none.
    pub fn new(model: &'m Model, raw: bool) -> anyhow::Result<Self> {
        let template = if raw { None } else { model.chat_template(false)? };
        let defaults = model.generation_defaults();
        let most_tokens = defaults.max_tokens.and_then(|most| usize::try_from(most).ok());
        let stops = &defaults.stop_strings;
        let defaults = models::sampling_defaults(defaults);
        let tokenizer = model.tokenizer()?;
        let compiler = LazyCompiler::new(tokenizer);
        Ok(Self { model, tokenizer, template, defaults, most_tokens, stops, compiler })
    }

    /// What makes constraints for the model's tokens.
    pub fn compiler(&self) -> &LazyCompiler<'m> {
        &self.compiler
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &'m Tokenizer {
        self.tokenizer
    }

    /// Whether prompts go through a template.
    pub fn has_template(&self) -> bool {
        self.template.is_some()
    }

    /// The model's own sampling.
    pub fn defaults(&self) -> &SamplingOptions {
        &self.defaults
    }

    /// Texts before which the model's makers end answers.
    pub fn stops(&self) -> &'m [String] {
        self.stops
    }

    /// The settings, what they leave open filled with the model's own.
    pub fn with_defaults(&self, settings: &ChatSettings) -> ChatSettings {
        let mut settings = settings.clone();
        settings.sampling = settings.sampling.or(&self.defaults);
        settings.max_tokens = settings.max_tokens.or(self.most_tokens);
        settings
    }

    /// Refuses to switch thinking on or off where nothing would come of it.
    pub fn check_think(&self, think: Option<bool>) -> Result<(), String> {
        match (&self.template, think) {
            (_, None) => Ok(()),
            (Some(template), Some(think)) => think_variable(template, think).map(|_| ()),
            (None, Some(think)) => Err(format!("{} needs a chat template, and none is used here", option(think))),
        }
    }

    /// The prompt of a single text.
    pub fn text(
        &self,
        system: Option<&str>,
        text: &str,
        (think, tools): (Option<bool>, &ToolRequest),
    ) -> Result<Prompt, EngineError> {
        if self.template.is_none() {
            return self.raw(text);
        }
        let system = system.map(|text| json!({ "role": "system", "content": text }));
        let messages = system.into_iter().chain([json!({ "role": "user", "content": text })]);
        self.messages(messages.collect(), &Extras { think, tools: tools.clone(), ..Extras::default() })
    }

    /// The prompt of a conversation; raw, where there is no template, of its last message alone.
    pub fn conversation(
        &self,
        messages: &[Message],
        (think, tools): (Option<bool>, &ToolRequest),
    ) -> Result<Prompt, EngineError> {
        if self.template.is_none() {
            return self.raw(messages.last().map_or("", |message| &message.content));
        }
        let messages = serde_json::to_value(messages).map_err(|error| EngineError::Refused(error.to_string()))?;
        self.messages(messages, &Extras { think, tools: tools.clone(), ..Extras::default() })
    }

    /// The prompt of messages in the shape of OpenAI's chat API.
    pub fn messages(&self, messages: Value, extras: &Extras<'_>) -> Result<Prompt, EngineError> {
        let refuse = |error: String| EngineError::Refused(error);
        let offered = extras.tools.offered()?;
        let for_tools = match offered.is_empty() {
            false => self.model.chat_template(true).map_err(|error| refuse(error.to_string()))?,
            true => None,
        };
        let Some(template) = for_tools.as_ref().filter(|_| self.has_template()).or(self.template.as_ref()) else {
            return Err(refuse("messages need a chat template, and none is used here".into()));
        };
        let mut variables = extras.variables.clone();
        self.check_variables(&variables).map_err(refuse)?;
        if let Some(think) = extras.think {
            variables.extend(think_variable(template, think).map_err(refuse)?);
        }
        let messages = with_system(messages, extras.system);
        let tools = (!offered.is_empty()).then(|| offered.to_json());
        let mut input = ChatInput { messages, tools, variables, now: now(), ..ChatInput::default() };
        let mut prompt = self.render(template, &mut input, "")?;
        let mut tools = None;
        // A template that says nothing of the tools leaves a model that answers as if there were none.
        if let Some(given) = input.tools.take() {
            if template.render(&input).is_ok_and(|without| without == prompt.text) {
                return Err(refuse("the model's template does not use tools".into()));
            }
            input.tools = Some(given);
            let convention = self.convention(template, &input.variables, &extras.tools).map_err(refuse)?;
            let required = matches!(extras.tools.choice, ToolChoice::Required | ToolChoice::Named(_));
            let rules = CallRules { convention, tools: &offered, required, parallel: !extras.tools.single };
            let constraint = self.compiler.calls(&rules)?;
            if constraint.is_none() && extras.tools.single && convention.frame.parallel {
                let format = convention.name;
                return Err(refuse(format!("a model can't be held to one call in the format {format}")));
            }
            tools = Some(ToolReading {
                convention,
                constraint,
                tools: offered,
                earlier: count_calls(&input.messages),
                opened: String::new(),
            });
        }
        let mut reasoning = template.reasoning_markers().map(|markers| Reasoning {
            start: markers.start.to_owned(),
            end: markers.end.to_owned(),
            opened: markers.opened_by(&prompt.text),
        });
        // Where nothing holds the model to a call, one is begun in its stead.
        if let Some(tools) = tools.as_mut().filter(|tools| tools.constraint.is_none()) {
            let opening = match &extras.tools.choice {
                ToolChoice::Auto | ToolChoice::None => None,
                ToolChoice::Required => Some(tools.convention.frame.opening()),
                ToolChoice::Named(name) => Some(tools.convention.frame.opening_for(name)),
            };
            if let Some(opening) = opening {
                // Behind thoughts that are begun already.
                let thoughts = reasoning.take().filter(|reasoning| reasoning.opened);
                let before = thoughts.map(|reasoning| format!("{}\n\n", reasoning.end)).unwrap_or_default();
                // A space at the end would be cut off from the word it belongs to.
                opening.trim_end().clone_into(&mut tools.opened);
                if tools.opened.is_empty() {
                    return Err(refuse(format!(
                        "a call can't be required here: nothing but a tool's name begins one in `{}`; name the tool",
                        tools.convention.name
                    )));
                }
                prompt = self.render(template, &mut input, &format!("{before}{}", tools.opened))?;
            }
        }
        Ok(Prompt { tokens: prompt.ids, reasoning, tools })
    }

    /// Renders a chat, with what begins the answer behind it.
    fn render(
        &self,
        template: &ChatTemplate,
        input: &mut ChatInput,
        behind: &str,
    ) -> Result<bantam_text::Prompt, EngineError> {
        let render = |input: &ChatInput| template.render_guarded_with(input, self.tokenizer, behind);
        Ok(with_fitting_arguments(input, &render)?)
    }

    /// How the model writes its calls: as was said, or as its template and tokens show.
    fn convention(
        &self,
        template: &ChatTemplate,
        variables: &Map<String, Value>,
        asked: &ToolRequest,
    ) -> Result<&'static Convention, String> {
        let special = |text: &str| self.tokenizer.token_id(text).is_some_and(|id| self.tokenizer.is_special(id));
        let signs = Signs { template: template.source(), has_token: &special, variables };
        asked.convention.or_else(|| recognise(&signs)).ok_or_else(|| {
            format!(
                "nothing in the model's files shows how it writes calls for tools; --tool-format says it ({})",
                convention_names()
            )
        })
    }

    /// What stands around thoughts in answers to prompts of texts, if the model thinks.
    pub fn markers(&self) -> Option<(&str, &str)> {
        let markers = self.template.as_ref()?.reasoning_markers()?;
        Some((markers.start, markers.end))
    }

    /// Refuses variables that would take the place of what the chat itself says, or smuggle control tokens into it.
    fn check_variables(&self, variables: &Map<String, Value>) -> Result<(), String> {
        if let Some(name) = OWN_VARIABLES.iter().find(|name| variables.contains_key(**name)) {
            return Err(format!("\"{name}\" can't be set in \"chat_template_kwargs\""));
        }
        for (name, value) in variables {
            let ids = self.tokenizer.encode(&value.to_string(), Special::Parse).map_err(|error| error.to_string())?;
            if ids.iter().any(|&id| self.tokenizer.is_special(id)) {
                return Err(format!("\"{name}\" in \"chat_template_kwargs\" spells one of the model's special tokens"));
            }
        }
        Ok(())
    }

    fn raw(&self, text: &str) -> Result<Prompt, EngineError> {
        Ok(Prompt { tokens: models::raw_tokens(self.tokenizer, text, Special::AsText)?, reasoning: None, tools: None })
    }

    /// A request for an answer to a prompt.
    pub fn request(&self, prompt: Prompt, settings: &ChatSettings, logprobs: Option<usize>) -> Request {
        let settings = self.with_defaults(settings);
        Request {
            sampling: settings.sampling.resolve(),
            seed: settings.seed,
            stop: settings.stop.into_iter().chain(self.stops.iter().cloned()).collect(),
            max_tokens: settings.max_tokens,
            logprobs,
            reasoning: prompt.reasoning,
            tools: prompt.tools,
            ..Request::new(prompt.tokens)
        }
    }
}

/// The variable that has a template ask for thoughts or for none, with its value. A template without one whose model
/// thinks anyway does what `--think` asks for.
///
/// # Errors
/// Where nothing would come of it.
pub fn think_variable(template: &ChatTemplate, think: bool) -> Result<Option<(String, Value)>, String> {
    let has_no_effect = |why: &str| Err(format!("{} has no effect: the chat template {why}", option(think)));
    match template.thinking() {
        Some(Thinking::Switch { variable }) => Ok(Some(((*variable).to_owned(), Value::Bool(think)))),
        Some(Thinking::Effort { .. }) if think => Ok(None),
        Some(Thinking::Effort { .. }) => has_no_effect("knows how hard to think, and no way not to"),
        None if think && template.reasoning_markers().is_some() => Ok(None),
        None => has_no_effect("knows no switch for thinking"),
    }
}

fn option(think: bool) -> &'static str {
    if think { "--think" } else { "--no-think" }
}

/// The messages, with the system prompt of the command line before them where they bring none.
fn with_system(messages: Value, system: Option<&str>) -> Value {
    match (messages, system) {
        (Value::Array(mut messages), Some(text)) => {
            let role = messages.first().and_then(|message| message.get("role")).and_then(Value::as_str);
            if !matches!(role, Some("system" | "developer")) {
                messages.insert(0, json!({ "role": "system", "content": text }));
            }
            Value::Array(messages)
        }
        (messages, _) => messages,
    }
}

/// What a template that asks for the date is told: the present, in UTC.
pub fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment::from_seconds(i64::try_from(since.as_secs()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, think: bool, expected: Result<Option<(&str, bool)>, &str>) {
        let template = ChatTemplate::new(source, "", "", "test").expect("the template is valid");
        let found = think_variable(&template, think);
        match (&found, expected) {
            (Ok(found), Ok(expected)) => {
                let expected = expected.map(|(name, value)| (name.to_owned(), Value::Bool(value)));
                assert_eq!(found, &expected, "{source}");
            }
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{source}: {found}"),
            _ => panic!("{source}: {found:?}"),
        }
    }

    #[test]
    fn thinking_is_switched_where_there_is_a_switch() {
        check("{{ enable_thinking }}", true, Ok(Some(("enable_thinking", true))));
        check("{{ enable_thinking }}", false, Ok(Some(("enable_thinking", false))));
        check("{{ reasoning_effort }}", true, Ok(None));
        check("{{ reasoning_effort }}", false, Err("no way not to"));
        check("<think></think>", true, Ok(None));
        check("<think></think>", false, Err("--no-think has no effect"));
        check("plain", true, Err("--think has no effect"));
    }

    #[test]
    fn a_system_prompt_gives_way_to_the_messages_own() {
        let user = json!([{ "role": "user", "content": "a" }]);
        let both = json!([{ "role": "system", "content": "s" }, { "role": "user", "content": "a" }]);
        assert_eq!(with_system(user.clone(), Some("s")), both);
        assert_eq!(with_system(both.clone(), Some("t")), both);
        assert_eq!(with_system(user.clone(), None), user);
        assert_eq!(with_system(json!([]), Some("s")), json!([{ "role": "system", "content": "s" }]));
    }
}
