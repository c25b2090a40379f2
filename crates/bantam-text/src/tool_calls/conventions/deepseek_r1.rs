//! `<｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME`, then the arguments as fenced JSON.

use super::{BASE, Convention, Found, Frame, Notation, Reader, Slot, Stop, Trigger, name};

pub(super) const BEGIN: &str = "<｜tool▁calls▁begin｜>";
pub(super) const END: &str = "<｜tool▁calls▁end｜>";
pub(super) const CALL_BEGIN: &str = "<｜tool▁call▁begin｜>";
pub(super) const CALL_END: &str = "<｜tool▁call▁end｜>";
pub(super) const SEPARATOR: &str = "<｜tool▁sep｜>";
pub(super) const TOKENS: &[&str] = &[BEGIN, END, CALL_BEGIN, CALL_END, SEPARATOR];

const CALL: &[Slot] = &[
    Slot::Text("<｜tool▁call▁begin｜>function<｜tool▁sep｜>"),
    Slot::Name,
    Slot::Text("\n```json\n"),
    Slot::Arguments(Notation::Json),
    Slot::Text("\n```<｜tool▁call▁end｜>"),
];

pub(super) const CONVENTION: Convention = Convention {
    name: "deepseek-r1",
    about: "DeepSeek V3 and R1, and R1's distilled models; huggingface.co/deepseek-ai/DeepSeek-V3-0324",
    triggers: &[Trigger::anywhere(BEGIN)],
    tokens: TOKENS,
    frame: Frame { begin: BEGIN, call: CALL, separator: "\n", end: END, parallel: true },
    recognise: |signs| signs.says(BEGIN) && signs.says("```json"),
    parse: |reader, _| calls(reader, call),
    ..BASE
};

/// Reads the calls between the outer marks; the closing one may be missing at the answer's end.
pub(super) fn calls(
    reader: &mut Reader<'_>,
    call: fn(&mut Reader<'_>) -> Result<Found, Stop>,
) -> Result<Vec<Found>, Stop> {
    reader.literal(BEGIN)?;
    let mut found = Vec::new();
    loop {
        reader.white();
        if !found.is_empty() && (reader.ended()? || reader.maybe(END)?) {
            return Ok(found);
        }
        reader.literal(CALL_BEGIN)?;
        let call = call(reader)?;
        reader.white();
        reader.literal(CALL_END)?;
        reader.call(&mut found, call);
    }
}

fn call(reader: &mut Reader<'_>) -> Result<Found, Stop> {
    reader.until(SEPARATOR)?;
    let called = name(reader.until("\n")?)?;
    reader.white();
    let fenced = reader.maybe("```json")? || reader.maybe("```")?;
    reader.white();
    let arguments = reader.arguments(called)?;
    if fenced {
        reader.white();
        reader.literal("```")?;
    }
    Ok(Found::new(called, arguments))
}
