//! Jinja's tests: what stands behind `is`.

use super::arguments::Values;
use super::meter::{Fallible, Meter};
use super::operators::{contains, equal, order};
use super::value::Value;

/// `value is name(…)`.
pub(super) fn check(name: &str, value: &Value, mut arguments: Values, meter: &mut Meter) -> Fallible<bool> {
    let result = match name {
        "defined" => !matches!(value, Value::Undefined(_)),
        "undefined" => matches!(value, Value::Undefined(_)),
        "none" => matches!(value, Value::None),
        "boolean" => matches!(value, Value::Bool(_)),
        "true" => matches!(value, Value::Bool(true)),
        "false" => matches!(value, Value::Bool(false)),
        "integer" => matches!(value, Value::Integer(_)),
        "float" => matches!(value, Value::Float(_)),
        "number" => matches!(value, Value::Integer(_) | Value::Float(_) | Value::Bool(_)),
        "string" => matches!(value, Value::Text(_)),
        "mapping" => matches!(value, Value::Dict(_)),
        "iterable" => matches!(
            value,
            Value::Text(_) | Value::List(_) | Value::Tuple(_) | Value::Dict(_) | Value::Undefined(_) | Value::Loop(_)
        ),
        "sequence" if matches!(value, Value::List(list) if list.lazy) => false,
        "sequence" => matches!(value, Value::Text(_) | Value::List(_) | Value::Tuple(_) | Value::Dict(_)),
        "callable" => {
            matches!(value, Value::Macro(_) | Value::Function(_) | Value::Method(_) | Value::Loop(_) | Value::Joiner(_))
        }
        "escaped" => value.is_safe(),
        "odd" | "even" => match value.as_integer() {
            Some(value) => (value.rem_euclid(2) == 1) == (name == "odd"),
            None => return meter.fail(format!("an integer is needed for '{name}', not {}", value.type_name())),
        },
        "divisibleby" => {
            let divisor = arguments.integer("num", meter)?;
            match (value.as_integer(), divisor) {
                (_, Some(0)) => return meter.fail("division by zero"),
                (Some(value), Some(divisor)) => value.checked_rem(divisor).is_none_or(|rest| rest == 0),
                _ => return meter.fail("integers are needed for 'divisibleby'"),
            }
        }
        "lower" | "upper" => {
            let Value::Text(text) = value else { return Ok(false) };
            meter.scan(text.len())?;
            if name == "lower" {
                text.chars().any(char::is_lowercase) && !text.chars().any(char::is_uppercase)
            } else {
                text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase)
            }
        }
        "equalto" | "eq" | "==" | "sameas" => {
            let other = arguments.required("other", meter)?;
            if name == "sameas" && value.type_name() != other.type_name() {
                return Ok(false);
            }
            equal(value, &other, meter)?
        }
        "ne" | "!=" => !equal(value, &arguments.required("other", meter)?, meter)?,
        "lt" | "lessthan" | "<" => order(value, &arguments.required("other", meter)?, meter)?.is_lt(),
        "le" | "<=" => order(value, &arguments.required("other", meter)?, meter)?.is_le(),
        "gt" | "greaterthan" | ">" => order(value, &arguments.required("other", meter)?, meter)?.is_gt(),
        "ge" | ">=" => order(value, &arguments.required("other", meter)?, meter)?.is_ge(),
        "in" => contains(&arguments.required("seq", meter)?, value, meter)?,
        other => return meter.fail(format!("No test named '{other}'.")),
    };
    arguments.finish(name, meter)?;
    Ok(result)
}
