//! The keywords of JSON Schema and what becomes of each.

use serde_json::{Map, Value, json};

use super::{Place, Writer, formats, literals, numbers, objects, pattern};
use crate::ConstraintError;

/// Writes one keyword anew.
type Write = fn(&mut Writer<'_>, &mut Place<'_>, &str, &Value) -> Result<(), ConstraintError>;
/// Whether a keyword with this value, in this schema, asks for nothing.
type Harmless = fn(&Map<String, Value>, &Value) -> bool;

/// What a keyword means here.
pub(super) enum Meaning {
    /// It says nothing of the instance.
    Nothing,
    /// It is none of JSON Schema's.
    Unknown,
    /// Answers cannot be held to it, unless it asks for nothing.
    Refused(Harmless, &'static str),
    /// Answers are held to it.
    Honoured(Write),
}

const HONOURED: &[(&str, Write)] = &[
    ("type", types),
    ("const", literals::constant),
    ("enum", literals::enumeration),
    ("allOf", several),
    ("anyOf", several),
    ("oneOf", literals::one_of),
    ("$ref", reference),
    ("properties", objects::properties),
    ("patternProperties", objects::pattern_properties),
    ("additionalProperties", single),
    ("unevaluatedProperties", unevaluated),
    ("required", objects::required),
    ("minProperties", count),
    ("maxProperties", count),
    ("items", items),
    ("prefixItems", prefix_items),
    ("additionalItems", additional_items),
    ("unevaluatedItems", unevaluated),
    ("minItems", count),
    ("maxItems", count),
    ("minLength", count),
    ("maxLength", count),
    ("pattern", pattern::keyword),
    ("format", formats::keyword),
    ("minimum", numbers::bound),
    ("maximum", numbers::bound),
    ("exclusiveMinimum", numbers::exclusive),
    ("exclusiveMaximum", numbers::exclusive),
    ("multipleOf", numbers::multiple_of),
];

const LATER: &str = "what it asks for depends on parts of the answer that are not written yet, or are gone";

const REFUSED: &[(&str, Harmless, &str)] = &[
    ("not", |_, value| *value == Value::Bool(false), "a form can't be held to what it must not be"),
    ("if", |schema, _| !schema.contains_key("then") && !schema.contains_key("else"), LATER),
    (
        "contains",
        |schema, _| {
            schema.get("minContains").is_some_and(|least| *least == json!(0)) && !schema.contains_key("maxContains")
        },
        LATER,
    ),
    ("uniqueItems", |_, value| *value == Value::Bool(false), LATER),
    ("dependencies", |_, value| empty(value), LATER),
    ("dependentRequired", |_, value| empty(value), LATER),
    ("dependentSchemas", |_, value| empty(value), LATER),
    ("propertyNames", |_, value| anything(value), "names that fit a schema are asked for with \"patternProperties\""),
    ("$dynamicRef", |_, _| false, "references that depend on the way they were reached are not followed"),
    ("$recursiveRef", |_, _| false, "references that depend on the way they were reached are not followed"),
    (
        "nullable",
        |_, value| *value == Value::Bool(false),
        "it is OpenAPI's; JSON Schema says \"type\": [\"…\", \"null\"]",
    ),
];

/// Keywords that say nothing of the instance: names, words for readers, what only counts beside another keyword.
const NOTHING: &[&str] = &[
    "$schema",
    "$id",
    "id",
    "$anchor",
    "$dynamicAnchor",
    "$recursiveAnchor",
    "$defs",
    "definitions",
    "$comment",
    "$vocabulary",
    "title",
    "description",
    "default",
    "deprecated",
    "readOnly",
    "writeOnly",
    "example",
    "examples",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "then",
    "else",
    "minContains",
    "maxContains",
    "discriminator",
    "xml",
    "externalDocs",
];

pub(super) fn meaning(keyword: &str) -> Meaning {
    if let Some((_, write)) = HONOURED.iter().find(|(name, _)| *name == keyword) {
        return Meaning::Honoured(*write);
    }
    if let Some((_, harmless, reason)) = REFUSED.iter().find(|(name, _, _)| *name == keyword) {
        return Meaning::Refused(*harmless, reason);
    }
    if NOTHING.contains(&keyword) || keyword.starts_with("x-") { Meaning::Nothing } else { Meaning::Unknown }
}

fn empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty)
}

fn anything(value: &Value) -> bool {
    *value == Value::Bool(true) || empty(value)
}

const TYPES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];

fn types(_: &mut Writer<'_>, place: &mut Place<'_>, keyword: &str, value: &Value) -> Result<(), ConstraintError> {
    let names = match value {
        Value::Array(names) if !names.is_empty() => names.as_slice(),
        Value::Array(_) => return Err(place.refuse(keyword, "it lists no type")),
        single => std::slice::from_ref(single),
    };
    for name in names {
        match name.as_str() {
            None => return Err(place.expected(keyword, "the name of a type", name)),
            Some(name) if TYPES.contains(&name) => {}
            Some(name) => return Err(place.refuse(keyword, format!("there is no type {name:?}"))),
        }
    }
    place.put(keyword, value.clone());
    Ok(())
}

fn several(
    writer: &mut Writer<'_>,
    place: &mut Place<'_>,
    keyword: &str,
    value: &Value,
) -> Result<(), ConstraintError> {
    let written = branches(writer, place, keyword, value)?;
    let written = Value::Array(written);
    writer.part(place, keyword, json!({ keyword: written }));
    place.put(keyword, written);
    Ok(())
}

/// The branches of `allOf` and its like, written anew.
pub(super) fn branches(
    writer: &mut Writer<'_>,
    place: &Place<'_>,
    keyword: &str,
    value: &Value,
) -> Result<Vec<Value>, ConstraintError> {
    let branches = value.as_array().ok_or_else(|| place.expected(keyword, "an array of schemas", value))?;
    if branches.is_empty() {
        return Err(place.refuse(keyword, "it is empty"));
    }
    let mut written = Vec::with_capacity(branches.len());
    for (index, branch) in branches.iter().enumerate() {
        written.push(writer.sub(place, &[keyword, &index.to_string()], branch)?);
    }
    Ok(written)
}

fn single(writer: &mut Writer<'_>, place: &mut Place<'_>, keyword: &str, value: &Value) -> Result<(), ConstraintError> {
    let written = writer.sub(place, &[keyword], value)?;
    place.put(keyword, written);
    Ok(())
}

/// Where nothing beside it evaluates properties or items, `unevaluated…` is `additional…` or `items`.
fn unevaluated(
    writer: &mut Writer<'_>,
    place: &mut Place<'_>,
    keyword: &str,
    value: &Value,
) -> Result<(), ConstraintError> {
    if anything(value) {
        return Ok(());
    }
    let beside = ["allOf", "anyOf", "oneOf", "$ref", "if", "not", "contains", "dependentSchemas", "$dynamicRef"];
    if beside.iter().any(|name| place.source.contains_key(*name)) {
        return Err(place.refuse(keyword, "what other subschemas have evaluated is not kept count of"));
    }
    let (same, covered) = match keyword {
        "unevaluatedProperties" => ("additionalProperties", place.source.contains_key("additionalProperties")),
        _ => ("items", place.source.contains_key("items") || place.source.contains_key("additionalItems")),
    };
    if covered {
        return Ok(());
    }
    let written = writer.sub(place, &[keyword], value)?;
    place.put(same, written);
    Ok(())
}

fn items(writer: &mut Writer<'_>, place: &mut Place<'_>, keyword: &str, value: &Value) -> Result<(), ConstraintError> {
    if !value.is_array() {
        return single(writer, place, keyword, value);
    }
    // Drafts before 2020-12: one schema for each of the first items.
    if place.source.contains_key("prefixItems") {
        return Err(place.refuse(keyword, "it is an array, and \"prefixItems\" stands beside it"));
    }
    if value.as_array().is_some_and(Vec::is_empty) {
        return Ok(());
    }
    let written = branches(writer, place, keyword, value)?;
    place.put("prefixItems", Value::Array(written));
    Ok(())
}

fn prefix_items(
    writer: &mut Writer<'_>,
    place: &mut Place<'_>,
    keyword: &str,
    value: &Value,
) -> Result<(), ConstraintError> {
    let old = writer.references.draft_before_2020();
    if old {
        return Err(place.refuse(keyword, "the draft that \"$schema\" names does not have it"));
    }
    let written = branches(writer, place, keyword, value)?;
    place.put(keyword, Value::Array(written));
    Ok(())
}

fn additional_items(
    writer: &mut Writer<'_>,
    place: &mut Place<'_>,
    keyword: &str,
    value: &Value,
) -> Result<(), ConstraintError> {
    // It only counts behind an array of items.
    if place.source.get("items").is_some_and(Value::is_array) {
        let written = writer.sub(place, &[keyword], value)?;
        place.put("items", written);
    } else if place.source.contains_key("prefixItems") {
        return Err(place.refuse(keyword, "beside \"prefixItems\" its name is \"items\""));
    }
    Ok(())
}

fn count(_: &mut Writer<'_>, place: &mut Place<'_>, keyword: &str, value: &Value) -> Result<(), ConstraintError> {
    // 3.0 is a whole number to JSON Schema.
    let whole = value.as_u64().or_else(|| {
        value
            .as_f64()
            .filter(|number| number.fract() == 0.0 && (0.0..9e15).contains(number))
            .map(|number| number as u64)
    });
    let number =
        whole.ok_or_else(|| place.refuse(keyword, format!("a whole number from 0 was expected, found {value}")))?;
    match keyword {
        // No answer is as long as that.
        "maxLength" | "maxItems" | "maxProperties" if number > 1_000_000 => {}
        "minLength" | "minItems" | "minProperties" if number > 100_000 => {
            return Err(place.refuse(keyword, "it is more than 100,000"));
        }
        _ => place.put(keyword, json!(number)),
    }
    Ok(())
}

fn reference(
    writer: &mut Writer<'_>,
    place: &mut Place<'_>,
    keyword: &str,
    value: &Value,
) -> Result<(), ConstraintError> {
    let text = value.as_str().ok_or_else(|| place.expected(keyword, "a string", value))?;
    let name = writer.references.resolve(writer.root, text).map_err(|reason| place.refuse(keyword, reason))?;
    place.put(keyword, Value::String(format!("#/$defs/{name}")));
    Ok(())
}
