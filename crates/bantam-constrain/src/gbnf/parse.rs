//! Reading GBNF.

use std::collections::BTreeMap;

use bantam_text::{TokenKind, Tokenizer};

use super::{Expression, Grammar};
use crate::ConstraintError;
use crate::text::shorten;

/// Deepest nesting of groups.
const DEEPEST: usize = 100;
/// Most repetitions that are counted.
const MOST_REPETITIONS: u32 = 100_000;

/// Reads a grammar whose start is the rule `root`.
pub(super) fn parse(source: &str, tokenizer: &Tokenizer) -> Result<Grammar, ConstraintError> {
    let mut reader = Reader { rest: source, line: 1, tokenizer, names: BTreeMap::new(), rules: Vec::new() };
    reader.space(true);
    while !reader.rest.is_empty() {
        reader.rule()?;
    }
    for (name, (number, line)) in &reader.names {
        if reader.rules.get(*number).is_none_or(Option::is_none) {
            return Err(ConstraintError::Gbnf { line: *line, reason: format!("there is no rule {name:?}") });
        }
    }
    let Some(&(root, _)) = reader.names.get("root") else {
        return Err(ConstraintError::Grammar("it has no rule \"root\"".to_owned()));
    };
    Ok(Grammar { rules: reader.rules.into_iter().flatten().collect(), root })
}

struct Reader<'s> {
    rest: &'s str,
    line: usize,
    tokenizer: &'s Tokenizer,
    /// Number of each rule, and the line where it was first met.
    names: BTreeMap<&'s str, (usize, usize)>,
    rules: Vec<Option<Expression>>,
}

type Read<T> = Result<T, ConstraintError>;

impl<'s> Reader<'s> {
    fn fail<T>(&self, reason: impl Into<String>) -> Read<T> {
        Err(ConstraintError::Gbnf { line: self.line, reason: reason.into() })
    }

    fn expected<T>(&self, what: &str) -> Read<T> {
        let found = match self.rest.lines().next() {
            _ if self.rest.is_empty() => "the grammar's end".to_owned(),
            None | Some("") => "the line's end".to_owned(),
            Some(line) => format!("{:?}", shorten(line, 20)),
        };
        self.fail(format!("{what} was expected, found {found}"))
    }

    fn eat(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.line += text.matches('\n').count();
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = self.rest.get(c.len_utf8()..).unwrap_or_default();
        self.line += usize::from(c == '\n');
        Some(c)
    }

    /// Skips blanks and comments, and newlines where they mean nothing.
    fn space(&mut self, newlines: bool) {
        loop {
            if self.rest.starts_with('#') {
                self.rest = self.rest.get(self.rest.find('\n').unwrap_or(self.rest.len())..).unwrap_or_default();
            } else if self.rest.starts_with([' ', '\t', '\r']) || (newlines && self.rest.starts_with('\n')) {
                self.next();
            } else {
                return;
            }
        }
    }

    fn name(&mut self) -> Option<&'s str> {
        let end =
            self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!name.is_empty()).then_some(name)
    }

    fn number_of(&mut self, name: &'s str) -> usize {
        let next = self.rules.len();
        let (number, _) = *self.names.entry(name).or_insert((next, self.line));
        if number == next {
            self.rules.push(None);
        }
        number
    }

    fn rule(&mut self) -> Read<()> {
        let Some(name) = self.name() else { return self.expected("a rule's name") };
        let number = self.number_of(name);
        self.space(false);
        if !self.eat("::=") {
            return self.expected("\"::=\"");
        }
        self.space(true);
        let expression = self.choice(0)?;
        // As in llama.cpp, a later rule of the same name takes the place of an earlier one.
        if let Some(rule) = self.rules.get_mut(number) {
            *rule = Some(expression);
        }
        if !self.rest.is_empty() && !self.eat("\n") {
            return self.expected("an expression or the line's end");
        }
        self.space(true);
        Ok(())
    }

    fn choice(&mut self, depth: usize) -> Read<Expression> {
        if depth > DEEPEST {
            return self.fail(format!("groups nest deeper than {DEEPEST}"));
        }
        let mut branches = vec![self.sequence(depth)?];
        loop {
            if !self.eat("|") {
                // A branch may begin the next line.
                let (rest, line) = (self.rest, self.line);
                self.space(true);
                if !self.eat("|") {
                    (self.rest, self.line) = (rest, line);
                    break;
                }
            }
            self.space(true);
            branches.push(self.sequence(depth)?);
        }
        Ok(if branches.len() == 1 { branches.swap_remove(0) } else { Expression::Choice(branches) })
    }

    fn sequence(&mut self, depth: usize) -> Read<Expression> {
        let mut items: Vec<Expression> = Vec::new();
        // Where the last item begins, which a repetition is about: a literal is several characters.
        let mut last = None;
        // Repetitions of repetitions, which nest.
        let mut repeated = 0;
        loop {
            self.space(depth > 0);
            let next = self.rest.chars().next();
            repeated = if matches!(next, Some('*' | '+' | '?' | '{')) { repeated + 1 } else { 0 };
            if repeated > DEEPEST {
                return self.fail(format!("more than {DEEPEST} repetitions follow one another"));
            }
            match next {
                Some('"') => {
                    let literal = self.literal()?;
                    last = Some(items.len());
                    items.extend(literal);
                }
                Some('[') => {
                    last = Some(items.len());
                    let class = self.class()?;
                    items.push(class);
                }
                Some('.') => {
                    self.next();
                    last = Some(items.len());
                    items.push(Expression::Class { negated: true, ranges: Vec::new() });
                }
                Some('(') => {
                    self.next();
                    self.space(true);
                    let inner = self.choice(depth + 1)?;
                    self.space(true);
                    if !self.eat(")") {
                        return self.expected("\")\"");
                    }
                    last = Some(items.len());
                    items.push(inner);
                }
                Some('<' | '!') => {
                    let token = self.token()?;
                    last = Some(items.len());
                    items.push(token);
                }
                Some('*' | '+' | '?' | '{') => {
                    let (least, most) = self.repetition()?;
                    let Some(begin) = last.take() else { return self.fail("there is nothing before a repetition") };
                    let mut inner: Vec<Expression> = items.drain(begin..).collect();
                    let inner = if inner.len() == 1 { inner.swap_remove(0) } else { Expression::Sequence(inner) };
                    last = Some(items.len());
                    items.push(Expression::Repeat(Box::new(inner), least, most));
                }
                Some(c) if c.is_ascii_alphanumeric() || c == '-' || c == '_' => {
                    let name = self.name().unwrap_or_default();
                    let number = self.number_of(name);
                    last = Some(items.len());
                    items.push(Expression::Rule(number));
                }
                _ => break,
            }
        }
        Ok(if items.len() == 1 { items.swap_remove(0) } else { Expression::Sequence(items) })
    }

    fn literal(&mut self) -> Read<Vec<Expression>> {
        self.next();
        let mut items = Vec::new();
        loop {
            match self.rest.chars().next() {
                None | Some('\n') => return self.fail("a literal is not closed"),
                Some('"') => {
                    self.next();
                    return Ok(items);
                }
                Some(_) => {
                    let c = self.character()?;
                    items.push(Expression::Class { negated: false, ranges: vec![(c, c)] });
                }
            }
        }
    }

    fn class(&mut self) -> Read<Expression> {
        self.next();
        let negated = self.eat("^");
        let mut ranges = Vec::new();
        loop {
            match self.rest.chars().next() {
                None | Some('\n') => return self.fail("a character class is not closed"),
                Some(']') => {
                    self.next();
                    break;
                }
                Some(_) => {
                    let first = self.character()?;
                    if self.rest.starts_with('-') && !self.rest.starts_with("-]") {
                        self.next();
                        if self.rest.is_empty() {
                            return self.fail("a character class is not closed");
                        }
                        let last = self.character()?;
                        if last < first {
                            return self.fail(format!("the range {first:?} to {last:?} is upside down"));
                        }
                        ranges.push((first, last));
                    } else {
                        ranges.push((first, first));
                    }
                }
            }
        }
        if ranges.is_empty() && !negated {
            return self.fail("a character class is empty");
        }
        Ok(Expression::Class { negated, ranges })
    }

    /// One character of a literal or class, escapes undone.
    fn character(&mut self) -> Read<char> {
        let c = self.next();
        if c != Some('\\') {
            return c.map_or_else(|| self.fail("a literal is not closed"), Ok);
        }
        let digits = match self.next() {
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            Some('t') => return Ok('\t'),
            Some('r') => return Ok('\r'),
            Some('n') => return Ok('\n'),
            Some(c @ ('\\' | '"' | '[' | ']' | '-' | '^')) => return Ok(c),
            Some(c) => return self.fail(format!("there is no escape \\{c}")),
            None => return self.fail("an escape is not finished"),
        };
        let mut code = 0_u32;
        for _ in 0..digits {
            match self.next().and_then(|digit| digit.to_digit(16)) {
                Some(digit) => code = code.wrapping_mul(16).wrapping_add(digit),
                None => return self.fail(format!("an escape has fewer than {digits} hexadecimal digits")),
            }
        }
        char::from_u32(code).map_or_else(|| self.fail(format!("U+{code:04X} is no character")), Ok)
    }

    fn repetition(&mut self) -> Read<(u32, Option<u32>)> {
        match self.next() {
            Some('*') => return Ok((0, None)),
            Some('+') => return Ok((1, None)),
            Some('?') => return Ok((0, Some(1))),
            _ => {}
        }
        self.space(true);
        let least = self.count()?;
        self.space(true);
        let most = if self.eat(",") {
            self.space(true);
            if self.rest.starts_with('}') { None } else { Some(self.count()?) }
        } else {
            Some(least)
        };
        self.space(true);
        if !self.eat("}") {
            return self.expected("\"}\"");
        }
        if most.is_some_and(|most| most < least) {
            return self.fail("a repetition's most is less than its least");
        }
        Ok((least, most))
    }

    fn count(&mut self) -> Read<u32> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        if digits.is_empty() {
            return self.expected("a number of repetitions");
        }
        self.rest = rest;
        match digits.parse::<u32>() {
            Ok(count) if count <= MOST_REPETITIONS => Ok(count),
            _ => self.fail(format!("{} repetitions are more than {MOST_REPETITIONS}", shorten(digits, 20))),
        }
    }

    /// `<[1234]>`, `<name>`, or either behind `!`, which is any token but that one.
    fn token(&mut self) -> Read<Expression> {
        let negated = self.eat("!");
        if !self.eat("<") {
            return self.expected("a token, as in <think> or <[1000]>,");
        }
        let Some(end) = self.rest.find(['>', '\n']).filter(|&end| self.rest[end..].starts_with('>')) else {
            return self.fail("a token is not closed by \">\"");
        };
        let (inside, rest) = self.rest.split_at(end);
        self.rest = rest.strip_prefix('>').unwrap_or(rest);
        let id = match inside.strip_prefix('[').and_then(|inside| inside.strip_suffix(']')) {
            Some(digits) => digits.parse::<u32>().ok().filter(|&id| self.tokenizer.token_kind(id).is_some()),
            None => self.tokenizer.token_id(&format!("<{inside}>")),
        };
        match id {
            Some(id) => {
                let control = self.tokenizer.token_kind(id) == Some(TokenKind::Control)
                    || self.tokenizer.end_of_generation().contains(&id);
                Ok(Expression::Token { negated, id, control })
            }
            None => self.fail(format!("the vocabulary has no token <{}>", shorten(inside, 40))),
        }
    }
}
