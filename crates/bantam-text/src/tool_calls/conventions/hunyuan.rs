//! `<tool_calls>[{"name": …, "arguments": …}]</tool_calls>`.

use super::{BASE, Convention, Frame, JSON_CALL, Trigger, shapes};

pub(super) const CONVENTION: Convention = Convention {
    name: "hunyuan",
    about: "Hunyuan A13B; huggingface.co/tencent/Hunyuan-A13B-Instruct",
    triggers: &[Trigger::anywhere("<tool_calls>")],
    tokens: &["<tool_calls>", "</tool_calls>"],
    frame: Frame { begin: "<tool_calls>[", call: JSON_CALL, separator: ", ", end: "]</tool_calls>", parallel: true },
    recognise: |signs| signs.says("<tool_calls>"),
    parse: |reader, _| shapes::json_between(reader, "<tool_calls>", "</tool_calls>"),
    ..BASE
};
