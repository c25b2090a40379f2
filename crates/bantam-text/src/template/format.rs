//! Python's two ways of formatting: `'%s' % x` and `'{}'.format(x)`.

use std::iter::Peekable;
use std::str::Chars;

use super::meter::{Fallible, Meter};
use super::operators::lookup;
use super::print;
use super::value::{Text, Value};

/// Widths and precisions beyond this are refused.
const WIDEST: usize = 4096;

#[derive(Default)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    zero: bool,
    comma: bool,
    width: usize,
    precision: Option<usize>,
    kind: Option<char>,
    /// Whether what is not safe is escaped.
    escape: bool,
}

/// `template % arguments`.
pub(super) fn percent(template: &str, arguments: &Value, escape: bool, meter: &mut Meter) -> Fallible<String> {
    meter.allocate(template.len())?;
    let mut out = String::new();
    let mut characters = template.chars().peekable();
    let positional: Vec<Value> = match arguments {
        Value::Tuple(list) => list.items.clone(),
        single => vec![single.clone()],
    };
    let mut next = positional.iter();
    let mut named = false;
    while let Some(c) = characters.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = Spec { escape, ..Spec::default() };
        let mut argument = None;
        if characters.next_if_eq(&'(').is_some() {
            let key: String = characters.by_ref().take_while(|&c| c != ')').collect();
            let Value::Dict(dict) = arguments else { return meter.fail("format requires a mapping") };
            match lookup(&dict.entries, &Value::text(&key), meter)? {
                Some(value) => argument = Some(value),
                None => return meter.fail(format!("the format's key '{key}' is missing")),
            }
            named = true;
        }
        while let Some(flag) = characters.next_if(|c| "-+ 0#".contains(*c)) {
            match flag {
                '-' => spec.align = Some('<'),
                '0' => spec.zero = true,
                '#' => spec.alternate = true,
                other => spec.sign = Some(other),
            }
        }
        spec.width = number(&mut characters, meter)?.unwrap_or(0);
        if characters.next_if_eq(&'.').is_some() {
            spec.precision = Some(number(&mut characters, meter)?.unwrap_or(0));
        }
        let Some(kind) = characters.next() else { return meter.fail("incomplete format") };
        if kind == '%' {
            out.push('%');
            continue;
        }
        let value = match argument {
            Some(value) => value,
            None => match next.next() {
                Some(value) => value.clone(),
                None => return meter.fail("not enough arguments for format string"),
            },
        };
        if spec.align == Some('<') {
            spec.zero = false;
        }
        spec.align = spec.align.or(Some('>'));
        spec.kind = Some(kind);
        write(&value, &spec, &mut out, meter)?;
    }
    if !named && next.next().is_some() && !matches!(arguments, Value::Dict(_)) {
        return meter.fail("not all arguments converted during string formatting");
    }
    Ok(out)
}

fn number(characters: &mut Peekable<Chars<'_>>, meter: &Meter) -> Fallible<Option<usize>> {
    let mut value = None;
    while let Some(digit) = characters.peek().and_then(|c| c.to_digit(10)) {
        characters.next();
        let sum = value.unwrap_or(0usize) * 10 + digit as usize;
        if sum > WIDEST {
            return meter.fail(format!("a format wider than {WIDEST}"));
        }
        value = Some(sum);
    }
    Ok(value)
}

/// `template.format(…)`.
pub(super) fn braces(
    template: &Text,
    positional: &[Value],
    named: &[(String, Value)],
    meter: &mut Meter,
) -> Fallible<String> {
    meter.allocate(template.len())?;
    let mut out = String::new();
    let mut characters = template.chars().peekable();
    let mut automatic = 0;
    while let Some(c) = characters.next() {
        match c {
            '{' if characters.next_if_eq(&'{').is_some() => out.push('{'),
            '}' if characters.next_if_eq(&'}').is_some() => out.push('}'),
            '}' => return meter.fail("Single '}' encountered in format string"),
            '{' => {
                let mut field = String::new();
                loop {
                    match characters.next() {
                        Some('}') => break,
                        Some('{') => return meter.fail("a format inside a format is not supported"),
                        Some(c) => field.push(c),
                        None => return meter.fail("expected '}' before end of string"),
                    }
                }
                let (field, spec) = field.split_once(':').unwrap_or((&field, ""));
                let (name, conversion) = field.split_once('!').unwrap_or((field, ""));
                let value = if name.is_empty() {
                    automatic += 1;
                    positional.get(automatic - 1)
                } else if let Ok(at) = name.parse::<usize>() {
                    positional.get(at)
                } else {
                    named.iter().find(|(found, _)| found == name).map(|(_, value)| value)
                };
                let Some(value) = value else {
                    return meter.fail(format!("the format's field '{name}' has no argument"));
                };
                let mut spec = parse_spec(spec, meter)?;
                match conversion {
                    "" => {}
                    "s" | "r" => spec.kind = conversion.chars().next(),
                    other => return meter.fail(format!("unknown conversion '{other}'")),
                }
                let mut written = String::new();
                write(value, &spec, &mut written, meter)?;
                // What is put into safe text is escaped as it was formatted.
                let plain = !template.safe || (conversion.is_empty() && value.is_safe());
                out.push_str(&if plain { written } else { print::escape(&written, meter)? });
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

fn parse_spec(text: &str, meter: &Meter) -> Fallible<Spec> {
    let mut spec = Spec::default();
    let mut characters = text.chars().peekable();
    let is_align = |c: char| "<>^=".contains(c);
    let mut ahead = text.chars();
    match (ahead.next(), ahead.next()) {
        (Some(fill), Some(align)) if is_align(align) => {
            spec.fill = Some(fill);
            spec.align = Some(align);
            characters.nth(1);
        }
        (Some(align), _) if is_align(align) => {
            spec.align = Some(align);
            characters.next();
        }
        _ => {}
    }
    spec.sign = characters.next_if(|c| "+- ".contains(*c));
    spec.alternate = characters.next_if_eq(&'#').is_some();
    spec.zero = characters.next_if_eq(&'0').is_some();
    spec.width = number(&mut characters, meter)?.unwrap_or(0);
    spec.comma = characters.next_if_eq(&',').is_some();
    if characters.next_if_eq(&'.').is_some() {
        spec.precision = Some(number(&mut characters, meter)?.unwrap_or(0));
    }
    spec.kind = characters.next();
    if characters.next().is_some() {
        return meter.fail(format!("unsupported format '{text}'"));
    }
    Ok(spec)
}

fn write(value: &Value, spec: &Spec, out: &mut String, meter: &mut Meter) -> Fallible<()> {
    let kind = spec.kind.unwrap_or(match value {
        Value::Integer(_) => 'd',
        Value::Float(_) if spec.precision.is_some() => 'g',
        _ => 's',
    });
    let (mut body, numeric) = match kind {
        's' | 'r' => {
            let mut text = String::new();
            if kind == 's' {
                print::write_text(value, &mut text, meter)?;
            } else {
                print::write_repr(value, &mut text, meter)?;
            }
            if spec.escape && !(kind == 's' && value.is_safe()) {
                text = print::escape(&text, meter)?;
            }
            if let Some(precision) = spec.precision {
                text = text.chars().take(precision).collect();
            }
            (text, matches!(value, Value::Float(_)) && spec.kind.is_none())
        }
        'd' | 'i' | 'u' | 'x' | 'X' | 'o' | 'b' => {
            let integer = match value {
                #[allow(clippy::cast_possible_truncation)]
                Value::Float(value) if kind != 'x' && value.is_finite() => Some(*value as i64),
                value => value.as_integer(),
            };
            let Some(integer) = integer else {
                return meter.fail(format!("%{kind} format: a number is required, not {}", value.type_name()));
            };
            let size = integer.unsigned_abs();
            let digits = match kind {
                'x' if spec.alternate => format!("0x{size:x}"),
                'x' => format!("{size:x}"),
                'X' if spec.alternate => format!("0X{size:X}"),
                'X' => format!("{size:X}"),
                'o' => format!("{size:o}"),
                'b' => format!("{size:b}"),
                _ if spec.comma => grouped(&size.to_string()),
                _ => size.to_string(),
            };
            (format!("{}{digits}", sign(integer < 0, spec)), true)
        }
        'f' | 'F' | 'e' | 'E' | 'g' | 'G' | '%' => {
            let Some(float) = value.as_float() else {
                return meter.fail(format!("%{kind} format: a number is required, not {}", value.type_name()));
            };
            (format!("{}{}", sign(float.is_sign_negative(), spec), digits(float.abs(), kind, spec)), true)
        }
        'c' => match value {
            Value::Text(text) => (text.chars().take(1).collect(), false),
            value => {
                let code = value.as_integer().and_then(|code| u32::try_from(code).ok()).and_then(char::from_u32);
                (code.map(String::from).unwrap_or_default(), false)
            }
        },
        other => return meter.fail(format!("unsupported format character '{other}'")),
    };
    let missing = spec.width.saturating_sub(body.chars().count());
    meter.allocate(body.len() + missing * 4)?;
    if missing > 0 {
        let fill = spec.fill.unwrap_or(if spec.zero && numeric { '0' } else { ' ' });
        let align = spec.align.unwrap_or(if numeric { '>' } else { '<' });
        let pad = |count: usize| std::iter::repeat_n(fill, count).collect::<String>();
        body = match align {
            _ if (spec.zero && numeric) || align == '=' => {
                let at = usize::from(body.starts_with(['-', '+', ' ']));
                format!("{}{}{}", &body[..at], pad(missing), &body[at..])
            }
            '<' => body + &pad(missing),
            '^' => format!("{}{body}{}", pad(missing / 2), pad(missing - missing / 2)),
            _ => pad(missing) + &body,
        };
    }
    out.push_str(&body);
    Ok(())
}

fn sign(negative: bool, spec: &Spec) -> &'static str {
    match spec.sign {
        _ if negative => "-",
        Some('+') => "+",
        Some(' ') => " ",
        _ => "",
    }
}

fn grouped(digits: &str) -> String {
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn digits(value: f64, kind: char, spec: &Spec) -> String {
    if !value.is_finite() {
        return print::float(value);
    }
    let precision = spec.precision.unwrap_or(6);
    let fixed = |value: f64| {
        let text = format!("{value:.precision$}");
        match text.split_once('.') {
            Some((whole, rest)) if spec.comma => format!("{}.{rest}", grouped(whole)),
            None if spec.comma => grouped(&text),
            _ => text,
        }
    };
    let exponential = |precision: usize| {
        let text = format!("{value:.precision$e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        (digits.to_owned(), exponent)
    };
    let spelled = |(digits, exponent): (String, i32)| {
        format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    };
    let text = match kind.to_ascii_lowercase() {
        'f' => fixed(value),
        '%' => fixed(value * 100.0) + "%",
        'e' => spelled(exponential(precision)),
        _ => {
            let significant = precision.max(1);
            let (digits, exponent) = exponential(significant - 1);
            let trim = |text: String| {
                if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
            };
            if exponent < -4 || exponent >= i32::try_from(significant).unwrap_or(i32::MAX) {
                spelled((trim(digits), exponent))
            } else {
                let places = usize::try_from(i32::try_from(significant).unwrap_or(0) - 1 - exponent).unwrap_or(0);
                trim(format!("{value:.places$}"))
            }
        }
    };
    if kind.is_ascii_uppercase() { text.to_uppercase() } else { text }
}
