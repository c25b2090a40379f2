//! Jinja's filters. Those that call other filters or tests are in `render.rs`.

use std::fmt::Write;

use super::arguments::Values;
use super::format;
use super::html;
use super::meter::{Fallible, Meter};
use super::methods;
use super::operators::{self, arithmetic, element, equal, items, lookup, order, sort};
use super::print::{self, Json};
use super::value::{Text, Value, is_space};
use super::wrap::{Wrap, wrap};
use crate::template::ast::Operator;

/// Applies the filter `name`.
pub(super) fn apply(name: &str, value: &Value, mut arguments: Values, meter: &mut Meter) -> Fallible<Value> {
    let owned = |text: String| Value::Text(Text::from(text));
    // What keeps safe text safe.
    let alike = |text: String| Value::marked(text, value.is_safe());
    let result = match name {
        "default" | "d" => {
            let default = arguments.take("default_value").unwrap_or_else(|| Value::text(""));
            let boolean = arguments.flag("boolean");
            if matches!(value, Value::Undefined(_)) || (boolean && !value.is_true()) { default } else { value.clone() }
        }
        "tojson" => tojson(value, &mut arguments, meter)?,
        "string" => alike(print::text(value, meter)?),
        "safe" => Value::marked(print::text(value, meter)?, true),
        "upper" => alike(methods::upper(&print::text(value, meter)?, meter)?),
        "lower" => alike(methods::lower(&print::text(value, meter)?, meter)?),
        "capitalize" => alike(methods::capitalize(&print::text(value, meter)?, meter)?),
        "title" => owned(title(&print::text(value, meter)?, meter)?),
        "trim" => {
            let text = print::text(value, meter)?;
            let characters = arguments.text("chars", meter)?;
            meter.work(text.len() / 8 * characters.as_ref().map_or(1, |c| c.len() / 8 + 1))?;
            alike(methods::strip(&text, characters.as_deref(), true, true).to_owned())
        }
        "replace" => {
            let text = print::text(value, meter)?;
            let old = print::text(&arguments.required("old", meter)?, meter)?;
            let new = print::text(&arguments.required("new", meter)?, meter)?;
            let count = arguments.integer("count", meter)?.and_then(|count| usize::try_from(count).ok());
            owned(methods::replace(&text, &old, &new, count, meter)?)
        }
        "escape" | "e" => Value::marked(print::escaped(value, meter)?, true),
        "forceescape" => {
            let text = print::text(value, meter)?;
            Value::marked(print::escape(&text, meter)?, true)
        }
        "length" | "count" => Value::Integer(i64::try_from(length(value, meter)?).unwrap_or(i64::MAX)),
        "list" => Value::list(items(value, meter)?, meter)?,
        "items" => match value {
            Value::Dict(dict) => methods::pairs(&dict.entries, meter)?,
            Value::Undefined(_) => Value::list(Vec::new(), meter)?,
            _ => return meter.fail("Can only get item pairs from a mapping."),
        },
        "first" => items(value, meter)?.into_iter().next().unwrap_or_else(|| Value::undefined("first item")),
        "last" => items(value, meter)?.pop().unwrap_or_else(|| Value::undefined("last item")),
        "reverse" => match value {
            Value::Text(text) => {
                meter.allocate(text.len())?;
                alike(text.chars().rev().collect())
            }
            other => {
                let mut all = items(other, meter)?;
                all.reverse();
                Value::list(all, meter)?
            }
        },
        "join" => {
            let separator = arguments.take("d");
            let separator = separator.map_or(Ok(String::new()), |separator| print::text(&separator, meter))?;
            let mut all = items(value, meter)?;
            if let Some(path) = arguments.take("attribute") {
                all = all.iter().map(|item| attribute(item, &path, meter)).collect::<Fallible<_>>()?;
            }
            owned(operators::join(&all, &separator, meter)?)
        }
        "int" => {
            let default = arguments.take("default").unwrap_or(Value::Integer(0));
            let base = arguments.integer("base", meter)?.unwrap_or(10);
            integer(value, base).map_or(default, Value::Integer)
        }
        "float" => {
            let default = arguments.take("default").unwrap_or(Value::Float(0.0));
            let parsed = match value {
                Value::Text(text) => text.trim().replace('_', "").parse().ok(),
                other => other.as_float(),
            };
            parsed.map_or(default, Value::Float)
        }
        "abs" => match value {
            Value::Float(value) => Value::Float(value.abs()),
            other => match other.as_integer().and_then(i64::checked_abs) {
                Some(value) => Value::Integer(value),
                None => return meter.fail(format!("bad operand type for abs(): '{}'", other.type_name())),
            },
        },
        "round" => round(value, &mut arguments, meter)?,
        "sort" => {
            let reverse = arguments.flag("reverse");
            let exact = arguments.flag("case_sensitive");
            let path = arguments.take("attribute");
            let keyed = keyed(items(value, meter)?, path.as_ref(), exact, meter)?;
            Value::list(sort(keyed, reverse, meter)?, meter)?
        }
        "dictsort" => {
            let Value::Dict(dict) = value else { return meter.fail("dictsort needs a mapping") };
            let exact = arguments.flag("case_sensitive");
            let by_value = arguments.text("by", meter)?.as_deref() == Some("value");
            let reverse = arguments.flag("reverse");
            let mut keyed = Vec::with_capacity(dict.entries.len());
            for (key, value) in &dict.entries {
                let by = if by_value { value } else { key };
                let pair = Value::tuple(vec![key.clone(), value.clone()], meter)?;
                keyed.push((fold(by.clone(), exact, meter)?, pair));
            }
            Value::list(sort(keyed, reverse, meter)?, meter)?
        }
        "unique" => {
            let exact = arguments.flag("case_sensitive");
            let path = arguments.take("attribute");
            let mut seen: Vec<Value> = Vec::new();
            let mut kept = Vec::new();
            'items: for (key, item) in keyed(items(value, meter)?, path.as_ref(), exact, meter)? {
                for other in &seen {
                    if equal(other, &key, meter)? {
                        continue 'items;
                    }
                }
                seen.push(key);
                kept.push(item);
            }
            Value::list(kept, meter)?
        }
        "min" | "max" => {
            let exact = arguments.flag("case_sensitive");
            let path = arguments.take("attribute");
            let mut best: Option<(Value, Value)> = None;
            for (key, item) in keyed(items(value, meter)?, path.as_ref(), exact, meter)? {
                let better = match &best {
                    None => true,
                    Some((found, _)) if name == "min" => order(&key, found, meter)?.is_lt(),
                    Some((found, _)) => order(&key, found, meter)?.is_gt(),
                };
                if better {
                    best = Some((key, item));
                }
            }
            best.map_or_else(|| Value::undefined("item of an empty sequence"), |(_, item)| item)
        }
        "sum" => {
            let path = arguments.take("attribute");
            let mut sum = arguments.take("start").unwrap_or(Value::Integer(0));
            for item in items(value, meter)? {
                let item = match &path {
                    Some(path) => attribute(&item, path, meter)?,
                    None => item,
                };
                sum = arithmetic(Operator::Add, &sum, &item, meter)?;
            }
            sum
        }
        "groupby" => {
            let path = arguments.required("attribute", meter)?;
            let exact = arguments.flag("case_sensitive");
            let keyed = keyed(items(value, meter)?, Some(&path), exact, meter)?;
            let pairs = keyed
                .into_iter()
                .map(|(key, item)| Ok((key.clone(), Value::tuple(vec![key, item], meter)?)))
                .collect::<Fallible<Vec<_>>>()?;
            let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
            for pair in sort(pairs, false, meter)? {
                let Value::Tuple(pair) = pair else { continue };
                let (key, item) = (pair.items[0].clone(), pair.items[1].clone());
                match groups.last_mut() {
                    Some((last, group)) if equal(last, &key, meter)? => group.push(item),
                    _ => groups.push((key, vec![item])),
                }
            }
            let mut all = Vec::with_capacity(groups.len());
            for (key, group) in groups {
                let group = Value::list(group, meter)?;
                all.push(Value::tuple(vec![key, group], meter)?);
            }
            Value::list(all, meter)?
        }
        "batch" | "slice" => {
            let count = arguments.integer("linecount", meter)?.and_then(|count| usize::try_from(count).ok());
            let Some(count) = count.filter(|&count| count > 0) else { return meter.fail("a count above 0 is needed") };
            let fill = arguments.take("fill_with");
            chunks(name, items(value, meter)?, count, fill, meter)?
        }
        "indent" => indent(value, &mut arguments, meter)?,
        "striptags" => {
            let text = print::text(value, meter)?;
            owned(html::strip_tags(&text, meter)?)
        }
        "xmlattr" => {
            let space = arguments.take("autospace").is_none_or(|value| value.is_true());
            owned(html::attributes(value, space, meter)?)
        }
        "wordwrap" => wordwrap(value, &mut arguments, meter)?,
        "center" => {
            let text = print::text(value, meter)?;
            let width = arguments.integer("width", meter)?.and_then(|width| usize::try_from(width).ok()).unwrap_or(80);
            // Jinja's filter is `str.center` with spaces.
            alike(methods::pad(&text, "center", width, ' ', meter)?)
        }
        "truncate" => {
            let text = print::text(value, meter)?;
            let number =
                |value: Option<i64>, default: usize| value.and_then(|n| usize::try_from(n).ok()).unwrap_or(default);
            let length = number(arguments.integer("length", meter)?, 255);
            let kill_words = arguments.flag("killwords");
            let end = arguments.text("end", meter)?.unwrap_or_else(|| "...".to_owned());
            let leeway = number(arguments.integer("leeway", meter)?, 5);
            meter.allocate(text.len())?;
            if text.chars().count() <= length.saturating_add(leeway) {
                alike(text)
            } else {
                let kept: String = text.chars().take(length.saturating_sub(end.chars().count())).collect();
                let end = if value.is_safe() { print::escape(&end, meter)? } else { end };
                let kept =
                    if kill_words { &kept } else { kept.rsplit_once(' ').map_or(kept.as_str(), |(head, _)| head) };
                alike(format!("{kept}{end}"))
            }
        }
        "wordcount" => {
            let text = print::text(value, meter)?;
            let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty());
            Value::Integer(i64::try_from(words.count()).unwrap_or(i64::MAX))
        }
        "urlencode" => {
            let text = print::text(value, meter)?;
            meter.allocate(text.len().saturating_mul(3))?;
            let mut out = String::with_capacity(text.len());
            for byte in text.bytes() {
                if byte.is_ascii_alphanumeric() || b"_.-~/".contains(&byte) {
                    out.push(char::from(byte));
                } else {
                    let _ = write!(out, "%{byte:02X}");
                }
            }
            owned(out)
        }
        "format" => {
            let template = print::text(value, meter)?;
            let positional: Vec<Value> = std::mem::take(&mut arguments.positional).into();
            let named = std::mem::take(&mut arguments.named);
            let given = if named.is_empty() {
                Value::tuple(positional, meter)?
            } else {
                Value::dict(named.into_iter().map(|(name, value)| (Value::text(&name), value)).collect(), meter)?
            };
            alike(format::percent(&template, &given, value.is_safe(), meter)?)
        }
        "attr" => {
            let name = arguments.required("name", meter)?;
            attribute(value, &name, meter)?
        }
        other => return meter.fail(format!("No filter named '{other}'.")),
    };
    arguments.finish(name, meter)?;
    Ok(result)
}

fn wordwrap(value: &Value, arguments: &mut Values, meter: &mut Meter) -> Fallible<Value> {
    let Value::Text(text) = value else {
        return meter.fail(format!("'{}' object has no attribute 'splitlines'", value.type_name()));
    };
    let width = arguments.integer("width", meter)?.unwrap_or(79);
    let Some(width) = usize::try_from(width).ok().filter(|&width| width > 0) else {
        return meter.fail(format!("invalid width {width} (must be > 0)"));
    };
    let long_words = arguments.take("break_long_words").is_none_or(|value| value.is_true());
    let newline = arguments.text("wrapstring", meter)?.unwrap_or_else(|| "\n".to_owned());
    let hyphens = arguments.take("break_on_hyphens").is_none_or(|value| value.is_true());
    // Characters of four bytes and words of a pointer and a length, and a newline behind every character at worst.
    meter.allocate(text.len().saturating_mul(24 + newline.len()))?;
    meter.work(text.len())?;
    let how = Wrap { width, long_words, hyphens };
    let paragraphs = methods::split_lines(text, false).into_iter().map(|line| wrap(line, how).join(&newline));
    Ok(Value::Text(Text::from(paragraphs.collect::<Vec<_>>().join(&newline))))
}

/// `len(value)`.
pub(super) fn length(value: &Value, meter: &mut Meter) -> Fallible<usize> {
    match value {
        Value::Text(text) => {
            meter.scan(text.len())?;
            Ok(text.chars().count())
        }
        Value::List(list) | Value::Tuple(list) if !list.lazy => Ok(list.items.len()),
        Value::Dict(dict) => Ok(dict.entries.len()),
        Value::Undefined(_) => Ok(0),
        Value::Loop(state) => Ok(state.items.items.len()),
        other => meter.fail(format!("object of type '{}' has no len()", other.type_name())),
    }
}

/// The attribute or item that a filter's `attribute` names: `a.b.0`, or a number.
pub(super) fn attribute(value: &Value, path: &Value, meter: &mut Meter) -> Fallible<Value> {
    let mut found = value.clone();
    let parts: Vec<Value> = match path {
        Value::Text(path) => {
            path.split('.').map(|part| part.parse().map(Value::Integer).unwrap_or_else(|_| Value::text(part))).collect()
        }
        other => vec![other.clone()],
    };
    meter.work(parts.len())?;
    for part in parts {
        found = item(&found, &part, meter)?;
    }
    Ok(found)
}

/// `value[key]`, undefined where there is nothing.
pub(super) fn item(value: &Value, key: &Value, meter: &mut Meter) -> Fallible<Value> {
    let missing = || match key {
        Value::Text(name) => Value::undefined(name),
        _ => Value::undefined("item"),
    };
    Ok(match value {
        Value::Dict(dict) => lookup(&dict.entries, key, meter)?.unwrap_or_else(missing),
        Value::List(list) | Value::Tuple(list) => match key.as_integer() {
            Some(index) => element(&list.items, index).cloned().unwrap_or_else(missing),
            None => missing(),
        },
        Value::Text(text) => match key.as_integer() {
            Some(index) => {
                let steps = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
                meter.work(steps.min(text.len()) / 2 + 1)?;
                let found = if index < 0 { text.chars().rev().nth(steps - 1) } else { text.chars().nth(steps) };
                found.map_or_else(missing, |c| Value::marked(&*c.encode_utf8(&mut [0; 4]), text.safe))
            }
            None => missing(),
        },
        Value::Undefined(name) => return meter.fail(format!("'{name}' is undefined")),
        Value::None => match key {
            Value::Text(name) => Value::undefined(name),
            _ => missing(),
        },
        _ => missing(),
    })
}

/// Strings compare without case unless asked otherwise.
fn fold(value: Value, exact: bool, meter: &mut Meter) -> Fallible<Value> {
    match &value {
        Value::Text(text) if !exact => Ok(Value::Text(Text::from(methods::lower(text, meter)?))),
        _ => Ok(value),
    }
}

fn keyed(items: Vec<Value>, path: Option<&Value>, exact: bool, meter: &mut Meter) -> Fallible<Vec<(Value, Value)>> {
    meter.values(items.len() * 2)?;
    items
        .into_iter()
        .map(|item| {
            let key = match path {
                Some(Value::None) | None => item.clone(),
                Some(path) => attribute(&item, path, meter)?,
            };
            Ok((fold(key, exact, meter)?, item))
        })
        .collect()
}

fn tojson(value: &Value, arguments: &mut Values, meter: &mut Meter) -> Fallible<Value> {
    // transformers' own filter: (x, ensure_ascii=False, indent=None, separators=None, sort_keys=False)
    let ascii = arguments.take("ensure_ascii").is_some_and(|flag| flag.is_true());
    let indent = match arguments.take("indent") {
        None | Some(Value::None) => None,
        Some(Value::Text(text)) => Some(text.to_string()),
        Some(other) => match other.as_integer() {
            Some(count) => {
                let count = usize::try_from(count).unwrap_or(0);
                meter.allocate(count)?;
                Some(" ".repeat(count))
            }
            None => return meter.fail("indent must be a number or a string"),
        },
    };
    let mut separators = (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned());
    match arguments.take("separators") {
        None | Some(Value::None) => {}
        Some(given) => match items(&given, meter)?.as_slice() {
            [Value::Text(item), Value::Text(key)] => {
                meter.allocate(item.len() + key.len())?;
                separators = (item.to_string(), key.to_string());
            }
            _ => return meter.fail("separators must be two strings"),
        },
    }
    let sort_keys = arguments.flag("sort_keys");
    let json =
        Json { indent: indent.as_deref(), item_separator: &separators.0, key_separator: &separators.1, sort_keys };
    let mut out = String::new();
    json.write(value, 0, &mut out, meter)?;
    if ascii && !out.is_ascii() {
        meter.allocate(out.len() * 6)?;
        let mut escaped = String::with_capacity(out.len());
        for c in out.chars() {
            if c.is_ascii() {
                escaped.push(c);
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(escaped, "\\u{unit:04x}");
                }
            }
        }
        out = escaped;
    }
    Ok(Value::Text(Text::from(out)))
}

/// Jinja's `title`: words start behind white space, hyphens and opening brackets.
fn title(text: &str, meter: &mut Meter) -> Fallible<String> {
    meter.allocate(text.len() * 3)?;
    let mut out = String::with_capacity(text.len());
    let mut starts = true;
    for c in text.chars() {
        if is_space(c) || "-({[<".contains(c) {
            out.push(c);
            starts = true;
        } else if std::mem::take(&mut starts) {
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
    }
    Ok(out)
}

#[allow(clippy::cast_possible_truncation)]
fn integer(value: &Value, base: i64) -> Option<i64> {
    match value {
        Value::Text(text) => {
            let text = text.trim().replace('_', "");
            let (negative, digits) = match text.strip_prefix('-') {
                Some(digits) => (true, digits),
                None => (false, text.strip_prefix('+').unwrap_or(&text)),
            };
            let prefix = match base {
                16 => ["0x", "0X"],
                8 => ["0o", "0O"],
                2 => ["0b", "0B"],
                _ => ["", ""],
            };
            let digits = prefix.iter().find_map(|prefix| digits.strip_prefix(prefix)).unwrap_or(digits);
            let radix = u32::try_from(base).ok().filter(|base| (2..=36).contains(base))?;
            match i64::from_str_radix(digits, radix) {
                Ok(value) => Some(if negative { -value } else { value }),
                Err(_) => text.parse::<f64>().ok().filter(|value| value.is_finite()).map(|value| value as i64),
            }
        }
        Value::Float(value) => value.is_finite().then_some(*value as i64),
        other => other.as_integer(),
    }
}

fn round(value: &Value, arguments: &mut Values, meter: &Meter) -> Fallible<Value> {
    let precision = arguments.integer("precision", meter)?.unwrap_or(0);
    let method = match arguments.take("method") {
        Some(Value::Text(method)) => method.to_string(),
        _ => "common".to_owned(),
    };
    let Some(float) = value.as_float() else {
        return meter.fail(format!("a number is needed to round, not {}", value.type_name()));
    };
    let precision = precision.clamp(-300, 300);
    let scale = 10f64.powi(i32::try_from(precision).unwrap_or(0));
    match method.as_str() {
        "common" => {
            if let Some(integer) = value.as_integer()
                && precision >= 0
            {
                return Ok(Value::Integer(integer));
            }
            match usize::try_from(precision) {
                Ok(places) => Ok(Value::Float(format!("{float:.places$}").parse().unwrap_or(float))),
                Err(_) => Ok(Value::Float((float * scale).round_ties_even() / scale)),
            }
        }
        "ceil" => Ok(Value::Float((float * scale).ceil() / scale)),
        "floor" => Ok(Value::Float((float * scale).floor() / scale)),
        _ => meter.fail("method must be common, ceil or floor"),
    }
}

fn chunks(how: &str, all: Vec<Value>, count: usize, fill: Option<Value>, meter: &mut Meter) -> Fallible<Value> {
    let mut chunks = Vec::new();
    if how == "batch" {
        for chunk in all.chunks(count) {
            let mut chunk = chunk.to_vec();
            if let Some(fill) = &fill {
                meter.values(count)?;
                chunk.resize(count, fill.clone());
            }
            chunks.push(Value::list(chunk, meter)?);
        }
    } else {
        meter.values(count)?;
        let (each, extra) = (all.len() / count, all.len() % count);
        let mut rest = all.as_slice();
        for at in 0..count {
            let (head, tail) = rest.split_at((each + usize::from(at < extra)).min(rest.len()));
            rest = tail;
            let mut chunk = head.to_vec();
            if at >= extra && extra > 0 {
                chunk.extend(fill.clone());
            }
            chunks.push(Value::list(chunk, meter)?);
        }
    }
    Value::list(chunks, meter)
}

fn indent(value: &Value, arguments: &mut Values, meter: &mut Meter) -> Fallible<Value> {
    let text = print::text(value, meter)?;
    let indention = match arguments.take("width") {
        None => "    ".to_owned(),
        Some(Value::Text(text)) => text.to_string(),
        Some(other) => {
            let width = other.as_integer().and_then(|width| usize::try_from(width).ok()).unwrap_or(0);
            meter.allocate(width)?;
            " ".repeat(width)
        }
    };
    let first = arguments.flag("first");
    let blank = arguments.flag("blank");
    let text = text + "\n";
    let lines = methods::split_lines(&text, false);
    meter.allocate(text.len().saturating_add(lines.len().saturating_mul(indention.len().saturating_add(16))))?;
    let mut out = String::new();
    for (at, line) in lines.iter().enumerate() {
        if at > 0 {
            out.push('\n');
        }
        let indented = if at == 0 { first } else { blank || !line.is_empty() };
        if indented {
            out.push_str(&indention);
        }
        out.push_str(line);
    }
    Ok(Value::marked(out, value.is_safe()))
}
