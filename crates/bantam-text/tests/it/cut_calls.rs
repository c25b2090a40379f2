//! Answers that were cut short inside of a frame of calls: the calls before are kept.

use bantam_text::tool_calls::{CONVENTIONS, Piece, ToolCallParser, Tools};
use serde_json::json;

/// The calls' names, and the text that is left.
fn read(convention: &'static bantam_text::tool_calls::Convention, answer: &str, ended: bool) -> (Vec<String>, String) {
    let tools = Tools::from_json(json!([
        {"name": "first", "parameters": {"properties": {"a": {"type": "integer"}}}},
        {"name": "second", "parameters": {"properties": {"b": {"type": "string"}}}},
    ]))
    .unwrap();
    let mut text = String::new();
    let mut emit = |piece: Piece<'_>| {
        if let Piece::Text(piece) | Piece::Reasoning(piece) = piece {
            text.push_str(piece);
        }
    };
    let mut parser = ToolCallParser::new(convention, tools, 1, 0);
    // A character at a time, as a model may write it.
    answer.split_inclusive(|_| true).for_each(|piece| parser.push(piece, &mut emit));
    let outcome = parser.finish(ended, &mut emit);
    (outcome.calls.into_iter().map(|call| call.name).collect(), text)
}

#[test]
fn calls_before_the_cut_are_kept() {
    for convention in CONVENTIONS.iter().copied().filter(|convention| convention.frame.parallel) {
        let frame = convention.frame;
        let calls = [("first", r#"{"a": 1}"#), ("second", r#"{"b": "x y"}"#)];
        let whole = frame.write(&calls);
        // Up to the second call's name, and up to where its last argument is whole but for its end.
        let begun = whole.find("second").unwrap() + "second".len();
        let almost = whole.find("x y").unwrap() + 2;
        for end in (begun..=almost).filter(|&end| whole.is_char_boundary(end)) {
            let answer = whole.get(..end).unwrap();
            let (calls, text) = read(convention, answer, false);
            assert_eq!(calls, ["first"], "{}: {answer:?}", convention.name);
            assert!(text.contains("second"), "{}: {answer:?} leaves {text:?}", convention.name);
        }
        assert_eq!(read(convention, &whole, true).0, ["first", "second"], "{}", convention.name);
    }
}
