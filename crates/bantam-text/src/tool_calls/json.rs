//! JSON that is still coming: where a value ends, and the members of an object as they are written.
//!
//! Values are checked, not built: numbers keep their digits and objects their order. One liberty is taken, with line
//! breaks and tabs inside of strings, which models write as they are; [`escaped`] writes them as JSON has it.

use std::borrow::Cow;

use super::reader::{Found, Stop, name};

/// Deepest nesting, that of `serde_json`.
const DEEPEST: usize = 120;

/// What a text begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// A value of so many bytes.
    Whole(usize),
    /// What may become a value.
    Short,
    /// No value: the byte that shows it, and why.
    Wrong(usize, &'static str),
}

/// Finds the end of the value that a text begins with.
pub(super) fn scan(text: &str) -> Scan {
    let mut scanner = Scanner { bytes: text.as_bytes(), at: 0 };
    match scanner.value() {
        Ok(()) => Scan::Whole(scanner.at),
        Err(Halt::Short) => Scan::Short,
        // The byte may be inside of a character.
        Err(Halt::Wrong(reason)) => {
            Scan::Wrong((0..=scanner.at).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0), reason)
        }
    }
}

enum Halt {
    Short,
    Wrong(&'static str),
}

struct Scanner<'t> {
    bytes: &'t [u8],
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Result<u8, Halt> {
        self.bytes.get(self.at).copied().ok_or(Halt::Short)
    }

    fn white(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// Reads one value, however deep, without recursion.
    fn value(&mut self) -> Result<(), Halt> {
        let mut open: Vec<u8> = Vec::new();
        loop {
            self.white();
            match self.peek()? {
                bracket @ (b'{' | b'[') => {
                    self.at += 1;
                    if open.len() == DEEPEST {
                        return Err(Halt::Wrong("it is nested too deep"));
                    }
                    open.push(bracket);
                    self.white();
                    let next = self.peek()?;
                    if next == if bracket == b'{' { b'}' } else { b']' } {
                        self.at += 1;
                        open.pop();
                    } else {
                        if bracket == b'{' {
                            self.key()?;
                        }
                        continue;
                    }
                }
                b'"' => self.string()?,
                b't' => self.word(b"true")?,
                b'f' => self.word(b"false")?,
                b'n' => self.word(b"null")?,
                b'-' | b'0'..=b'9' => self.number()?,
                _ => return Err(Halt::Wrong("no value begins so")),
            }
            loop {
                let Some(&bracket) = open.last() else { return Ok(()) };
                self.white();
                match (self.peek()?, bracket) {
                    (b',', _) => {
                        self.at += 1;
                        if bracket == b'{' {
                            self.white();
                            self.key()?;
                        }
                        break;
                    }
                    (b'}', b'{') | (b']', b'[') => {
                        self.at += 1;
                        open.pop();
                    }
                    _ => return Err(Halt::Wrong("a comma or a closing bracket was expected")),
                }
            }
        }
    }

    /// Reads a key and the colon behind it.
    fn key(&mut self) -> Result<(), Halt> {
        if self.peek()? != b'"' {
            return Err(Halt::Wrong("a key in double quotes was expected"));
        }
        self.string()?;
        self.white();
        if self.peek()? != b':' {
            return Err(Halt::Wrong("a colon was expected"));
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<(), Halt> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => {
                    self.at += 1;
                    match self.peek()? {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
                        b'u' => self.unicode()?,
                        _ => return Err(Halt::Wrong("there is no such escape")),
                    }
                }
                0..=8 | 11..=12 | 14..=31 => return Err(Halt::Wrong("a control character stands in a text")),
                _ => self.at += 1,
            }
        }
    }

    /// Reads `uXXXX`; a surrogate needs its other half.
    fn unicode(&mut self) -> Result<(), Halt> {
        let first = self.hexadecimal()?;
        match first {
            0xd800..=0xdbff => {
                if self.peek()? != b'\\' {
                    return Err(Halt::Wrong("half a surrogate pair"));
                }
                self.at += 1;
                if self.peek()? != b'u' || !matches!(self.hexadecimal()?, 0xdc00..=0xdfff) {
                    return Err(Halt::Wrong("half a surrogate pair"));
                }
                Ok(())
            }
            0xdc00..=0xdfff => Err(Halt::Wrong("half a surrogate pair")),
            _ => Ok(()),
        }
    }

    fn hexadecimal(&mut self) -> Result<u32, Halt> {
        self.at += 1;
        let mut value = 0;
        for _ in 0..4 {
            let digit =
                char::from(self.peek()?).to_digit(16).ok_or(Halt::Wrong("four hexadecimal digits were expected"))?;
            value = value * 16 + digit;
            self.at += 1;
        }
        Ok(value)
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Halt> {
        for &expected in word {
            if self.peek()? != expected {
                return Err(Halt::Wrong("no value begins so"));
            }
            self.at += 1;
        }
        Ok(())
    }

    /// Reads a number; where the text ends with it, it may go on.
    fn number(&mut self) -> Result<(), Halt> {
        const DIGITS: Halt = Halt::Wrong("a digit was expected");
        let start = self.at;
        if self.peek()? == b'-' {
            self.at += 1;
        }
        match self.peek()? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits()?,
            _ => return Err(DIGITS),
        }
        if self.peek()? == b'.' {
            self.at += 1;
            if !self.peek()?.is_ascii_digit() {
                return Err(DIGITS);
            }
            self.digits()?;
        }
        if matches!(self.peek()?, b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek()?, b'+' | b'-') {
                self.at += 1;
            }
            if !self.peek()?.is_ascii_digit() {
                return Err(DIGITS);
            }
            self.digits()?;
        }
        // Readers of JSON have doubles, and some of them refuse what is none.
        let written = self.bytes.get(start..self.at).and_then(|digits| std::str::from_utf8(digits).ok());
        match written.and_then(|digits| digits.parse::<f64>().ok()) {
            Some(number) if number.is_finite() => Ok(()),
            _ => Err(Halt::Wrong("a number is too large")),
        }
    }

    fn digits(&mut self) -> Result<(), Halt> {
        while self.peek()?.is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }
}

/// Whether a text is one JSON value and nothing else.
pub(super) fn is_value(text: &str) -> bool {
    // The space lets a number end.
    let text = format!("{} ", text.trim());
    matches!(scan(&text), Scan::Whole(length) if text.get(length..) == Some(" "))
}

/// A value that was scanned, with what its strings have as it is that JSON wants escaped.
pub(super) fn escaped(value: &str) -> Cow<'_, str> {
    let value = value.trim();
    let raw = |byte: u8| matches!(byte, b'\n' | b'\r' | b'\t');
    if !value.bytes().any(raw) {
        return Cow::Borrowed(value);
    }
    let mut out = String::with_capacity(value.len());
    let (mut inside, mut backslash) = (false, false);
    for c in value.chars() {
        match c {
            '\n' if inside => out.push_str("\\n"),
            '\r' if inside => out.push_str("\\r"),
            '\t' if inside => out.push_str("\\t"),
            c => out.push(c),
        }
        if c == '"' && !backslash {
            inside = !inside;
        }
        backslash = inside && c == '\\' && !backslash;
    }
    Cow::Owned(out)
}

/// The members of an object that was scanned, keys decoded, values as written.
pub(super) fn members(object: &str) -> Vec<(String, &str)> {
    let mut out = Vec::new();
    let mut rest = object.trim_start().strip_prefix('{').unwrap_or_default().trim_start();
    while rest.starts_with('"') {
        let Scan::Whole(length) = scan(rest) else { break };
        let (key, behind) = rest.split_at(length);
        let Some(behind) = behind.trim_start().strip_prefix(':') else { break };
        let behind = behind.trim_start();
        let Scan::Whole(length) = scan(behind) else { break };
        let (value, behind) = behind.split_at(length);
        out.push((text(key).unwrap_or_default(), value));
        rest = behind.trim_start().strip_prefix(',').unwrap_or_default().trim_start();
    }
    out
}

/// The elements of an array, as written, as far as they are whole, and where in it each ends.
pub(super) fn elements(array: &str) -> Vec<(&str, usize)> {
    let mut out = Vec::new();
    let mut rest = array.trim_start().strip_prefix('[').unwrap_or_default().trim_start();
    while let Scan::Whole(length) = scan(rest) {
        let (value, behind) = rest.split_at(length);
        out.push((value, array.len() - behind.len()));
        match behind.trim_start().strip_prefix(',') {
            Some(behind) => rest = behind.trim_start(),
            None => break,
        }
    }
    out
}

/// What a JSON string says.
pub(super) fn text(value: &str) -> Option<String> {
    serde_json::from_str(&escaped(value)).ok()
}

/// A text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

const NAMES: &[&str] = &["name", "tool_name"];
const ARGUMENTS: &[&str] = &["arguments", "parameters"];
const IDS: &[&str] = &["id", "tool_call_id"];

/// The call that an object describes: `{"name", "arguments"}`, `{"name", "parameters"}`, `{"tool_name", "parameters"}`, or
/// any of them under `function`.
pub(super) fn call(value: &str) -> Result<Found, Stop> {
    if !value.trim_start().starts_with('{') {
        return Err(Stop::Bad("a call is no JSON object".into()));
    }
    let members = members(value);
    let member =
        |keys: &[&str]| members.iter().rev().find(|(key, _)| keys.contains(&key.as_str())).map(|(_, value)| *value);
    let id = member(IDS).and_then(text).filter(|id| !id.is_empty());
    if let (None, Some(inner)) = (member(NAMES), member(&["function"]).filter(|inner| inner.starts_with('{'))) {
        let found = call(inner)?;
        return Ok(Found { id: found.id.or(id), ..found });
    }
    let Some(named) = member(NAMES) else {
        return Err(Stop::Bad("a call has no \"name\"".into()));
    };
    let Some(named) = text(named) else {
        return Err(Stop::Bad("a call's \"name\" is no text".into()));
    };
    let name = name(&named)?.to_owned();
    let arguments = arguments(&name, member(ARGUMENTS))?;
    Ok(Found { name, arguments, id })
}

/// The text of the arguments' object: what stands there, nothing for none, or the object that a text spells.
pub(super) fn arguments(name: &str, value: Option<&str>) -> Result<String, Stop> {
    let refuse = || Stop::Bad(format!("the arguments of {name} are no JSON object"));
    match value {
        None | Some("null") => Ok("{}".to_owned()),
        Some(object) if object.starts_with('{') => Ok(escaped(object).into_owned()),
        Some(spelled) if spelled.starts_with('"') => {
            let spelled = text(spelled).ok_or_else(refuse)?;
            match spelled.trim() {
                "" => Ok("{}".to_owned()),
                object if object.starts_with('{') && is_value(object) => Ok(escaped(object).into_owned()),
                _ => Err(refuse()),
            }
        }
        Some(_) => Err(refuse()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_measured_as_serde_json_reads_them() {
        let check = |text: &str, expected: Scan| assert_eq!(scan(text), expected, "{text:?}");
        check("{} x", Scan::Whole(2));
        check(r#" {"a" : [1, -2.5e+3, "\u00e9\ud83c\udf89", true, null, {}] } "#, Scan::Whole(60));
        check(r#"{"a": "#, Scan::Short);
        check(r#"{"a": "x\"#, Scan::Short);
        check("[1", Scan::Short);
        check("12", Scan::Short);
        check("{a: 1}", Scan::Wrong(1, "a key in double quotes was expected"));
        check("[1,]", Scan::Wrong(3, "no value begins so"));
        check("[01]", Scan::Wrong(2, "a comma or a closing bracket was expected"));
        check(r#"["\x"]"#, Scan::Wrong(3, "there is no such escape"));
        check(r#"["\ud800 "]"#, Scan::Wrong(8, "half a surrogate pair"));
        check("[1e999]", Scan::Wrong(6, "a number is too large"));
        check("é", Scan::Wrong(0, "no value begins so"));
        check(&"[".repeat(200), Scan::Wrong(121, "it is nested too deep"));
    }

    #[test]
    fn line_breaks_in_strings_are_escaped_and_others_kept() {
        assert_eq!(escaped("{\n \"a\\\"\": \"b\n\\\\\", \"c\":\t1}"), "{\n \"a\\\"\": \"b\\n\\\\\", \"c\":\t1}");
        assert_eq!(
            members(r#"{"a": [1, 2], "b\n": {"c": "}"}}"#),
            [("a".to_owned(), "[1, 2]"), ("b\n".to_owned(), r#"{"c": "}"}"#)]
        );
    }
}
