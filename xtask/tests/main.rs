//! The house asked of itself: the real tree is tidy, and the generated pages are what the tables say.

mod support;

use xtask::evidence::Evidence;
use xtask::tidy::{self, Weight};
use xtask::tree::Tree;

#[test]
fn the_tree_is_tidy() {
    let tree = Tree::load(&Tree::root()).expect("the tree can be read");
    let refused: Vec<String> = tidy::check(&tree)
        .iter()
        .filter(|finding| finding.weight == Weight::Refused)
        .map(ToString::to_string)
        .collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

/// Compares a page with what it is generated from, or writes it where `cargo xtask docs` asks for that.
#[track_caller]
fn check_generated(page: &str, expected: &str) {
    let path = Tree::root().join(page);
    if std::env::var_os("BANTAM_WRITE_GENERATED").is_some() {
        std::fs::write(&path, expected).expect("the page can be written");
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{page} is not what the tables say: run `cargo xtask docs`");
}

#[test]
fn generated_support_matrix() {
    let evidence = Evidence::committed(&Tree::root()).expect("the list can be read");
    check_generated("docs/support.md", &support::page(&evidence));
}
