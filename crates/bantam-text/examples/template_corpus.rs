//! Compares a directory of chat templates with what Python makes of them: renderings, and calls for tools read back.
//!
//!     python tools/goldens/chat_templates.py templates DIR templates.json
//!     python tools/goldens/chat_templates.py calls DIR calls.json
//!     cargo run -p bantam-text --example template_corpus -- DIR templates.json calls.json
#![allow(missing_docs, reason = "a program for the people who work on templates")]

use std::path::Path;

use bantam_text::tool_calls::{Piece, Signs, ToolCallParser, Tools, recognise};
use bantam_text::{ChatInput, ChatTemplate, Moment};
use serde_json::{Map, Value};

const NOW: Moment = Moment { year: 2024, month: 7, day: 26, hour: 15, minute: 4, second: 5 };

fn json(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON")
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, templates, calls] = arguments.as_slice() else { panic!("DIR templates.json calls.json") };
    let (mut count, mut differences) = (0, 0);
    let file = json(templates);
    for golden in file["goldens"].as_array().expect("goldens") {
        let (name, chat) = (golden["template"].as_str().unwrap(), golden["chat"].as_str().unwrap());
        let source = std::fs::read_to_string(Path::new(folder).join(name)).unwrap();
        let mut variables: Map<String, Value> = file["chats"][chat].as_object().unwrap().clone();
        let mut take = |key: &str| variables.shift_remove(key);
        let input = ChatInput {
            messages: take("messages").unwrap(),
            tools: take("tools").filter(|tools| !tools.is_null()),
            add_generation_prompt: take("add_generation_prompt").is_some_and(|flag| flag == Value::Bool(true)),
            variables,
            now: NOW,
        };
        let found = ChatTemplate::new(&source, "<s>", "</s>", name).and_then(|template| template.render(&input));
        count += 1;
        let same = match (&found, golden["text"].as_str()) {
            (Ok(found), Some(expected)) => found == expected,
            (Err(_), None) => true,
            _ => false,
        };
        if !same {
            differences += 1;
            println!("{name}, {chat}\n  expected {}\n  found    {found:?}", golden["text"]);
        }
    }
    println!("renderings: {} of {count} agree", count - differences);
    let file = json(calls);
    let tools = Tools::from_json(file["tools"].clone()).unwrap();
    let (mut count, mut differences, mut last) = (0, 0, String::new());
    for golden in file["goldens"].as_array().expect("goldens") {
        let name = golden["template"].as_str().unwrap();
        let source = std::fs::read_to_string(Path::new(folder).join(name)).unwrap();
        let none = Map::new();
        let signs = Signs { template: &source, has_token: &|_| false, variables: &none };
        let Some(convention) = recognise(&signs) else {
            if last != name {
                println!("{name}: no convention is recognised\n  {}", golden["answer"]);
            }
            name.clone_into(&mut last);
            continue;
        };
        if last != name {
            println!("{name}: {}", convention.name);
            name.clone_into(&mut last);
        }
        count += 1;
        let mut text = String::new();
        let mut parser = ToolCallParser::new(convention, tools.clone(), 0, 0);
        let answer = golden["answer"].as_str().unwrap();
        let answer = answer.rsplit_once("</think>").map_or(answer, |(_, behind)| behind);
        let mut emit = |piece: Piece<'_>| {
            if let Piece::Text(piece) = piece {
                text.push_str(piece);
            }
        };
        parser.push(answer, &mut emit);
        let outcome = parser.finish(true, &mut emit);
        let found: Vec<Value> = outcome
            .calls
            .iter()
            .map(|call| serde_json::json!([call.name, serde_json::from_str::<Value>(&call.arguments).unwrap()]))
            .collect();
        if found != *golden["calls"].as_array().unwrap()
            || !text.trim_start().starts_with(golden["text"].as_str().unwrap())
            || outcome.error.is_some()
        {
            differences += 1;
            println!(
                "{name}: {answer:?}\n  text {text:?} calls {} expected {}\n  error {:?}",
                Value::from(found),
                golden["calls"],
                outcome.error
            );
        }
    }
    println!("calls: {} of {count} agree", count - differences);
}
