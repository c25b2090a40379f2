//! What Jinja's filters `striptags` and `xmlattr` do.

use super::meter::{Fallible, Meter};
use super::print;
use super::value::{Value, is_space};

/// Names of characters that texts are written with; of HTML's two thousand, those that people use. The first ones need no
/// semicolon.
const NAMED: &[(&str, &str)] = &[
    ("amp", "&"),
    ("lt", "<"),
    ("gt", ">"),
    ("quot", "\""),
    ("nbsp", "\u{a0}"),
    ("not", "¬"),
    ("iexcl", "¡"),
    ("cent", "¢"),
    ("pound", "£"),
    ("yen", "¥"),
    ("sect", "§"),
    ("copy", "©"),
    ("laquo", "«"),
    ("reg", "®"),
    ("deg", "°"),
    ("plusmn", "±"),
    ("para", "¶"),
    ("middot", "·"),
    ("raquo", "»"),
    ("frac12", "½"),
    ("iquest", "¿"),
    ("times", "×"),
    ("divide", "÷"),
    ("apos", "'"),
    ("euro", "€"),
    ("hellip", "…"),
    ("bull", "•"),
    ("ndash", "–"),
    ("mdash", "—"),
    ("lsquo", "‘"),
    ("rsquo", "’"),
    ("ldquo", "“"),
    ("rdquo", "”"),
    ("larr", "←"),
    ("rarr", "→"),
    ("trade", "™"),
];

/// So many of them.
const LEGACY: usize = 23;

/// Text without tags and comments, every run of white space a blank, characters by name or number written out.
pub(super) fn strip_tags(text: &str, meter: &mut Meter) -> Fallible<String> {
    meter.allocate(text.len().saturating_mul(2))?;
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let tag = rest.get(start..).unwrap_or_default();
        let end = match tag.strip_prefix("<!--") {
            Some(comment) => comment.find("-->").map(|end| end + "<!---->".len()),
            None => tag.find('>').map(|end| end + 1),
        };
        let Some(end) = end else { break };
        kept.push_str(rest.get(..start).unwrap_or_default());
        rest = tag.get(end..).unwrap_or_default();
    }
    kept.push_str(rest);
    let words: Vec<&str> = kept.split(is_space).filter(|word| !word.is_empty()).collect();
    Ok(unescape(&words.join(" ")))
}

/// References to characters (`&amp;`, `&#8364;`, `&#x20ac;`) written out.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, reference) = rest.split_at(at);
        out.push_str(before);
        let body = reference.get(1..).unwrap_or_default();
        let found = body.strip_prefix('#').map_or_else(|| named(body), numbered);
        let behind = match found {
            Some((text, behind)) => {
                out.push_str(&text);
                behind.strip_prefix(';').unwrap_or(behind)
            }
            None => {
                out.push('&');
                body
            }
        };
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// The character of a name, and what stands behind the name.
fn named(body: &str) -> Option<(String, &str)> {
    let end = body.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(body.len());
    let (name, behind) = body.split_at(end);
    let whole = NAMED.iter().position(|(known, _)| *known == name);
    if let Some((_, text)) = whole.filter(|&at| at < LEGACY || behind.starts_with(';')).and_then(|at| NAMED.get(at)) {
        return Some(((*text).to_owned(), behind));
    }
    let legacy = NAMED.iter().take(LEGACY).filter(|(known, _)| name.starts_with(known));
    let (known, text) = legacy.max_by_key(|(known, _)| known.len())?;
    // Without a semicolon of its own: one that follows belongs to the text.
    let behind = body.get(known.len()..)?;
    Some(((*text).to_owned(), behind))
}

/// The character of a number, decimal or behind `x` hexadecimal, and what stands behind the number.
fn numbered(number: &str) -> Option<(String, &str)> {
    let hexadecimal = number.strip_prefix(['x', 'X']);
    let (digits, base) = hexadecimal.map_or((number, 10), |digits| (digits, 16));
    let end = digits.find(|c: char| !c.is_digit(base)).unwrap_or(digits.len());
    let (digits, behind) = digits.split_at(end);
    if digits.is_empty() {
        return None;
    }
    let code = u32::from_str_radix(digits, base).unwrap_or(u32::MAX);
    let c = char::from_u32(code).filter(|_| code != 0).unwrap_or('\u{fffd}');
    Some((c.to_string(), behind))
}

/// A mapping as attributes of an element, those without a value left out.
pub(super) fn attributes(value: &Value, space: bool, meter: &mut Meter) -> Fallible<String> {
    let Value::Dict(dict) = value else {
        return meter.fail(format!("'{}' object has no attribute 'items'", value.type_name()));
    };
    let mut out = String::new();
    for (key, value) in &dict.entries {
        if matches!(value, Value::None | Value::Undefined(_)) {
            continue;
        }
        let Value::Text(name) = key else { return meter.fail("the name of an attribute must be a string") };
        if name.contains(|c: char| is_space(c) || matches!(c, '/' | '>' | '=')) {
            let name = crate::error::shorten(name, 80);
            return meter.fail(format!("Invalid character in attribute name: {name:?}"));
        }
        let (name, value) = (print::escaped(key, meter)?, print::escaped(value, meter)?);
        meter.allocate(name.len() + value.len() + 4)?;
        let space = if space || !out.is_empty() { " " } else { "" };
        out.extend([space, &name, "=\"", &value, "\""]);
    }
    Ok(out)
}
