//! `const`, `enum`, and `oneOf` whose branches are told apart by their literals.

use serde_json::{Value, json};

use super::{Place, Writer, keywords, numbers};
use crate::ConstraintError;

/// What a value is, for messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Why a text cannot be written in an answer: strings are written with short escapes only, so that each has one spelling.
pub(super) fn unwritable(text: &str) -> Option<String> {
    let bad = |c: &char| *c == '\u{7f}' || (*c < ' ' && !matches!(c, '\n' | '\r' | '\t' | '\u{8}' | '\u{c}'));
    text.chars().find(bad).map(|c| format!("control characters like U+{:04X} are not written", u32::from(c)))
}

/// Refuses literals that would be changed on the way.
fn check(place: &Place<'_>, keyword: &str, value: &Value) -> Result<(), ConstraintError> {
    match value {
        Value::Null | Value::Bool(_) => Ok(()),
        Value::Number(number) => match numbers::exact(number) {
            Some(_) => Ok(()),
            None => Err(place.refuse(keyword, format!("{number} has more digits than are told apart"))),
        },
        Value::String(text) => match unwritable(text) {
            Some(reason) => Err(place.refuse(keyword, reason)),
            None => Ok(()),
        },
        Value::Array(items) => items.iter().try_for_each(|item| check(place, keyword, item)),
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            if let Some(reason) = unwritable(name) {
                return Err(place.refuse(keyword, reason));
            }
            check(place, keyword, value)
        }),
    }
}

pub(super) fn constant(
    _: &mut Writer<'_>,
    place: &mut Place<'_>,
    keyword: &str,
    value: &Value,
) -> Result<(), ConstraintError> {
    check(place, keyword, value)?;
    place.put(keyword, value.clone());
    Ok(())
}

pub(super) fn enumeration(
    _: &mut Writer<'_>,
    place: &mut Place<'_>,
    keyword: &str,
    value: &Value,
) -> Result<(), ConstraintError> {
    let values = value.as_array().ok_or_else(|| place.expected(keyword, "an array", value))?;
    if values.is_empty() {
        return Err(place.refuse(keyword, "it lists nothing"));
    }
    values.iter().try_for_each(|value| check(place, keyword, value))?;
    place.put(keyword, value.clone());
    Ok(())
}

pub(super) fn one_of(
    writer: &mut Writer<'_>,
    place: &mut Place<'_>,
    keyword: &str,
    value: &Value,
) -> Result<(), ConstraintError> {
    let written = keywords::branches(writer, place, keyword, value)?;
    if told_apart(&written) {
        // No value is in two of them, so one of them is any of them; beside another `anyOf` both hold.
        place.all_of.push(json!({ "anyOf": written }));
        return Ok(());
    }
    let written = Value::Array(written);
    writer.part(place, keyword, json!({ keyword: written }));
    place.put(keyword, written);
    Ok(())
}

/// Whether every branch lists its values and no value is listed twice.
fn told_apart(branches: &[Value]) -> bool {
    let mut seen: Vec<&Value> = Vec::new();
    for branch in branches {
        let listed = match (branch.get("const"), branch.get("enum").and_then(Value::as_array)) {
            (Some(value), _) => std::slice::from_ref(value),
            (None, Some(values)) => values.as_slice(),
            (None, None) => return false,
        };
        if seen.len() + listed.len() > 1000 || listed.iter().any(|value| seen.iter().any(|other| same(value, other))) {
            return false;
        }
        seen.extend(listed);
    }
    true
}

/// JSON Schema's equality: 1 and 1.0 are one number.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}
