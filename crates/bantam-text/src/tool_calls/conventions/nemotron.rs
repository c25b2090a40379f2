//! `<TOOLCALL>[{"name": …, "arguments": …}]</TOOLCALL>`.

use super::{BASE, Convention, Frame, JSON_CALL, Trigger, shapes};

pub(super) const CONVENTION: Convention = Convention {
    name: "nemotron",
    about: "Llama-Nemotron, Nemotron Nano 2; huggingface.co/nvidia/NVIDIA-Nemotron-Nano-9B-v2",
    triggers: &[Trigger::anywhere("<TOOLCALL>")],
    tokens: &["<TOOLCALL>", "</TOOLCALL>"],
    frame: Frame { begin: "<TOOLCALL>[", call: JSON_CALL, separator: ", ", end: "]</TOOLCALL>", parallel: true },
    recognise: |signs| signs.says("<TOOLCALL>"),
    parse: |reader, _| shapes::json_between(reader, "<TOOLCALL>", "</TOOLCALL>"),
    ..BASE
};
