//! What templates tell about thinking.

use bantam_text::template::{ReasoningMarkers, Thinking, select_template, templates_in_config};
use bantam_text::{ChatInput, ChatTemplate};

use crate::shared;

#[test]
fn real_templates_tell_how_their_models_think() {
    let Some(folder) = shared("data/chat-templates") else { return };
    let check = |name: &str, variable: Option<Thinking>, markers: Option<(&str, &str)>| {
        let source = std::fs::read_to_string(folder.join(name)).unwrap();
        let template = ChatTemplate::new(&source, "", "", name).unwrap();
        assert_eq!(template.thinking(), variable.as_ref(), "{name}");
        let found = template.reasoning_markers().map(|pair| (pair.start, pair.end));
        assert_eq!(found, markers, "{name}");
    };
    let switch = |variable| Some(Thinking::Switch { variable });
    let think = Some(("<think>", "</think>"));
    check("HuggingFaceTB-SmolLM3-3B.jinja", switch("enable_thinking"), think);
    check("Qwen3.5-4B.jinja", switch("enable_thinking"), think);
    check("deepseek-ai-DeepSeek-R1-Distill-Llama-8B.jinja", None, think);
    check("Qwen-Qwen2.5-7B-Instruct.jinja", None, None);
    check("meta-llama-Llama-3.1-8B-Instruct.jinja", None, None);
    check(
        "openai-gpt-oss-120b.jinja",
        Some(Thinking::Effort { variable: "reasoning_effort" }),
        Some(("<|channel|>analysis<|message|>", "<|end|>")),
    );
    check("ibm-granite-granite-3.3-2B-Instruct.jinja", switch("thinking"), think);
    check("google-gemma-4-31B-it.jinja", switch("enable_thinking"), Some(("<|channel>thought\n", "<channel|>")));
}

#[test]
fn a_prompt_may_open_the_thought() {
    let pair = ReasoningMarkers { start: "<think>", end: "</think>" };
    let check = |prompt: &str, expected: bool| assert_eq!(pair.opened_by(prompt), expected, "{prompt:?}");
    check("<|assistant|>", false);
    check("<|assistant|><think>\n", true);
    check("<|assistant|><think>\n\n</think>\n\n", false);
}

#[test]
fn configurations_carry_one_template_or_several() {
    let check = |config: &str, tools: bool, expected: Option<&str>| {
        let templates = templates_in_config(config.as_bytes()).unwrap();
        assert_eq!(select_template(&templates, tools).map(|(_, source)| source.as_str()), expected, "{config}");
    };
    let several = r#"{"chat_template": [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}]}"#;
    check("{}", false, None);
    check(r#"{"chat_template": "x"}"#, true, Some("x"));
    check(several, false, Some("d"));
    check(several, true, Some("t"));
}

#[test]
fn chats_that_are_none_are_refused() {
    let template = ChatTemplate::new("{{ messages }}", "", "", "x").unwrap();
    for messages in [serde_json::json!({}), serde_json::json!("x"), serde_json::json!([1])] {
        assert!(template.render(&ChatInput { messages, ..ChatInput::default() }).is_err());
    }
}
