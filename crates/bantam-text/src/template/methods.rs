//! The methods of Python's strings, lists and dictionaries that do not change them.

use super::arguments::Values;
use super::format;
use super::meter::{Fallible, Meter};
use super::operators::{self, equal, items, lookup};
use super::print;
use super::value::{Text, Value, is_space};

const TEXT: &[&str] = &[
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "islower",
    "isnumeric",
    "isspace",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
];
const LIST: &[&str] =
    &["count", "index", "copy", "append", "extend", "insert", "pop", "remove", "reverse", "sort", "clear"];
const DICT: &[&str] = &["get", "items", "keys", "values", "copy", "update", "pop", "popitem", "setdefault", "clear"];

/// Whether `value` has a method called `name`.
pub(super) fn exists(value: &Value, name: &str) -> bool {
    match value {
        Value::Text(_) => TEXT.contains(&name),
        Value::List(_) => LIST.contains(&name),
        Value::Tuple(_) => ["count", "index"].contains(&name),
        Value::Dict(_) => DICT.contains(&name),
        _ => false,
    }
}

/// `on.name(…)`.
pub(super) fn call(on: &Value, name: &str, mut arguments: Values, meter: &mut Meter) -> Fallible<Value> {
    let result = match on {
        Value::Text(text) if text.safe => {
            if name == "replace"
                && let Some(new) = arguments.positional.get_mut(1)
            {
                *new = Value::marked(print::escaped(new, meter)?, true);
            }
            text_method(text, name, &mut arguments, meter)?.into_safe(meter)?
        }
        Value::Text(text) => text_method(text, name, &mut arguments, meter)?,
        Value::List(list) | Value::Tuple(list) => match name {
            "count" | "index" => {
                let wanted = arguments.required("value", meter)?;
                let mut count = 0;
                let mut found = None;
                for (at, item) in list.items.iter().enumerate() {
                    if equal(item, &wanted, meter)? {
                        count += 1;
                        found = found.or(Some(at));
                    }
                }
                match (name, found) {
                    ("count", _) => Value::Integer(count),
                    (_, Some(at)) => Value::Integer(i64::try_from(at).unwrap_or(i64::MAX)),
                    _ => return meter.fail("the value is not in the list"),
                }
            }
            "copy" => on.clone(),
            _ => return immutable(on, name, meter),
        },
        Value::Dict(dict) => match name {
            "get" => {
                let key = arguments.required("key", meter)?;
                let default = arguments.take("default").unwrap_or(Value::None);
                lookup(&dict.entries, &key, meter)?.unwrap_or(default)
            }
            "keys" => Value::list(items(on, meter)?, meter)?,
            "values" => {
                meter.values(dict.entries.len())?;
                Value::list(dict.entries.iter().map(|(_, value)| value.clone()).collect(), meter)?
            }
            "items" => pairs(&dict.entries, meter)?,
            "copy" => on.clone(),
            _ => return immutable(on, name, meter),
        },
        other => return meter.fail(format!("'{}' object has no method '{name}'", other.type_name())),
    };
    arguments.finish(name, meter)?;
    Ok(result)
}

fn immutable<T>(on: &Value, name: &str, meter: &Meter) -> Fallible<T> {
    meter.fail(format!("{}.{name} would change a value, which a chat template may not", on.type_name()))
}

/// A list of (key, value) tuples.
pub(super) fn pairs(entries: &[(Value, Value)], meter: &mut Meter) -> Fallible<Value> {
    meter.values(entries.len() * 3)?;
    let mut pairs = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        pairs.push(Value::tuple(vec![key.clone(), value.clone()], meter)?);
    }
    Value::list(pairs, meter)
}

fn text_method(text: &Text, name: &str, arguments: &mut Values, meter: &mut Meter) -> Fallible<Value> {
    // Every method looks through its string, and most write another.
    meter.allocate(text.len())?;
    let owned = |text: String| Value::Text(Text::from(text));
    let all = |test: &dyn Fn(char) -> bool| Value::Bool(!text.is_empty() && text.chars().all(test));
    Ok(match name {
        "upper" => owned(upper(text, meter)?),
        "lower" | "casefold" => owned(lower(text, meter)?),
        "capitalize" => owned(capitalize(text, meter)?),
        "title" => {
            meter.allocate(text.len() * 3)?;
            let mut out = String::with_capacity(text.len());
            let mut cased = false;
            for c in text.chars() {
                if cased {
                    out.extend(c.to_lowercase())
                } else {
                    out.extend(c.to_uppercase())
                }
                cased = c.is_lowercase() || c.is_uppercase();
            }
            owned(out)
        }
        "swapcase" => {
            meter.allocate(text.len() * 3)?;
            let mut out = String::with_capacity(text.len());
            for c in text.chars() {
                if c.is_uppercase() { out.extend(c.to_lowercase()) } else { out.extend(c.to_uppercase()) }
            }
            owned(out)
        }
        "strip" | "lstrip" | "rstrip" => {
            let characters = arguments.text("chars", meter)?;
            meter.work(text.len() / 8 * characters.as_ref().map_or(1, |c| c.len() / 8 + 1))?;
            let (left, right) = (name != "rstrip", name != "lstrip");
            Value::text(strip(text, characters.as_deref(), left, right))
        }
        "split" | "rsplit" => {
            let separator = arguments.text("sep", meter)?;
            let most = arguments.integer("maxsplit", meter)?.and_then(|most| usize::try_from(most).ok());
            let parts = split(text, separator.as_deref(), most, name == "rsplit", meter)?;
            meter.allocate(text.len() + parts.len() * 40)?;
            Value::list(parts.into_iter().map(Value::text).collect(), meter)?
        }
        "splitlines" => {
            let keep = arguments.flag("keepends");
            let lines = split_lines(text, keep);
            meter.allocate(text.len() + lines.len() * 40)?;
            Value::list(lines.into_iter().map(Value::text).collect(), meter)?
        }
        "partition" | "rpartition" => {
            let separator = arguments.required_text("sep", meter)?;
            if separator.is_empty() {
                return meter.fail("empty separator");
            }
            let found = if name == "partition" { text.split_once(&separator) } else { text.rsplit_once(&separator) };
            let parts = match found {
                Some((head, tail)) => [head, separator.as_str(), tail],
                None if name == "partition" => [&**text, "", ""],
                None => ["", "", &**text],
            };
            Value::tuple(parts.into_iter().map(Value::text).collect(), meter)?
        }
        "replace" => {
            let (old, new) = (arguments.required_text("old", meter)?, arguments.required_text("new", meter)?);
            let count = arguments.integer("count", meter)?.and_then(|count| usize::try_from(count).ok());
            owned(replace(text, &old, &new, count, meter)?)
        }
        "removeprefix" => {
            let prefix = arguments.required_text("prefix", meter)?;
            Value::text(text.strip_prefix(prefix.as_str()).unwrap_or(text))
        }
        "removesuffix" => {
            let suffix = arguments.required_text("suffix", meter)?;
            Value::text(text.strip_suffix(suffix.as_str()).unwrap_or(text))
        }
        "startswith" | "endswith" => {
            let affixes = match arguments.required("prefix", meter)? {
                Value::Tuple(list) => list.items.clone(),
                single => vec![single],
            };
            let mut found = false;
            for affix in &affixes {
                let Some(affix) = affix.as_text() else {
                    return meter.fail(format!("{name} takes a string or a tuple of them, not {}", affix.type_name()));
                };
                meter.scan(affix.len())?;
                found |= if name == "startswith" { text.starts_with(affix) } else { text.ends_with(affix) };
            }
            Value::Bool(found)
        }
        "find" | "rfind" | "index" | "rindex" => {
            let part = arguments.required_text("sub", meter)?;
            let found = if name.starts_with('r') { text.rfind(&part) } else { text.find(&part) };
            match found {
                Some(at) => Value::Integer(i64::try_from(text[..at].chars().count()).unwrap_or(i64::MAX)),
                None if name.ends_with("find") => Value::Integer(-1),
                None => return meter.fail("substring not found"),
            }
        }
        "count" => {
            let part = arguments.required_text("sub", meter)?;
            let count = if part.is_empty() { text.chars().count() + 1 } else { text.matches(part.as_str()).count() };
            Value::Integer(i64::try_from(count).unwrap_or(i64::MAX))
        }
        "join" => {
            let mut parts = items(&arguments.required("iterable", meter)?, meter)?;
            if text.safe {
                for part in &mut parts {
                    *part = Value::marked(print::escaped(part, meter)?, true);
                }
            }
            if let Some(other) = parts.iter().find(|part| part.as_text().is_none()) {
                return meter.fail(format!("sequence item: expected str instance, {} found", other.type_name()));
            }
            owned(operators::join(&parts, text, meter)?)
        }
        "format" => {
            let positional: Vec<Value> = std::mem::take(&mut arguments.positional).into();
            let named = std::mem::take(&mut arguments.named);
            owned(format::braces(text, &positional, &named, meter)?)
        }
        "isspace" => all(&is_space),
        "isalpha" => all(&char::is_alphabetic),
        "isalnum" => all(&char::is_alphanumeric),
        "isdigit" | "isdecimal" | "isnumeric" => all(&char::is_numeric),
        "isascii" => Value::Bool(text.is_ascii()),
        "islower" => Value::Bool(text.chars().any(char::is_lowercase) && !text.chars().any(char::is_uppercase)),
        "isupper" => Value::Bool(text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase)),
        "center" | "ljust" | "rjust" | "zfill" => {
            let width = arguments.integer("width", meter)?.and_then(|width| usize::try_from(width).ok()).unwrap_or(0);
            let fill = match arguments.text("fillchar", meter)? {
                Some(fill) => fill.chars().next().unwrap_or(' '),
                None => ' ',
            };
            owned(pad(text, name, width, fill, meter)?)
        }
        "expandtabs" => {
            let size = arguments.integer("tabsize", meter)?.and_then(|size| usize::try_from(size).ok()).unwrap_or(8);
            let tabs = text.matches('\t').count();
            meter.allocate(tabs.saturating_mul(size))?;
            let (mut out, mut column) = (String::new(), 0);
            for c in text.chars() {
                match c {
                    '\t' if size == 0 => {}
                    '\t' => {
                        let spaces = size - column % size;
                        out.extend(std::iter::repeat_n(' ', spaces));
                        column += spaces;
                    }
                    '\n' | '\r' => {
                        out.push(c);
                        column = 0;
                    }
                    c => {
                        out.push(c);
                        column += 1;
                    }
                }
            }
            owned(out)
        }
        other => return meter.fail(format!("'str' object has no method '{other}'")),
    })
}

pub(super) fn upper(text: &str, meter: &mut Meter) -> Fallible<String> {
    meter.allocate(text.len() * 3)?;
    Ok(text.to_uppercase())
}

pub(super) fn lower(text: &str, meter: &mut Meter) -> Fallible<String> {
    meter.allocate(text.len() * 3)?;
    Ok(text.to_lowercase())
}

pub(super) fn capitalize(text: &str, meter: &mut Meter) -> Fallible<String> {
    let mut characters = text.chars();
    let Some(first) = characters.next() else { return Ok(String::new()) };
    let rest = lower(characters.as_str(), meter)?;
    Ok(first.to_uppercase().collect::<String>() + &rest)
}

pub(super) fn strip<'s>(text: &'s str, characters: Option<&str>, left: bool, right: bool) -> &'s str {
    let strips = |c: char| match characters {
        Some(characters) => characters.contains(c),
        None => is_space(c),
    };
    let text = if left { text.trim_start_matches(strips) } else { text };
    if right { text.trim_end_matches(strips) } else { text }
}

pub(super) fn replace(text: &str, old: &str, new: &str, count: Option<usize>, meter: &mut Meter) -> Fallible<String> {
    meter.scan(text.len())?;
    let found = if old.is_empty() { text.chars().count() + 1 } else { text.matches(old).count() };
    let count = count.unwrap_or(found).min(found);
    meter.allocate(text.len().saturating_add(count.saturating_mul(new.len())))?;
    meter.work(count)?;
    Ok(text.replacen(old, new, count))
}

fn split<'s>(
    text: &'s str,
    separator: Option<&str>,
    most: Option<usize>,
    from_right: bool,
    meter: &mut Meter,
) -> Fallible<Vec<&'s str>> {
    meter.values(text.len() / 2)?;
    let most = most.unwrap_or(usize::MAX);
    let Some(separator) = separator else {
        let mut parts = Vec::new();
        let mut rest = strip(text, None, !from_right, from_right);
        while !rest.is_empty() {
            if parts.len() == most {
                parts.push(rest);
                break;
            }
            if from_right {
                let at = rest.char_indices().rev().find(|&(_, c)| is_space(c)).map_or(0, |(at, c)| at + c.len_utf8());
                parts.push(&rest[at..]);
                rest = strip(&rest[..at], None, false, true);
            } else {
                let at = rest.find(is_space).unwrap_or(rest.len());
                parts.push(&rest[..at]);
                rest = strip(&rest[at..], None, true, false);
            }
        }
        if from_right {
            parts.reverse();
        }
        return Ok(parts);
    };
    if separator.is_empty() {
        return meter.fail("empty separator");
    }
    let limit = most.saturating_add(1);
    let mut parts: Vec<&str> =
        if from_right { text.rsplitn(limit, separator).collect() } else { text.splitn(limit, separator).collect() };
    if from_right {
        parts.reverse();
    }
    Ok(parts)
}

/// `str.splitlines`: every kind of line end that Python knows.
pub(super) fn split_lines(text: &str, keep_ends: bool) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut start = 0;
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        if !matches!(c, '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}') {
            continue;
        }
        let mut end = at + c.len_utf8();
        if c == '\r' && characters.next_if(|&(_, next)| next == '\n').is_some() {
            end += 1;
        }
        lines.push(&text[start..if keep_ends { end } else { at }]);
        start = end;
    }
    if start < text.len() {
        lines.push(&text[start..]);
    }
    lines
}

/// Pads to `width` characters: `center`, `ljust`, `rjust`, `zfill`.
pub(super) fn pad(text: &str, how: &str, width: usize, fill: char, meter: &mut Meter) -> Fallible<String> {
    let len = text.chars().count();
    let missing = width.saturating_sub(len);
    meter.allocate(text.len().saturating_add(missing.saturating_mul(4)))?;
    let run = |count: usize, fill: char| std::iter::repeat_n(fill, count).collect::<String>();
    Ok(match how {
        "ljust" => format!("{text}{}", run(missing, fill)),
        "rjust" => format!("{}{text}", run(missing, fill)),
        "zfill" => {
            let at = usize::from(text.starts_with(['+', '-']));
            format!("{}{}{}", &text[..at], run(missing, '0'), &text[at..])
        }
        _ => {
            // CPython puts the odd one on the left if the width is odd.
            let left = missing / 2 + (missing & width & 1);
            format!("{}{text}{}", run(left, fill), run(missing - left, fill))
        }
    })
}
