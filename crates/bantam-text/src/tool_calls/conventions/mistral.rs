//! `[TOOL_CALLS][{"name": …, "arguments": …, "id": …}]`.

use super::{BASE, Convention, Frame, IdStyle, Notation, Slot, Trigger, shapes};

const CALL: &[Slot] = &[
    Slot::Text("{\"name\": \""),
    Slot::Name,
    Slot::Text("\", \"arguments\": "),
    Slot::Arguments(Notation::Json),
    Slot::Text(", \"id\": \""),
    Slot::Id(9),
    Slot::Text("\"}"),
];

pub(super) const CONVENTION: Convention = Convention {
    name: "mistral",
    about: "Mistral 7B v0.3, Nemo, Small and Large up to tokenizer v7; docs.mistral.ai and mistral-common",
    triggers: &[Trigger::anywhere("[TOOL_CALLS]")],
    tokens: &["[TOOL_CALLS]"],
    ids: IdStyle::Nine,
    frame: Frame { begin: "[TOOL_CALLS][", call: CALL, separator: ", ", end: "]", parallel: true },
    recognise: |signs| signs.says("[TOOL_CALLS]") || (signs.has("[TOOL_CALLS]") && signs.says("[AVAILABLE_TOOLS]")),
    parse: |reader, _| {
        let mut found = shapes::json_between(reader, "[TOOL_CALLS]", "")?;
        let fits = |id: &String| id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        found.iter_mut().for_each(|found| found.id = found.id.take().filter(fits));
        Ok(found)
    },
    ..BASE
};
