//! The name on the answer's first line, the arguments as JSON on the next.

use super::shapes::among;
use super::{BASE, Convention, Found, Frame, Notation, Reader, Slot, Stop, Tools, Trigger, name};

const CALL: &[Slot] = &[Slot::Text("\n"), Slot::Name, Slot::Text("\n"), Slot::Arguments(Notation::Json)];

pub(super) const CONVENTION: Convention = Convention {
    name: "glm-4",
    about: "GLM-4-9B-chat; huggingface.co/zai-org/glm-4-9b-chat-hf",
    triggers: &[Trigger::at_start("")],
    ends: &["<|observation|>"],
    frame: Frame { begin: "", call: CALL, separator: "", end: "", parallel: false },
    recognise: |signs| signs.says_all(&["[gMASK]<sop>", "<|observation|>"]),
    parse,
    ..BASE
};

fn parse(reader: &mut Reader<'_>, tools: &Tools) -> Result<Vec<Found>, Stop> {
    let longest = tools.iter().map(|tool| tool.name.len()).max().unwrap_or(0);
    let rest = reader.rest();
    let Some(length) = rest.find('\n') else {
        let possible = !reader.is_whole() && tools.iter().any(|tool| tool.name.starts_with(rest.trim_end()));
        return Err(if possible && rest.len() <= longest + 64 { Stop::More } else { Stop::NoCall });
    };
    let called = name(rest.get(..length).unwrap_or_default()).map_err(|_| Stop::NoCall)?;
    if tools.get(called).is_none() {
        return Err(Stop::NoCall);
    }
    reader.skip(length);
    reader.white();
    let arguments = reader.arguments(called)?;
    among(vec![Found::new(called, arguments)], tools)
}
