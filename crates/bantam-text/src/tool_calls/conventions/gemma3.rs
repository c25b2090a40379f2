//! Fenced `tool_code`: Python calls, perhaps in `print(…)` or in a list, or the bare list as the whole answer.

use super::shapes::{among, bare};
use super::{BASE, Convention, Found, Frame, PYTHON_CALL, Reader, Stop, Tools, Trigger, python};

const FENCE: &str = "```tool_code";

pub(super) const CONVENTION: Convention = Convention {
    name: "gemma3",
    about: "Gemma 3 with a template for tools; ai.google.dev/gemma/docs/capabilities/function-calling",
    triggers: &[Trigger::anywhere(FENCE), Trigger::anywhere("```json"), Trigger::at_start("["), Trigger::at_start("{")],
    frame: Frame { begin: "```tool_code\n", call: PYTHON_CALL, separator: "\n", end: "\n```", parallel: true },
    recognise: |signs| signs.says("tool_code") || signs.says_all(&["<start_of_turn>", "tools"]),
    parse,
    ..BASE
};

fn parse(reader: &mut Reader<'_>, tools: &Tools) -> Result<Vec<Found>, Stop> {
    if reader.maybe(FENCE)? {
        let mut found = Vec::new();
        loop {
            reader.white();
            if !found.is_empty() && (reader.ended()? || reader.maybe("```")?) {
                return Ok(found);
            }
            let printed = reader.maybe("print(")?;
            found.extend(python::calls(reader, tools)?);
            if printed {
                reader.white();
                reader.literal(")")?;
            }
        }
    }
    if reader.maybe("```json")? {
        reader.white();
        let found = reader.json_calls().map_err(|stop| bare(stop, reader, tools))?;
        reader.white();
        if !reader.ended()? {
            reader.literal("```").map_err(|stop| bare(stop, reader, tools))?;
        }
        return among(found, tools);
    }
    let inner = reader.rest().trim_start_matches(['[', ' ', '\n']);
    let found = match inner.chars().next() {
        None => Err(reader.more()),
        Some('{') => reader.json_calls(),
        Some(_) => python::calls(reader, tools),
    };
    let found = found.map_err(|stop| bare(stop, reader, tools))?;
    among(found, tools)
}
