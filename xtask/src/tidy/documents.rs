//! The pages for people: the README's head, links that lead somewhere, pages that must exist.

use super::{Finding, Rule};
use crate::tree::Tree;

/// The README's head is two commands.
pub(super) const README: Rule = Rule {
    name: "readme",
    about: "README.md's first code block is exactly two commands: the main job, and the tests; .ci/run runs both",
    check: check_readme,
};

/// Links lead somewhere.
pub(super) const LINKS: Rule =
    Rule { name: "links", about: "a relative link in a page leads to a file of the repository", check: check_links };

/// Pages and files that a reader counts on.
pub(super) const PRESENT: Rule =
    Rule { name: "present", about: "the pages and files of the house are there, and not empty", check: check_present };

const WANTED: &[&str] = &[
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "deny.toml",
    "docs/ARCHITECTURE.md",
    "docs/add-a-family.md",
    "docs/commands.md",
    "docs/dependencies.md",
    "docs/glossary.md",
    "docs/security.md",
    "docs/support.md",
    "docs/testing.md",
];

/// Lines within which the README's two commands must have begun.
const HEAD_LINES: usize = 12;

fn check_readme(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.files.get("README.md") else { return Vec::new() };
    let refuse = |line, message: &str| vec![Finding::refused("README.md", line, message)];
    let lines: Vec<&str> = text.lines().collect();
    let Some(open) = lines.iter().position(|line| line.starts_with("```")).filter(|open| *open < HEAD_LINES) else {
        return refuse(0, "expected a code block with two commands within the first dozen lines");
    };
    let block: Vec<&str> = lines[open + 1..].iter().copied().take_while(|line| !line.starts_with("```")).collect();
    let commands: Vec<&str> = block
        .iter()
        .map(|line| line.split("  #").next().unwrap_or(line).trim())
        .filter(|line| !line.is_empty())
        .collect();
    if commands.len() != 2 {
        return refuse(open + 1, "expected exactly two commands in the first code block");
    }
    let script = tree.files.get(".ci/run").map_or("", String::as_str);
    let run_by_checks = commands.iter().all(|command| script.contains(command));
    if run_by_checks {
        Vec::new()
    } else {
        refuse(open + 1, "expected .ci/run to run both commands as they stand here")
    }
}

fn check_links(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.files.iter().filter(|(path, _)| path.ends_with(".md")) {
        let mut fenced = false;
        for (index, line) in text.lines().enumerate() {
            fenced ^= line.trim_start().starts_with("```");
            if fenced {
                continue;
            }
            for target in targets(line).filter(|target| !leads_somewhere(tree, path, target)) {
                findings.push(Finding::refused(path, index + 1, format!("the link {target:?} leads to no file")));
            }
        }
    }
    findings
}

/// Link targets of a line that are paths, anchors cut off.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).filter_map(|(target, _)| {
        let path = target.split('#').next().unwrap_or("");
        let outside = path.contains("://") || path.starts_with("mailto:") || path.is_empty() || path.contains(' ');
        (!outside).then_some(path)
    })
}

fn leads_somewhere(tree: &Tree, from: &str, target: &str) -> bool {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let path = parts.join("/");
    tree.paths.iter().any(|file| *file == path || file.strip_prefix(&path).is_some_and(|rest| rest.starts_with('/')))
}

fn check_present(tree: &Tree) -> Vec<Finding> {
    let missing = WANTED.iter().filter(|path| tree.files.get(**path).is_none_or(|text| text.trim().is_empty()));
    missing.map(|path| Finding::refused(path, 0, "expected this file to be there")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_rule;
    use super::*;

    #[test]
    fn two_commands() {
        let check = |readme, expected: &[&str]| {
            check_rule(
                &README,
                &Tree::of(&[("README.md", readme), (".ci/run", "run cargo run\nrun cargo test --workspace\n")]),
                expected,
            );
        };
        check("# B\n\n```sh\ncargo run\ncargo test --workspace\n```\n", &[]);
        check("# B\n\n```sh\ncargo run  # the job\n\ncargo test --workspace  # the tests\n```\n", &[]);
        check("# B\n\n```sh\ncargo run\n```\n", &["README.md:3: expected exactly two commands"]);
        check("# B\n\n```sh\ncargo run\ncargo bench\n```\n", &["expected .ci/run to run both"]);
        check("# B\n", &["expected a code block"]);
    }

    #[test]
    fn links() {
        let check = |page, expected: &[&str]| {
            check_rule(&LINKS, &Tree::of(&[("docs/a.md", page), ("docs/b.md", ""), ("c.md", "")]), expected)
        };
        check("[b](b.md#head) [c](../c.md) [docs](../docs) [x](https://x.y/z.md) [here](#there)", &[]);
        check("one\n[b](c.md)", &["docs/a.md:2: the link \"c.md\""]);
        check("```\n[b](c.md)\n```", &[]);
    }
}
