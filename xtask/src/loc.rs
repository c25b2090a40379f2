//! How much there is: lines of code, tests and comments per package.

use crate::tree::{Tree, is_test_file};

/// Lines of one package, or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Package name.
    pub name: String,
    /// Files of Rust.
    pub files: usize,
    /// Lines with code outside of tests.
    pub code: usize,
    /// Lines with code of tests.
    pub tests: usize,
    /// Lines that begin with a comment.
    pub comments: usize,
}

/// Counts every package, and all of them together at the end.
pub fn count(tree: &Tree) -> Vec<Lines> {
    let mut rows: Vec<Lines> =
        tree.packages.iter().map(|package| of_directory(tree, &package.name, &package.directory)).collect();
    let total = rows.iter().fold(Lines { name: "all".to_owned(), ..Lines::default() }, |sum, row| Lines {
        name: sum.name,
        files: sum.files + row.files,
        code: sum.code + row.code,
        tests: sum.tests + row.tests,
        comments: sum.comments + row.comments,
    });
    rows.push(total);
    rows
}

fn of_directory(tree: &Tree, name: &str, directory: &str) -> Lines {
    let mut lines = Lines { name: name.to_owned(), ..Lines::default() };
    for (path, source) in tree.sources_under(&format!("{directory}/")) {
        lines.files += 1;
        let all_tests = is_test_file(path);
        lines.code += if all_tests { 0 } else { source.code_lines() };
        lines.tests += source.test_lines() + if all_tests { source.code_lines() } else { 0 };
        lines.comments += tree.files[path].lines().filter(|line| line.trim_start().starts_with("//")).count();
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Package;

    #[test]
    fn by_sort() {
        let package = Package { name: "a".to_owned(), directory: "crates/a".to_owned(), ..Package::default() };
        let text = "//! head\n\nfn f() {\n    // why\n    g();\n}\n\n#[cfg(test)]\nmod tests {\n    x();\n}\n";
        let tree = Tree {
            packages: vec![package],
            ..Tree::of(&[("crates/a/src/lib.rs", text), ("crates/a/tests/main.rs", "fn t() {}\n")])
        };
        let expected = Lines { name: "a".to_owned(), files: 2, code: 3, tests: 5, comments: 2 };
        assert_eq!(count(&tree)[0], expected);
        assert_eq!(count(&tree)[1], Lines { name: "all".to_owned(), ..expected });
    }
}
