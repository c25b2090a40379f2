//! Values as Python prints them.

use std::fmt::Write;

use super::meter::{Fallible, Meter};
use super::value::Value;

/// `str(value)`, paid for as it grows.
pub(super) fn text(value: &Value, meter: &mut Meter) -> Fallible<String> {
    let mut out = String::new();
    write_text(value, &mut out, meter)?;
    Ok(out)
}

/// `str(value)` with the characters that mean something in HTML escaped, as MarkupSafe does it; safe text as it is.
pub(super) fn escaped(value: &Value, meter: &mut Meter) -> Fallible<String> {
    let text = text(value, meter)?;
    if value.is_safe() { Ok(text) } else { escape(&text, meter) }
}

/// Text with those characters escaped.
pub(super) fn escape(text: &str, meter: &mut Meter) -> Fallible<String> {
    meter.allocate(text.len().saturating_mul(5))?;
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    Ok(text.replace('\'', "&#39;").replace('"', "&#34;"))
}

/// Appends `str(value)` to `out`.
pub(super) fn write_text(value: &Value, out: &mut String, meter: &mut Meter) -> Fallible<()> {
    match value {
        Value::Text(text) => {
            meter.allocate(text.len())?;
            out.push_str(text);
            Ok(())
        }
        Value::Undefined(_) => Ok(()),
        value => write_repr(value, out, meter),
    }
}

/// Appends `repr(value)` to `out`.
pub(super) fn write_repr(value: &Value, out: &mut String, meter: &mut Meter) -> Fallible<()> {
    meter.allocate(8)?;
    match value {
        Value::Undefined(_) => out.push_str("Undefined"),
        Value::None => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Integer(value) => {
            let _ = write!(out, "{value}");
        }
        Value::Float(value) => out.push_str(&float(*value)),
        Value::Text(text) => {
            meter.allocate(text.len().saturating_mul(2))?;
            if text.safe {
                out.push_str("Markup(");
            }
            quote(text, out);
            if text.safe {
                out.push(')');
            }
        }
        Value::List(list) => write_items(&list.items, "[", "]", false, out, meter)?,
        Value::Tuple(list) => write_items(&list.items, "(", ")", true, out, meter)?,
        Value::Dict(dict) => {
            out.push('{');
            for (at, (key, value)) in dict.entries.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                write_repr(key, out, meter)?;
                out.push_str(": ");
                write_repr(value, out, meter)?;
            }
            out.push('}');
        }
        other => {
            let _ = write!(out, "<{}>", other.type_name());
        }
    }
    Ok(())
}

fn write_items(
    items: &[Value],
    open: &str,
    close: &str,
    lone_comma: bool,
    out: &mut String,
    meter: &mut Meter,
) -> Fallible<()> {
    out.push_str(open);
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        write_repr(item, out, meter)?;
    }
    if lone_comma && items.len() == 1 {
        out.push(',');
    }
    out.push_str(close);
    Ok(())
}

/// A string in quotes: single ones, unless it holds some and no double ones.
fn quote(text: &str, out: &mut String) {
    let mark = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(mark);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == mark => {
                out.push('\\');
                out.push(c);
            }
            c if is_printable(c) => out.push(c),
            c if u32::from(c) < 0x100 => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if u32::from(c) < 0x10000 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => {
                let _ = write!(out, "\\U{:08x}", u32::from(c));
            }
        }
    }
    out.push(mark);
}

/// Python prints everything but controls, formats, separators and private places as it stands.
fn is_printable(c: char) -> bool {
    !(c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c, '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{e0fff}' | '\u{f0000}'..='\u{10ffff}'))
}

/// `repr` of a float: the shortest digits that give it back, an exponent below 1e-4 and from 1e16.
pub(super) fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e16).contains(&size) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    let text = format!("{value}");
    if text.contains('.') { text } else { format!("{text}.0") }
}

/// `json.dumps` as transformers' `tojson` calls it: characters beyond ASCII stay as they are.
pub(super) struct Json<'a> {
    pub(super) indent: Option<&'a str>,
    pub(super) item_separator: &'a str,
    pub(super) key_separator: &'a str,
    pub(super) sort_keys: bool,
}

impl Json<'_> {
    pub(super) fn write(&self, value: &Value, level: usize, out: &mut String, meter: &mut Meter) -> Fallible<()> {
        meter.allocate(8)?;
        match value {
            Value::None => out.push_str("null"),
            Value::Bool(true) => out.push_str("true"),
            Value::Bool(false) => out.push_str("false"),
            Value::Integer(value) => {
                let _ = write!(out, "{value}");
            }
            Value::Float(value) => out.push_str(&json_float(*value)),
            Value::Text(text) => {
                meter.allocate(text.len())?;
                json_string(text, out);
            }
            Value::List(list) | Value::Tuple(list) if !list.lazy => {
                if list.items.is_empty() {
                    out.push_str("[]");
                    return Ok(());
                }
                out.push('[');
                for (at, item) in list.items.iter().enumerate() {
                    if at > 0 {
                        out.push_str(self.item_separator);
                    }
                    self.new_line(level + 1, out, meter)?;
                    self.write(item, level + 1, out, meter)?;
                }
                self.new_line(level, out, meter)?;
                out.push(']');
            }
            Value::Dict(dict) => {
                if dict.entries.is_empty() {
                    out.push_str("{}");
                    return Ok(());
                }
                let mut entries = Vec::with_capacity(dict.entries.len());
                meter.values(dict.entries.len())?;
                for (key, value) in &dict.entries {
                    entries.push((self.key(key, meter)?, value));
                }
                if self.sort_keys {
                    entries.sort_by(|left, right| left.0.cmp(&right.0));
                }
                out.push('{');
                for (at, (key, value)) in entries.into_iter().enumerate() {
                    if at > 0 {
                        out.push_str(self.item_separator);
                    }
                    self.new_line(level + 1, out, meter)?;
                    json_string(&key, out);
                    out.push_str(self.key_separator);
                    self.write(value, level + 1, out, meter)?;
                }
                self.new_line(level, out, meter)?;
                out.push('}');
            }
            other => return meter.fail(format!("Object of type {} is not JSON serializable", other.type_name())),
        }
        Ok(())
    }

    fn new_line(&self, level: usize, out: &mut String, meter: &mut Meter) -> Fallible<()> {
        if let Some(indent) = self.indent {
            meter.allocate(indent.len().saturating_mul(level) + 1)?;
            out.push('\n');
            for _ in 0..level {
                out.push_str(indent);
            }
        }
        meter.allocate(self.item_separator.len() + self.key_separator.len())
    }

    fn key(&self, key: &Value, meter: &mut Meter) -> Fallible<String> {
        match key {
            Value::Text(_) => text(key, meter),
            Value::None => Ok("null".to_owned()),
            Value::Bool(value) => Ok(value.to_string()),
            Value::Integer(value) => Ok(value.to_string()),
            Value::Float(value) => Ok(json_float(*value)),
            other => meter.fail(format!("keys must be str, int, float, bool or None, not {}", other.type_name())),
        }
    }
}

fn json_float(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        float(value)
    }
}

fn json_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
