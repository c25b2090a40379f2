//! Calls for tools in answers: streamed, gathered, and gone on with.

use std::sync::atomic::AtomicBool;

use bantam_constrain::{CallRules, Compiler};
use bantam_engine::{
    Answer, ChatModel, ChatSession, ChatSettings, Event, FinishReason, Prompt, Reasoning, Request, SamplingOptions,
    ToolReading, generate,
};
use bantam_text::tool_calls::{Tools, named};
use serde_json::json;

use crate::fake::{FakeModel, Mind, START, THINK, request, tokenizer, tokens};

fn reading() -> ToolReading {
    let tools = Tools::from_json(json!([{"name": "add"}, {"name": "now"}])).unwrap();
    ToolReading { convention: named("hermes").unwrap(), tools, earlier: 0, opened: String::new(), constraint: None }
}

/// What the model writes behind `Q`, what is asked, and all that is heard of it, a line each.
#[track_caller]
fn check(written: &str, change: impl Fn(&mut Request), expected: &str) -> Answer {
    let mut model = FakeModel::script(&[("Q", written)]);
    let mut asked = Request { tools: Some(reading()), ..request("Q") };
    change(&mut asked);
    let (mut heard, mut last) = (String::new(), ' ');
    let mut hear = |event: Event<'_>| {
        let (kind, text) = match event {
            Event::Text(text) => ('t', text.to_owned()),
            Event::Reasoning(text) => ('r', text.to_owned()),
            Event::ToolCall(call) => ('c', format!("{}({})", call.name, call.arguments)),
            Event::Prompt { .. } | Event::Logprob(_) => return,
        };
        if kind != last || kind == 'c' {
            heard.push_str(if heard.is_empty() { "" } else { "\n" });
            heard.extend([kind, ' ']);
        }
        last = kind;
        heard.push_str(&text);
    };
    let answer = generate(&mut model, &tokenizer(), asked, &AtomicBool::new(false), &mut hear).unwrap();
    assert_eq!(heard, expected, "{written:?}");
    answer
}

const CALL: &str = "<tool_call>{\"name\": \"now\", \"arguments\": {\"a\": 1}}</tool_call>";

#[test]
fn calls_are_told_from_the_answer() {
    let answer = check("Hi.", |_| {}, "t Hi.");
    assert_eq!((answer.finish_reason, answer.tool_calls.len()), (FinishReason::Stop, 0));
    let answer = check(&format!("Wait.\n{CALL}\n{CALL}"), |_| {}, "t Wait.\nc now({\"a\": 1})\nc now({\"a\": 1})");
    assert_eq!((answer.finish_reason, answer.text.as_str()), (FinishReason::ToolCalls, "Wait."));
    let shown = serde_json::to_value(&answer).unwrap();
    let id = &answer.tool_calls[0].id;
    let call = json!({"id": id, "type": "function", "function": {"name": "now", "arguments": "{\"a\": 1}"}});
    assert_eq!(shown["tool_calls"][0], call);
    assert_eq!((&shown["finish_reason"], shown.get("tool_call_error")), (&json!("tool_calls"), None));
    assert_ne!(answer.tool_calls[0].id, answer.tool_calls[1].id);
    // Without tools all of it is text.
    check(CALL, |request| request.tools = None, &format!("t {CALL}"));
}

#[test]
fn a_call_that_is_none_stays_in_the_text() {
    let answer = check("<tool_call>{now}</tool_call>", |_| {}, "t <tool_call>{now}</tool_call>");
    assert_eq!(answer.finish_reason, FinishReason::Stop);
    assert!(answer.tool_call_error.is_some());
    let cut = check(CALL, |request| request.max_tokens = Some(20), &format!("t {}", &CALL[..20]));
    assert_eq!(cut.finish_reason, FinishReason::Length);
    assert_eq!(cut.tool_call_error.as_deref(), Some("the answer was cut inside of a call"));
    let unknown = check("<tool_call>{\"name\": \"fly\"}</tool_call>", |_| {}, "c fly({})");
    assert_eq!(unknown.tool_call_error.as_deref(), Some("the model called fly, which is not among the tools"));
}

#[test]
fn thoughts_are_not_searched_for_calls() {
    let think = |request: &mut Request| {
        request.reasoning = Some(Reasoning { start: "<think>".into(), end: "</think>".into(), opened: false });
    };
    check(&format!("<think>{CALL}</think>{CALL}"), think, &format!("r {CALL}\nc now({{\"a\": 1}})"));
}

#[test]
fn a_call_may_be_begun_by_the_prompt() {
    let opened = "<tool_call>\n{\"name\": \"add\", \"arguments\":";
    let open = |request: &mut Request| request.tools.as_mut().unwrap().opened = opened.to_owned();
    check(" {}}\n</tool_call>", open, "c add({})");
    check(" none", open, &format!("t {opened} none"));
}

#[test]
fn the_same_request_gives_the_same_identifiers() {
    let seed = |seed| move |request: &mut Request| request.seed = Some(seed);
    let id = |number| check(CALL, seed(number), "c now({\"a\": 1})").tool_calls[0].id.clone();
    assert_eq!(id(1), id(1));
    assert_ne!(id(1), id(2));
}

#[test]
fn a_conversation_goes_on_with_results() {
    let mut model = FakeModel::script(&[("[u]Q[a]", CALL), ("[u]Q[a][t]7[a]", "It is 7."), ("[u]R[a]", "Yes.")]);
    let mut render = |messages: &[bantam_engine::Message], _: &ChatSettings| {
        let written: String =
            messages.iter().map(|message| format!("[{}]{}", &message.role[..1], message.content)).collect();
        Ok(Prompt {
            tokens: [vec![START], tokens(&format!("{written}[a]"))].concat(),
            reasoning: None,
            tools: Some(reading()),
        })
    };
    let (tokenizer, defaults, cancel) = (tokenizer(), SamplingOptions::default(), AtomicBool::new(false));
    let settings = ChatSettings {
        sampling: SamplingOptions { temperature: Some(0.0), ..defaults.clone() },
        ..ChatSettings::default()
    };
    let mut session = ChatSession::new(None, settings.clone());
    let mut with = |session: &mut ChatSession, act: &dyn Fn(&mut ChatSession, &mut ChatModel<'_>) -> Answer| {
        act(
            session,
            &mut ChatModel {
                model: &mut model,
                tokenizer: &tokenizer,
                render: &mut render,
                defaults: &defaults,
                stops: &[],
                cancel: &cancel,
            },
        )
    };
    assert!(!session.add_result("7"), "nothing waits");
    let answer = with(&mut session, &|session, model| session.send(model, "Q", &mut |_| {}).unwrap());
    assert_eq!(answer.finish_reason, FinishReason::ToolCalls);
    assert_eq!(session.waiting_calls(), answer.tool_calls);
    assert!(session.add_result("7") && session.waiting_calls().is_empty());
    assert_eq!(session.messages()[2].tool_call_id.as_ref(), Some(&answer.tool_calls[0].id));
    let answer = with(&mut session, &|session, model| session.go_on(model, &mut |_| {}).unwrap());
    assert_eq!(answer.text, "It is 7.");
    // Calls that nobody answers are forgotten, and the question with them.
    let mut session = ChatSession::new(None, settings);
    with(&mut session, &|session, model| session.send(model, "Q", &mut |_| {}).unwrap());
    let answer = with(&mut session, &|session, model| session.send(model, "R", &mut |_| {}).unwrap());
    assert_eq!((answer.text.as_str(), session.messages().len()), ("Yes.", 2));
}

/// The tools that answers are held to, some of them or all.
fn held(only: Option<&str>, required: bool, parallel: bool) -> ToolReading {
    let tools = Tools::from_json(json!([
        {"name": "add", "parameters": {"type": "object", "additionalProperties": false, "required": ["a", "unit"],
            "properties": {"a": {"type": "integer", "minimum": -9, "maximum": 99}, "unit": {"enum": ["m", "ft"]}}}},
        {"name": "now"},
    ]))
    .unwrap();
    let tools = only.map_or(Ok(tools.clone()), |name| tools.only(name)).unwrap();
    let convention = named("hermes").unwrap();
    let rules = CallRules { convention, tools: &tools, required, parallel };
    let constraint = Compiler::new(&tokenizer()).unwrap().tool_calls(&rules).unwrap();
    assert!(constraint.is_some());
    ToolReading { convention, tools, earlier: 0, opened: String::new(), constraint }
}

/// Answers of a model that says anything, held to the tools: the number of calls in each.
fn hold(reading: &ToolReading, change: impl Fn(&mut Request)) -> Vec<usize> {
    let mut counts = Vec::new();
    for seed in 0..40 {
        let mut model = FakeModel::new(Mind::Hash(seed));
        let mut asked = Request { tools: Some(reading.clone()), max_tokens: Some(400), ..request("Q") };
        change(&mut asked);
        let answer = generate(&mut model, &tokenizer(), asked, &AtomicBool::new(false), &mut |_| {}).unwrap();
        assert_eq!(answer.tool_call_error, None, "{answer:?}");
        if answer.finish_reason == FinishReason::Length {
            // Text, or thoughts, without an end.
            continue;
        }
        assert_eq!(answer.constraint_met, Some(true), "{answer:?}");
        assert_eq!(answer.finish_reason == FinishReason::ToolCalls, !answer.tool_calls.is_empty());
        for call in &answer.tool_calls {
            let arguments: serde_json::Value = serde_json::from_str(&call.arguments).unwrap();
            match (call.name.as_str(), reading.tools.get(&call.name).is_some()) {
                ("add", true) => {
                    let whole = arguments["a"].as_f64().filter(|a| a.fract() == 0.0);
                    assert!(whole.is_some_and(|a| (-9.0..=99.0).contains(&a)), "{arguments}");
                    assert!(matches!(arguments["unit"].as_str(), Some("m" | "ft")), "{arguments}");
                    assert_eq!(arguments.as_object().unwrap().len(), 2);
                }
                ("now", true) => assert_eq!(arguments, json!({})),
                (name, _) => panic!("{name} was not offered"),
            }
        }
        counts.push(answer.tool_calls.len());
    }
    counts
}

#[test]
fn held_calls_are_what_was_asked_for() {
    let think = |request: &mut Request| {
        request.reasoning = Some(Reasoning { start: "<think>".into(), end: "</think>".into(), opened: true });
    };
    // Whichever tool, at least one; several where there may be.
    let counts = hold(&held(None, true, false), |_| {});
    assert!(counts.len() > 30 && counts.iter().all(|&count| count == 1), "{counts:?}");
    let counts = hold(&held(None, true, true), |_| {});
    assert!(counts.iter().all(|&count| count >= 1) && counts.iter().any(|&count| count > 1), "{counts:?}");
    // This tool.
    let counts = hold(&held(Some("add"), true, false), |_| {});
    assert!(counts.len() > 30 && counts.iter().all(|&count| count == 1), "{counts:?}");
    // As the model likes: text that ends, and nothing that looks like a call and is none.
    let counts = hold(&held(None, false, true), |_| {});
    assert!(counts.contains(&0), "{counts:?}");
    // Thoughts before it are free, and their end is likely here.
    let counts = hold(&held(None, true, false), |request| {
        think(request);
        request.sampling.logit_bias = [(THINK + 1, 3.0)].into_iter().collect();
    });
    assert!(counts.len() > 20 && counts.iter().all(|&count| count == 1), "{counts:?}");
}

#[test]
fn what_may_be_said_is_said_as_the_model_wants() {
    let with = |reading: ToolReading| move |request: &mut Request| request.tools = Some(reading.clone());
    let call = "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 7, \"unit\": \"m\"}}\n</tool_call>";
    let add = "c add({\"a\": 7, \"unit\": \"m\"})";
    check(call, with(held(None, false, false)), add);
    check(call, with(held(Some("add"), true, false)), add);
    check(&format!("So:\n{call}\n{call}"), with(held(None, false, true)), &format!("t So:\n{add}\n{add}"));
    check("No call <tool> at all.", with(held(None, false, true)), "t No call <tool> at all.");
    // Thoughts are free, and hold no calls.
    let think = |request: &mut Request| {
        request.reasoning = Some(Reasoning { start: "<think>".into(), end: "</think>".into(), opened: false });
        request.tools = Some(held(None, true, false));
    };
    check(&format!("<think>{CALL} {{}}</think>{call}"), think, &format!("r {CALL} {{}}\n{add}"));
}
