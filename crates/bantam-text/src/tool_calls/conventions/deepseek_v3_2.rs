//! `<｜DSML｜invoke name="NAME"><｜DSML｜parameter name="KEY" string="true">VALUE</｜DSML｜parameter></｜DSML｜invoke>`: each argument
//! says whether it is a text or JSON.

use super::shapes::some;
use super::{
    BASE, Convention, Found, Frame, Notation, Parameters, Reader, Slot, Stop, Tools, Trigger, json, name, value,
};

const MARK: &str = "｜DSML｜";
/// What opens calls and closes them, in V3.2 and in V4.
const SECTIONS: [(&str, &str); 2] =
    [("<｜DSML｜function_calls>", "</｜DSML｜function_calls>"), ("<｜DSML｜tool_calls>", "</｜DSML｜tool_calls>")];
const KEY: &str = "<｜DSML｜parameter name=\"";
const TEXT: &str = "\" string=\"true\">";
const JSON: &str = "\" string=\"false\">";
const AFTER: &str = "</｜DSML｜parameter>";
const END: &str = "</｜DSML｜invoke>";

const CALL: &[Slot] = &[
    Slot::Text("<｜DSML｜invoke name=\""),
    Slot::Name,
    Slot::Text("\">\n"),
    Slot::Arguments(Notation::Told {
        texts: Parameters { before: KEY, between: TEXT, after: "</｜DSML｜parameter>\n" },
        between: JSON,
    }),
    Slot::Text(END),
];

const V3_2: Convention = Convention {
    name: "deepseek-v3.2",
    about: "DeepSeek V3.2; huggingface.co/deepseek-ai/DeepSeek-V3.2",
    triggers: &[Trigger::anywhere(SECTIONS[0].0), Trigger::anywhere(SECTIONS[1].0)],
    tokens: &[MARK],
    frame: Frame {
        begin: "<｜DSML｜function_calls>\n",
        call: CALL,
        separator: "\n",
        end: "\n</｜DSML｜function_calls>",
        parallel: true,
    },
    recognise: |signs| signs.says(MARK) && signs.says("function_calls>"),
    parse,
    ..BASE
};

pub(super) const CONVENTION: Convention = V3_2;

pub(super) const V4: Convention = Convention {
    name: "deepseek-v4",
    about: "DeepSeek V4; huggingface.co/deepseek-ai",
    frame: Frame { begin: "<｜DSML｜tool_calls>\n", end: "\n</｜DSML｜tool_calls>", ..V3_2.frame },
    recognise: |signs| signs.says(MARK) && signs.says("tool_calls>"),
    ..V3_2
};

fn parse(reader: &mut Reader<'_>, tools: &Tools) -> Result<Vec<Found>, Stop> {
    let section = SECTIONS.iter().find(|(open, _)| reader.rest().starts_with(open));
    let (open, close) = section.copied().unwrap_or(SECTIONS[0]);
    reader.literal(open)?;
    let mut found = Vec::new();
    loop {
        reader.white();
        if !found.is_empty() && (reader.ended()? || reader.maybe(close)?) {
            return some(found);
        }
        reader.literal("<｜DSML｜invoke name=\"")?;
        let called = name(reader.until("\">")?)?;
        let mut members: Vec<(String, String)> = Vec::new();
        loop {
            reader.white();
            if reader.maybe(END)? {
                break;
            }
            reader.literal(KEY)?;
            let key = reader.until("\"")?.to_owned();
            // A model that leaves the word out means what the schema says.
            let text = reader.maybe(TEXT.trim_start_matches('"'))?;
            let json = !text && reader.maybe(JSON.trim_start_matches('"'))?;
            if !text && !json {
                reader.literal(">")?;
            }
            let written = reader.until(AFTER)?;
            let value = match () {
                () if text => json::quoted(written),
                () if json && json::is_value(written.trim()) => json::escaped(written.trim()).into_owned(),
                () => value::typed(tools.get(called), &key, written),
            };
            members.retain(|(known, _)| *known != key);
            members.push((key, value));
        }
        let members: Vec<_> = members.iter().map(|(key, value)| format!("{}: {value}", json::quoted(key))).collect();
        let call = Found::new(called, format!("{{{}}}", members.join(", ")));
        reader.call(&mut found, call);
    }
}
