//! `<tool_call>NAME<arg_key>KEY</arg_key><arg_value>VALUE</arg_value></tool_call>`.

use super::shapes::{Marks, parameters};
use super::{BASE, Convention, Found, Frame, Notation, Parameters, Reader, Slot, Stop, Tools, Trigger, name};

const CALL: &[Slot] = &[
    Slot::Text("<tool_call>"),
    Slot::Name,
    Slot::Text("\n"),
    Slot::Arguments(Notation::Parameters(Parameters {
        before: "<arg_key>",
        between: "</arg_key>\n<arg_value>",
        after: "</arg_value>\n",
    })),
    Slot::Text("</tool_call>"),
];

const MARKS: Marks = Marks {
    before: "<arg_key>",
    between: "</arg_key> <arg_value>",
    after: "</arg_value>",
    end: "</tool_call>",
    cdata: false,
};

pub(super) const CONVENTION: Convention = Convention {
    name: "glm-4.5",
    about: "GLM 4.5 to 4.7; huggingface.co/zai-org/GLM-4.5",
    triggers: &[Trigger::anywhere("<tool_call>")],
    tokens: &["<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"],
    ends: &["<|observation|>"],
    frame: Frame { begin: "", call: CALL, separator: "\n", end: "", parallel: true },
    recognise: |signs| signs.says("<arg_key>"),
    parse,
    ..BASE
};

fn parse(reader: &mut Reader<'_>, tools: &Tools) -> Result<Vec<Found>, Stop> {
    reader.literal("<tool_call>")?;
    let rest = reader.rest();
    let Some(length) = rest.find('<') else { return Err(reader.more()) };
    let called = name(rest.get(..length).unwrap_or_default())?;
    reader.skip(length);
    Ok(vec![Found::new(called, parameters(reader, tools, called, MARKS)?)])
}
