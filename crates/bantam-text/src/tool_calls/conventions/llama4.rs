//! `[NAME(KEY=VALUE, …), …]` as the whole answer.

use super::shapes::{among, bare};
use super::{BASE, Convention, Found, Frame, PYTHON_CALL, Reader, Stop, Tools, Trigger, python};

pub(super) const CONVENTION: Convention = Convention {
    name: "pythonic",
    about: "Llama 3.2 and 4 with Python calls, ToolACE; llama.com/docs/model-cards-and-prompt-formats",
    triggers: &[Trigger::at_start("["), Trigger::at_start("<|python_start|>")],
    tokens: &["<|python_start|>", "<|python_end|>"],
    ends: &["<|eom|>"],
    frame: Frame { begin: "[", call: PYTHON_CALL, separator: ", ", end: "]", parallel: true },
    recognise: |signs| signs.says("func_name1(params_name1"),
    parse,
    ..BASE
};

fn parse(reader: &mut Reader<'_>, tools: &Tools) -> Result<Vec<Found>, Stop> {
    let tagged = reader.maybe("<|python_start|>")?;
    let found = python::calls(reader, tools).map_err(|stop| if tagged { stop } else { bare(stop, reader, tools) })?;
    let mut behind = Reader::new(reader.rest(), reader.end());
    behind.white();
    if tagged && behind.maybe("<|python_end|>")? {
        reader.skip(behind.at());
    }
    among(found, tools)
}
