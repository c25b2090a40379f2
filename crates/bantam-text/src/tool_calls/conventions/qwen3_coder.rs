//! `<tool_call><function=NAME><parameter=KEY>VALUE</parameter></function></tool_call>`: values are bare text, with the types
//! of the tool's schema.

use super::shapes::{Marks, close_or_end, parameters};
use super::{BASE, Convention, Found, Frame, Notation, Parameters, Reader, Slot, Stop, Tools, Trigger, name};

const CALL: &[Slot] = &[
    Slot::Text("<tool_call>\n<function="),
    Slot::Name,
    Slot::Text(">\n"),
    Slot::Arguments(Notation::Parameters(Parameters {
        before: "<parameter=",
        between: ">\n",
        after: "\n</parameter>\n",
    })),
    Slot::Text("</function>\n</tool_call>"),
];

const MARKS: Marks =
    Marks { before: "<parameter=", between: ">", after: "</parameter>", end: "</function>", cdata: false };

pub(super) const CONVENTION: Convention = Convention {
    name: "qwen3-coder",
    about: "Qwen3-Coder, Qwen3.5, Nemotron 3 Nano; huggingface.co/Qwen/Qwen3-Coder-30B-A3B-Instruct",
    // Models leave the outer tag out now and then.
    triggers: &[Trigger::anywhere("<tool_call>"), Trigger::anywhere("<function=")],
    tokens: &["<tool_call>", "</tool_call>"],
    frame: Frame { begin: "", call: CALL, separator: "\n", end: "", parallel: true },
    recognise: |signs| signs.says_all(&["<function=", "<parameter=", "<tool_call>"]),
    parse,
    ..BASE
};

fn parse(reader: &mut Reader<'_>, tools: &Tools) -> Result<Vec<Found>, Stop> {
    let outer = reader.maybe("<tool_call>")?;
    reader.white();
    let found = function(reader, tools)?;
    if outer {
        close_or_end(reader, "</tool_call>")?;
    } else {
        // A closing tag without its opening one belongs to the call.
        let mut behind = Reader::new(reader.rest(), reader.end());
        behind.white();
        if behind.maybe("</tool_call>")? {
            reader.skip(behind.at());
        }
    }
    Ok(vec![found])
}

/// Reads `<function=NAME>` with its parameters.
pub(super) fn function(reader: &mut Reader<'_>, tools: &Tools) -> Result<Found, Stop> {
    reader.literal("<function=")?;
    let called = name(reader.until(">")?)?;
    Ok(Found::new(called, parameters(reader, tools, called, MARKS)?))
}
