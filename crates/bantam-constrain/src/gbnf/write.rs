//! Writing Lark.

use std::fmt::Write as _;

use super::Expression;
use super::parts::{Part, Parts, needs};

/// Writes a grammar in llguidance's Lark.
pub(super) fn write(parts: &Parts<'_>) -> String {
    let mut writer = Writer { out: String::new() };
    let _ = writeln!(writer.out, "start: r{}", parts.root());
    for (number, part) in parts.parts() {
        let _ = write!(writer.out, "r{number}: ");
        writer.part(part, parts);
        writer.out.push('\n');
    }
    let mut needed = Vec::new();
    for (number, word) in parts.words().iter().enumerate() {
        if !is_inline(word) {
            let _ = write!(writer.out, "L{number}: ");
            writer.expression(word);
            writer.out.push('\n');
            needs(word, &mut needed);
        }
    }
    // The rules that words are made of.
    let mut written = vec![false; parts.rules().len()];
    while let Some(number) = needed.pop() {
        let (Some(done @ false), Some(rule)) = (written.get_mut(number), parts.rule(number)) else { continue };
        *done = true;
        let _ = write!(writer.out, "W{number}: ");
        writer.expression(rule);
        writer.out.push('\n');
        needs(rule, &mut needed);
    }
    writer.out
}

/// Whether a word is short enough to stand where it is needed.
fn is_inline(word: &Expression) -> bool {
    match word {
        Expression::Class { .. } => true,
        Expression::Sequence(items) => items.is_empty(),
        _ => false,
    }
}

struct Writer {
    out: String,
}

impl Writer {
    fn part(&mut self, part: &Part, parts: &Parts<'_>) {
        match part {
            Part::Word(number) => match parts.words().get(*number) {
                Some(word) if is_inline(word) => self.expression(word),
                _ => {
                    let _ = write!(self.out, "L{number}");
                }
            },
            Part::Sequence(items) => self.between(items, " ", |this, item| this.part(item, parts)),
            Part::Choice(branches) => {
                self.out.push('(');
                self.between(branches, " | ", |this, branch| this.part(branch, parts));
                self.out.push(')');
            }
            Part::Repeat(inner, least, most) => self.repeat(*least, *most, |this| this.part(inner, parts)),
            Part::Rule(number) => {
                let _ = write!(self.out, "r{number}");
            }
            Part::Token(token) => self.expression(token),
        }
    }

    fn expression(&mut self, expression: &Expression) {
        match expression {
            Expression::Class { negated, ranges } => self.class(*negated, ranges),
            Expression::Sequence(items) => self.between(items, " ", Self::expression),
            Expression::Choice(branches) => {
                self.out.push('(');
                self.between(branches, " | ", Self::expression);
                self.out.push(')');
            }
            Expression::Repeat(inner, least, most) => self.repeat(*least, *most, |this| this.expression(inner)),
            Expression::Rule(number) => {
                let _ = write!(self.out, "W{number}");
            }
            Expression::Token { negated, id, .. } => {
                let _ = write!(self.out, "<[{}{id}]>", if *negated { "^" } else { "" });
            }
        }
    }

    fn between<T>(&mut self, items: &[T], separator: &str, mut write: impl FnMut(&mut Self, &T)) {
        if items.is_empty() {
            self.out.push_str("\"\"");
        }
        for (index, item) in items.iter().enumerate() {
            self.out.push_str(if index > 0 { separator } else { "" });
            write(self, item);
        }
    }

    fn repeat(&mut self, least: u32, most: Option<u32>, inner: impl FnOnce(&mut Self)) {
        if most == Some(0) {
            self.out.push_str("\"\"");
            return;
        }
        self.out.push('(');
        inner(self);
        self.out.push(')');
        let _ = match (least, most) {
            (0, None) => write!(self.out, "*"),
            (1, None) => write!(self.out, "+"),
            (0, Some(1)) => write!(self.out, "?"),
            (least, None) => write!(self.out, "{{{least},}}"),
            (least, Some(most)) => write!(self.out, "{{{least},{most}}}"),
        };
    }

    fn class(&mut self, negated: bool, ranges: &[(char, char)]) {
        if negated && ranges.is_empty() {
            self.out.push_str("/(?s:.)/");
            return;
        }
        self.out.push_str(if negated { "/[^" } else { "/[" });
        for &(first, last) in ranges {
            let _ = match first == last {
                true => write!(self.out, "\\u{{{:x}}}", u32::from(first)),
                false => write!(self.out, "\\u{{{:x}}}-\\u{{{:x}}}", u32::from(first), u32::from(last)),
            };
        }
        self.out.push_str("]/");
    }
}
