//! The tidy rules: one rule a file, registered in [`RULES`].
//!
//! A line may be excused where the rule says so, by a comment with a reason on that line or the one above:
//! `// tidy: allow(wildcard) every other op is elementwise`.

mod dependencies;
mod documents;
mod families;
mod floors;
mod length;
mod safety;
mod sources;
mod tests_rule;
mod wildcard;

use std::fmt;

use crate::tree::Tree;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The tree is not tidy.
    Refused,
    /// Worth a look.
    Warned,
}

/// One thing a rule found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// File, from the root.
    pub path: String,
    /// Line from 1, or 0 for the file as a whole.
    pub line: usize,
    /// What was expected and what was found.
    pub message: String,
    /// How much it matters.
    pub weight: Weight,
}

impl Finding {
    /// A finding that makes the tree untidy.
    pub fn refused(path: &str, line: usize, message: impl Into<String>) -> Finding {
        Finding { path: path.to_owned(), line, message: message.into(), weight: Weight::Refused }
    }

    /// A finding worth a look.
    pub fn warned(path: &str, line: usize, message: impl Into<String>) -> Finding {
        Finding { weight: Weight::Warned, ..Finding::refused(path, line, message) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.weight {
            Weight::Refused => "error",
            Weight::Warned => "warning",
        };
        match self.line {
            0 => write!(formatter, "{weight}: {}: {}", self.path, self.message),
            line => write!(formatter, "{weight}: {}:{line}: {}", self.path, self.message),
        }
    }
}

/// A rule of the house that a program can hold.
#[derive(Debug)]
pub struct Rule {
    /// Its name, as in `tidy: allow(name)`.
    pub name: &'static str,
    /// What it asks, in a sentence.
    pub about: &'static str,
    /// Asks it of a tree.
    pub check: fn(&Tree) -> Vec<Finding>,
}

/// Every rule.
pub const RULES: &[Rule] = &[
    floors::RULE,
    length::RULE,
    safety::RULE,
    families::NAMES,
    families::LENGTH,
    wildcard::RULE,
    sources::HEAD,
    sources::BANNED,
    sources::FILES,
    tests_rule::RULE,
    dependencies::RULE,
    documents::README,
    documents::LINKS,
    documents::PRESENT,
];

/// Asks every rule; the findings that refuse come first.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings: Vec<Finding> = RULES
        .iter()
        .flat_map(|rule| {
            (rule.check)(tree)
                .into_iter()
                .map(|finding| Finding { message: format!("{} [{}]", finding.message, rule.name), ..finding })
        })
        .collect();
    findings.sort_by(|one, other| {
        let key = |finding: &Finding| (finding.weight == Weight::Warned, finding.path.clone(), finding.line);
        key(one).cmp(&key(other))
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `expected`: what each finding says, as `path:line: part of the message`, in any order.
    #[track_caller]
    pub fn check_rule(rule: &Rule, tree: &Tree, expected: &[&str]) {
        let found: Vec<String> = (rule.check)(tree).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expected.len(), "rule {} found {found:#?}", rule.name);
        for part in expected {
            assert!(found.iter().any(|finding| finding.contains(part)), "no {part:?} in {found:#?}");
        }
    }

    #[test]
    fn names_are_unique() {
        for (index, rule) in RULES.iter().enumerate() {
            assert!(RULES[..index].iter().all(|other| other.name != rule.name), "two rules named {}", rule.name);
        }
    }
}
