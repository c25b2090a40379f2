//! `<function_calls>NAME(KEY=VALUE, …)</function_calls>`, one call a line.

use super::{BASE, Convention, Frame, PYTHON_CALL, Trigger, shapes};

pub(super) const CONVENTION: Convention = Convention {
    name: "olmo3",
    about: "OLMo 3; huggingface.co/allenai/Olmo-3-7B-Instruct",
    triggers: &[Trigger::anywhere("<function_calls>")],
    tokens: &["<function_calls>", "</function_calls>"],
    frame: Frame {
        begin: "<function_calls>",
        call: PYTHON_CALL,
        separator: "\n",
        end: "</function_calls>",
        parallel: true,
    },
    recognise: |signs| signs.says("<function_calls>"),
    parse: |reader, tools| shapes::python_between(reader, tools, "<function_calls>", "</function_calls>"),
    ..BASE
};
