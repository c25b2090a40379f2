//! What every source file keeps to: a head, and words that never appear.

use super::{Finding, Rule, Weight};
use crate::scan::{Source, Token};
use crate::tree::{Tree, is_test_file};

/// A crate opens with its duty.
pub(super) const HEAD: Rule = Rule {
    name: "head",
    about: "every crate root opens with //! (its duty, its invariants, what is not in it) and inherits [workspace.lints]",
    check: check_head,
};

/// Things that are never committed.
pub(super) const BANNED: Rule = Rule {
    name: "banned",
    about: "no todo!, unimplemented!, dbg! or #[ignore], no sleeping in tests; #[allow] says why",
    check: check_banned,
};

/// Crates that may be built for machines without files keep away from them.
pub(super) const FILES: Rule = Rule {
    name: "files",
    about: "no std::fs, std::process or std::net in the crates that must build where there is none",
    check: check_files,
};

/// Crates of floors 0 to 3 that read no files: bytes come to them.
const WITHOUT_FILES: &[&str] = &[
    "crates/bantam-tensor/src/",
    "crates/bantam-text/src/",
    "crates/bantam-plan/src/",
    "crates/bantam-model/src/",
    "crates/bantam-cpu/src/",
];

fn check_head(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in &tree.files {
        if path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs") {
            let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("");
            if !first.starts_with("//! ") {
                findings.push(Finding::refused(
                    path,
                    1,
                    "expected the crate's duty as //! documentation on the first line",
                ));
            }
        } else if path.ends_with("/Cargo.toml") && !text.contains("[lints]\nworkspace = true") {
            findings.push(Finding::refused(path, 0, "expected [lints] workspace = true"));
        }
    }
    findings
}

fn check_banned(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, source) in &tree.sources {
        for (index, token) in source.tokens.iter().enumerate() {
            let in_test = token.in_test || is_test_file(path);
            let found = banned_at(source, index, in_test).filter(|_| !source.allows(BANNED.name, token.line));
            if let Some((weight, message)) = found {
                findings.push(Finding { weight, ..Finding::refused(path, token.line, message) });
            }
        }
    }
    findings
}

fn banned_at(source: &Source, index: usize, in_test: bool) -> Option<(Weight, String)> {
    let tokens = &source.tokens;
    let token = &tokens[index];
    let next = |ahead: usize, sign: char| tokens.get(index + ahead).is_some_and(|token| token.is_sign(sign));
    let is_macro = ["todo", "unimplemented", "dbg"].iter().any(|name| token.is_word(name)) && next(1, '!');
    if is_macro {
        return Some((Weight::Refused, format!("{}! is never committed", token.text)));
    }
    if in_test && token.is_word("sleep") && next(1, '(') {
        return Some((Weight::Refused, "a test sleeps: expected it to wait for what it waits for".to_owned()));
    }
    let attribute = index >= 2
        && tokens[index - 1].is_sign('[')
        && (tokens[index - 2].is_sign('#') || tokens[index - 2].is_sign('!'));
    if attribute && token.is_word("ignore") {
        return Some((Weight::Refused, "#[ignore]: a test runs or is not there".to_owned()));
    }
    let silences = token.is_word("allow") || token.is_word("expect");
    if attribute && silences && next(1, '(') {
        let inside: &[Token] = &tokens[index + 1..source.closing(index + 1)];
        if !inside.iter().any(|token| token.is_word("reason")) && !source.is_explained(token.line) {
            let message = format!("#[{}(…)] without a reason: expected a comment or `reason = \"…\"`", token.text);
            return Some((Weight::Warned, message));
        }
    }
    None
}

fn check_files(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, source) in WITHOUT_FILES.iter().flat_map(|prefix| tree.sources_under(prefix)) {
        for window in source.tokens.windows(4).filter(|window| !window[0].in_test && !is_test_file(path)) {
            let std = window[0].is_word("std") && window[1].is_sign(':') && window[2].is_sign(':');
            let door = ["fs", "process", "net"].iter().find(|door| window[3].is_word(door));
            if let Some(door) = door.filter(|_| std && !source.allows(FILES.name, window[3].line)) {
                let message = format!("std::{door} in a crate that works on bytes alone: a higher floor opens things");
                findings.push(Finding::refused(path, window[3].line, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_rule;
    use super::*;

    #[test]
    fn heads() {
        let check = |path, text, expected: &[&str]| check_rule(&HEAD, &Tree::of(&[(path, text)]), expected);
        check("crates/a/src/lib.rs", "//! Does a.\n", &[]);
        check("crates/a/src/lib.rs", "use x;\n", &["expected the crate's duty"]);
        check("crates/a/Cargo.toml", "[package]\n", &["expected [lints]"]);
        check("crates/a/Cargo.toml", "[lints]\nworkspace = true\n", &[]);
    }

    #[test]
    fn banned_words() {
        let check = |path, text, expected: &[&str]| check_rule(&BANNED, &Tree::of(&[(path, text)]), expected);
        check("a/src/x.rs", "fn f() {\n todo!() }", &["x.rs:2: todo!"]);
        check("a/src/x.rs", "// todo!()\nfn todo() {}", &[]);
        check("a/src/x.rs", "#[ignore] #[test] fn f() {}", &["#[ignore]"]);
        check("a/src/x.rs", "fn f() { thread::sleep(x) }", &[]);
        check("a/tests/main.rs", "fn f() { thread::sleep(x) }", &["a test sleeps"]);
        check("a/src/x.rs", "#[test] fn f() { thread::sleep(x) }", &["a test sleeps"]);
        check("a/src/x.rs", "#![allow(dead_code)]", &["without a reason"]);
        check("a/src/x.rs", "#[allow(dead_code, reason = \"used by the next floor\")]", &[]);
        check("a/src/x.rs", "// used by the next floor\n#[allow(dead_code)]", &[]);
        check("a/src/x.rs", "x.expect(\"y\")", &[]);
    }

    #[test]
    fn doors_to_the_machine() {
        let check = |path, text, expected: &[&str]| check_rule(&FILES, &Tree::of(&[(path, text)]), expected);
        check("crates/bantam-plan/src/x.rs", "use std::fs;", &["x.rs:1: std::fs"]);
        check("crates/bantam-formats/src/x.rs", "use std::fs;", &[]);
        check("crates/bantam-plan/src/x.rs", "#[cfg(test)] mod tests { use std::fs; }", &[]);
    }
}
