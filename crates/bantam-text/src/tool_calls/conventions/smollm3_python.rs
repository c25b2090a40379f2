//! `<code>NAME(KEY=VALUE, …)</code>`: SmolLM3 where it was given its tools as `python_tools`.

use super::{BASE, Convention, Frame, PYTHON_CALL, Trigger, shapes};

pub(super) const CONVENTION: Convention = Convention {
    name: "smollm3-python",
    about: "SmolLM3 with python_tools; huggingface.co/HuggingFaceTB/SmolLM3-3B",
    triggers: &[Trigger::anywhere("<code>")],
    tokens: &["<code>", "</code>"],
    frame: Frame { begin: "<code>", call: PYTHON_CALL, separator: "\n", end: "</code>", parallel: true },
    recognise: |signs| signs.says("python_tools") && signs.variables.contains_key("python_tools"),
    parse: |reader, tools| shapes::python_between(reader, tools, "<code>", "</code>"),
    ..BASE
};
