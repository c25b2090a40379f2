//! What the tests of a whole run have shown, and the committed list that the support matrix is made from.
//!
//! Lines as `bantam_testkit::evidence` writes them: kind, subject, what was shown, `shared` or `-`, the test's file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::tree::TreeError;

/// The variable that tests look at, as in `bantam-testkit`.
pub const VARIABLE: &str = "BANTAM_EVIDENCE";
/// The committed list.
pub const PAGE: &str = "docs/evidence.tsv";

/// A set of lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence(BTreeSet<String>);

impl Evidence {
    /// Lines of a text.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }

    /// The committed list.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn committed(root: &Path) -> Result<Self, TreeError> {
        let path = root.join(PAGE);
        let text = std::fs::read_to_string(&path).map_err(|source| TreeError::Read { path, source })?;
        Ok(Self::parse(&text))
    }

    /// Where a run's lines are gathered.
    pub fn gathering_place(root: &Path) -> PathBuf {
        root.join("target/evidence.tsv")
    }

    /// Whether something of this kind was shown of the subject.
    pub fn shows(&self, matrix: &str, subject: &str, capability: &str) -> bool {
        let start = format!("{matrix}\t{subject}\t{capability}\t");
        self.0.range(start.clone()..).next().is_some_and(|line| line.starts_with(&start))
    }

    /// All subjects of a kind of which something was shown, sorted.
    pub fn subjects(&self, matrix: &str) -> BTreeSet<&str> {
        self.0
            .iter()
            .filter_map(|line| {
                let mut fields = line.split('\t');
                (fields.next() == Some(matrix)).then(|| fields.next()).flatten()
            })
            .collect()
    }

    /// The lines, one below the other.
    pub fn page(&self) -> String {
        self.0.iter().fold(String::new(), |text, line| text + line + "\n")
    }

    /// What the list claims and a run did not show, and what the run showed and the list does not have. Where there is no
    /// shared material, what needs it is left out of the question.
    pub fn differences(&self, run: &Self, has_shared: bool) -> Vec<String> {
        let counts = |line: &&String| has_shared || line.split('\t').nth(3) != Some("shared");
        let claimed = self.0.difference(&run.0).filter(counts).map(|line| format!("claimed, not shown: {line}"));
        let new = run.0.difference(&self.0).map(|line| format!("shown, not in the list: {line}"));
        claimed.chain(new).collect()
    }
}

/// Whether the material outside the repository is there, looked for as tests look for it.
pub fn has_shared(root: &Path) -> bool {
    std::env::var_os("BANTAM_SHARED").map_or_else(|| root.join("../shared"), PathBuf::from).is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_compared_both_ways() {
        let list = Evidence::parse("type\tA\tread\t-\tx.rs\ntype\tB\tread\tshared\ty.rs\n");
        assert!(list.shows("type", "A", "read") && !list.shows("type", "A", "re") && !list.shows("type", "C", "read"));
        assert_eq!(list.subjects("type").into_iter().collect::<Vec<_>>(), ["A", "B"]);
        assert!(list.subjects("family").is_empty());
        let check = |run: &str, has_shared: bool, expected: &[&str]| {
            assert_eq!(list.differences(&Evidence::parse(run), has_shared), expected, "{run}");
        };
        check(&list.page(), true, &[]);
        check("type\tA\tread\t-\tx.rs", false, &[]);
        check("type\tA\tread\t-\tx.rs", true, &["claimed, not shown: type\tB\tread\tshared\ty.rs"]);
        check(
            "type\tB\tread\tshared\ty.rs\ntype\tC\tread\t-\tx.rs",
            true,
            &["claimed, not shown: type\tA\tread\t-\tx.rs", "shown, not in the list: type\tC\tread\t-\tx.rs"],
        );
    }
}
