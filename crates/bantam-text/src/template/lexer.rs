//! Template source to tokens, with Jinja's rules for white space as transformers sets them: `trim_blocks`,
//! `lstrip_blocks`, one trailing newline dropped, `\r\n` read as `\n`.

use crate::error::TextError;

/// A stretch of the template.
#[derive(Debug, Clone)]
pub(super) enum Segment {
    Text(String),
    /// `{{ … }}`
    Output(Vec<Token>, u32),
    /// `{% … %}`
    Block(Vec<Token>, u32),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Name(String),
    Text(String),
    Integer(i64),
    Float(f64),
    /// An operator or bracket.
    Sign(&'static str),
}

pub(super) fn syntax(line: u32, reason: impl Into<String>) -> TextError {
    TextError::TemplateSyntax { line, reason: reason.into() }
}

/// Operators, longest first.
const SIGNS: &[&str] = &[
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".",
    ":", "|", ",", ";",
];

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    line: u32,
    /// The last token ended a line, so what follows starts one.
    line_starts: bool,
}

/// Splits `source` into segments.
pub(super) fn segments(source: &str) -> Result<Vec<Segment>, TextError> {
    let mut normalized = source.replace("\r\n", "\n").replace('\r', "\n");
    if normalized.ends_with('\n') {
        normalized.pop();
    }
    let mut lexer = Lexer { source: &normalized, at: 0, line: 1, line_starts: true };
    let mut segments = Vec::new();
    while lexer.at < lexer.source.len() {
        lexer.segment(&mut segments)?;
    }
    Ok(segments)
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn advance(&mut self, len: usize) {
        let passed = &self.source[self.at..self.at + len];
        self.line += u32::try_from(passed.matches('\n').count()).unwrap_or(0);
        if !passed.is_empty() {
            self.line_starts = passed.ends_with('\n');
        }
        self.at += len;
    }

    fn segment(&mut self, segments: &mut Vec<Segment>) -> Result<(), TextError> {
        let rest = self.rest();
        let mut from = 0;
        let start = loop {
            match rest[from..].find('{') {
                None => break None,
                Some(found) => {
                    let found = from + found;
                    if matches!(rest.as_bytes().get(found + 1), Some(b'{' | b'%' | b'#')) {
                        break Some(found);
                    }
                    from = found + 1;
                }
            }
        };
        let Some(start) = start else {
            segments.push(Segment::Text(rest.to_owned()));
            self.advance(rest.len());
            return Ok(());
        };
        let kind = rest.as_bytes()[start + 1];
        let control = rest.as_bytes().get(start + 2).copied();
        let text = &rest[..start];
        let kept = match control {
            Some(b'-') => text.trim_end(),
            Some(b'+') => text,
            _ if kind != b'{' => {
                let line = text.rfind('\n').map_or(0, |at| at + 1);
                let blank = line < text.len() && text[line..].chars().all(char::is_whitespace);
                if blank && (line > 0 || self.line_starts) { &text[..line] } else { text }
            }
            _ => text,
        };
        if !kept.is_empty() {
            segments.push(Segment::Text(kept.to_owned()));
        }
        self.advance(start);
        let line = self.line;
        let marked = matches!(control, Some(b'-')) || (matches!(control, Some(b'+')) && kind != b'{');
        let open = if marked { 3 } else { 2 };
        match kind {
            b'#' => {
                let Some(end) = self.rest()[2..].find("#}").map(|at| at + 2) else {
                    return Err(syntax(line, "a comment is never closed"));
                };
                let mark = self.rest().as_bytes()[end - 1];
                let mark = if end > 2 { mark } else { b' ' };
                self.advance(end + 2);
                self.after_block(mark);
            }
            b'{' => {
                self.advance(open);
                let tokens = self.tokens("}}", line)?;
                segments.push(Segment::Output(tokens, line));
            }
            _ => {
                self.advance(open);
                if let Some(len) = raw_begin(self.rest()) {
                    self.raw(len, line, segments)?;
                } else {
                    let tokens = self.tokens("%}", line)?;
                    segments.push(Segment::Block(tokens, line));
                }
            }
        }
        Ok(())
    }

    /// White space behind a block or comment, `mark` being the character before its closing sign.
    fn after_block(&mut self, mark: u8) {
        let rest = self.rest();
        let eaten = match mark {
            b'-' => rest.len() - rest.trim_start().len(),
            b'+' => 0,
            _ => usize::from(rest.starts_with('\n')),
        };
        self.advance(eaten);
    }

    fn raw(&mut self, begin: usize, line: u32, segments: &mut Vec<Segment>) -> Result<(), TextError> {
        let strips = self.rest()[..begin].ends_with("-%}");
        self.advance(begin);
        if strips {
            let rest = self.rest();
            self.advance(rest.len() - rest.trim_start().len());
        }
        let mut from = 0;
        loop {
            let rest = self.rest();
            let Some(found) = rest[from..].find("{%").map(|at| at + from) else {
                return Err(syntax(line, "a raw block is never closed"));
            };
            let inside = &rest[found + 2..];
            let (left, inside) = match inside.as_bytes().first() {
                Some(mark @ (b'-' | b'+')) => (*mark, &inside[1..]),
                _ => (b' ', inside),
            };
            if let Some(tail) = inside.trim_start().strip_prefix("endraw") {
                let tail = tail.trim_start();
                let (right, tail) = match tail.as_bytes().first() {
                    Some(mark @ (b'-' | b'+')) => (*mark, &tail[1..]),
                    _ => (b' ', tail),
                };
                if let Some(tail) = tail.strip_prefix("%}") {
                    let text = &rest[..found];
                    let line_at = text.rfind('\n').map_or(0, |at| at + 1);
                    let blank = line_at < text.len() && text[line_at..].chars().all(char::is_whitespace);
                    let text = match left {
                        b'-' => text.trim_end(),
                        b'+' => text,
                        _ if blank && (line_at > 0 || self.line_starts) => &text[..line_at],
                        _ => text,
                    };
                    segments.push(Segment::Text(text.to_owned()));
                    self.advance(rest.len() - tail.len());
                    self.after_block(right);
                    return Ok(());
                }
            }
            from = found + 2;
        }
    }

    /// Tokens up to the closing sign `end`, which is passed with the white space it takes.
    fn tokens(&mut self, end: &str, line: u32) -> Result<Vec<Token>, TextError> {
        let mut tokens = Vec::new();
        let mut open: Vec<&'static str> = Vec::new();
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            self.advance(blank);
            let rest = self.rest();
            let Some(first) = rest.chars().next() else {
                return Err(syntax(line, format!("expected {end}, found the end of the template")));
            };
            if open.is_empty() {
                let (mark, close) = match first {
                    '-' => (b'-', &rest[1..]),
                    '+' if end == "%}" => (b'+', &rest[1..]),
                    _ => (b' ', rest),
                };
                if close.starts_with(end) {
                    self.advance(rest.len() - close.len() + 2);
                    if end == "%}" {
                        self.after_block(mark);
                    } else if mark == b'-' {
                        let rest = self.rest();
                        self.advance(rest.len() - rest.trim_start().len());
                    }
                    return Ok(tokens);
                }
            }
            if first.is_alphabetic() || first == '_' {
                let len = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
                tokens.push(Token::Name(rest[..len].to_owned()));
                self.advance(len);
            } else if first.is_ascii_digit() {
                let (token, len) = number(rest).ok_or_else(|| syntax(self.line, "a number is too large"))?;
                tokens.push(token);
                self.advance(len);
            } else if first == '"' || first == '\'' {
                let (text, len) = string(rest, first).ok_or_else(|| syntax(self.line, "a string is never closed"))?;
                tokens.push(Token::Text(text));
                self.advance(len);
            } else if let Some(&sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                match sign {
                    "(" => open.push(")"),
                    "[" => open.push("]"),
                    "{" => open.push("}"),
                    ")" | "]" | "}" if open.pop() != Some(sign) => {
                        return Err(syntax(self.line, format!("unexpected '{sign}'")));
                    }
                    _ => {}
                }
                tokens.push(Token::Sign(sign));
                self.advance(sign.len());
            } else {
                return Err(syntax(self.line, format!("unexpected character {first:?}")));
            }
        }
    }
}

/// The length of `raw %}` if the block just opened is a raw one.
fn raw_begin(rest: &str) -> Option<usize> {
    let tail = rest.trim_start().strip_prefix("raw")?.trim_start();
    let tail = tail.strip_prefix('-').unwrap_or(tail).strip_prefix("%}")?;
    Some(rest.len() - tail.len())
}

fn number(rest: &str) -> Option<(Token, usize)> {
    for (prefix, radix) in [("0x", 16), ("0X", 16), ("0b", 2), ("0B", 2), ("0o", 8), ("0O", 8)] {
        if let Some(digits) = rest.strip_prefix(prefix) {
            let len = digits.find(|c: char| !(c.is_digit(radix) || c == '_')).unwrap_or(digits.len());
            let value = i64::from_str_radix(&digits[..len].replace('_', ""), radix).ok()?;
            return Some((Token::Integer(value), len + 2));
        }
    }
    let digits = |text: &str| text.find(|c: char| !(c.is_ascii_digit() || c == '_')).unwrap_or(text.len());
    let mut len = digits(rest);
    let mut float = false;
    if rest[len..].starts_with('.') && rest[len + 1..].starts_with(|c: char| c.is_ascii_digit()) {
        float = true;
        len += 1 + digits(&rest[len + 1..]);
    }
    if rest[len..].starts_with(['e', 'E']) {
        let sign = usize::from(rest[len + 1..].starts_with(['+', '-']));
        let exponent = digits(&rest[len + 1 + sign..]);
        if exponent > 0 {
            float = true;
            len += 1 + sign + exponent;
        }
    }
    let text = rest[..len].replace('_', "");
    let token = if float { Token::Float(text.parse().ok()?) } else { Token::Integer(text.parse().ok()?) };
    Some((token, len))
}

/// A quoted string with Python's escapes; gives its text and the length of the source.
fn string(rest: &str, quote: char) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        if c == quote {
            return Some((text, at + 1));
        }
        if c != '\\' {
            text.push(c);
            continue;
        }
        let (at, escape) = characters.next()?;
        let mut code = |digits: usize| {
            let end = at + 1 + digits;
            let value = rest.get(at + 1..end).and_then(|hex| u32::from_str_radix(hex, 16).ok());
            if value.is_some() {
                for _ in 0..digits {
                    characters.next();
                }
            }
            value.and_then(char::from_u32)
        };
        match escape {
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            'a' => text.push('\x07'),
            'b' => text.push('\x08'),
            'f' => text.push('\x0c'),
            'v' => text.push('\x0b'),
            '\\' | '\'' | '"' => text.push(escape),
            '\n' => {}
            'x' => text.push(code(2)?),
            'u' => text.push(code(4)?),
            'U' => text.push(code(8)?),
            '0'..='7' => {
                let octal: String = rest[at..].chars().take(3).take_while(|c| c.is_digit(8)).collect();
                for _ in 1..octal.len() {
                    characters.next();
                }
                text.push(u32::from_str_radix(&octal, 8).ok().and_then(char::from_u32)?);
            }
            other => {
                text.push('\\');
                text.push(other);
            }
        }
    }
    None
}
