//! `<|function_call|>{"name": …, "arguments": …}`, with no mark behind it.

use super::{BASE, Convention, Frame, JSON_CALL, Trigger, shapes};

pub(super) const CONVENTION: Convention = Convention {
    name: "gigachat3.1",
    about: "GigaChat 3.1; huggingface.co/ai-sage/GigaChat3.1-10B-A1.8B",
    triggers: &[Trigger::anywhere("<|function_call|>")],
    tokens: &["<|function_call|>"],
    frame: Frame { begin: "<|function_call|>", call: JSON_CALL, separator: "", end: "", parallel: false },
    recognise: |signs| signs.says("<|function_call|>"),
    parse: |reader, _| shapes::json_between(reader, "<|function_call|>", ""),
    ..BASE
};
