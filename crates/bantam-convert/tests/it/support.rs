//! Folders of tests, and conversions in one line.

use std::path::{Path, PathBuf};

use bantam_convert::{ConvertError, Form, Options, Report, convert};

/// A fresh folder for one test, removed with it.
pub struct Folder(pub PathBuf);

impl Folder {
    /// Makes it; `name` keeps tests apart.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("bantam-convert-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Converts with options changed.
pub fn converted(
    source: &Path,
    target: &Path,
    form: Form,
    change: impl FnOnce(&mut Options),
) -> Result<Report, ConvertError> {
    let mut options = Options { threads: Some(2), ..Options::new(form) };
    change(&mut options);
    convert(source, target, &options, &mut |_, _| true)
}
