//! `{"name": …, "parameters": …}` as the whole answer, more than one separated by `;`; or, behind `<|python_tag|>`, the same,
//! a call of a built-in tool (`brave_search.call(query="…")`) or Python for a tool that runs it.

use super::shapes::{among, bare};
use super::{BASE, Convention, End, Found, Frame, Notation, Reader, Slot, Stop, Tools, Trigger, json, python};

const CALL: &[Slot] = &[
    Slot::Text("{\"name\": \""),
    Slot::Name,
    Slot::Text("\", \"parameters\": "),
    Slot::Arguments(Notation::Json),
    Slot::Text("}"),
];

/// Tools that take Python, by the names that the field gives them.
const INTERPRETERS: &[&str] = &["code_interpreter", "ipython", "python"];

const TAG: &str = "<|python_tag|>";

pub(super) const CONVENTION: Convention = Convention {
    name: "llama3",
    about: "Llama 3.1 to 3.3; llama.com/docs/model-cards-and-prompt-formats",
    triggers: &[Trigger::at_start("{"), Trigger::anywhere(TAG)],
    tokens: &[TAG],
    ends: &["<|eom_id|>"],
    frame: Frame { begin: "", call: CALL, separator: "; ", end: "", parallel: true },
    recognise: |signs| {
        signs.says(TAG)
            || signs.says_all(&["\"parameters\": ", "function name"])
            || signs.says_all(&["<|start_header_id|>ipython", "tool_call"])
    },
    parse,
    ..BASE
};

fn parse(reader: &mut Reader<'_>, tools: &Tools) -> Result<Vec<Found>, Stop> {
    if !reader.maybe(TAG)? {
        let found = objects(reader).map_err(|stop| bare(stop, reader, tools))?;
        return among(found, tools);
    }
    reader.white();
    if reader.peek()? == '{' {
        return objects(reader);
    }
    // Python goes on to the answer's end, which nothing shows but that the model ended it.
    if reader.end() != End::Ended {
        return Err(reader.more());
    }
    let code = reader.rest();
    if let Some(found) = built_in(code, tools) {
        reader.skip(code.len());
        return Ok(vec![found]);
    }
    let Some(tool) = INTERPRETERS.iter().find_map(|name| tools.get(name)) else {
        return Err(Stop::Bad("the model wrote Python, and none of the tools takes it".into()));
    };
    let key = tool.properties().and_then(|properties| properties.keys().next()).map_or("code", String::as_str);
    reader.skip(code.len());
    let arguments = format!("{{{}: {}}}", json::quoted(key), json::quoted(code.trim()));
    Ok(vec![Found::new(tool.name.clone(), arguments)])
}

/// Reads calls; those before one that goes wrong are kept.
fn objects(reader: &mut Reader<'_>) -> Result<Vec<Found>, Stop> {
    let mut found = Vec::new();
    let mut kept = 0;
    loop {
        match reader.json().and_then(json::call) {
            Ok(call) => reader.call(&mut found, call),
            Err(Stop::Bad(reason)) if !found.is_empty() => {
                reader.keep(kept, reason);
                return Ok(found);
            }
            Err(stop) => return Err(stop),
        }
        kept = reader.at();
        reader.white();
        if reader.ended()? {
            return Ok(found);
        }
        if reader.maybe(";")? {
            reader.white();
            if reader.ended()? {
                return Ok(found);
            }
        }
        if reader.maybe(TAG)? {
            reader.white();
        }
        if reader.peek()? != '{' {
            return Ok(found);
        }
    }
}

/// `NAME.call(KEY=VALUE, …)`, and nothing else.
fn built_in(code: &str, tools: &Tools) -> Option<Found> {
    let mut reader = Reader::new(code, End::Ended);
    let found = python::call(&mut reader, tools).ok()?;
    let name = found.name.strip_suffix(".call")?.to_owned();
    reader.rest().trim().is_empty().then_some(Found { name, ..found })
}
