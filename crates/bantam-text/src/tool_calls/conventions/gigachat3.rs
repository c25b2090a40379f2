//! A message of the role `function call` behind the text: `function call<|role_sep|>{"name": …, "arguments": …}`.

use super::{BASE, Convention, Frame, JSON_CALL, Trigger, shapes};

const OPEN: &str = "function call<|role_sep|>";

pub(super) const CONVENTION: Convention = Convention {
    name: "gigachat3",
    about: "GigaChat 3; huggingface.co/ai-sage/GigaChat3-10B-A1.8B",
    triggers: &[Trigger::anywhere(OPEN)],
    tokens: &["<|role_sep|>"],
    frame: Frame { begin: "function call<|role_sep|>\n", call: JSON_CALL, separator: "", end: "", parallel: false },
    recognise: |signs| signs.says("function call") && signs.says("<|role_sep|>"),
    parse: |reader, _| shapes::json_between(reader, OPEN, ""),
    ..BASE
};
