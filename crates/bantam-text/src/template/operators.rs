//! Arithmetic, comparison, membership, indexing: Python's rules, every growing one paid for first.

use std::cmp::Ordering;

use super::ast::Operator;
use super::format;
use super::meter::{Fallible, Meter};
use super::print;
use super::value::{Text, Value};

/// `left operator right`.
pub(super) fn arithmetic(operator: Operator, left: &Value, right: &Value, meter: &mut Meter) -> Fallible<Value> {
    match (operator, left, right) {
        (Operator::Add, Value::Text(a), Value::Text(b)) => {
            meter.allocate(a.len().saturating_add(b.len()))?;
            if a.safe || b.safe {
                return Ok(Value::marked(print::escaped(left, meter)? + &print::escaped(right, meter)?, true));
            }
            return Ok(Value::Text(Text::from([&**a, &**b].concat())));
        }
        (Operator::Add, Value::List(a), Value::List(b)) => {
            meter.values(a.items.len() + b.items.len())?;
            return Value::list(a.items.iter().chain(&b.items).cloned().collect(), meter);
        }
        (Operator::Add, Value::Tuple(a), Value::Tuple(b)) => {
            meter.values(a.items.len() + b.items.len())?;
            return Value::tuple(a.items.iter().chain(&b.items).cloned().collect(), meter);
        }
        (Operator::Multiply, Value::Text(text), count) | (Operator::Multiply, count, Value::Text(text))
            if count.as_integer().is_some() =>
        {
            let count = times(count);
            meter.allocate(text.len().saturating_mul(count))?;
            return Ok(Value::marked(text.repeat(count), text.safe));
        }
        (Operator::Multiply, Value::List(list), count) | (Operator::Multiply, count, Value::List(list))
            if count.as_integer().is_some() =>
        {
            let count = times(count);
            meter.values(list.items.len().saturating_mul(count))?;
            let mut items = Vec::with_capacity(list.items.len() * count);
            for _ in 0..if list.items.is_empty() { 0 } else { count } {
                items.extend_from_slice(&list.items);
            }
            return Value::list(items, meter);
        }
        (Operator::Remainder, Value::Text(template), arguments) => {
            return Ok(Value::marked(format::percent(template, arguments, template.safe, meter)?, template.safe));
        }
        _ => {}
    }
    numbers(operator, left, right, meter)
}

fn times(count: &Value) -> usize {
    count.as_integer().and_then(|count| usize::try_from(count).ok()).unwrap_or(0)
}

fn numbers(operator: Operator, left: &Value, right: &Value, meter: &Meter) -> Fallible<Value> {
    let sign = match operator {
        Operator::Add => "+",
        Operator::Subtract => "-",
        Operator::Multiply => "*",
        Operator::Divide => "/",
        Operator::FloorDivide => "//",
        Operator::Remainder => "%",
        Operator::Power => "**",
    };
    for side in [left, right] {
        if let Value::Undefined(name) = side {
            return meter.fail(format!("'{name}' is undefined"));
        }
    }
    let (Some(a), Some(b)) = (left.as_float(), right.as_float()) else {
        let (left, right) = (left.type_name(), right.type_name());
        return meter.fail(format!("unsupported operand type(s) for {sign}: '{left}' and '{right}'"));
    };
    let divides = matches!(operator, Operator::Divide | Operator::FloorDivide | Operator::Remainder);
    if divides && b == 0.0 {
        return meter.fail("division by zero");
    }
    if let (Some(a), Some(b)) = (left.as_integer(), right.as_integer()) {
        let result = match operator {
            Operator::Add => a.checked_add(b),
            Operator::Subtract => a.checked_sub(b),
            Operator::Multiply => a.checked_mul(b),
            Operator::FloorDivide => a.checked_div_euclid(b).and_then(|quotient| {
                // Euclid's quotient differs from the floor where the divisor is negative and does not divide.
                if b < 0 && a.checked_rem_euclid(b)? != 0 { quotient.checked_sub(1) } else { Some(quotient) }
            }),
            Operator::Remainder => a.checked_rem_euclid(b).map(|rest| if b < 0 && rest != 0 { rest + b } else { rest }),
            Operator::Power => match u32::try_from(b) {
                Ok(b) => a.checked_pow(b),
                Err(_) => return power(left, right, meter),
            },
            Operator::Divide => {
                return Ok(Value::Float(left.as_float().unwrap_or(0.0) / right.as_float().unwrap_or(1.0)));
            }
        };
        return match result {
            Some(value) => Ok(Value::Integer(value)),
            None => meter.fail(format!("the result of {sign} is too large")),
        };
    }
    Ok(Value::Float(match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Divide => a / b,
        Operator::FloorDivide => (a / b).floor(),
        Operator::Remainder => {
            let rest = a % b;
            if rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest }
        }
        Operator::Power => return power(left, right, meter),
    }))
}

fn power(left: &Value, right: &Value, meter: &Meter) -> Fallible<Value> {
    let (a, b) = (left.as_float().unwrap_or(0.0), right.as_float().unwrap_or(0.0));
    let value = a.powf(b);
    if value.is_finite() { Ok(Value::Float(value)) } else { meter.fail("the result of ** is too large") }
}

/// `left == right`.
pub(super) fn equal(left: &Value, right: &Value, meter: &mut Meter) -> Fallible<bool> {
    meter.work(1)?;
    Ok(match (left, right) {
        (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => true,
        (Value::Text(a), Value::Text(b)) => {
            meter.scan(a.len().min(b.len()))?;
            **a == **b
        }
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            if a.items.len() != b.items.len() {
                return Ok(false);
            }
            for (a, b) in a.items.iter().zip(&b.items) {
                if !equal(a, b, meter)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Dict(a), Value::Dict(b)) => {
            if a.entries.len() != b.entries.len() {
                return Ok(false);
            }
            for (key, value) in &a.entries {
                match lookup(&b.entries, key, meter)? {
                    Some(other) if equal(value, &other, meter)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Value::Namespace(a), Value::Namespace(b)) | (Value::Macro(a), Value::Macro(b)) => a == b,
        (Value::Cycler(a), Value::Cycler(b)) | (Value::Joiner(a), Value::Joiner(b)) => a == b,
        (Value::Function(a), Value::Function(b)) => a == b,
        (Value::Loop(a), Value::Loop(b)) => a.id == b.id,
        _ => match (left.as_integer(), right.as_integer()) {
            (Some(a), Some(b)) => a == b,
            _ => matches!((left.as_float(), right.as_float()), (Some(a), Some(b)) if a == b),
        },
    })
}

/// Python's order, which only exists within numbers, strings, lists and tuples.
pub(super) fn order(left: &Value, right: &Value, meter: &mut Meter) -> Fallible<Ordering> {
    meter.work(1)?;
    match (left, right) {
        (Value::Text(a), Value::Text(b)) => {
            meter.scan(a.len().min(b.len()))?;
            // Bytes of UTF-8 are in the order of code points.
            return Ok((**a).cmp(&**b));
        }
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            for (a, b) in a.items.iter().zip(&b.items) {
                if !equal(a, b, meter)? {
                    return order(a, b, meter);
                }
            }
            return Ok(a.items.len().cmp(&b.items.len()));
        }
        _ => {}
    }
    if let (Some(a), Some(b)) = (left.as_integer(), right.as_integer()) {
        return Ok(a.cmp(&b));
    }
    match (left.as_float(), right.as_float()) {
        (Some(a), Some(b)) => Ok(a.partial_cmp(&b).unwrap_or(Ordering::Equal)),
        _ => {
            if let Some(Value::Undefined(name)) = [left, right].into_iter().find(|v| matches!(v, Value::Undefined(_))) {
                return meter.fail(format!("'{name}' is undefined"));
            }
            let (left, right) = (left.type_name(), right.type_name());
            meter.fail(format!("'<' not supported between instances of '{left}' and '{right}'"))
        }
    }
}

/// `needle in haystack`.
pub(super) fn contains(haystack: &Value, needle: &Value, meter: &mut Meter) -> Fallible<bool> {
    match haystack {
        Value::Text(text) => match needle {
            Value::Text(part) => {
                meter.scan(text.len())?;
                Ok(text.contains(&**part))
            }
            other => meter.fail(format!("'in <string>' requires string as left operand, not {}", other.type_name())),
        },
        Value::List(list) | Value::Tuple(list) => {
            for item in &list.items {
                if equal(item, needle, meter)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Value::Dict(dict) => Ok(lookup(&dict.entries, needle, meter)?.is_some()),
        Value::Undefined(_) => Ok(false),
        other => meter.fail(format!("argument of type '{}' is not iterable", other.type_name())),
    }
}

/// The value at `key`, paid for by the entries looked at.
pub(super) fn lookup(entries: &[(Value, Value)], key: &Value, meter: &mut Meter) -> Fallible<Option<Value>> {
    for (found, value) in entries {
        let same = match (found, key) {
            // The common case, without a step of its own.
            (Value::Text(a), Value::Text(b)) => **a == **b,
            _ => equal(found, key, meter)?,
        };
        if same {
            return Ok(Some(value.clone()));
        }
    }
    meter.work(entries.len() / 8)?;
    Ok(None)
}

/// `items[index]` with Python's negative indices.
pub(super) fn element(items: &[Value], index: i64) -> Option<&Value> {
    let at = if index < 0 { index.checked_add(i64::try_from(items.len()).ok()?)? } else { index };
    items.get(usize::try_from(at).ok()?)
}

/// `value[start:stop:step]`.
pub(super) fn slice(value: &Value, bounds: [Option<i64>; 3], meter: &mut Meter) -> Fallible<Value> {
    match value {
        Value::Text(text) => {
            meter.allocate(text.len().saturating_mul(2))?;
            if text.is_ascii() && matches!(bounds[2], None | Some(1)) {
                let range = indices(text.len(), bounds, meter)?;
                let part = range.first().zip(range.last()).and_then(|(from, to)| text.get(*from..=*to)).unwrap_or("");
                return Ok(Value::marked(part, text.safe));
            }
            let characters: Vec<char> = text.chars().collect();
            meter.allocate(characters.len() * 4)?;
            let part: String = indices(characters.len(), bounds, meter)?.into_iter().map(|at| characters[at]).collect();
            Ok(Value::marked(part, text.safe))
        }
        Value::List(list) | Value::Tuple(list) => {
            let part = indices(list.items.len(), bounds, meter)?.into_iter().map(|at| list.items[at].clone()).collect();
            if matches!(value, Value::List(_)) { Value::list(part, meter) } else { Value::tuple(part, meter) }
        }
        Value::Undefined(name) => meter.fail(format!("'{name}' is undefined")),
        other => meter.fail(format!("'{}' object is not subscriptable", other.type_name())),
    }
}

/// The indices a slice takes, in order.
fn indices(len: usize, bounds: [Option<i64>; 3], meter: &mut Meter) -> Fallible<Vec<usize>> {
    meter.values(len)?;
    let step = bounds[2].unwrap_or(1);
    if step == 0 {
        return meter.fail("slice step cannot be zero");
    }
    let size = i64::try_from(len).unwrap_or(i64::MAX);
    let clamp = |bound: i64, low: i64, high: i64| {
        let bound = if bound < 0 { bound.saturating_add(size) } else { bound };
        bound.clamp(low, high)
    };
    let (mut at, stop) = if step > 0 {
        (bounds[0].map_or(0, |b| clamp(b, 0, size)), bounds[1].map_or(size, |b| clamp(b, 0, size)))
    } else {
        (bounds[0].map_or(size - 1, |b| clamp(b, -1, size - 1)), bounds[1].map_or(-1, |b| clamp(b, -1, size - 1)))
    };
    let mut found = Vec::new();
    while if step > 0 { at < stop } else { at > stop } {
        found.extend(usize::try_from(at).ok().filter(|&at| at < len));
        let Some(next) = at.checked_add(step) else { break };
        at = next;
    }
    Ok(found)
}

/// The items a loop or filter goes through.
pub(super) fn items(value: &Value, meter: &mut Meter) -> Fallible<Vec<Value>> {
    match value {
        Value::List(list) | Value::Tuple(list) => {
            meter.values(list.items.len())?;
            Ok(list.items.clone())
        }
        Value::Dict(dict) => {
            meter.values(dict.entries.len())?;
            Ok(dict.entries.iter().map(|(key, _)| key.clone()).collect())
        }
        Value::Text(text) => {
            // Every character becomes a string of its own.
            meter.values(text.len())?;
            meter.allocate(text.len().saturating_mul(24))?;
            Ok(text.chars().map(|c| Value::text(c.encode_utf8(&mut [0; 4]))).collect())
        }
        Value::Undefined(_) => Ok(Vec::new()),
        other => meter.fail(format!("'{}' object is not iterable", other.type_name())),
    }
}

/// Sorts by Python's order, stably. (A sort of its own, because the order is fallible and need not be total.)
pub(super) fn sort(items: Vec<(Value, Value)>, reverse: bool, meter: &mut Meter) -> Fallible<Vec<Value>> {
    meter.values(items.len().saturating_mul(4))?;
    let mut runs: Vec<Vec<(Value, Value)>> = items.into_iter().map(|item| vec![item]).collect();
    while runs.len() > 1 {
        let mut merged = Vec::with_capacity(runs.len() / 2 + 1);
        let mut pairs = runs.into_iter();
        while let Some(left) = pairs.next() {
            merged.push(match pairs.next() {
                Some(right) => merge(left, right, reverse, meter)?,
                None => left,
            });
        }
        runs = merged;
    }
    Ok(runs.pop().unwrap_or_default().into_iter().map(|(_, value)| value).collect())
}

fn merge(
    left: Vec<(Value, Value)>,
    right: Vec<(Value, Value)>,
    reverse: bool,
    meter: &mut Meter,
) -> Fallible<Vec<(Value, Value)>> {
    let mut out = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let order = order(&b.0, &a.0, meter)?;
        let take_right = if reverse { order == Ordering::Greater } else { order == Ordering::Less };
        out.extend(if take_right { right.next() } else { left.next() });
    }
    out.extend(left);
    out.extend(right);
    Ok(out)
}

/// `str(value)` for every item, with `separator` between.
pub(super) fn join(items: &[Value], separator: &str, meter: &mut Meter) -> Fallible<String> {
    let mut out = String::new();
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            meter.allocate(separator.len())?;
            out.push_str(separator);
        }
        print::write_text(item, &mut out, meter)?;
    }
    Ok(out)
}
