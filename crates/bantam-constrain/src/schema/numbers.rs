//! Bounds and divisors, as far as a double holds them exactly.

use serde_json::{Number, Value, json};

use super::{Place, Writer};
use crate::ConstraintError;

/// Whole numbers up to here are exact in a double.
const WHOLE: f64 = 9_007_199_254_740_991.0;
/// Largest divisor that is counted modulo of, in units of its last decimal: an automaton has as many states.
const MOST_REMAINDERS: u64 = 65_535;
/// Most decimals of a divisor: derivre multiplies a digit, up to 9, with ten to their power, in 32 bits.
const MOST_DECIMALS: u32 = 8;

/// A number that is the same as a double and as its shortest decimal, of moderate size.
pub(super) fn exact(number: &Number) -> Option<f64> {
    let value = number.as_f64()?;
    if value.fract() == 0.0 {
        let whole = number.as_i64().is_some_and(|whole| whole.unsigned_abs() <= 1 << 53) || number.is_f64();
        return (whole && value.abs() <= WHOLE).then_some(value);
    }
    // Written as a decimal it has at most 15 significant digits, which a double keeps.
    let digits = format!("{value}").bytes().filter(u8::is_ascii_digit).count();
    (value.abs() >= 1e-6 && digits <= 16).then_some(value)
}

/// `minimum` and `maximum`. Bounds that a double cannot hold are drawn in: an answer within them is within the others.
pub(super) fn bound(
    _: &mut Writer<'_>,
    place: &mut Place<'_>,
    keyword: &str,
    value: &Value,
) -> Result<(), ConstraintError> {
    let Value::Number(number) = value else { return Err(place.expected(keyword, "a number", value)) };
    let other = if keyword == "minimum" { "exclusiveMinimum" } else { "exclusiveMaximum" };
    let bound = drawn_in(place, keyword, number)?;
    // Draft 4 has a flag beside the bound.
    match place.source.get(other) {
        Some(Value::Bool(true)) => put_exclusive(place, other, bound),
        _ => put(place, keyword, bound),
    }
    Ok(())
}

pub(super) fn exclusive(
    _: &mut Writer<'_>,
    place: &mut Place<'_>,
    keyword: &str,
    value: &Value,
) -> Result<(), ConstraintError> {
    match value {
        Value::Bool(_) => Ok(()),
        Value::Number(number) => {
            let bound = drawn_in(place, keyword, number)?;
            put_exclusive(place, keyword, bound);
            Ok(())
        }
        other => Err(place.expected(keyword, "a number", other)),
    }
}

/// Puts a bound that may itself be met, unless a narrower one stands there.
fn put(place: &mut Place<'_>, keyword: &str, bound: Value) {
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let narrower = |there: &Value| {
        if keyword == "minimum" { number(there) >= number(&bound) } else { number(there) <= number(&bound) }
    };
    if !place.out.get(keyword).is_some_and(narrower) {
        place.put(keyword, bound);
    }
}

/// Puts a bound that may not itself be met. llguidance lets a whole one through where the other bound, perhaps one of another
/// subschema, has the same whole part: 0 above 0 and up to 0.5. So such a bound becomes the nearest number, in 16 digits, that
/// may be met.
fn put_exclusive(place: &mut Place<'_>, keyword: &str, bound: Value) {
    let value = bound.as_f64().unwrap_or_default();
    let (inclusive, sign) = if keyword == "exclusiveMinimum" { ("minimum", 1.0) } else { ("maximum", -1.0) };
    // On the other side of 0 it is the far end of the magnitudes, which is held to.
    let near = value.fract() == 0.0 && value * sign >= 0.0;
    let digits = format!("{}", value.abs()).len();
    if !near || digits > 15 {
        return place.put(keyword, bound);
    }
    let next = (1..=16 - digits)
        .rev()
        .map(|decimals| format!("{}.{:0>decimals$}", value.abs(), 1).parse::<f64>().unwrap_or_default() * sign)
        .find(|next| *next != value)
        .unwrap_or(value + sign);
    put(place, inclusive, json!(next));
}

fn drawn_in(place: &Place<'_>, keyword: &str, number: &Number) -> Result<Value, ConstraintError> {
    if exact(number).is_some() {
        return Ok(Value::Number(number.clone()));
    }
    let value = number.as_f64().unwrap_or(f64::NAN);
    let least = keyword.ends_with("inimum");
    if least && value < -WHOLE {
        return Ok(json!(-WHOLE as i64));
    }
    if !least && value > WHOLE {
        return Ok(json!(WHOLE as i64));
    }
    Err(place.refuse(keyword, format!("{number} has more digits than are told apart")))
}

/// The least common multiple of all divisors so far: llguidance multiplies those that meet, in 32 bits.
#[derive(Debug, Default)]
pub(super) struct Multiple {
    /// Each divisor: digits and decimals.
    divisors: Vec<(u64, u32)>,
}

impl Multiple {
    fn add(&mut self, digits: u64, decimals: u32) -> bool {
        self.divisors.push((digits, decimals));
        let most = self.divisors.iter().map(|&(_, decimals)| decimals).max().unwrap_or(0);
        let mut common = 1_u64;
        for &(digits, decimals) in &self.divisors {
            let Some(scaled) = 10_u64.checked_pow(most - decimals).and_then(|scale| digits.checked_mul(scale)) else {
                return false;
            };
            let Some(next) = (common / divisor(common, scaled)).checked_mul(scaled) else { return false };
            common = next;
        }
        common <= MOST_REMAINDERS
    }
}

fn divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a.max(1) } else { divisor(b, a % b) }
}

pub(super) fn multiple_of(
    writer: &mut Writer<'_>,
    place: &mut Place<'_>,
    keyword: &str,
    value: &Value,
) -> Result<(), ConstraintError> {
    let Value::Number(number) = value else { return Err(place.expected(keyword, "a number", value)) };
    let refuse = |reason: &str| Err(place.refuse(keyword, reason));
    let Some(double) = number.as_f64().filter(|double| *double > 0.0) else {
        return refuse("it is not above 0");
    };
    let text = format!("{double}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let digits = format!("{whole}{fraction}").parse::<u64>().ok();
    let Some((digits, decimals)) =
        digits.zip(u32::try_from(fraction.len()).ok()).filter(|(_, decimals)| *decimals <= MOST_DECIMALS)
    else {
        return refuse("it has more than 8 decimals");
    };
    // llguidance takes the digits by multiplying with ten, in doubles.
    let (mut taken, mut steps) = (double, 0);
    while taken.fract() != 0.0 && steps <= decimals {
        taken *= 10.0;
        steps += 1;
    }
    if taken != digits as f64 || steps != decimals {
        return refuse("its digits are not exact in binary");
    }
    if !writer.multiple.add(digits, decimals) {
        return refuse(
            "it, or what it has in common with the schema's other \"multipleOf\", is above 65,535 in its last digit",
        );
    }
    writer.part(place, keyword, json!({ "type": "number", keyword: value }));
    place.put(keyword, value.clone());
    Ok(())
}
