//! Every outside crate is written down.

use std::collections::BTreeMap;

use super::{Finding, Rule};
use crate::tree::Tree;

/// See the module.
pub(super) const RULE: Rule = Rule {
    name: "dependencies",
    about: "docs/dependencies.md has a row for every outside crate, with the version asked for, and for no other",
    check,
};

const PAGE: &str = "docs/dependencies.md";

fn check(tree: &Tree) -> Vec<Finding> {
    let rows = rows(tree.files.get(PAGE).map_or("", String::as_str));
    let mut used: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for package in &tree.packages {
        for dependency in package.dependencies.iter().filter(|dependency| !dependency.inside) {
            used.insert(&dependency.name, (&dependency.requirement, &package.directory));
        }
    }
    let mut findings = Vec::new();
    for (name, (requirement, user)) in &used {
        let wanted = requirement.trim_start_matches('^');
        match rows.get(name) {
            None => findings.push(Finding::refused(
                PAGE,
                0,
                format!("no row for {name} {wanted}, which {user} depends on: expected why it and not another, and its tree size"),
            )),
            Some((line, version)) if *version != wanted => {
                findings.push(Finding::refused(PAGE, *line, format!("{name} is written down as {version}, Cargo.toml asks for {wanted}")));
            }
            Some(_) => {}
        }
    }
    let unused = rows.iter().filter(|(name, _)| !used.contains_key(*name));
    findings.extend(unused.map(|(name, (line, _))| {
        Finding::refused(PAGE, *line, format!("{name} is written down, nothing depends on it"))
    }));
    findings
}

/// Rows of the page's tables whose first cell is `` `name` ``: name to line and second cell.
fn rows(text: &str) -> BTreeMap<&str, (usize, &str)> {
    let cells = text.lines().enumerate().filter_map(|(index, line)| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        Some((name, (index + 1, cells.next()?)))
    });
    cells.collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_rule;
    use super::*;
    use crate::tree::{Dependency, Package, Purpose};

    #[track_caller]
    fn check(page: &str, expected: &[&str]) {
        let dependency = |name: &str, requirement: &str, inside| Dependency {
            name: name.to_owned(),
            requirement: requirement.to_owned(),
            purpose: Purpose::Normal,
            inside,
        };
        let package = Package {
            name: "mine".to_owned(),
            directory: "crates/mine".to_owned(),
            floor: Some(1),
            dependencies: vec![dependency("serde", "^1", false), dependency("bantam-plan", "*", true)],
            ..Package::default()
        };
        check_rule(&RULE, &Tree { packages: vec![package], ..Tree::of(&[(PAGE, page)]) }, expected);
    }

    #[test]
    fn rows_and_lines() {
        check("| crate | version |\n|---|---|\n| `serde` | 1 | … |\n", &[]);
        check("", &["no row for serde 1, which crates/mine depends on"]);
        check("| `serde` | 2 | … |\n", &["docs/dependencies.md:1: serde is written down as 2"]);
        check(
            "| `serde` | 1 |\n| `rand` | 1 |\n",
            &["docs/dependencies.md:2: rand is written down, nothing depends on it"],
        );
    }
}
