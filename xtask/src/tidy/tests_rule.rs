//! Tests link once per crate.

use super::{Finding, Rule};
use crate::tree::Tree;

/// See the module.
pub(super) const RULE: Rule = Rule {
    name: "tests",
    about: "one integration-test binary a crate (tests/main.rs or tests/it/main.rs): each more is a link more",
    check,
};

fn check(tree: &Tree) -> Vec<Finding> {
    let several = tree.packages.iter().filter(|package| package.tests.len() > 1);
    several
        .map(|package| {
            let message = format!("{} test binaries ({}): expected one", package.tests.len(), package.tests.join(", "));
            Finding::refused(&format!("{}/tests", package.directory), 0, message)
        })
        .collect()
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
        check(&["main", "other"], &["crates/a/tests: 2 test binaries (main, other)"]);
    }
}
