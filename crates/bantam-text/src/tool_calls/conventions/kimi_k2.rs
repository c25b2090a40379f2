//! `<|tool_call_begin|>functions.NAME:INDEX<|tool_call_argument_begin|>{…}<|tool_call_end|>` in a section of calls.

use super::{BASE, Convention, Found, Frame, IdStyle, Notation, Reader, Slot, Stop, Tools, Trigger, name};

const BEGIN: &str = "<|tool_calls_section_begin|>";
const END: &str = "<|tool_calls_section_end|>";
const CALL_BEGIN: &str = "<|tool_call_begin|>";
const ARGUMENTS: &str = "<|tool_call_argument_begin|>";
const CALL_END: &str = "<|tool_call_end|>";

const CALL: &[Slot] = &[
    Slot::Text("<|tool_call_begin|>functions."),
    Slot::Name,
    Slot::Text(":"),
    Slot::Index,
    Slot::Text(ARGUMENTS),
    Slot::Arguments(Notation::Json),
    Slot::Text(CALL_END),
];

pub(super) const CONVENTION: Convention = Convention {
    name: "kimi-k2",
    about: "Kimi K2; huggingface.co/moonshotai/Kimi-K2-Instruct, docs/tool_call_guidance.md",
    triggers: &[Trigger::anywhere(BEGIN)],
    tokens: &[BEGIN, END, CALL_BEGIN, ARGUMENTS, CALL_END],
    ids: IdStyle::FunctionIndex,
    frame: Frame { begin: BEGIN, call: CALL, separator: "", end: END, parallel: true },
    recognise: |signs| signs.says(BEGIN),
    parse,
    ..BASE
};

fn parse(reader: &mut Reader<'_>, _: &Tools) -> Result<Vec<Found>, Stop> {
    reader.literal(BEGIN)?;
    let mut found = Vec::new();
    loop {
        reader.white();
        if !found.is_empty() && (reader.ended()? || reader.maybe(END)?) {
            return Ok(found);
        }
        reader.literal(CALL_BEGIN)?;
        let id = reader.until(ARGUMENTS)?.trim();
        let bare = id.strip_prefix("functions.").unwrap_or(id);
        let (called, index) = bare.rsplit_once(':').unwrap_or((bare, ""));
        let called = name(called)?;
        reader.white();
        let arguments = reader.arguments(called)?;
        reader.white();
        reader.literal(CALL_END)?;
        let given = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
        let call = Found { id: given.then(|| id.to_owned()), ..Found::new(called, arguments) };
        reader.call(&mut found, call);
    }
}
