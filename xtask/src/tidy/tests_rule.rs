//! Tests link once per crate.

use super::{Finding, Rule};
use crate::tree::Tree;

/// See the module.
pub(super) const RULE: Rule = Rule {
    name: "tests",
    about: "one integration-test binary a crate (each more is a link more), and `allocations` where a crate counts them",
    check,
};

/// A counting global allocator counts for its whole binary, so it stands alone in one.
const ALONE: &str = "allocations";

fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &tree.packages {
        let binaries: Vec<&str> = package.tests.iter().map(String::as_str).filter(|name| *name != ALONE).collect();
        if binaries.len() > 1 {
            let message = format!("{} test binaries ({}): expected one", binaries.len(), binaries.join(", "));
            findings.push(Finding::refused(&format!("{}/tests", package.directory), 0, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_rule;
    use super::*;
    use crate::tree::Package;

    #[track_caller]
    fn check(binaries: &[&str], expected: &[&str]) {
        let tests = binaries.iter().map(|name| (*name).to_owned()).collect();
        let package = Package { name: "a".to_owned(), directory: "crates/a".to_owned(), tests, ..Package::default() };
        check_rule(&RULE, &Tree { packages: vec![package], ..Tree::default() }, expected);
    }

    #[test]
    fn binaries() {
        check(&[], &[]);
        check(&["main"], &[]);
        check(&["main", "allocations"], &[]);
        check(&["main", "other"], &["crates/a/tests: 2 test binaries (main, other)"]);
    }
}
