//! A grammar in words and rules: which parts of it llguidance reads as one word.

use std::collections::BTreeMap;

use super::{Expression, Grammar, borders};

/// Most rounds of cutting words.
const MOST_ROUNDS: usize = 64;

/// A part of a rule.
#[derive(Debug)]
pub(super) enum Part {
    /// A word, by its number: a regular expression.
    Word(usize),
    /// One after the other.
    Sequence(Vec<Part>),
    /// One of them.
    Choice(Vec<Part>),
    /// Least times, most times.
    Repeat(Box<Part>, u32, Option<u32>),
    /// A rule that is no word.
    Rule(usize),
    /// A token.
    Token(Expression),
}

/// A grammar's rules in parts.
#[derive(Debug)]
pub(super) struct Parts<'g> {
    grammar: &'g Grammar,
    /// The rules that `root` needs and that are no words.
    rules: Vec<Option<Part>>,
    words: Vec<Expression>,
    /// Rules that may stand in words: they do not come back to themselves and name no token.
    regular: Vec<bool>,
}

/// How much is put into a word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    /// As much as is regular.
    Most,
    /// A character.
    Least,
}

impl<'g> Parts<'g> {
    /// The fewest and longest words whose ends are certain.
    pub(super) fn longest(grammar: &'g Grammar) -> Self {
        let mut parts = Self::new(grammar, Size::Most);
        // A grammar that is one word has no borders.
        if matches!(parts.rules.get(grammar.root), Some(Some(Part::Word(_)))) {
            return parts;
        }
        if parts.names_text() {
            return Self::characters(grammar);
        }
        for _ in 0..MOST_ROUNDS {
            match borders::doubts(&parts) {
                Some(doubts) if doubts.is_empty() => return parts,
                Some(doubts) => parts.cut(&doubts.into_iter().collect()),
                None => break,
            }
        }
        Self::characters(grammar)
    }

    /// Every character a word.
    pub(super) fn characters(grammar: &'g Grammar) -> Self {
        Self::new(grammar, Size::Least)
    }

    fn new(grammar: &'g Grammar, size: Size) -> Self {
        let regular = match size {
            Size::Most => regular(grammar),
            Size::Least => vec![false; grammar.rules.len()],
        };
        let rules = grammar.rules.iter().map(|_| None).collect();
        let mut parts = Self { grammar, rules, words: Vec::new(), regular };
        let mut needed = vec![grammar.root];
        while let Some(number) = needed.pop() {
            let Some(rule) = grammar.rules.get(number).filter(|_| parts.rules.get(number).is_some_and(Option::is_none))
            else {
                continue;
            };
            let part = parts.part(rule, size, &mut needed);
            parts.rules[number] = Some(part);
        }
        parts
    }

    pub(super) fn words(&self) -> &[Expression] {
        &self.words
    }

    pub(super) fn rules(&self) -> &[Option<Part>] {
        &self.rules
    }

    /// The rules that are no words, with their numbers.
    pub(super) fn parts(&self) -> impl Iterator<Item = (usize, &Part)> {
        self.rules.iter().enumerate().filter_map(|(number, part)| Some((number, part.as_ref()?)))
    }

    /// A rule as it was read.
    pub(super) fn rule(&self, number: usize) -> Option<&'g Expression> {
        self.grammar.rules.get(number)
    }

    pub(super) fn root(&self) -> usize {
        self.grammar.root
    }

    /// Whether a rule names a token that may be text, or any token but one: words know nothing of tokens' borders.
    fn names_text(&self) -> bool {
        fn names(part: &Part) -> bool {
            match part {
                Part::Sequence(items) | Part::Choice(items) => items.iter().any(names),
                Part::Repeat(inner, _, _) => names(inner),
                Part::Token(Expression::Token { negated, control, .. }) => *negated || !control,
                Part::Token(_) | Part::Word(_) | Part::Rule(_) => false,
            }
        }
        self.parts().any(|(_, part)| names(part))
    }

    fn is_regular(&self, expression: &Expression) -> bool {
        match expression {
            Expression::Class { .. } => true,
            Expression::Sequence(items) | Expression::Choice(items) => items.iter().all(|item| self.is_regular(item)),
            Expression::Repeat(inner, _, _) => self.is_regular(inner),
            Expression::Rule(number) => self.regular.get(*number) == Some(&true),
            Expression::Token { .. } => false,
        }
    }

    fn word(&mut self, expression: Expression) -> Part {
        self.words.push(expression);
        Part::Word(self.words.len() - 1)
    }

    fn part(&mut self, expression: &Expression, size: Size, needed: &mut Vec<usize>) -> Part {
        let whole = match size {
            Size::Most => self.is_regular(expression),
            Size::Least => matches!(expression, Expression::Class { .. }),
        };
        if whole {
            return self.word(expression.clone());
        }
        match expression {
            Expression::Sequence(items) => {
                let mut flat = Vec::new();
                flatten(items, &mut flat);
                let mut parts = Vec::new();
                let mut run: Vec<Expression> = Vec::new();
                for item in flat {
                    if size == Size::Most && self.is_regular(item) {
                        run.push(item.clone());
                        continue;
                    }
                    self.end_run(&mut run, &mut parts);
                    parts.push(self.part(item, size, needed));
                }
                self.end_run(&mut run, &mut parts);
                Part::Sequence(parts)
            }
            Expression::Choice(branches) => {
                Part::Choice(branches.iter().map(|branch| self.part(branch, size, needed)).collect())
            }
            Expression::Repeat(inner, least, most) => {
                Part::Repeat(Box::new(self.part(inner, size, needed)), *least, *most)
            }
            Expression::Rule(number) => {
                needed.push(*number);
                Part::Rule(*number)
            }
            Expression::Class { .. } | Expression::Token { .. } => Part::Token(expression.clone()),
        }
    }

    fn end_run(&mut self, run: &mut Vec<Expression>, parts: &mut Vec<Part>) {
        let items = std::mem::take(run);
        if !items.is_empty() {
            let word = self.word(one(items));
            parts.push(word);
        }
    }

    /// Cuts words: each before the item of its sequence that is in doubt, or into what it is made of.
    fn cut(&mut self, doubts: &BTreeMap<usize, usize>) {
        let words = std::mem::take(&mut self.words);
        let rules = std::mem::take(&mut self.rules);
        self.rules = rules.iter().map(|_| None).collect();
        let mut needed = Vec::new();
        for (number, part) in rules.into_iter().enumerate() {
            self.rules[number] = part.map(|part| self.cut_part(part, &words, doubts, &mut needed));
        }
        // Rules that were words until now, and are rules of one word each.
        for number in needed {
            if let (Some(None), Some(rule)) = (self.rules.get(number), self.rule(number)) {
                let word = self.word(rule.clone());
                self.rules[number] = Some(word);
            }
        }
    }

    fn cut_part(
        &mut self,
        part: Part,
        words: &[Expression],
        doubts: &BTreeMap<usize, usize>,
        needed: &mut Vec<usize>,
    ) -> Part {
        let mut all = |this: &mut Self, parts: Vec<Part>| -> Vec<Part> {
            parts.into_iter().map(|part| this.cut_part(part, words, doubts, needed)).collect()
        };
        match part {
            Part::Word(number) => {
                let word = words[number].clone();
                match doubts.get(&number) {
                    Some(&item) => self.cut_word(word, item, needed),
                    None => self.word(word),
                }
            }
            Part::Sequence(items) => Part::Sequence(all(self, items)),
            Part::Choice(branches) => Part::Choice(all(self, branches)),
            Part::Repeat(inner, least, most) => {
                Part::Repeat(Box::new(self.cut_part(*inner, words, doubts, needed)), least, most)
            }
            Part::Rule(_) | Part::Token(_) => part,
        }
    }

    fn cut_word(&mut self, word: Expression, item: usize, needed: &mut Vec<usize>) -> Part {
        match word {
            Expression::Sequence(items) => {
                let mut flat = Vec::new();
                flatten(&items, &mut flat);
                // Sequences inside are written out first: the item is counted in what was looked at.
                if flat.len() != items.len() {
                    return self.word(Expression::Sequence(flat.into_iter().cloned().collect()));
                }
                let mut items = items;
                let behind = items.split_off(item.clamp(1, items.len()));
                let mut parts = vec![self.word(one(items))];
                if !behind.is_empty() {
                    parts.push(self.word(one(behind)));
                }
                Part::Sequence(parts)
            }
            Expression::Choice(branches) => {
                Part::Choice(branches.into_iter().map(|branch| self.word(branch)).collect())
            }
            Expression::Repeat(inner, least, most) => Part::Repeat(Box::new(self.word(*inner)), least, most),
            Expression::Rule(number) => {
                needed.push(number);
                Part::Rule(number)
            }
            // One character has no two ends.
            Expression::Class { .. } | Expression::Token { .. } => self.word(word),
        }
    }
}

fn one(mut items: Vec<Expression>) -> Expression {
    if items.len() == 1 { items.swap_remove(0) } else { Expression::Sequence(items) }
}

/// A sequence without sequences in it.
fn flatten<'e>(items: &'e [Expression], flat: &mut Vec<&'e Expression>) {
    for item in items {
        match item {
            Expression::Sequence(inner) => flatten(inner, flat),
            other => flat.push(other),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Open,
    Regular,
    Other,
}

/// Which rules do not come back to themselves, and name no token, nor do the rules that they need.
fn regular(grammar: &Grammar) -> Vec<bool> {
    let mut states = vec![State::New; grammar.rules.len()];
    // Walked with a stack of its own: chains of rules may be long.
    let mut stack = vec![(grammar.root, false)];
    while let Some((number, leaving)) = stack.pop() {
        let (Some(&state), Some(rule)) = (states.get(number), grammar.rules.get(number)) else { continue };
        let mut needed = Vec::new();
        let plain = needs(rule, &mut needed);
        if leaving {
            // One that is still open leads back here.
            let regular = plain && needed.iter().all(|&rule| states.get(rule) == Some(&State::Regular));
            states[number] = if regular { State::Regular } else { State::Other };
        } else if state == State::New {
            states[number] = State::Open;
            stack.push((number, true));
            stack.extend(
                needed.into_iter().filter(|&rule| states.get(rule) == Some(&State::New)).map(|rule| (rule, false)),
            );
        }
    }
    states.into_iter().map(|state| state == State::Regular).collect()
}

/// The rules that an expression names; false where it names a token.
pub(super) fn needs(expression: &Expression, needed: &mut Vec<usize>) -> bool {
    match expression {
        Expression::Class { .. } => true,
        Expression::Sequence(items) | Expression::Choice(items) => {
            // All of them, whatever the first are.
            let named = items.iter().filter(|item| !needs(item, needed)).count();
            named == 0
        }
        Expression::Repeat(inner, _, _) => needs(inner, needed),
        Expression::Rule(number) => {
            needed.push(*number);
            true
        }
        Expression::Token { .. } => false,
    }
}
