//! Templates and expressions against Python's Jinja2, set up as transformers sets it up.

use bantam_testkit::evidence;
use bantam_text::{ChatInput, ChatTemplate, Moment, TextError};
use serde_json::{Map, Value};

use crate::shared;

const NOW: Moment = Moment { year: 2024, month: 7, day: 26, hour: 15, minute: 4, second: 5 };

/// A chat of the goldens: everything in it but the messages and tools is a variable.
fn input(chat: &Value) -> ChatInput {
    let mut variables: Map<String, Value> = chat.as_object().unwrap().clone();
    let mut take = |key: &str| variables.shift_remove(key);
    ChatInput {
        messages: take("messages").unwrap(),
        tools: take("tools").filter(|tools| !tools.is_null()),
        add_generation_prompt: take("add_generation_prompt").is_some_and(|flag| flag == Value::Bool(true)),
        variables,
        now: NOW,
    }
}

/// What a rendering gave against what Python gave; failures agree if both fail.
fn check(label: &str, found: &Result<String, TextError>, expected: &Value, differences: &mut Vec<String>) {
    match (found, expected.as_str()) {
        (Ok(found), Some(expected)) if found == expected => {}
        (Err(_), None) => {}
        _ => differences.push(format!("{label}\n    expected {expected}\n    found    {found:?}")),
    }
}

fn report(what: &str, count: usize, differences: &[String]) {
    println!("{what}: {} of {count} agree", count - differences.len());
    assert!(differences.is_empty(), "{what}:\n{}", differences.join("\n"));
}

#[test]
fn real_templates_render_as_in_python() {
    let Some(folder) = shared("data/chat-templates") else { return };
    let file: Value = serde_json::from_str(include_str!("../data/chat_templates.json")).unwrap();
    let mut differences = Vec::new();
    let goldens = file["goldens"].as_array().unwrap();
    for golden in goldens {
        let (name, chat) = (golden["template"].as_str().unwrap(), golden["chat"].as_str().unwrap());
        let source = std::fs::read_to_string(folder.join(name)).unwrap();
        let found = ChatTemplate::new(&source, "<s>", "</s>", name)
            .and_then(|template| template.render(&input(&file["chats"][chat])));
        check(&format!("{name}, {chat}"), &found, &golden["text"], &mut differences);
    }
    report("renderings", goldens.len(), &differences);
    for golden in goldens {
        evidence::shown_with_shared("template", golden["template"].as_str().unwrap(), "rendering");
    }
}

#[test]
fn expressions_and_statements_are_those_of_python() {
    let file: Value = serde_json::from_str(include_str!("../data/jinja_snippets.json")).unwrap();
    let mut differences = Vec::new();
    let goldens = file["goldens"].as_array().unwrap();
    let chat =
        ChatInput { variables: file["variables"].as_object().unwrap().clone(), now: NOW, ..ChatInput::default() };
    for golden in goldens {
        let source = golden["source"].as_str().unwrap();
        let found = ChatTemplate::new(source, "", "", "snippet").and_then(|template| template.render(&chat));
        check(source, &found, &golden["text"], &mut differences);
    }
    report("snippets", goldens.len(), &differences);
}
