//! `<|tool_call>call:NAME{KEY:VALUE,…}<tool_call|>`, texts between `<|"|>`.

use super::{BASE, Convention, Found, Frame, Notation, Reader, Slot, Stop, Tools, Trigger, json, name};

const OPEN: &str = "<|tool_call>";
const CLOSE: &str = "<tool_call|>";
const QUOTE: &str = "<|\"|>";
/// Deepest nesting of a value.
const DEEPEST: usize = 100;

const CALL: &[Slot] = &[
    Slot::Text("<|tool_call>call:"),
    Slot::Name,
    Slot::Text("{"),
    Slot::Arguments(Notation::Marked(QUOTE)),
    Slot::Text("}<tool_call|>"),
];

pub(super) const CONVENTION: Convention = Convention {
    name: "gemma4",
    about: "Gemma 4 and FunctionGemma's kin; ai.google.dev/gemma/docs/core/prompt-formatting-gemma4",
    triggers: &[Trigger::anywhere(OPEN)],
    tokens: &[OPEN, CLOSE, QUOTE],
    ends: &["<|tool_response>"],
    frame: Frame { begin: "", call: CALL, separator: "", end: "", parallel: true },
    recognise: |signs| signs.says("<|tool_call>call:"),
    parse,
    ..BASE
};

fn parse(reader: &mut Reader<'_>, _: &Tools) -> Result<Vec<Found>, Stop> {
    reader.literal(OPEN)?;
    reader.literal("call:")?;
    let rest = reader.rest();
    let Some(length) = rest.find('{') else { return Err(reader.more()) };
    let called = name(rest.get(..length).unwrap_or_default())?;
    reader.skip(length);
    let mut arguments = String::new();
    let mut inner = Reader::new(reader.rest().get(1..).unwrap_or_default(), reader.end());
    inner.white();
    if inner.peek()? == '{' {
        // The template writes arguments that it was given as text between braces of its own.
        arguments = inner.arguments(called)?;
        inner.white();
        inner.literal("}")?;
        reader.skip(1 + inner.at());
    } else {
        value(reader, &mut arguments, 0)?;
    }
    reader.white();
    if !reader.ended()? {
        reader.literal(CLOSE)?;
    }
    Ok(vec![Found::new(called, arguments)])
}

/// Reads a value and writes it as JSON.
fn value(reader: &mut Reader<'_>, out: &mut String, depth: usize) -> Result<(), Stop> {
    if depth == DEEPEST {
        return Err(Stop::Bad("a call is nested too deep".into()));
    }
    reader.white();
    match reader.peek()? {
        '{' => list(reader, out, depth, true),
        '[' => list(reader, out, depth, false),
        '<' => {
            reader.literal(QUOTE)?;
            out.push_str(&json::quoted(reader.until(QUOTE)?));
            Ok(())
        }
        _ => {
            let rest = reader.rest();
            let Some(length) = rest.find([',', '}', ']']) else { return Err(reader.more()) };
            let written = match rest.get(..length).unwrap_or_default().trim() {
                "None" | "none" => "null",
                "True" => "true",
                "False" => "false",
                other => other,
            };
            if !json::is_value(written) {
                return Err(reader.unexpected("a value"));
            }
            reader.skip(length);
            out.push_str(written);
            Ok(())
        }
    }
}

/// Reads an object or an array.
fn list(reader: &mut Reader<'_>, out: &mut String, depth: usize, keyed: bool) -> Result<(), Stop> {
    let (open, close) = if keyed { ("{", "}") } else { ("[", "]") };
    reader.literal(open)?;
    out.push_str(open);
    let mut first = true;
    loop {
        reader.white();
        if reader.maybe(close)? {
            out.push_str(close);
            return Ok(());
        }
        if !first {
            reader.literal(",")?;
            out.push_str(", ");
            reader.white();
        }
        first = false;
        if keyed {
            let key = if reader.maybe(QUOTE)? {
                let key = reader.until(QUOTE)?;
                reader.white();
                reader.literal(":")?;
                key
            } else {
                reader.until(":")?.trim()
            };
            if key.contains(['{', '}', ',']) {
                return Err(Stop::Bad("a call has an argument without a name".into()));
            }
            out.push_str(&json::quoted(key));
            out.push_str(": ");
        }
        value(reader, out, depth + 1)?;
    }
}
