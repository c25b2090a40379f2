//! Writing Lark.

use std::fmt::Write as _;

use super::{Expression, Grammar};

/// Writes a grammar in llguidance's Lark.
pub(super) fn write(grammar: &Grammar) -> String {
    let words = words(grammar);
    let mut writer = Writer { grammar, words: &words, out: String::new() };
    let root = grammar.root;
    let _ = writeln!(writer.out, "start: {}", writer.name(root));
    for (number, rule) in grammar.rules.iter().enumerate() {
        let name = writer.name(number);
        let _ = write!(writer.out, "{name}: ");
        writer.expression(rule);
        writer.out.push('\n');
    }
    writer.out
}

/// Which rules are words: all, where no rule that `root` needs comes back to itself or names a token; none otherwise.
fn words(grammar: &Grammar) -> Vec<bool> {
    let mut state = vec![State::New; grammar.rules.len()];
    let regular = visit(grammar, grammar.root, &mut state);
    // Rules that nothing needs are left as they are; they may be anything.
    state.into_iter().map(|state| regular && state == State::Done).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Open,
    Done,
}

/// Walks the rules with a stack of its own; false where one comes back to itself or names a token.
fn visit(grammar: &Grammar, root: usize, state: &mut [State]) -> bool {
    let mut stack = vec![(root, false)];
    while let Some((number, leaving)) = stack.pop() {
        let Some(place) = state.get_mut(number) else { return false };
        if leaving {
            *place = State::Done;
            continue;
        }
        match place {
            State::Done => continue,
            State::Open => return false,
            State::New => *place = State::Open,
        }
        stack.push((number, true));
        let mut needed = Vec::new();
        if !grammar.rules.get(number).is_some_and(|rule| needs(rule, &mut needed)) {
            return false;
        }
        for rule in needed {
            match state.get(rule) {
                Some(State::Open) => return false,
                Some(State::Done) => {}
                // One that is waiting already is met a second time before it is open, which is no cycle.
                _ => stack.push((rule, false)),
            }
        }
    }
    true
}

/// The rules that an expression names; false where it names a token.
fn needs(expression: &Expression, needed: &mut Vec<usize>) -> bool {
    match expression {
        Expression::Class { .. } => true,
        Expression::Sequence(items) | Expression::Choice(items) => items.iter().all(|item| needs(item, needed)),
        Expression::Repeat(inner, _, _) => needs(inner, needed),
        Expression::Rule(number) => {
            needed.push(*number);
            true
        }
        Expression::Token { .. } => false,
    }
}

struct Writer<'g> {
    grammar: &'g Grammar,
    words: &'g [bool],
    out: String,
}

impl Writer<'_> {
    /// Lark's words begin with a capital letter, its rules with a small one.
    fn name(&self, number: usize) -> String {
        if self.words.get(number) == Some(&true) { format!("W{number}") } else { format!("r{number}") }
    }

    fn expression(&mut self, expression: &Expression) {
        match expression {
            Expression::Class { negated, ranges } => self.class(*negated, ranges),
            Expression::Sequence(items) if items.is_empty() => self.out.push_str("\"\""),
            Expression::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.out.push_str(if index > 0 { " " } else { "" });
                    self.expression(item);
                }
            }
            Expression::Choice(items) => {
                self.out.push('(');
                for (index, item) in items.iter().enumerate() {
                    self.out.push_str(if index > 0 { " | " } else { "" });
                    self.expression(item);
                }
                self.out.push(')');
            }
            Expression::Repeat(_, _, Some(0)) => self.out.push_str("\"\""),
            Expression::Repeat(inner, least, most) => {
                self.out.push('(');
                self.expression(inner);
                self.out.push(')');
                match (least, most) {
                    (0, None) => self.out.push('*'),
                    (1, None) => self.out.push('+'),
                    (0, Some(1)) => self.out.push('?'),
                    (least, None) => {
                        let _ = write!(self.out, "{{{least},}}");
                    }
                    (least, Some(most)) => {
                        let _ = write!(self.out, "{{{least},{most}}}");
                    }
                }
            }
            Expression::Rule(number) if *number < self.grammar.rules.len() => {
                let name = self.name(*number);
                self.out.push_str(&name);
            }
            Expression::Rule(_) => self.out.push_str("\"\""),
            Expression::Token { negated, id } => {
                let _ = write!(self.out, "<[{}{id}]>", if *negated { "^" } else { "" });
            }
        }
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
