//! A crate depends on crates of lower floors only.

use super::{Finding, Rule};
use crate::tree::{Package, Purpose, Tree};

/// See the module.
pub(super) const RULE: Rule = Rule {
    name: "floors",
    about: "a crate declares its floor and depends on lower floors only (its tests also on its own floor and on bantam-testkit)",
    check,
};

/// Crates that stand on no floor: anyone's tests may use them, no crate may ship them.
const BESIDE: &[&str] = &["bantam-testkit", "bantam-fuzz", "xtask"];

fn check(tree: &Tree) -> Vec<Finding> {
    tree.packages
        .iter()
        .filter(|package| package.name != "xtask")
        .flat_map(|package| of_package(tree, package))
        .collect()
}

fn of_package(tree: &Tree, package: &Package) -> Vec<Finding> {
    let manifest = format!("{}/Cargo.toml", package.directory);
    let Some(floor) = package.floor else {
        return vec![Finding::refused(&manifest, 0, "declares no floor: expected [package.metadata.house] floor = n")];
    };
    let mut findings = Vec::new();
    for dependency in package.dependencies.iter().filter(|dependency| dependency.inside) {
        let Some(other) = tree.packages.iter().find(|other| other.name == dependency.name) else { continue };
        if BESIDE.contains(&other.name.as_str()) {
            let beside = BESIDE.contains(&package.name.as_str());
            if dependency.purpose != Purpose::Test && !beside {
                let message = format!("{} may be a dependency of tests only", other.name);
                findings.push(Finding::refused(&manifest, 0, message));
            }
            continue;
        }
        // Tests ship nothing and may look across their own floor (a backend's tests lower a model), never up.
        let reach = floor + u64::from(dependency.purpose == Purpose::Test);
        let low_enough = other.floor.is_some_and(|below| below < reach);
        if !low_enough {
            let below = other.floor.map_or("no floor".to_owned(), |below| format!("floor {below}"));
            let message = format!("floor {floor} depends on {} of {below}: expected a lower floor", other.name);
            findings.push(Finding::refused(&manifest, 0, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_rule;
    use super::*;
    use crate::tree::Dependency;

    fn package(name: &str, floor: Option<u64>, on: &[(&str, Purpose)]) -> Package {
        let dependencies = on
            .iter()
            .map(|(name, purpose)| Dependency {
                name: (*name).to_owned(),
                requirement: "*".to_owned(),
                purpose: *purpose,
                inside: true,
            })
            .collect();
        Package { name: name.to_owned(), directory: name.to_owned(), floor, dependencies, ..Package::default() }
    }

    #[track_caller]
    fn check(on: &[(&str, Purpose)], expected: &[&str]) {
        let packages = vec![
            package("low", Some(0), &[]),
            package("level", Some(2), &[]),
            package("high", Some(3), &[]),
            package("bantam-testkit", Some(0), &[]),
            package("mine", Some(2), on),
        ];
        check_rule(&RULE, &Tree { packages, ..Tree::default() }, expected);
    }

    #[test]
    fn downwards_only() {
        check(&[("low", Purpose::Normal)], &[]);
        check(&[("level", Purpose::Normal)], &["mine/Cargo.toml: floor 2 depends on level of floor 2"]);
        check(&[("level", Purpose::Build)], &["floor 2 depends on level"]);
        check(&[("level", Purpose::Test)], &[]);
        check(&[("high", Purpose::Test)], &["floor 2 depends on high of floor 3"]);
    }

    #[test]
    fn the_testkit_is_for_tests() {
        check(&[("bantam-testkit", Purpose::Test)], &[]);
        check(&[("bantam-testkit", Purpose::Normal)], &["bantam-testkit may be a dependency of tests only"]);
    }

    #[test]
    fn every_crate_has_a_floor() {
        let packages = vec![package("mine", None, &[])];
        check_rule(&RULE, &Tree { packages, ..Tree::default() }, &["mine/Cargo.toml: declares no floor"]);
    }
}
