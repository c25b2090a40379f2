//! `<function=NAME>{…}</function>`.

use super::{BASE, Convention, Found, Frame, Notation, Reader, Slot, Stop, Tools, Trigger, name};

const CALL: &[Slot] = &[
    Slot::Text("<function="),
    Slot::Name,
    Slot::Text(">"),
    Slot::Arguments(Notation::Json),
    Slot::Text("</function>"),
];

pub(super) const CONVENTION: Convention = Convention {
    name: "functionary",
    about: "Functionary 3.1 and Llama 3.1 with functions in tags; github.com/MeetKai/functionary",
    triggers: &[Trigger::anywhere("<function=")],
    ends: &["<|eom_id|>"],
    frame: Frame { begin: "", call: CALL, separator: "", end: "", parallel: true },
    recognise: |signs| signs.says_all(&["<function=", "</function>"]),
    parse,
    ..BASE
};

fn parse(reader: &mut Reader<'_>, _: &Tools) -> Result<Vec<Found>, Stop> {
    reader.literal("<function=")?;
    let called = name(reader.until(">")?)?;
    reader.white();
    let arguments = reader.arguments(called)?;
    reader.white();
    if !reader.ended()? {
        reader.literal("</function>")?;
    }
    Ok(vec![Found::new(called, arguments)])
}
