//! Calls written as Python: `[f(a=1, b='x'), g()]`, read into JSON.

use super::reader::{End, Found, Reader, Stop, name};
use super::{Tools, json};

/// Deepest nesting of a value.
const DEEPEST: usize = 100;

/// Reads a call: a name, perhaps with dots, and arguments in parentheses. Arguments without a name get those of the tool's
/// parameters, in their order.
pub(super) fn call(reader: &mut Reader<'_>, tools: &Tools) -> Result<Found, Stop> {
    let called = identifier(reader)?;
    let called = name(called)?;
    reader.white();
    reader.literal("(")?;
    let properties = tools.get(called).and_then(|tool| tool.properties());
    let mut arguments: Vec<(String, String)> = Vec::new();
    loop {
        reader.white();
        if reader.maybe(")")? {
            break;
        }
        let key = match keyword(reader)? {
            Some(key) => key.to_owned(),
            None => match properties.and_then(|properties| properties.keys().nth(arguments.len())) {
                Some(key) => key.clone(),
                None => return Err(Stop::Bad(format!("an argument of {called} has no name"))),
            },
        };
        reader.white();
        let mut value = String::new();
        read(reader, &mut value, 0)?;
        arguments.retain(|(known, _)| *known != key);
        arguments.push((key, value));
        reader.white();
        if !reader.maybe(",")? && reader.peek()? != ')' {
            return Err(reader.unexpected("a comma or a closing parenthesis"));
        }
    }
    let members: Vec<_> = arguments.iter().map(|(key, value)| format!("{}: {value}", json::quoted(key))).collect();
    Ok(Found::new(called, format!("{{{}}}", members.join(", "))))
}

/// Reads calls with commas between them in square brackets, or one without brackets.
pub(super) fn calls(reader: &mut Reader<'_>, tools: &Tools) -> Result<Vec<Found>, Stop> {
    reader.white();
    if !reader.maybe("[")? {
        let call = call(reader, tools)?;
        let mut found = Vec::new();
        reader.call(&mut found, call);
        return Ok(found);
    }
    let mut found = Vec::new();
    loop {
        reader.white();
        if reader.maybe("]")? {
            return Ok(found);
        }
        let call = call(reader, tools)?;
        reader.call(&mut found, call);
        reader.white();
        if !reader.maybe(",")? && reader.peek()? != ']' {
            return Err(reader.unexpected("a comma or a closing bracket"));
        }
    }
}

/// The JSON of a text that is one Python literal and nothing else.
pub(super) fn literal(text: &str) -> Option<String> {
    let mut reader = Reader::new(text, End::Ended);
    let mut out = String::new();
    read(&mut reader, &mut out, 0).ok()?;
    reader.rest().trim().is_empty().then_some(out)
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// Reads what a name is made of.
fn identifier<'t>(reader: &mut Reader<'t>) -> Result<&'t str, Stop> {
    let rest = reader.rest();
    match rest.find(|c| !is_part(c)) {
        Some(0) => Err(reader.unexpected("a name")),
        Some(length) => {
            reader.skip(length);
            Ok(rest.get(..length).unwrap_or_default())
        }
        None if reader.is_whole() && !rest.is_empty() => {
            reader.skip(rest.len());
            Ok(rest)
        }
        None => Err(reader.more()),
    }
}

/// Reads `key=` if it is what comes.
fn keyword<'t>(reader: &mut Reader<'t>) -> Result<Option<&'t str>, Stop> {
    let rest = reader.rest();
    if !rest.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        return if rest.is_empty() { Err(reader.more()) } else { Ok(None) };
    }
    let Some(length) = rest.find(|c| !is_part(c)) else { return Err(reader.more()) };
    let (key, behind) = rest.split_at(length);
    let blank = behind.len() - behind.trim_start().len();
    match behind.trim_start().chars().next() {
        Some('=') => {
            reader.skip(length + blank + 1);
            Ok(Some(key))
        }
        Some(_) => Ok(None),
        None => Err(reader.more()),
    }
}

/// Reads a literal and writes it as JSON.
fn read(reader: &mut Reader<'_>, out: &mut String, depth: usize) -> Result<(), Stop> {
    if depth == DEEPEST {
        return Err(Stop::Bad("a call is nested too deep".into()));
    }
    match reader.peek()? {
        quote @ ('"' | '\'') => {
            let text = string(reader, quote)?;
            out.push_str(&json::quoted(&text));
            Ok(())
        }
        '[' => items(reader, "[", "]", out, depth),
        '(' => items(reader, "(", ")", out, depth),
        '{' => {
            reader.skip(1);
            out.push('{');
            let mut first = true;
            loop {
                reader.white();
                if reader.maybe("}")? {
                    out.push('}');
                    return Ok(());
                }
                out.push_str(if first { "" } else { ", " });
                first = false;
                match reader.peek()? {
                    quote @ ('"' | '\'') => out.push_str(&json::quoted(&string(reader, quote)?)),
                    _ => return Err(reader.unexpected("a key in quotes")),
                }
                reader.white();
                reader.literal(":")?;
                out.push_str(": ");
                reader.white();
                read(reader, out, depth + 1)?;
                reader.white();
                if !reader.maybe(",")? && reader.peek()? != '}' {
                    return Err(reader.unexpected("a comma or a closing brace"));
                }
            }
        }
        c if c.is_alphabetic() => {
            let word = match identifier(reader)? {
                "True" | "true" => "true",
                "False" | "false" => "false",
                "None" | "null" => "null",
                other => {
                    let other: String = other.chars().take(40).collect();
                    return Err(Stop::Bad(format!("a call has {other:?} where a value was expected")));
                }
            };
            out.push_str(word);
            Ok(())
        }
        _ => number(reader, out),
    }
}

fn items(reader: &mut Reader<'_>, open: &str, close: &str, out: &mut String, depth: usize) -> Result<(), Stop> {
    reader.literal(open)?;
    out.push('[');
    let mut first = true;
    loop {
        reader.white();
        if reader.maybe(close)? {
            out.push(']');
            return Ok(());
        }
        out.push_str(if first { "" } else { ", " });
        first = false;
        read(reader, out, depth + 1)?;
        reader.white();
        if !reader.maybe(",")? && !reader.rest().starts_with(close) {
            reader.peek()?;
            return Err(reader.unexpected("a comma or a closing bracket"));
        }
    }
}

/// Reads a number; JSON wants a digit on both sides of the point.
fn number(reader: &mut Reader<'_>, out: &mut String) -> Result<(), Stop> {
    let rest = reader.rest();
    let is_digit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_');
    let length = match rest.find(|c| !is_digit(c)) {
        Some(length) => length,
        None if reader.is_whole() => rest.len(),
        None => return Err(reader.more()),
    };
    let written = rest.get(..length).unwrap_or_default();
    let plain = written.replace('_', "");
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let mut json = format!("{sign}{}{digits}", if digits.starts_with('.') { "0" } else { "" });
    if json.ends_with('.') {
        json.push('0');
    }
    let json = json.replace(".e", ".0e").replace(".E", ".0E");
    if !json::is_value(&json) {
        return Err(reader.unexpected("a value"));
    }
    reader.skip(length);
    out.push_str(&json);
    Ok(())
}

/// Reads a string in single, double or triple quotes.
fn string(reader: &mut Reader<'_>, quote: char) -> Result<String, Stop> {
    let mark = if quote == '"' { "\"\"\"" } else { "'''" };
    let rest = reader.rest();
    // Two quotes at the end may be an empty string or the beginning of a triple quote.
    let mark = if rest.starts_with(mark) {
        mark
    } else if mark.starts_with(rest) && !reader.is_whole() {
        return Err(Stop::More);
    } else {
        mark.get(..1).unwrap_or_default()
    };
    let inner = rest.get(mark.len()..).unwrap_or_default();
    let (mut out, mut at) = (String::new(), 0);
    loop {
        let rest = inner.get(at..).unwrap_or_default();
        if rest.starts_with(mark) {
            reader.skip(mark.len() + at + mark.len());
            return Ok(out);
        }
        let Some(c) = rest.chars().next() else { return Err(reader.more()) };
        if mark.len() > 1 && mark.starts_with(rest) {
            return Err(reader.more());
        }
        let length = if c == '\\' { escape(rest, reader, &mut out)? } else { c.len_utf8() };
        if c != '\\' {
            out.push(c);
        }
        at += length;
    }
}

/// Writes what an escape says; its length.
fn escape(text: &str, reader: &Reader<'_>, out: &mut String) -> Result<usize, Stop> {
    let Some(kind) = text.chars().nth(1) else { return Err(reader.more()) };
    let digits = match kind {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => 0,
    };
    if digits > 0 {
        let written: String = text.chars().skip(2).take(digits).collect();
        if let Some(wrong) = written.find(|c: char| !c.is_ascii_hexdigit()) {
            // No more than shows it: what comes after may not be there yet.
            let shown: String = written.chars().take(wrong + 1).collect();
            return Err(Stop::Bad(format!("a call has \\{kind}{shown}, which is no character")));
        }
        if written.len() < digits {
            return Err(reader.more());
        }
        match u32::from_str_radix(&written, 16).ok().and_then(char::from_u32) {
            Some(c) => out.push(c),
            None => return Err(Stop::Bad(format!("a call has \\{kind}{written}, which is no character"))),
        }
        return Ok(2 + digits);
    }
    if kind.is_digit(8) {
        // As many octal digits as there are, up to three.
        let digits = text.chars().skip(1).take(3).take_while(|c| c.is_digit(8)).count();
        let code = text.get(1..1 + digits).and_then(|written| u32::from_str_radix(written, 8).ok());
        out.extend(code.and_then(char::from_u32));
        return Ok(1 + digits);
    }
    match kind {
        'n' => out.push('\n'),
        't' => out.push('\t'),
        'r' => out.push('\r'),
        'a' => out.push('\x07'),
        'b' => out.push('\x08'),
        'f' => out.push('\x0c'),
        'v' => out.push('\x0b'),
        '\n' => {}
        '\\' | '\'' | '"' => out.push(kind),
        // Python keeps the backslash of an escape that it does not know.
        other => out.extend(['\\', other]),
    }
    Ok(1 + kind.len_utf8())
}
