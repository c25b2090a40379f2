//! `>>>NAME` and the arguments as JSON on the next line; `>>>all` and text. The prompt has the first `>>>`.

use super::{BASE, Convention, Found, Frame, Notation, Reader, Slot, Stop, Tools, Trigger};

const NEXT: &str = ">>>";

const CALL: &[Slot] = &[Slot::Name, Slot::Text("\n"), Slot::Arguments(Notation::Json)];

pub(super) const CONVENTION: Convention = Convention {
    name: "functionary-v3.2",
    about: "Functionary 3.2; github.com/MeetKai/functionary, prompt template v3",
    triggers: &[Trigger::at_start(""), Trigger::anywhere(NEXT)],
    frame: Frame { begin: "", call: CALL, separator: NEXT, end: "", parallel: true },
    recognise: |signs| signs.says_all(&[">>>all", ">>>${recipient}"]),
    parse,
    ..BASE
};

fn parse(reader: &mut Reader<'_>, tools: &Tools) -> Result<Vec<Found>, Stop> {
    reader.maybe(NEXT)?;
    let rest = reader.rest();
    let Some(length) = rest.find('\n') else {
        let names = tools.iter().map(|tool| tool.name.as_str()).chain(["all"]);
        let possible = !reader.is_whole() && names.into_iter().any(|name| name.starts_with(rest));
        return Err(if possible { Stop::More } else { Stop::NoCall });
    };
    match rest.get(..length).unwrap_or_default() {
        // Text goes on behind it.
        "all" => {
            reader.skip(length + 1);
            Ok(Vec::new())
        }
        called if tools.get(called).is_some() => {
            reader.skip(length + 1);
            reader.white();
            let arguments = reader.arguments(called)?;
            Ok(vec![Found::new(called, arguments)])
        }
        _ => Err(Stop::NoCall),
    }
}
