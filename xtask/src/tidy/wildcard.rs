//! No catch-all arm in a match on a Spec or Op enum, so that a new variant lists its own to-do.

use std::collections::BTreeSet;

use super::{Finding, Rule};
use crate::scan::{Kind, Source, Token};
use crate::tree::{Tree, is_test_file};

/// See the module.
pub(super) const RULE: Rule = Rule {
    name: "wildcard",
    about: "no `_ =>` (nor a bare name) in a match whose patterns name an enum of the Plan's ops or of the Spec",
    check,
};

/// Where those enums are declared: files and directories by their beginning.
const HOMES: &[&str] = &["crates/bantam-plan/src/op", "crates/bantam-plan/src/plan.rs", "crates/bantam-model/src/spec"];

fn check(tree: &Tree) -> Vec<Finding> {
    let closed: BTreeSet<&str> =
        HOMES.iter().flat_map(|home| tree.sources_under(home)).flat_map(|(_, source)| enums(source)).collect();
    let mut findings = Vec::new();
    for (path, source) in tree.sources_under("crates/") {
        if is_test_file(path) || !path.contains("/src/") {
            continue;
        }
        let at_home = HOMES.iter().any(|home| path.starts_with(home));
        for (index, token) in source.tokens.iter().enumerate() {
            if !token.is_word("match") || token.in_test {
                continue;
            }
            let patterns = patterns(source, index);
            let named = patterns.iter().find_map(|pattern| closed_enum(pattern, &closed, at_home));
            let (Some(named), Some(line)) = (named, patterns.iter().find_map(|pattern| catch_all(pattern))) else {
                continue;
            };
            if !source.allows(RULE.name, line) {
                let message = format!("catch-all arm in a match on {named}: expected every variant by name");
                findings.push(Finding::refused(path, line, message));
            }
        }
    }
    findings
}

fn enums(source: &Source) -> impl Iterator<Item = &str> {
    let pairs = source.tokens.windows(2).filter(|pair| pair[0].is_word("enum") && !pair[0].in_test);
    pairs.map(|pair| pair[1].text.as_str())
}

/// The patterns of the match whose keyword is at `index`, each as its tokens.
fn patterns(source: &Source, index: usize) -> Vec<&[Token]> {
    let tokens = &source.tokens;
    let mut open = index + 1;
    while open < tokens.len() && !tokens[open].is_sign('{') {
        open = if tokens[open].is_sign('(') || tokens[open].is_sign('[') { source.closing(open) + 1 } else { open + 1 };
    }
    if open >= tokens.len() {
        return Vec::new();
    }
    let end = source.closing(open);
    let mut patterns = Vec::new();
    let mut at = open + 1;
    while at < end {
        let start = at;
        while at < end && !(tokens[at].is_sign('=') && tokens[at + 1].is_sign('>')) {
            at = step_over(source, at);
        }
        patterns.push(&tokens[start..at.min(end)]);
        at += 2;
        if at < end && tokens[at].is_sign('{') {
            at = source.closing(at) + 1;
        } else {
            while at < end && !tokens[at].is_sign(',') {
                at = step_over(source, at);
            }
        }
        if at < end && tokens[at].is_sign(',') {
            at += 1;
        }
    }
    patterns
}

/// One past the token at `at`, or past the bracket it opens.
fn step_over(source: &Source, at: usize) -> usize {
    let token = &source.tokens[at];
    if token.is_sign('(') || token.is_sign('[') || token.is_sign('{') { source.closing(at) + 1 } else { at + 1 }
}

/// The closed enum that a pattern names by `Name::`, or by `Self::` in the file that declares it.
fn closed_enum<'a>(pattern: &'a [Token], closed: &BTreeSet<&str>, at_home: bool) -> Option<&'a str> {
    let named = pattern.windows(3).find(|window| {
        let name = window[0].text.as_str();
        let known = closed.contains(name) || (at_home && name == "Self");
        window[0].kind == Kind::Word && known && window[1].is_sign(':') && window[2].is_sign(':')
    });
    named.map(|window| window[0].text.as_str())
}

/// The line of a pattern that is `_` or a bare name.
fn catch_all(pattern: &[Token]) -> Option<usize> {
    let [only] = pattern else { return None };
    let bare = only.kind == Kind::Word && only.text.starts_with(|c: char| c == '_' || c.is_lowercase());
    let literal = only.is_word("true") || only.is_word("false");
    (bare && !literal).then_some(only.line)
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_rule;
    use super::*;

    const OPS: (&str, &str) = ("crates/bantam-plan/src/op.rs", "pub enum Op { A, B(u8), C { x: u8 } }");

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        check_rule(&RULE, &Tree::of(&[OPS, ("crates/bantam-cpu/src/x.rs", text)]), expected);
    }

    #[test]
    fn catch_alls() {
        check("match op {\n Op::A => 1,\n _ => 2,\n}", &["x.rs:3: catch-all arm in a match on Op"]);
        check("match &step.op { Op::C { x, .. } => { f(x) } other => g(other) }", &["match on Op"]);
        check("match f(|x| { x }) { crate::Op::A | Op::B(_) => { 1 }, _ => 2 }", &["match on Op"]);
        check("match a { Some(1) => match op { Op::A => 1, _ => 2 }, None => 3 }", &["match on Op"]);
    }

    #[test]
    fn complete_matches() {
        check("match op { Op::A => 1, Op::B(_) => 2, Op::C { .. } => 3 }", &[]);
        check("match x { 1 => Op::A, _ => Op::B(0) }", &[]);
        check("match (a, b) { (Op::A, _) => 1, (_, Op::A) => 2 }", &[]);
        check("match op {\n Op::A => 1,\n // tidy: allow(wildcard) the rest is elementwise\n _ => 2,\n}", &[]);
        check("match x { true => 1, _ => 2 }", &[]);
        check("#[cfg(test)] mod tests { fn f() { match op { Op::A => 1, _ => 2 } } }", &[]);
    }

    #[test]
    fn the_enum_itself() {
        let text = "pub enum Op { A, B }\nimpl Op { fn f(self) { match self { Self::A => 1, _ => 2 } } }";
        check_rule(&RULE, &Tree::of(&[("crates/bantam-plan/src/op.rs", text)]), &["op.rs:2: catch-all arm"]);
    }
}
