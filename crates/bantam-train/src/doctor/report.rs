//! What the doctor says.

use std::path::PathBuf;

use serde::Serialize;

use super::personal::Personal;

/// Kinds of findings, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It cannot be read, or is no example.
    Malformed,
    /// Its tokens are more than are learned at once.
    TooLong,
    /// An answer says nothing.
    Empty,
    /// The same as another row.
    Duplicate,
    /// Nearly the same as another row.
    NearDuplicate,
    /// It, or its prompt, is in the validation file, too.
    Leak,
    /// Another row answers the same prompt otherwise.
    Contradiction,
    /// Personal data.
    Personal,
    /// Rows that are learned in different ways.
    Mixed,
    /// Some labels are rare, or much rarer than others.
    Imbalance,
}

impl Kind {
    /// All of them, the worst first.
    pub const ALL: [Self; 10] = [
        Self::Malformed,
        Self::TooLong,
        Self::Empty,
        Self::Duplicate,
        Self::NearDuplicate,
        Self::Leak,
        Self::Contradiction,
        Self::Personal,
        Self::Mixed,
        Self::Imbalance,
    ];

    /// How bad it is.
    pub fn severity(self) -> Severity {
        match self {
            Self::Malformed | Self::TooLong | Self::Mixed => Severity::Error,
            Self::Empty | Self::Duplicate | Self::NearDuplicate | Self::Leak | Self::Contradiction | Self::Personal => {
                Severity::Warning
            }
            Self::Imbalance => Severity::Advice,
        }
    }

    /// Whether rows with it are left out of a mended file. What contradicts and what is personal, a person has to decide on.
    pub fn is_removed(self) -> bool {
        matches!(
            self,
            Self::Malformed | Self::TooLong | Self::Empty | Self::Duplicate | Self::NearDuplicate | Self::Leak
        )
    }

    /// What people call it, of so many rows.
    pub fn words(self, count: usize) -> String {
        let rows = if count == 1 { "1 row".to_owned() } else { format!("{count} rows") };
        let (is, has) = if count == 1 { ("is", "has") } else { ("are", "have") };
        match self {
            Self::Malformed => format!("{rows} {is} malformed"),
            Self::TooLong => format!("{rows} {is} too long"),
            Self::Empty => format!("{rows} {has} an empty answer"),
            Self::Duplicate => format!("{rows} {is} {}", if count == 1 { "a duplicate" } else { "duplicates" }),
            Self::NearDuplicate => format!("{rows} {is} nearly the same as another"),
            Self::Leak => format!("{rows} {is} in the validation file, too"),
            Self::Contradiction => format!("{rows} {has} another answer to a prompt that was answered before"),
            Self::Personal => format!("{rows} {has} personal data"),
            Self::Mixed => format!("{rows} {is} learned in another way than the others"),
            Self::Imbalance => {
                if count == 1 {
                    "1 label is rare".into()
                } else {
                    format!("{count} labels are rare")
                }
            }
        }
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// `bantam tune` refuses the file.
    Error,
    /// It can be learned, and should not be.
    Warning,
    /// Worth knowing.
    Advice,
}

/// Something found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub kind: Kind,
    /// In which line (or row, as [`Report::place`] says), from 1; none where it is no single line's.
    pub line: Option<usize>,
    /// The other line of a duplicate or a contradiction; of a leak the validation file's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<usize>,
    /// In words.
    pub text: String,
}

/// Lengths in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lengths {
    /// Half are no longer.
    pub median: usize,
    /// 95 of 100 are no longer.
    pub most: usize,
    /// The longest.
    pub longest: usize,
    /// Most that may be; none where nobody said.
    pub limit: Option<usize>,
}

/// A label and how many rows have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Label {
    /// The answer, or the tool's name.
    pub label: String,
    /// Rows.
    pub rows: usize,
}

/// All that was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The file.
    pub path: PathBuf,
    /// How it is written.
    pub form: String,
    /// What rows are counted in: `line`, or `row` where rows have no lines of their own.
    pub place: &'static str,
    /// Rows, damaged ones too.
    pub rows: usize,
    /// Rows by shape.
    pub shapes: Vec<(String, usize)>,
    /// What was found, in the order of [`Kind::ALL`], then of lines.
    pub findings: Vec<Finding>,
    /// Answers, where they are few distinct ones, the most frequent first.
    pub labels: Vec<Label>,
    /// Lengths in characters.
    pub characters: Lengths,
    /// Lengths in tokens, where a model was given.
    pub tokens: Option<Lengths>,
    /// Personal data by kind.
    pub personal: Vec<(Personal, usize)>,
    /// What to do about data of this kind and size.
    pub advice: Vec<String>,
}

impl Report {
    /// Whether nothing speaks against learning from it.
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.kind.severity() == Severity::Advice)
    }

    /// What was found of a kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.kind == kind)
    }
}
