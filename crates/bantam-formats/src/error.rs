//! The one error type of this crate: each variant prints as one sentence.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Why a file could not be read or written.
///
/// Sentences carry no file name of their own unless a file system call failed; [`FormatError::in_file`] adds it where known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// An error about one named file.
    #[error("{}: {error}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: Box<FormatError>,
    },
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: `open`, `read`, `write`, `list`…
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// No bytes at all.
    #[error("the file is empty")]
    Empty,
    /// Another kind of file altogether.
    #[error("expected a {expected} file, found {found}")]
    WrongKind {
        /// The format asked for.
        expected: &'static str,
        /// What the first bytes look like.
        found: String,
    },
    /// GGUF written for a big-endian machine.
    #[error("this is a big-endian GGUF file (version {version}); only little-endian GGUF is supported")]
    BigEndian {
        /// Version as that machine would read it.
        version: u32,
    },
    /// A version of GGUF that is not known.
    #[error("GGUF version {version} is not supported; versions 1, 2 and 3 are")]
    UnsupportedVersion {
        /// Version found.
        version: u32,
    },
    /// The file ends in the middle of something.
    #[error("the file ends inside {place}: {needed} bytes are needed at byte {offset}, {available} are there")]
    Truncated {
        /// What was being read.
        place: String,
        /// Where, from the start of the file.
        offset: usize,
        /// Bytes needed.
        needed: u64,
        /// Bytes there.
        available: usize,
    },
    /// A count that the rest of the file could not hold.
    #[error("{place} claims {count} {items}, more than the {available} bytes left in the file could hold")]
    AbsurdCount {
        /// Who claims it.
        place: String,
        /// Number claimed.
        count: u64,
        /// Of what, in the plural.
        items: &'static str,
        /// Bytes there.
        available: usize,
    },
    /// A structure that contradicts itself or the format.
    #[error("{place} {problem}")]
    Damaged {
        /// Which part of the file.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Two things with one name.
    #[error("{what} {name} appears twice")]
    Duplicate {
        /// Kind of thing: `metadata key`, `tensor`…
        what: &'static str,
        /// The name, quoted.
        name: String,
    },
    /// A tensor whose data would lie beyond the end of the file.
    #[error("tensor {name} needs bytes {start} to {end} of the file, which has {available}")]
    TensorBeyondFile {
        /// The tensor, quoted.
        name: String,
        /// First byte it claims.
        start: u64,
        /// One past its last byte.
        end: u64,
        /// Length of the file.
        available: usize,
    },
    /// A tensor stored in a way that is not known, so that not even its size can be told.
    #[error("tensor {name} is stored as {stored_as}, which is not supported")]
    UnknownTensorType {
        /// The tensor, quoted.
        name: String,
        /// Name or number of the type.
        stored_as: String,
    },
    /// A metadata value of another type than asked for.
    #[error("metadata key {key} should be {expected} but is {found}")]
    WrongValueType {
        /// The key, quoted.
        key: String,
        /// Type asked for.
        expected: &'static str,
        /// Type, and for a number its value, found.
        found: String,
    },
    /// Something needed that is not there.
    #[error("{what} is missing{advice}")]
    Missing {
        /// What, quoted where it is a name.
        what: String,
        /// Empty, or `; …` saying what to do.
        advice: String,
    },
    /// The file is whole but is not what Bantam runs.
    #[error("{0}")]
    NotAModel(String),
    /// What was given to a writer cannot be written.
    #[error("cannot write {what}: {problem}")]
    Unwritable {
        /// Which part.
        what: String,
        /// Why.
        problem: String,
    },
}

impl FormatError {
    /// Says which file the error is about, once.
    pub fn in_file(self, path: &Path) -> Self {
        match self {
            Self::InFile { .. } | Self::Io { .. } => self,
            other => Self::InFile { path: path.to_path_buf(), error: Box::new(other) },
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { action, path: path.to_path_buf(), source }
    }

    pub(crate) fn damaged(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Damaged { place: place.into(), problem: problem.into() }
    }

    pub(crate) fn unwritable(what: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Unwritable { what: what.into(), problem: problem.into() }
    }
}

/// A name out of a file, fit for one line of an error: quoted, control characters escaped, cut after 80 characters.
pub(crate) fn quoted(name: &str) -> String {
    quoted_bytes(name.as_bytes())
}

/// [`quoted`] for bytes that may not be UTF-8.
pub(crate) fn quoted_bytes(name: &[u8]) -> String {
    const LONGEST: usize = 80;
    let mut text = String::from("`");
    // No character is longer than four bytes, so this prefix holds all that will be shown.
    let prefix = name.get(..LONGEST * 4).unwrap_or(name);
    for (count, character) in String::from_utf8_lossy(prefix).chars().enumerate() {
        if count == LONGEST {
            text.push('…');
            break;
        }
        if character.is_control() {
            let _ = write!(text, "{}", character.escape_default());
        } else {
            text.push(character);
        }
    }
    text.push('`');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_one_line() {
        fn check(input: &[u8], expected: &str) {
            assert_eq!(quoted_bytes(input), expected);
        }
        check(b"blk.0.attn_q.weight", "`blk.0.attn_q.weight`");
        check(b"a\nb\x1b[2J", "`a\\nb\\u{1b}[2J`");
        check(&[0xff, b'x'], "`\u{fffd}x`");
        check(&[b'a'; 200], &format!("`{}…`", "a".repeat(80)));
    }

    #[test]
    fn the_file_is_named_once() {
        let error = FormatError::Empty.in_file(Path::new("a.gguf")).in_file(Path::new("b.gguf"));
        assert_eq!(error.to_string(), "a.gguf: the file is empty");
    }
}
