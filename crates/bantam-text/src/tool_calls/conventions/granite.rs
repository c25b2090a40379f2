//! `<|tool_call|>[{"name": …, "arguments": …}]`, with no mark behind it.

use super::{BASE, Convention, Frame, JSON_CALL, Trigger, shapes};

pub(super) const CONVENTION: Convention = Convention {
    name: "granite",
    about: "Granite 3; ibm.com/granite/docs",
    triggers: &[Trigger::anywhere("<|tool_call|>"), Trigger::anywhere("<tool_call>")],
    tokens: &["<|tool_call|>", "<tool_call>"],
    frame: Frame { begin: "<|tool_call|>[", call: JSON_CALL, separator: ", ", end: "]", parallel: true },
    recognise: |signs| {
        signs.says("<|start_of_role|>")
            && (signs.says("<|tool_call|>") || (signs.has("<|tool_call|>") && !signs.says("<tool_call>")))
    },
    parse: |reader, _| {
        let open = if reader.rest().starts_with("<|") { "<|tool_call|>" } else { "<tool_call>" };
        shapes::json_between(reader, open, "")
    },
    ..BASE
};
