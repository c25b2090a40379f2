//! Where words of a grammar may be cut: which of its words another could be read beyond.
//!
//! llguidance cuts text into words, the longest that fits, and follows every word that fits as long. So a regular part of a
//! grammar may be one word only if its end is certain: whenever a word is whole and something may follow it, no word of the
//! grammar may go on with what follows. Where that holds, cutting finds every reading that there is (the next byte leaves all
//! words behind, and all that are whole there go to the parser); where it does not, the word that could go on is cut in two.
//!
//! What is looked at is a little more than what can happen, never less: all words of the grammar are taken to be possible
//! everywhere, every counted repetition to be endless, and characters beyond ASCII to be one.

use super::Expression;
use super::parts::{Part, Parts};

/// Most characters of all words, their rules written out.
const MOST_PLACES: usize = 4_000;
/// Deepest nesting of expressions and rules in a word.
const DEEPEST: usize = 400;
/// Most expressions of all words and most connections between their characters: rules that name one another twice grow fast,
/// even where they derive no character at all.
const MOST_WORK: usize = 1_000_000;
/// Most steps of looking two words along.
const MOST_STEPS: usize = 4_000_000;

/// Most rounds of finding out what follows what: as many as rules begin or end with one another.
const MOST_ROUNDS: usize = 200;

/// A set of characters: the ASCII ones by their number, all others as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Set {
    ascii: u128,
    beyond: bool,
}

impl Set {
    fn of(negated: bool, ranges: &[(char, char)]) -> Self {
        let mut set = Self::default();
        for &(first, last) in ranges {
            let (first, last) = (u32::from(first), u32::from(last));
            (first..=last.min(127)).for_each(|code| set.ascii |= 1 << code);
            set.beyond |= last > 127;
        }
        match negated {
            true => Self { ascii: !set.ascii, beyond: true },
            false => set,
        }
    }

    fn with(self, other: Self) -> Self {
        Self { ascii: self.ascii | other.ascii, beyond: self.beyond | other.beyond }
    }

    fn meets(self, other: Self) -> bool {
        self.ascii & other.ascii != 0 || (self.beyond && other.beyond)
    }
}

/// A character of a word, as an automaton's state: the state of having read it.
#[derive(Debug)]
struct Place {
    set: Set,
    next: Vec<usize>,
    /// Whether a word may end here.
    last: bool,
    /// The word, and the item of its sequence.
    word: usize,
    item: usize,
}

/// What an expression begins and ends with.
#[derive(Clone, Debug, Default)]
struct Ends {
    empty: bool,
    first: Vec<usize>,
    last: Vec<usize>,
}

/// A word of the grammar.
#[derive(Debug, Default)]
struct Word {
    empty: bool,
    first: Vec<usize>,
    begins: Set,
    /// What may follow it.
    after: Set,
}

/// A word that could be read beyond another one's end, and the item of its sequence that could.
pub(super) type Doubt = (usize, usize);

/// The words whose ends are not certain; none where that would take too much work to find out.
pub(super) fn doubts(parts: &Parts<'_>) -> Option<Vec<Doubt>> {
    let mut automaton = Automaton { parts, places: Vec::new(), words: Vec::new(), item: 0, work: 0 };
    for word in parts.words() {
        automaton.add(word)?;
    }
    automaton.follow()?;
    automaton.compare()
}

struct Automaton<'p, 'g> {
    parts: &'p Parts<'g>,
    places: Vec<Place>,
    words: Vec<Word>,
    /// The item that is being added.
    item: usize,
    /// Of [`MOST_WORK`].
    work: usize,
}

impl Automaton<'_, '_> {
    fn add(&mut self, expression: &Expression) -> Option<()> {
        let items = match expression {
            Expression::Sequence(items) => items.as_slice(),
            _ => std::slice::from_ref(expression),
        };
        let mut whole = Ends { empty: true, ..Ends::default() };
        for (number, item) in items.iter().enumerate() {
            self.item = number;
            let ends = self.expression(item, 0)?;
            whole = self.join(whole, ends);
        }
        if self.work > MOST_WORK {
            return None;
        }
        for &at in &whole.last {
            self.places[at].last = true;
        }
        let begins = whole.first.iter().fold(Set::default(), |set, &at| set.with(self.places[at].set));
        self.words.push(Word { empty: whole.empty, first: whole.first, begins, after: Set::default() });
        Some(())
    }

    fn expression(&mut self, expression: &Expression, depth: usize) -> Option<Ends> {
        self.work += 1;
        if depth > DEEPEST || self.work > MOST_WORK {
            return None;
        }
        match expression {
            Expression::Class { negated, ranges } => {
                let at = self.places.len();
                if at >= MOST_PLACES {
                    return None;
                }
                let set = Set::of(*negated, ranges);
                self.places.push(Place { set, next: Vec::new(), last: false, word: self.words.len(), item: self.item });
                Some(Ends { empty: false, first: vec![at], last: vec![at] })
            }
            Expression::Sequence(items) => {
                let mut whole = Ends { empty: true, ..Ends::default() };
                for item in items {
                    let ends = self.expression(item, depth + 1)?;
                    whole = self.join(whole, ends);
                }
                Some(whole)
            }
            Expression::Choice(branches) => {
                let mut whole = Ends::default();
                for branch in branches {
                    let ends = self.expression(branch, depth + 1)?;
                    whole.empty |= ends.empty;
                    whole.first.extend(ends.first);
                    whole.last.extend(ends.last);
                }
                Some(whole)
            }
            Expression::Repeat(_, _, Some(0)) => Some(Ends { empty: true, ..Ends::default() }),
            Expression::Repeat(inner, least, most) => {
                let mut ends = self.expression(inner, depth + 1)?;
                if *most != Some(1) {
                    self.connect(&ends.last, &ends.first);
                }
                ends.empty |= *least == 0;
                Some(ends)
            }
            Expression::Rule(number) => self.expression(self.parts.rule(*number)?, depth + 1),
            Expression::Token { .. } => None,
        }
    }

    fn join(&mut self, mut before: Ends, behind: Ends) -> Ends {
        self.connect(&before.last, &behind.first);
        if before.empty {
            before.first.extend(&behind.first);
        }
        match behind.empty {
            true => before.last.extend(behind.last),
            false => before.last = behind.last,
        }
        before.empty &= behind.empty;
        before
    }

    fn connect(&mut self, from: &[usize], to: &[usize]) {
        self.work = self.work.saturating_add(from.len().saturating_mul(to.len()));
        if self.work > MOST_WORK {
            // Whoever asked gives up at the next expression or at the end.
            return;
        }
        for &at in from {
            let next = &mut self.places[at].next;
            next.extend(to);
            next.sort_unstable();
            next.dedup();
        }
    }

    /// What may follow each word: FIRST and FOLLOW of a grammar (Aho, Sethi and Ullman, "Compilers", 4.4), to a fixed point.
    fn follow(&mut self) -> Option<()> {
        let rules = self.parts.rules().len();
        let mut firsts = vec![(Set::default(), false); rules];
        let mut changed = true;
        for _ in 0..MOST_ROUNDS {
            changed = false;
            for (number, part) in self.parts.parts() {
                let found = self.begins(part, &firsts);
                changed |= firsts[number] != found;
                firsts[number] = found;
            }
            if !changed {
                break;
            }
        }
        if changed {
            return None;
        }
        let mut after = vec![Set::default(); rules];
        for _ in 0..MOST_ROUNDS {
            let before = after.clone();
            for (number, part) in self.parts.parts() {
                let own = after[number];
                self.spread(part, own, &firsts, &mut after);
            }
            if before == after {
                return Some(());
            }
        }
        None
    }

    /// What a part begins with, and whether it may be empty.
    fn begins(&self, part: &Part, firsts: &[(Set, bool)]) -> (Set, bool) {
        match part {
            Part::Word(word) => (self.words[*word].begins, self.words[*word].empty),
            Part::Sequence(items) => {
                let mut set = Set::default();
                for item in items {
                    let (begins, empty) = self.begins(item, firsts);
                    set = set.with(begins);
                    if !empty {
                        return (set, false);
                    }
                }
                (set, true)
            }
            Part::Choice(branches) => branches.iter().fold((Set::default(), false), |(set, empty), branch| {
                let found = self.begins(branch, firsts);
                (set.with(found.0), empty | found.1)
            }),
            Part::Repeat(_, _, Some(0)) => (Set::default(), true),
            Part::Repeat(inner, least, _) => {
                let (set, empty) = self.begins(inner, firsts);
                (set, empty || *least == 0)
            }
            Part::Rule(number) => firsts[*number],
            // A control token has no characters.
            Part::Token(_) => (Set::default(), false),
        }
    }

    /// Hands what may follow a part down to the words and rules that may end it.
    fn spread(&mut self, part: &Part, behind: Set, firsts: &[(Set, bool)], after: &mut [Set]) {
        match part {
            Part::Word(word) => {
                let word = &mut self.words[*word];
                word.after = word.after.with(behind);
            }
            Part::Sequence(items) => {
                let mut behind = behind;
                for item in items.iter().rev() {
                    self.spread(item, behind, firsts, after);
                    let (begins, empty) = self.begins(item, firsts);
                    behind = if empty { behind.with(begins) } else { begins };
                }
            }
            Part::Choice(branches) => branches.iter().for_each(|branch| self.spread(branch, behind, firsts, after)),
            Part::Repeat(_, _, Some(0)) | Part::Token(_) => {}
            Part::Repeat(inner, _, most) => {
                let again = if *most == Some(1) { Set::default() } else { self.begins(inner, firsts).0 };
                self.spread(inner, behind.with(again), firsts, after);
            }
            Part::Rule(number) => after[*number] = after[*number].with(behind),
        }
    }

    /// Reads every two words side by side, and sees where one is whole and the other goes on with what may follow.
    fn compare(&self) -> Option<Vec<Doubt>> {
        let count = self.places.len();
        let mut seen = vec![false; count * count];
        let mut open = Vec::new();
        let mut steps = 0_usize;
        let firsts: Vec<usize> = self.words.iter().flat_map(|word| word.first.iter().copied()).collect();
        let meet = |p: usize, q: usize| self.places[p].set.meets(self.places[q].set);
        let mut doubts = Vec::new();
        let mut visit = |open: &mut Vec<(usize, usize)>, from: &[usize], to: &[usize]| {
            steps += from.len() * to.len();
            for &p in from {
                for &q in to {
                    if meet(p, q) && !std::mem::replace(&mut seen[p * count + q], true) {
                        open.push((p, q));
                    }
                }
            }
            steps <= MOST_STEPS
        };
        if !visit(&mut open, &firsts, &firsts) {
            return None;
        }
        while let Some((p, q)) = open.pop() {
            let (one, other) = (&self.places[p], &self.places[q]);
            if one.last {
                let after = self.words[one.word].after;
                let beyond = other.next.iter().filter(|&&at| self.places[at].set.meets(after));
                doubts.extend(beyond.map(|&at| (self.places[at].word, self.places[at].item)));
            }
            if !visit(&mut open, &one.next, &other.next) {
                return None;
            }
        }
        doubts.sort_unstable();
        // One cut of a word at a time, the first.
        doubts.dedup_by_key(|(word, _)| *word);
        Some(doubts)
    }
}
