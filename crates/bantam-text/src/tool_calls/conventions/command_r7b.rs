//! `<|START_ACTION|>[{"tool_call_id": …, "tool_name": …, "parameters": …}]<|END_ACTION|>`.

use super::{BASE, Convention, Frame, Notation, Slot, Trigger, shapes};

const CALL: &[Slot] = &[
    Slot::Text("    {\"tool_call_id\": \""),
    Slot::Index,
    Slot::Text("\", \"tool_name\": \""),
    Slot::Name,
    Slot::Text("\", \"parameters\": "),
    Slot::Arguments(Notation::Json),
    Slot::Text("}"),
];

pub(super) const CONVENTION: Convention = Convention {
    name: "command-r7b",
    about: "Command R7B and Command A; huggingface.co/CohereLabs/c4ai-command-r7b-12-2024",
    triggers: &[Trigger::anywhere("<|START_ACTION|>")],
    tokens: &["<|START_ACTION|>", "<|END_ACTION|>"],
    frame: Frame {
        begin: "<|START_ACTION|>[\n",
        call: CALL,
        separator: ",\n",
        end: "\n]<|END_ACTION|>",
        parallel: true,
    },
    recognise: |signs| signs.says("<|START_ACTION|>"),
    parse: |reader, _| shapes::json_between(reader, "<|START_ACTION|>", "<|END_ACTION|>"),
    ..BASE
};
