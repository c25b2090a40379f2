//! `<｜tool▁call▁begin｜>NAME<｜tool▁sep｜>{…}<｜tool▁call▁end｜>`.

use super::deepseek_r1::{BEGIN, END, SEPARATOR, TOKENS, calls};
use super::{BASE, Convention, Found, Frame, Notation, Slot, Trigger, name};

const CALL: &[Slot] = &[
    Slot::Text("<｜tool▁call▁begin｜>"),
    Slot::Name,
    Slot::Text("<｜tool▁sep｜>"),
    Slot::Arguments(Notation::Json),
    Slot::Text("<｜tool▁call▁end｜>"),
];

pub(super) const CONVENTION: Convention = Convention {
    name: "deepseek-v3.1",
    about: "DeepSeek V3.1; huggingface.co/deepseek-ai/DeepSeek-V3.1",
    triggers: &[Trigger::anywhere(BEGIN)],
    tokens: TOKENS,
    frame: Frame { begin: BEGIN, call: CALL, separator: "", end: END, parallel: true },
    recognise: |signs| signs.says(BEGIN) && !signs.says("```json"),
    parse: |reader, _| {
        calls(reader, |reader| {
            let called = name(reader.until(SEPARATOR)?)?;
            reader.white();
            Ok(Found::new(called, reader.arguments(called)?))
        })
    },
    ..BASE
};
