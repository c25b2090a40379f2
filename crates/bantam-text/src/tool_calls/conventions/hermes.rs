//! `<tool_call>{"name": …, "arguments": …}</tool_call>`, one object a call.

use super::{BASE, Convention, Frame, JSON_CALL, Slot, Trigger, shapes};

const FRAME_CALL: &[Slot] = &[
    Slot::Text("<tool_call>\n"),
    JSON_CALL[0],
    JSON_CALL[1],
    JSON_CALL[2],
    JSON_CALL[3],
    Slot::Text("}\n</tool_call>"),
];

pub(super) const CONVENTION: Convention = Convention {
    name: "hermes",
    about: "Hermes 2 Pro and 3, Qwen 2.5 and 3, SmolLM3, Granite 4; github.com/NousResearch/Hermes-Function-Calling",
    triggers: &[Trigger::anywhere("<tool_call>")],
    tokens: &["<tool_call>", "</tool_call>"],
    frame: Frame { begin: "", call: FRAME_CALL, separator: "\n", end: "", parallel: true },
    // Others take the same tag for something else, so the JSON in it has to be shown too.
    recognise: |signs| {
        let named = ["{\"name\"", "{\\\"name\\\"", "\"name\":", "\\\"name\\\":"];
        signs.says("<tool_call>") && named.iter().any(|shown| signs.says(shown)) && !signs.says("<invoke name=")
    },
    parse: |reader, _| shapes::json_between(reader, "<tool_call>", "</tool_call>"),
    ..BASE
};
