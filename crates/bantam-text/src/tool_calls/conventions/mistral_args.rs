//! `[TOOL_CALLS]NAME[ARGS]{…}`, once for each call.

use super::{BASE, Convention, Found, Frame, IdStyle, Notation, Reader, Slot, Stop, Tools, Trigger, name};

const CALL: &[Slot] = &[Slot::Text("[TOOL_CALLS]"), Slot::Name, Slot::Text("[ARGS]"), Slot::Arguments(Notation::Json)];

pub(super) const CONVENTION: Convention = Convention {
    name: "mistral-args",
    about: "Mistral Small 3.2, Magistral, Devstral, Ministral 3: tokenizer v11 and later; mistral-common",
    triggers: &[Trigger::anywhere("[TOOL_CALLS]")],
    tokens: &["[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"],
    ids: IdStyle::Nine,
    frame: Frame { begin: "", call: CALL, separator: "", end: "", parallel: true },
    recognise: |signs| signs.says_all(&["[TOOL_CALLS]", "[ARGS]"]),
    parse,
    ..BASE
};

fn parse(reader: &mut Reader<'_>, _: &Tools) -> Result<Vec<Found>, Stop> {
    reader.literal("[TOOL_CALLS]")?;
    let head = reader.until("[ARGS]")?;
    let (called, id) = head.split_once("[CALL_ID]").map_or((head, None), |(called, id)| (called, Some(id.to_owned())));
    let called = name(called)?;
    reader.white();
    let arguments = reader.arguments(called)?;
    Ok(vec![Found { id, ..Found::new(called, arguments) }])
}
