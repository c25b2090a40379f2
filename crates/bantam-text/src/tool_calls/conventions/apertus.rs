//! `<|tools_prefix|>[{"NAME": {…}}, …]<|tools_suffix|>`.

use super::shapes::{close_or_end, some};
use super::{BASE, Convention, Found, Frame, Notation, Reader, Slot, Stop, Tools, Trigger, json, name};

const OPEN: &str = "<|tools_prefix|>";
const CLOSE: &str = "<|tools_suffix|>";

const CALL: &[Slot] =
    &[Slot::Text("{\""), Slot::Name, Slot::Text("\": "), Slot::Arguments(Notation::Json), Slot::Text("}")];

pub(super) const CONVENTION: Convention = Convention {
    name: "apertus",
    about: "Apertus; huggingface.co/swiss-ai/Apertus-8B-Instruct-2509",
    triggers: &[Trigger::anywhere(OPEN)],
    tokens: &[OPEN, CLOSE],
    frame: Frame { begin: "<|tools_prefix|>[", call: CALL, separator: ", ", end: "]<|tools_suffix|>", parallel: true },
    recognise: |signs| signs.says(OPEN),
    parse,
    ..BASE
};

fn parse(reader: &mut Reader<'_>, _: &Tools) -> Result<Vec<Found>, Stop> {
    reader.literal(OPEN)?;
    reader.white();
    if reader.peek()? != '[' {
        return Err(reader.unexpected("a list of calls"));
    }
    let found = reader.json_list(|element, found| {
        for (called, value) in json::members(element) {
            let called = name(&called)?;
            found.push(Found::new(called, json::arguments(called, Some(value))?));
        }
        Ok(())
    })?;
    close_or_end(reader, CLOSE)?;
    some(found)
}
