//! Files that lie within the program: models by a name instead of a path.
//!
//! A program registers what it carries once, at its start; what opens files by path asks here first. A name begins with `@`, so
//! that it is told from a path at a glance; a file that is really called so goes by `./@name`.

use std::path::Path;
use std::sync::OnceLock;

static FILES: OnceLock<&'static [Embedded]> = OnceLock::new();

/// A file within the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedded {
    /// `@` and a word.
    pub name: &'static str,
    /// Its bytes.
    pub bytes: &'static [u8],
}

/// Makes files known by their names; the first call decides.
pub fn register(files: &'static [Embedded]) {
    // A second call would only say the same.
    let _ = FILES.set(files);
}

/// The bytes of the file that goes by this name.
pub fn bytes(path: &Path) -> Option<&'static [u8]> {
    let files = FILES.get()?;
    files.iter().find(|file| path.as_os_str() == file.name).map(|file| file.bytes)
}

/// The names that are known.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.get().into_iter().flat_map(|files| files.iter()).map(|file| file.name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Embedded, bytes, names, register};

    #[test]
    fn a_name_is_known_once_it_is_registered() {
        assert_eq!(bytes(Path::new("@tiny")), None);
        register(&[Embedded { name: "@tiny", bytes: b"GGUF" }]);
        register(&[]);
        let check = |path: &str, expected: Option<&[u8]>| assert_eq!(bytes(Path::new(path)), expected, "{path}");
        check("@tiny", Some(b"GGUF"));
        check("./@tiny", None);
        check("@other", None);
        assert_eq!(names().collect::<Vec<_>>(), ["@tiny"]);
    }
}
