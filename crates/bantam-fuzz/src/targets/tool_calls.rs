//! Answers with calls for tools, read by every convention, whole and in pieces.

use bantam_testkit::mutate::Region;
use bantam_text::tool_calls::{CONVENTIONS, Convention, Outcome, Piece, ToolCallParser, Tools};
use serde_json::json;

use super::Target;

pub(super) const TARGET: Target = Target {
    name: "tool_calls",
    about: "an answer with calls for tools, by every convention, whole and in pieces",
    seeds,
    text: false,
    region: |bytes| Region { range: 0..bytes.len(), percent: 100 },
    take,
};

fn seeds() -> Vec<Vec<u8>> {
    let arguments =
        r#"{"city": "Köln, \"x\"", "days": -2.5e3, "wind": null, "places": ["a", true], "options": {"x": {}}}"#;
    let calls = [("weather", arguments), ("now", "{}")];
    let write = |convention: &&Convention| {
        let calls = if convention.frame.parallel { &calls[..] } else { &calls[..1] };
        convention.frame.write(calls)
    };
    let anywhere =
        |convention: &&&Convention| !convention.channels && !convention.triggers.iter().any(|trigger| trigger.at_start);
    let before = CONVENTIONS.iter().filter(anywhere);
    let mut seeds: Vec<String> = CONVENTIONS.iter().map(write).collect();
    seeds.extend(before.map(|convention| format!("Let me see.\n{}\n", write(convention))));
    seeds.into_iter().map(String::into_bytes).collect()
}

fn read(
    convention: &'static Convention,
    tools: &Tools,
    ended: bool,
    pieces: &mut dyn Iterator<Item = &str>,
) -> (String, Outcome) {
    let mut text = String::new();
    let mut emit = |piece: Piece<'_>| {
        if let Piece::Text(piece) | Piece::Reasoning(piece) = piece {
            text.push_str(piece);
        }
    };
    let mut parser = ToolCallParser::new(convention, tools.clone(), 1, 0);
    pieces.for_each(|piece| parser.push(piece, &mut emit));
    let outcome = parser.finish(ended, &mut emit);
    (text, outcome)
}

/// Reads an answer in every convention: it must not matter how it is cut, arguments must be objects, and where there is no
/// call nothing may be lost.
fn take(bytes: &[u8]) -> bool {
    let answer = String::from_utf8_lossy(bytes);
    let Ok(tools) = Tools::from_json(json!([
        {"name": "weather", "parameters": {"properties": {"city": {"type": "string"}, "days": {"type": ["number", "null"]}}}},
        {"name": "now"},
        {"name": "python"},
    ])) else {
        return false;
    };
    // Pieces of lengths that depend on the answer, so that every cut is met sooner or later.
    let step = 1 + bytes.iter().map(|&byte| usize::from(byte)).sum::<usize>() % 11;
    let (mut pieces, mut start) = (Vec::new(), 0);
    for (count, (at, _)) in answer.char_indices().enumerate() {
        if count % step == 0 {
            pieces.push(answer.get(start..at).unwrap_or_default());
            start = at;
        }
    }
    pieces.push(answer.get(start..).unwrap_or_default());
    let mut called = false;
    let ended = bytes.len().is_multiple_of(2);
    for convention in CONVENTIONS.iter().copied() {
        let whole = read(convention, &tools, ended, &mut std::iter::once(answer.as_ref()));
        let cut = read(convention, &tools, ended, &mut pieces.iter().copied());
        assert_eq!(whole, cut, "{} depends on how {answer:?} is cut", convention.name);
        for call in &whole.1.calls {
            let arguments: Result<serde_json::Map<String, serde_json::Value>, _> =
                serde_json::from_str(&call.arguments);
            assert!(arguments.is_ok(), "{}: the arguments {:?} are no object", convention.name, call.arguments);
        }
        // Nothing is lost but the marks of channels, and what a convention says for "no call".
        let says_none = ["directly", "all\n"].iter().any(|words| answer.contains(words));
        let keeps = !convention.channels && !says_none;
        assert!(
            !keeps || !whole.1.calls.is_empty() || whole.0 == answer,
            "{} loses text of {answer:?}",
            convention.name
        );
        called |= !whole.1.calls.is_empty();
    }
    called
}
