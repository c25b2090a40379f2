//! `<function name="NAME"><param name="KEY">VALUE</param></function>`.

use super::shapes::{Marks, parameters};
use super::{BASE, Convention, Found, Frame, Notation, Parameters, Slot, Trigger, name};

const CALL: &[Slot] = &[
    Slot::Text("<function name=\""),
    Slot::Name,
    Slot::Text("\">"),
    Slot::Arguments(Notation::Parameters(Parameters { before: "<param name=\"", between: "\">", after: "</param>" })),
    Slot::Text("</function>"),
];

const MARKS: Marks =
    Marks { before: "<param name=\"", between: "\">", after: "</param>", end: "</function>", cdata: true };

pub(super) const CONVENTION: Convention = Convention {
    name: "minicpm5",
    about: "MiniCPM5; huggingface.co/openbmb/MiniCPM5-1B",
    triggers: &[Trigger::anywhere("<function name=\"")],
    frame: Frame { begin: "", call: CALL, separator: "\n", end: "", parallel: true },
    recognise: |signs| signs.says_all(&["<function name=\"", "<param name=\""]),
    parse: |reader, tools| {
        reader.literal("<function name=\"")?;
        let called = name(reader.until("\">")?)?;
        Ok(vec![Found::new(called, parameters(reader, tools, called, MARKS)?)])
    },
    ..BASE
};
