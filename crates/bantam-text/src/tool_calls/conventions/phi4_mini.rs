//! `<|tool_call|>[{"name": …, "arguments": …}]<|/tool_call|>`.

use super::{BASE, Convention, Frame, JSON_CALL, Trigger, shapes};

pub(super) const CONVENTION: Convention = Convention {
    name: "phi4-mini",
    about: "Phi-4-mini; huggingface.co/microsoft/Phi-4-mini-instruct",
    // The small model leaves its marks out now and then.
    triggers: &[
        Trigger::anywhere("<|tool_call|>"),
        Trigger::anywhere("functools["),
        Trigger::at_start("["),
        Trigger::at_start("{"),
    ],
    tokens: &["<|tool_call|>", "<|/tool_call|>"],
    frame: Frame { begin: "<|tool_call|>[", call: JSON_CALL, separator: ", ", end: "]<|/tool_call|>", parallel: true },
    recognise: |signs| {
        signs.says("<|/tool_call|>") || signs.says("<|/tool|>") || signs.says_all(&["<|tool_call|>", "<|assistant|>"])
    },
    parse: |reader, tools| {
        if reader.rest().starts_with("functools") {
            return shapes::json_between(reader, "functools", "");
        }
        if reader.rest().starts_with(['[', '{']) {
            let found = reader.json_calls().map_err(|stop| shapes::bare(stop, reader, tools))?;
            return shapes::among(found, tools);
        }
        shapes::json_between(reader, "<|tool_call|>", "<|/tool_call|>")
    },
    ..BASE
};
