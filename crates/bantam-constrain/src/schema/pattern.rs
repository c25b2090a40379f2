//! Regular expressions: ECMA-262's, which JSON Schema uses, and the command's own.

use serde_json::{Value, json};

use super::{Place, Writer, literals};
use crate::ConstraintError;

/// The characters that strings are written with ([`literals::unwritable`]). Every class is met with it: derivre takes one
/// that has all 32 control characters, or all but the newline, for one that has `"` and `\` too.
const WRITABLE: &str = r"[^\x00-\x07\x0b\x0e-\x1f\x7f]";
/// ECMA's `.`: all but its line terminators.
const ANY: &str = r"[^\x00-\x07\n\x0b\r\x0e-\x1f\x7f\u{2028}\u{2029}]";
/// Deepest nesting of what an expression is read into: a group is two.
const DEEPEST: u32 = 240;
/// Longest expression whose classes are looked up to be checked, in bytes: one takes kilobytes.
const MOST_TRANSLATED: usize = 1 << 16;
/// ECMA's white space, without brackets.
const SPACE: &str = r"\t\n\x0b\x0c\r \u{a0}\u{1680}\u{2000}-\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}\u{feff}";

/// [`translate`], where the outcome is an expression that can be honoured.
pub(super) fn checked(text: &str) -> Result<String, String> {
    let pattern = translate(text)?;
    parse(&pattern).map(|()| pattern)
}

pub(super) fn keyword(
    writer: &mut Writer<'_>,
    place: &mut Place<'_>,
    keyword: &str,
    value: &Value,
) -> Result<(), ConstraintError> {
    let text = value.as_str().ok_or_else(|| place.expected(keyword, "a string", value))?;
    let translated = checked(text).map_err(|reason| place.refuse(keyword, reason))?;
    writer.part(place, keyword, json!({ "type": "string", keyword: translated }));
    place.put(keyword, Value::String(translated));
    Ok(())
}

/// An ECMA-262 pattern in the syntax of Rust's `regex`.
fn translate(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern.chars().peekable();
    // Where a class stands: none, or how many characters of it were read.
    let mut class: Option<usize> = None;
    let mut depth = 0_usize;
    while let Some(c) = rest.next() {
        let first = class == Some(0);
        if let Some(read) = &mut class {
            *read += 1;
        }
        match (c, class.is_some()) {
            ('\\', inside) => escape_sequence(&mut rest, inside, &mut out)?,
            ('[', false) => {
                out.push_str("[[");
                if rest.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                if rest.peek() == Some(&']') {
                    return Err("an empty class is not supported".to_owned());
                }
                class = Some(0);
            }
            (']', true) => {
                out.push_str("]&&");
                out.push_str(WRITABLE);
                out.push(']');
                class = None;
            }
            // Inside a class these begin another class or an operation on classes in Rust's syntax.
            ('[' | '&' | '~', true) => out.extend(['\\', c]),
            ('-', true) if !first && rest.peek() == Some(&'-') => {
                return Err("\"--\" in a class is not supported".to_owned());
            }
            ('^', true) => out.push_str("\\^"),
            ('.', false) => out.push_str(ANY),
            ('(', false) => {
                depth += 1;
                if depth > 100 {
                    return Err("its groups nest deeper than 100".to_owned());
                }
                out.push('(');
                let head = rest.clone().take(8).collect::<String>();
                group(&head)?;
                flags(&head)?;
            }
            (')', false) => {
                depth = depth.saturating_sub(1);
                out.push(')');
            }
            ('{', false) if !is_repetition(&rest.clone().take(24).collect::<String>()) => out.push_str("\\{"),
            (c, inside) => {
                writable(c, inside)?;
                out.push(c);
            }
        }
    }
    if class.is_some() {
        return Err("a class is not closed".to_owned());
    }
    Ok(out)
}

/// Refuses groups that look round.
fn group(head: &str) -> Result<(), String> {
    let around = ["?=", "?!", "?<=", "?<!"];
    if let Some(mark) = around.iter().find(|mark| head.starts_with(**mark)) {
        return Err(format!("look-around, ({mark}…), is not supported"));
    }
    // llguidance takes a group of this name for something else.
    if head.starts_with("?<stop>") || head.starts_with("?P<stop>") {
        return Err("a group can't be named \"stop\"".to_owned());
    }
    Ok(())
}

/// Refuses flags that ECMA does not have.
fn flags(head: &str) -> Result<(), String> {
    let Some(set) = head.strip_prefix('?') else { return Ok(()) };
    let set: String = set.chars().take_while(|c| c.is_ascii_alphabetic() || *c == '-').collect();
    match set.chars().find(|c| !"ims-".contains(*c)) {
        // `(?P<name>…)` is another spelling of `(?<name>…)`.
        Some('P') | None => Ok(()),
        Some(flag) => Err(format!("the flag {flag} in (?{set}…) is not supported")),
    }
}

/// Refuses a character that no string is written with, where just that is asked for. Classes go without it.
fn writable(c: char, inside: bool) -> Result<(), String> {
    match literals::unwritable(c.encode_utf8(&mut [0; 4])) {
        Some(reason) if !inside => Err(reason),
        _ => Ok(()),
    }
}

/// Whether what follows a brace is `n}`, `n,}` or `n,m}`.
fn is_repetition(rest: &str) -> bool {
    let Some((inside, _)) = rest.split_once('}') else { return false };
    let (least, most) = inside.split_once(',').unwrap_or((inside, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !least.is_empty() && digits(least) && digits(most)
}

fn escape_sequence(
    rest: &mut std::iter::Peekable<std::str::Chars<'_>>,
    inside: bool,
    out: &mut String,
) -> Result<(), String> {
    let Some(c) = rest.next() else { return Err("it ends in a backslash".to_owned()) };
    let class = |out: &mut String, negated: bool, set: &str| {
        let set = format!("[{}{set}]", if negated { "^" } else { "" });
        out.push_str(&if inside { set } else { format!("[{set}&&{WRITABLE}]") });
    };
    let character = |out: &mut String, code: u32| {
        if let Some(c) = char::from_u32(code) {
            writable(c, inside)?;
        }
        out.push_str(&format!("\\u{{{code:x}}}"));
        Ok::<(), String>(())
    };
    match c {
        'd' | 'D' => class(out, c == 'D', "0-9"),
        'w' | 'W' => class(out, c == 'W', "0-9A-Za-z_"),
        's' | 'S' => class(out, c == 'S', SPACE),
        'b' if inside => out.push_str("\\x08"),
        'b' | 'B' => return Err(format!("\\{c}, a word boundary, is not supported")),
        '0' if !rest.peek().is_some_and(char::is_ascii_digit) => character(out, 0)?,
        '0'..='9' | 'k' => return Err(format!("\\{c}, a back-reference, is not supported")),
        't' | 'n' | 'r' | 'f' => out.extend(['\\', c]),
        'v' => character(out, 0x0b)?,
        'c' => match rest.next() {
            Some(letter) if letter.is_ascii_alphabetic() => character(out, u32::from(letter) % 32)?,
            _ => return Err("\\c stands before no letter".to_owned()),
        },
        'x' => {
            let code = hexadecimal(rest, 2)?;
            character(out, code)?;
        }
        'u' if rest.next_if_eq(&'{').is_some() => {
            let mut code = 0_u32;
            loop {
                match rest.next() {
                    Some('}') => break,
                    Some(digit) if digit.is_ascii_hexdigit() && code < 0x110000 => {
                        code = code * 16 + digit.to_digit(16).unwrap_or_default();
                    }
                    _ => return Err("\\u{…} is not closed".to_owned()),
                }
            }
            character(out, code)?;
        }
        'u' => {
            let mut code = hexadecimal(rest, 4)?;
            if (0xd800..0xdc00).contains(&code) {
                let low = (rest.next() == Some('\\') && rest.next() == Some('u')).then(|| hexadecimal(rest, 4));
                code = match low.transpose()? {
                    Some(low @ 0xdc00..0xe000) => 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00),
                    _ => return Err("half a surrogate pair is no character".to_owned()),
                };
            }
            character(out, code)?;
        }
        'p' | 'P' => {
            let name = if rest.next_if_eq(&'{').is_some() {
                let name: String = std::iter::from_fn(|| rest.next_if(|c| *c != '}')).take(100).collect();
                rest.next_if_eq(&'}').ok_or_else(|| format!("\\{c}{{…}} is not closed"))?;
                name
            } else {
                rest.next().map(String::from).ok_or_else(|| format!("\\{c} stands before no name"))?
            };
            if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '=') {
                return Err(format!("\\{c}{{{name}}} names no property of characters"));
            }
            class(out, false, &format!("\\{c}{{{name}}}"));
        }
        c if c.is_ascii_control() => character(out, u32::from(c))?,
        c if c.is_ascii_alphabetic() => return Err(format!("\\{c} is not supported")),
        c if c.is_ascii() => {
            if !matches!(c, '/' | ' ' | '"' | '\'' | ',' | ':' | ';' | '<' | '>' | '=' | '@' | '`' | '_' | '!' | '%') {
                out.push('\\');
            }
            out.push(c);
        }
        c => out.push(c),
    }
    Ok(())
}

fn hexadecimal(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, count: usize) -> Result<u32, String> {
    let mut code = 0;
    for _ in 0..count {
        let digit = rest.next().and_then(|digit| digit.to_digit(16));
        code = code * 16 + digit.ok_or_else(|| format!("an escape has fewer than {count} hexadecimal digits"))?;
    }
    Ok(code)
}

/// Refuses what is no expression in the syntax of Rust's `regex`, with the reason alone: llguidance gives a drawing.
pub(crate) fn parse(pattern: &str) -> Result<(), String> {
    use regex_syntax::ast::{ErrorKind, parse::ParserBuilder};
    let tree = ParserBuilder::new().nest_limit(DEEPEST).build().parse(pattern);
    let tree = tree.map_err(|error| match error.kind() {
        ErrorKind::NestLimitExceeded(_) => format!("its groups and classes nest deeper than {DEEPEST}"),
        kind => kind.to_string(),
    })?;
    if pattern.len() > MOST_TRANSLATED {
        return Ok(());
    }
    let translated = regex_syntax::hir::translate::Translator::new().translate(pattern, &tree);
    translated.map(|_| ()).map_err(|error| error.kind().to_string())
}

/// Refuses groups in the command's own expressions that llguidance does not read as Rust's `regex` does. Anchors at the two
/// ends say what is so already, and are left.
pub(crate) fn check_groups(pattern: &str) -> Result<(), String> {
    // How many classes are open, one in the other; where one begins a "]" stands for itself.
    let (mut classes, mut begins) = (0_usize, false);
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        let begun = std::mem::take(&mut begins);
        match c {
            '\\' => drop(rest.next()),
            '[' => (classes, begins) = (classes + 1, true),
            '^' if begun => begins = true,
            ']' if !begun => classes = classes.saturating_sub(1),
            '(' if classes == 0 => group(rest.as_str())?,
            _ => {}
        }
    }
    Ok(())
}

/// A text as a pattern for just that text.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        match c {
            c if c.is_ascii_alphanumeric() || c == ' ' || !c.is_ascii() => out.push(c),
            '!' | '"' | '%' | '\'' | ',' | ':' | ';' | '<' | '=' | '>' | '@' | '_' | '`' => out.push(c),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.extend(['\\', c]),
        }
    }
    out
}
