//! `<|tool_call_start|>[NAME(KEY=VALUE, …), …]<|tool_call_end|>`; JSON between the same marks where the model was asked for it.

use super::{BASE, Convention, Frame, PYTHON_CALL, Trigger, shapes};

const START: &str = "<|tool_call_start|>";
const END: &str = "<|tool_call_end|>";

pub(super) const CONVENTION: Convention = Convention {
    name: "lfm2",
    about: "LFM2 and LFM2.5; docs.liquid.ai, tool use",
    triggers: &[Trigger::anywhere(START)],
    tokens: &[START, END],
    frame: Frame {
        begin: "<|tool_call_start|>[",
        call: PYTHON_CALL,
        separator: ", ",
        end: "]<|tool_call_end|>",
        parallel: true,
    },
    recognise: |signs| {
        signs.says(START) || signs.says("<|tool_list_start|>") || signs.says("List of tools: [") || signs.has(START)
    },
    parse: |reader, tools| {
        let inner = reader.rest().get(START.len()..).unwrap_or_default().trim_start();
        let inner = inner.strip_prefix('[').unwrap_or(inner).trim_start();
        match inner.chars().next() {
            None => Err(reader.more()),
            Some('{') => shapes::json_between(reader, START, END),
            Some(_) => shapes::python_between(reader, tools, START, END),
        }
    },
    ..BASE
};
