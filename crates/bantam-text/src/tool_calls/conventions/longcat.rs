//! `<longcat_tool_call>{"name": …, "arguments": …}</longcat_tool_call>`, one object a call.

use super::{BASE, Convention, Frame, JSON_CALL, Slot, Trigger, shapes};

const OPEN: &str = "<longcat_tool_call>";
const CLOSE: &str = "</longcat_tool_call>";

const CALL: &[Slot] = &[
    Slot::Text("<longcat_tool_call>\n"),
    JSON_CALL[0],
    JSON_CALL[1],
    JSON_CALL[2],
    JSON_CALL[3],
    Slot::Text("}\n</longcat_tool_call>"),
];

pub(super) const CONVENTION: Convention = Convention {
    name: "longcat",
    about: "LongCat Flash; huggingface.co/meituan-longcat/LongCat-Flash-Chat",
    triggers: &[Trigger::anywhere(OPEN)],
    tokens: &[OPEN, CLOSE],
    frame: Frame { begin: "", call: CALL, separator: "\n", end: "", parallel: true },
    recognise: |signs| signs.says("{\"name\"") && signs.says(OPEN),
    parse: |reader, _| shapes::json_between(reader, OPEN, CLOSE),
    ..BASE
};
