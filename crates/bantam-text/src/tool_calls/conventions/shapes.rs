//! What several conventions do alike.

use super::{Found, Reader, Stop, Tools, json, python, value};

/// Reads `open`, JSON calls or lists of them, and `close`. Where the answer ends behind whole JSON, `close` may be missing:
/// models end their answer there.
pub(super) fn json_between(reader: &mut Reader<'_>, open: &str, close: &str) -> Result<Vec<Found>, Stop> {
    reader.literal(open)?;
    reader.white();
    let mut found = reader.json_calls()?;
    loop {
        reader.white();
        if reader.ended()? || reader.maybe(close)? {
            return some(found);
        }
        // One a line.
        if reader.peek()? != '{' {
            return Err(reader.unexpected(&format!("{close:?}")));
        }
        found.extend(reader.json_calls()?);
    }
}

/// Reads white space and `close`, or the answer's end.
pub(super) fn close_or_end(reader: &mut Reader<'_>, close: &str) -> Result<(), Stop> {
    reader.white();
    if reader.ended()? { Ok(()) } else { reader.literal(close) }
}

/// Refuses a frame round nothing.
pub(super) fn some(found: Vec<Found>) -> Result<Vec<Found>, Stop> {
    if found.is_empty() { Err(Stop::Bad("a list of calls is empty".into())) } else { Ok(found) }
}

/// Reads `open`, calls written as Python, and `close`, which may be missing at the answer's end.
pub(super) fn python_between(
    reader: &mut Reader<'_>,
    tools: &Tools,
    open: &str,
    close: &str,
) -> Result<Vec<Found>, Stop> {
    reader.literal(open)?;
    let mut found = python::calls(reader, tools)?;
    loop {
        reader.white();
        if reader.ended()? || reader.maybe(close)? {
            return some(found);
        }
        // One a line.
        found.extend(python::calls(reader, tools)?);
    }
}

/// A list without a frame of its own: no call unless it names a tool of the request. Where it does, others that it names
/// are calls too, of something that is not there.
pub(super) fn among(found: Vec<Found>, tools: &Tools) -> Result<Vec<Found>, Stop> {
    let known = found.iter().any(|found| tools.get(&found.name).is_some());
    if known { Ok(found) } else { Err(Stop::NoCall) }
}

/// What text without a frame of its own is where it goes wrong: a call gone wrong if a tool of the request was named before,
/// else none.
pub(super) fn bare(stop: Stop, reader: &Reader<'_>, tools: &Tools) -> Stop {
    let named = || {
        let read = reader.read();
        let json = read.contains("\"name\"");
        let is_there =
            |name: &str| (json && read.contains(&format!("\"{name}\""))) || read.contains(&format!("{name}("));
        tools.iter().any(|tool| is_there(&tool.name))
    };
    match stop {
        Stop::Bad(reason) if named() => Stop::Bad(reason),
        Stop::More => Stop::More,
        Stop::Bad(_) | Stop::NoCall => Stop::NoCall,
    }
}

/// Where arguments stand each by itself: what stands before a key, between key and value, and behind the value.
#[derive(Clone, Copy)]
pub(super) struct Marks {
    pub(super) before: &'static str,
    pub(super) between: &'static str,
    pub(super) after: &'static str,
    /// What stands behind the last argument.
    pub(super) end: &'static str,
    /// Whether a value may stand between `<![CDATA[` and `]]>`.
    pub(super) cdata: bool,
}

/// Reads arguments that stand each by itself, and the end behind them. A value ends with the first mark that is followed by
/// the next argument or the end, so that it may hold such a mark.
pub(super) fn parameters(reader: &mut Reader<'_>, tools: &Tools, called: &str, marks: Marks) -> Result<String, Stop> {
    let mut members: Vec<(String, String)> = Vec::new();
    loop {
        reader.white();
        if reader.maybe(marks.end)? {
            let written: Vec<_> =
                members.iter().map(|(key, value)| format!("{}: {value}", json::quoted(key))).collect();
            return Ok(format!("{{{}}}", written.join(", ")));
        }
        reader.literal(marks.before)?;
        let key = between(reader, marks.between)?.trim().to_owned();
        let text = last_of(reader, marks)?;
        let text = text.strip_prefix("\r\n").or_else(|| text.strip_prefix('\n')).unwrap_or(text);
        let text = text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(text);
        let verbatim = text.strip_prefix("<![CDATA[").and_then(|text| text.strip_suffix("]]>"));
        let text = verbatim.filter(|_| marks.cdata).unwrap_or(text);
        members.retain(|(known, _)| *known != key);
        members.push((key.clone(), value::typed(tools.get(called), &key, text)));
    }
}

/// Reads to a mark whose parts may have white space between them, such as `</arg_key>` and `<arg_value>`.
fn between<'t>(reader: &mut Reader<'t>, mark: &str) -> Result<&'t str, Stop> {
    let mut parts = mark.split_whitespace();
    let found = reader.until(parts.next().unwrap_or(mark))?;
    if found.len() > 256 || found.contains('\n') {
        return Err(Stop::Bad("the name of an argument is never ended".into()));
    }
    for part in parts {
        reader.white();
        reader.literal(part)?;
    }
    Ok(found)
}

/// Reads a value to the mark behind it.
fn last_of<'t>(reader: &mut Reader<'t>, marks: Marks) -> Result<&'t str, Stop> {
    let start = reader.rest();
    let mut length = 0;
    loop {
        let piece = reader.until(marks.after)?;
        length += piece.len();
        let mut behind = Reader::new(reader.rest(), reader.end());
        behind.white();
        if behind.maybe(marks.before)? || behind.maybe(marks.end)? {
            return Ok(start.get(..length).unwrap_or_default());
        }
        length += marks.after.len();
    }
}
