//! What stands in a grammar's text, as far as its literals and comments go: how deep its brackets nest, and its schemas.

use serde_json::Value;

/// The two kinds of grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Lark,
    Gbnf,
}

/// The deepest nesting of brackets that are none of a literal's, an expression's, a class's or a comment's.
pub(crate) fn deepest(source: &str, kind: Kind) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let len = literal(rest, kind).unwrap_or(c.len_utf8());
        if len == c.len_utf8() {
            match c {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            deepest = deepest.max(depth);
        }
        rest = rest.get(len..).unwrap_or_default();
    }
    deepest
}

/// A Lark grammar with each schema behind `%json` as `rewrite` writes it.
///
/// # Errors
/// What `rewrite` gives for a schema; a text that is no JSON is left for the compiler to refuse.
pub(crate) fn with_schemas<E>(source: &str, mut rewrite: impl FnMut(&Value) -> Result<Value, E>) -> Result<String, E> {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let mut len = literal(rest, Kind::Lark).unwrap_or(c.len_utf8());
        if let Some(text) = rest.strip_prefix("%json") {
            let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
            if let Some(Ok(schema)) = values.next() {
                let (read, behind) = text.split_at_checked(values.byte_offset()).unwrap_or((text, ""));
                // Lines keep their numbers: white space before a schema means nothing.
                out.push_str("%json");
                out.extend(std::iter::repeat_n('\n', read.matches('\n').count()));
                out.push(' ');
                out.push_str(&rewrite(&schema)?.to_string());
                rest = behind;
                continue;
            }
            len = "%json".len();
        }
        let (taken, left) = rest.split_at_checked(len).unwrap_or((rest, ""));
        out.push_str(taken);
        rest = left;
    }
    Ok(out)
}

/// A Lark grammar in which what is not of a kind (`~X`) is text: llguidance takes any bytes for it, those of control tokens
/// and broken characters among them.
pub(crate) fn with_text_complements(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let len = literal(rest, Kind::Lark).unwrap_or(c.len_utf8());
        let (taken, left) = rest.split_at_checked(len).unwrap_or((rest, ""));
        rest = left;
        if let ("~", Some(end)) = (taken, operand(left)) {
            let (operand, behind) = left.split_at_checked(end).unwrap_or((left, ""));
            out.push_str("(/(?s:.*)/ & ~");
            out.push_str(&with_text_complements(operand));
            out.push(')');
            rest = behind;
        } else {
            out.push_str(taken);
        }
    }
    out
}

/// Where the operand of `~` ends; none for a number, which says how often, and for what is none.
fn operand(text: &str) -> Option<usize> {
    let begin = text.len() - text.trim_start().len();
    let body = text.get(begin..)?;
    let first = body.chars().next()?;
    let letters = |from: usize| {
        let behind = body.get(from..).unwrap_or_default();
        let end = behind.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        from + end.unwrap_or(behind.len())
    };
    let len = match literal(body, Kind::Lark) {
        // Flags of an expression, the other end of a range.
        Some(len) if matches!(first, '"' | '/') && !body.starts_with("//") => {
            let len = letters(len);
            match body.get(len..).and_then(|behind| behind.strip_prefix("..")) {
                Some(end) => len + 2 + literal(end, Kind::Lark)?,
                None => len,
            }
        }
        Some(_) => return None,
        None if matches!(first, '(' | '[') => closing(body)?,
        None if first.is_ascii_alphabetic() || first == '_' => letters(0),
        None => return None,
    };
    Some(begin + len)
}

/// The length of a group up to and with the bracket that closes it.
fn closing(group: &str) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(c) = group.get(at..)?.chars().next() {
        let literal = literal(group.get(at..)?, Kind::Lark);
        at += literal.unwrap_or(c.len_utf8());
        match c {
            _ if literal.is_some() => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// How long a literal, an expression, a class, a token's name or a comment is that `text` begins with. What is not closed is
/// none: its brackets count.
fn literal(text: &str, kind: Kind) -> Option<usize> {
    let body = text.get(1..)?;
    let line = || Some(text.find('\n').unwrap_or(text.len()));
    match (text.as_bytes().first()?, kind) {
        (b'"', _) => closed(body, '"', false),
        (b'#', _) => line(),
        (b'[', Kind::Gbnf) => closed(body, ']', false),
        (b'/', Kind::Lark) if body.starts_with('/') => line(),
        (b'/', Kind::Lark) => closed(body, '/', true),
        (b'<', _) => {
            let end = body.find(|c: char| c == '<' || c == '>' || c.is_whitespace())?;
            (body.get(end..)?.starts_with('>') && end > 0).then_some(end + 2)
        }
        _ => None,
    }
}

/// The length up to and with the closing sign, and one for the opening one.
fn closed(body: &str, close: char, lines: bool) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            '\n' if !lines || escaped => return None,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == close => return Some(at + 1 + close.len_utf8()),
            _ => {}
        }
    }
    None
}
