//! `<seed:tool_call><function=NAME><parameter=KEY>VALUE</parameter></function></seed:tool_call>`.

use super::qwen3_coder::function;
use super::shapes::close_or_end;
use super::{BASE, Convention, Frame, Notation, Parameters, Slot, Trigger};

const CALL: &[Slot] = &[
    Slot::Text("<function="),
    Slot::Name,
    Slot::Text(">\n"),
    Slot::Arguments(Notation::Parameters(Parameters { before: "<parameter=", between: ">", after: "</parameter>\n" })),
    Slot::Text("</function>"),
];

pub(super) const CONVENTION: Convention = Convention {
    name: "seed-oss",
    about: "Seed-OSS; huggingface.co/ByteDance-Seed/Seed-OSS-36B-Instruct",
    triggers: &[Trigger::anywhere("<seed:tool_call>")],
    tokens: &["<seed:tool_call>", "</seed:tool_call>"],
    frame: Frame {
        begin: "<seed:tool_call>\n",
        call: CALL,
        separator: "\n",
        end: "\n</seed:tool_call>",
        parallel: true,
    },
    recognise: |signs| signs.says("<seed:tool_call>") || signs.has("<seed:tool_call>"),
    parse: |reader, tools| {
        reader.literal("<seed:tool_call>")?;
        let mut found = Vec::new();
        loop {
            reader.white();
            let call = function(reader, tools)?;
            reader.call(&mut found, call);
            reader.white();
            if reader.ended()? || !reader.rest().starts_with("<f") {
                // "<f" begins the next function, "</" the end.
                if reader.rest() == "<" {
                    return Err(reader.more());
                }
                close_or_end(reader, "</seed:tool_call>")?;
                return Ok(found);
            }
        }
    },
    ..BASE
};
