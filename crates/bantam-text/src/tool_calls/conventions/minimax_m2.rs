//! `<minimax:tool_call><invoke name="NAME"><parameter name="KEY">VALUE</parameter></invoke></minimax:tool_call>`.

use super::shapes::{Marks, parameters};
use super::{BASE, Convention, Found, Frame, Notation, Parameters, Reader, Slot, Stop, Tools, Trigger, name};

const OPEN: &str = "<minimax:tool_call>";
const CLOSE: &str = "</minimax:tool_call>";

const CALL: &[Slot] = &[
    Slot::Text("<invoke name=\""),
    Slot::Name,
    Slot::Text("\">\n"),
    Slot::Arguments(Notation::Parameters(Parameters {
        before: "<parameter name=\"",
        between: "\">",
        after: "</parameter>\n",
    })),
    Slot::Text("</invoke>"),
];

const MARKS: Marks =
    Marks { before: "<parameter name=\"", between: "\">", after: "</parameter>", end: "</invoke>", cdata: false };

pub(super) const CONVENTION: Convention = Convention {
    name: "minimax-m2",
    about: "MiniMax M2; huggingface.co/MiniMaxAI/MiniMax-M2",
    triggers: &[Trigger::anywhere(OPEN)],
    tokens: &[OPEN, CLOSE],
    frame: Frame {
        begin: "<minimax:tool_call>\n",
        call: CALL,
        separator: "\n",
        end: "\n</minimax:tool_call>",
        parallel: true,
    },
    recognise: |signs| signs.says(OPEN) || signs.says("minimax:tool_call"),
    parse,
    ..BASE
};

fn parse(reader: &mut Reader<'_>, tools: &Tools) -> Result<Vec<Found>, Stop> {
    reader.literal(OPEN)?;
    let mut found = Vec::new();
    loop {
        reader.white();
        if !found.is_empty() && (reader.ended()? || reader.maybe(CLOSE)?) {
            return Ok(found);
        }
        reader.literal("<invoke name=\"")?;
        let called = name(reader.until("\">")?)?;
        let call = Found::new(called, parameters(reader, tools, called, MARKS)?);
        reader.call(&mut found, call);
    }
}
