//! Calls as real templates teach their models to write them, rendered by Python's Jinja2, are read back.

use bantam_testkit::evidence;
use bantam_text::tool_calls::{Piece, Signs, ToolCallParser, Tools, recognise};
use serde_json::{Map, Value, json};

use crate::shared;

#[test]
fn what_templates_teach_is_read_back() {
    let Some(folder) = shared("data/chat-templates") else { return };
    let file: Value = serde_json::from_str(include_str!("../data/taught_calls.json")).unwrap();
    let tools = Tools::from_json(file["tools"].clone()).unwrap();
    let goldens = file["goldens"].as_array().unwrap();
    for golden in goldens {
        let (name, answer) = (golden["template"].as_str().unwrap(), golden["answer"].as_str().unwrap());
        let template = std::fs::read_to_string(folder.join(name)).unwrap();
        let signs = Signs { template: &template, has_token: &|_| false, variables: &Map::new() };
        let convention = recognise(&signs).unwrap_or_else(|| panic!("{name} shows no convention"));
        let mut text = String::new();
        let mut emit = |piece: Piece<'_>| {
            if let Piece::Text(piece) = piece {
                text.push_str(piece);
            }
        };
        let mut parser = ToolCallParser::new(convention, tools.clone(), 0, 0);
        answer.split_inclusive(' ').for_each(|piece| parser.push(piece, &mut emit));
        let outcome = parser.finish(true, &mut emit);
        let calls: Vec<Value> = outcome
            .calls
            .iter()
            .map(|call| json!([call.name, serde_json::from_str::<Value>(&call.arguments).unwrap()]))
            .collect();
        assert_eq!(Value::from(calls), golden["calls"], "{name}: {answer}");
        assert_eq!((text.trim(), outcome.error), (golden["text"].as_str().unwrap(), None), "{name}: {answer}");
        evidence::shown_with_shared("tool calls", convention.name, "read back");
        evidence::shown_with_shared("template", name, "calls read back");
    }
    println!("calls: {} answers of real templates are read back", goldens.len());
}
