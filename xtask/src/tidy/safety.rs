//! `unsafe` lives in one crate and in files named here.

use super::{Finding, Rule};
use crate::tree::Tree;

/// See the module.
pub(super) const RULE: Rule = Rule {
    name: "safety",
    about: "unsafe only in bantam-kernels and the named files; #![forbid(unsafe_code)] at every other crate root",
    check,
};

/// Crates that may hold unsafe code anywhere.
const CRATES: &[&str] = &["crates/bantam-kernels/"];

/// Files of other crates that may hold unsafe code, each for one reason.
const FILES: &[&str] = &[
    // A global allocator is an unsafe trait by its nature.
    "crates/bantam-testkit/src/counting_allocator.rs",
];

fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, source) in &tree.sources {
        if CRATES.iter().any(|allowed| path.starts_with(allowed)) {
            continue;
        }
        if !FILES.contains(&path.as_str()) {
            let found = source.tokens.iter().filter(|token| token.is_word("unsafe"));
            findings.extend(found.map(|token| {
                Finding::refused(
                    path,
                    token.line,
                    "unsafe outside of bantam-kernels: expected a safe function of its own there",
                )
            }));
        }
        if let Some(wanted) = wanted_at_root(path) {
            let found = source.tokens.windows(3).any(|window| {
                wanted.contains(&window[0].text.as_str()) && window[1].is_sign('(') && window[2].is_word("unsafe_code")
            });
            if !found {
                let message = format!("expected #![{}(unsafe_code)] at the crate's root", wanted[0]);
                findings.push(Finding::refused(path, 0, message));
            }
        }
    }
    findings
}

/// For a crate root: the lint levels that will do. A crate with a named file cannot forbid, as forbidding is final.
fn wanted_at_root(path: &str) -> Option<&'static [&'static str]> {
    let (directory, _) = path.split_once("/src/lib.rs").or_else(|| path.split_once("/src/main.rs"))?;
    let named = FILES.iter().any(|file| file.starts_with(&format!("{directory}/")));
    Some(if named { &["deny", "forbid"] } else { &["forbid"] })
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_rule;
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, expected: &[&str]) {
        check_rule(&RULE, &Tree::of(&[(path, text)]), expected);
    }

    #[test]
    fn where_it_stands() {
        check("crates/bantam-kernels/src/lib.rs", "unsafe {}", &[]);
        check("crates/bantam-plan/src/x.rs", "a\nunsafe {}", &["crates/bantam-plan/src/x.rs:2: unsafe"]);
        check("crates/bantam-plan/tests/main.rs", "unsafe {}", &["unsafe"]);
        check("crates/bantam-plan/src/x.rs", "// unsafe\n\"unsafe\"", &[]);
        check("crates/bantam-testkit/src/counting_allocator.rs", "unsafe impl A for B {}", &[]);
    }

    #[test]
    fn roots_forbid_it() {
        check("crates/bantam-plan/src/lib.rs", "//! x", &["expected #![forbid(unsafe_code)]"]);
        check("crates/bantam-plan/src/lib.rs", "#![forbid(unsafe_code)]", &[]);
        check("crates/bantam-plan/src/lib.rs", "#![deny(unsafe_code)]", &["expected #![forbid(unsafe_code)]"]);
        check("crates/bantam-testkit/src/lib.rs", "#![deny(unsafe_code)]", &[]);
    }
}
