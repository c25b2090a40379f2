//! `<|action_start|><|plugin|>{"name": …, "parameters": …}<|action_end|>`.

use super::{BASE, Convention, Frame, Notation, Slot, Trigger, shapes};

const CALL: &[Slot] = &[
    Slot::Text("{\"name\": \""),
    Slot::Name,
    Slot::Text("\", \"parameters\": "),
    Slot::Arguments(Notation::Json),
    Slot::Text("}"),
];

pub(super) const CONVENTION: Convention = Convention {
    name: "internlm2",
    about: "InternLM 2.5 and 3; github.com/InternLM/InternLM, chat format",
    triggers: &[Trigger::anywhere("<|action_start|>")],
    tokens: &["<|action_start|>", "<|action_end|>", "<|plugin|>"],
    frame: Frame {
        begin: "<|action_start|><|plugin|>\n",
        call: CALL,
        separator: "",
        end: "<|action_end|>",
        parallel: false,
    },
    recognise: |signs| signs.says("<|plugin|>") || signs.says("<|action_start|>") || signs.has("<|plugin|>"),
    parse: |reader, _| {
        reader.literal("<|action_start|>")?;
        reader.white();
        shapes::json_between(reader, "<|plugin|>", "<|action_end|>")
    },
    ..BASE
};
