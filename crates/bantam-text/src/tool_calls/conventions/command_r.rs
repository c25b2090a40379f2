//! `Action: ` and fenced JSON: a list of `{"tool_name": …, "parameters": …}`. `directly_answer` is no call.

use super::{BASE, Convention, Found, Frame, Notation, Reader, Slot, Stop, Tools, Trigger, json};

const CALL: &[Slot] = &[
    Slot::Text("    {\n        \"tool_name\": \""),
    Slot::Name,
    Slot::Text("\",\n        \"parameters\": "),
    Slot::Arguments(Notation::Json),
    Slot::Text("\n    }"),
];

pub(super) const CONVENTION: Convention = Convention {
    name: "command-r",
    about: "Command R and R+; docs.cohere.com, prompting Command R",
    triggers: &[Trigger::anywhere("Action:")],
    frame: Frame { begin: "Action: ```json\n[\n", call: CALL, separator: ",\n", end: "\n]```", parallel: true },
    recognise: |signs| signs.says("Action:") && signs.says("tool_name"),
    parse,
    ..BASE
};

fn parse(reader: &mut Reader<'_>, _: &Tools) -> Result<Vec<Found>, Stop> {
    let no_call = |stop| if stop == Stop::More { stop } else { Stop::NoCall };
    reader.literal("Action:")?;
    reader.white();
    reader.literal("```json").map_err(no_call)?;
    reader.white();
    let found = reader.json_list(|element, found| {
        let call = json::call(element)?;
        if call.name != "directly_answer" && call.name != "directly-answer" {
            found.push(call);
        }
        Ok(())
    })?;
    reader.white();
    if !reader.ended()? {
        reader.literal("```")?;
    }
    Ok(found)
}
