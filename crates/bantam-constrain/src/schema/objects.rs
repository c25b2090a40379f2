//! Keywords of objects.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::{Place, Writer, literals, pattern};
use crate::ConstraintError;

/// Most properties of an object that may be left out: each is a way to go on from every other.
const MOST_OPTIONAL: usize = 2_000;
/// So many of them may be too many for the compiler.
const MANY_OPTIONAL: usize = 300;

pub(super) fn properties(
    writer: &mut Writer<'_>,
    place: &mut Place<'_>,
    keyword: &str,
    value: &Value,
) -> Result<(), ConstraintError> {
    let schemas = value.as_object().ok_or_else(|| place.expected(keyword, "an object of schemas", value))?;
    let required: HashSet<&str> = match place.source.get("required").and_then(Value::as_array) {
        Some(names) => names.iter().filter_map(Value::as_str).collect(),
        None => HashSet::new(),
    };
    let optional = schemas.keys().filter(|name| !required.contains(name.as_str())).count();
    if optional > MOST_OPTIONAL {
        return Err(place.refuse(keyword, format!("it has more than {MOST_OPTIONAL} that may be left out")));
    }
    let mut written = Map::new();
    for (name, schema) in schemas {
        if let Some(reason) = literals::unwritable(name) {
            return Err(place.refuse(keyword, reason));
        }
        written.insert(name.clone(), writer.sub(place, &[keyword, name], schema)?);
    }
    if optional > MANY_OPTIONAL {
        let names: Map<String, Value> = written.keys().map(|name| (name.clone(), json!({ "type": "null" }))).collect();
        let required = place.source.get("required").filter(|names| names.is_array()).cloned().unwrap_or(json!([]));
        let bare = json!({ "type": "object", keyword: names, "required": required, "additionalProperties": false });
        writer.part(place, keyword, bare);
    }
    place.put(keyword, Value::Object(written));
    Ok(())
}

pub(super) fn pattern_properties(
    writer: &mut Writer<'_>,
    place: &mut Place<'_>,
    keyword: &str,
    value: &Value,
) -> Result<(), ConstraintError> {
    let schemas = value.as_object().ok_or_else(|| place.expected(keyword, "an object of schemas", value))?;
    let mut written = Map::new();
    for (name, schema) in schemas {
        let translated =
            pattern::checked(name).map_err(|reason| place.refuse(keyword, format!("{name:?}: {reason}")))?;
        writer.part(place, keyword, json!({ "type": "string", "pattern": translated }));
        let schema = writer.sub(place, &[keyword, name], schema)?;
        if written.insert(translated, schema).is_some() {
            return Err(place.refuse(keyword, format!("{name:?} is the same pattern as another")));
        }
    }
    let names: Map<String, Value> = written.keys().map(|name| (name.clone(), Value::Bool(true))).collect();
    writer.part(place, keyword, json!({ "type": "object", keyword: names }));
    place.put(keyword, Value::Object(written));
    Ok(())
}

pub(super) fn required(
    _: &mut Writer<'_>,
    place: &mut Place<'_>,
    keyword: &str,
    value: &Value,
) -> Result<(), ConstraintError> {
    // Draft 3 had a flag in each property's own schema.
    let names = value.as_array().ok_or_else(|| place.expected(keyword, "an array of names", value))?;
    for name in names {
        let text = name.as_str().ok_or_else(|| place.expected(keyword, "an array of names", name))?;
        if let Some(reason) = literals::unwritable(text) {
            return Err(place.refuse(keyword, reason));
        }
    }
    place.put(keyword, value.clone());
    Ok(())
}

/// Free names may come twice, and an object then has fewer properties than were written: more than one of them cannot be
/// counted on.
pub(super) fn finish(place: &mut Place<'_>) -> Result<(), ConstraintError> {
    let Some(least) = place.out.get("minProperties").and_then(Value::as_u64) else { return Ok(()) };
    let mut names: Vec<&str> = Vec::new();
    if let Some(required) = place.out.get("required").and_then(Value::as_array) {
        names.extend(required.iter().filter_map(Value::as_str));
        names.sort_unstable();
        names.dedup();
    }
    let required = names.len() as u64;
    if least <= required {
        place.out.shift_remove("minProperties");
    } else if least > required + 1 {
        return Err(place.refuse("minProperties", "it is more than one above the number of \"required\" properties"));
    }
    Ok(())
}
