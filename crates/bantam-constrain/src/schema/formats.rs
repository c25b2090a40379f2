//! `format`: the names that are known, each as what it asks for.

use serde_json::{Value, json};

use super::{Place, Writer};
use crate::ConstraintError;

/// How a format is held to.
enum Form {
    /// llguidance's own expression is exact enough: it matches nothing that is not in the format.
    Compiled,
    /// This expression, whole.
    Pattern(fn() -> String),
    /// llguidance's own, no longer than this.
    Shorter(u32),
}

/// RFC 3339's full-date of the Gregorian calendar, years 0001 to 9999.
fn date() -> String {
    const YEAR: &str = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9][0-9]|[0-9][1-9][0-9]{2}|[1-9][0-9]{3})";
    const LEAP: &str = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)";
    let days = "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))";
    format!("(?:{YEAR}-{days}|{LEAP}-02-29)")
}

/// RFC 3339's full-time. Leap seconds only come at the end of some days, so there are none.
fn time() -> String {
    "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])".to_owned()
}

fn date_time() -> String {
    format!("{}T{}", date(), time())
}

/// RFC 6901.
fn json_pointer() -> String {
    "(?:/(?:[^~/]|~[01])*)*".to_owned()
}

const STRINGS: &[(&str, Form)] = &[
    ("date", Form::Pattern(date)),
    ("time", Form::Pattern(time)),
    ("date-time", Form::Pattern(date_time)),
    ("json-pointer", Form::Pattern(json_pointer)),
    ("duration", Form::Compiled),
    ("email", Form::Compiled),
    ("hostname", Form::Shorter(253)),
    ("ipv4", Form::Compiled),
    ("ipv6", Form::Compiled),
    ("uuid", Form::Compiled),
    ("uri", Form::Compiled),
];

/// OpenAPI's names for numbers: least and greatest, none where a name says nothing of the value.
const NUMBERS: &[(&str, Option<(i64, i64)>)] = &[
    ("int8", Some((-128, 127))),
    ("uint8", Some((0, 255))),
    ("int16", Some((-32_768, 32_767))),
    ("uint16", Some((0, 65_535))),
    ("int32", Some((-2_147_483_648, 2_147_483_647))),
    ("uint32", Some((0, 4_294_967_295))),
    // Drawn in to what a double holds.
    ("int64", Some((-9_007_199_254_740_991, 9_007_199_254_740_991))),
    ("uint64", Some((0, 9_007_199_254_740_991))),
    ("int", Some((-9_007_199_254_740_991, 9_007_199_254_740_991))),
    ("uint", Some((0, 9_007_199_254_740_991))),
    ("float", None),
    ("double", None),
];

pub(super) fn keyword(
    _: &mut Writer<'_>,
    place: &mut Place<'_>,
    keyword: &str,
    value: &Value,
) -> Result<(), ConstraintError> {
    let name = value.as_str().ok_or_else(|| place.expected(keyword, "a string", value))?;
    let may_be = |kind: &str| match place.source.get("type") {
        None => true,
        Some(Value::String(only)) => only == kind,
        Some(Value::Array(several)) => several.iter().any(|one| one == kind),
        Some(_) => false,
    };
    if let Some((_, bounds)) = NUMBERS.iter().find(|(known, _)| *known == name) {
        if let Some((least, greatest)) = bounds {
            place.all_of.push(json!({ "minimum": least, "maximum": greatest }));
        }
        return Ok(());
    }
    let Some((_, form)) = STRINGS.iter().find(|(known, _)| *known == name) else {
        return Err(place.refuse(keyword, format!("the format {name:?} is not known")));
    };
    if !may_be("string") {
        return Ok(());
    }
    match form {
        Form::Compiled => place.put(keyword, value.clone()),
        Form::Shorter(length) => {
            place.put(keyword, value.clone());
            place.all_of.push(json!({ "maxLength": length }));
        }
        Form::Pattern(pattern) => place.all_of.push(json!({ "pattern": format!("^(?:{})$", pattern()) })),
    }
    Ok(())
}
