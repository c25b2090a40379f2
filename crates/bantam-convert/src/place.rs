//! Where the target goes: is there something already, is it the source, is there room.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use bantam_formats::FormatError;

use crate::source::{Files, Source};
use crate::{ConvertError, Form};

/// The folder a path lies in.
pub(crate) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A path with links and dots resolved as far as it is there.
fn resolved(path: &Path) -> PathBuf {
    if let Ok(found) = path.canonicalize() {
        return found;
    }
    match (parent(path).canonicalize(), path.file_name()) {
        (Ok(parent), Some(name)) => parent.join(name),
        _ => path.to_owned(),
    }
}

/// Refuses a target that the model is read from or that is there in the directory it is read from, one that is there
/// where it may not be replaced, and one that is there and is no model of its form.
pub(crate) fn check(
    target: &Path,
    source: &Source,
    files: &Files,
    form: Form,
    force: bool,
) -> Result<(), ConvertError> {
    let place = resolved(target);
    let is_source = || Err(ConvertError::IsSource { path: target.to_owned() });
    if files.paths().any(|path| resolved(path).starts_with(&place)) {
        return is_source();
    }
    if let Source::Directory(directory) = source {
        let own = resolved(directory.directory.path());
        let is_there = std::fs::symlink_metadata(target).is_ok();
        // Also by way of a link, on either side.
        let inside = place.starts_with(&own) || resolved(&parent(target)).starts_with(&own);
        let linked =
            || std::fs::read_dir(&own).into_iter().flatten().flatten().any(|each| resolved(&each.path()) == place);
        if own.starts_with(&place) || is_there && (inside || linked()) {
            return is_source();
        }
    }
    // A pipe or a device takes what it is given.
    let replaces = std::fs::symlink_metadata(target)
        .is_ok_and(|_| std::fs::metadata(target).map_or(true, |found| found.is_file() || found.is_dir()));
    if replaces && !force {
        return Err(ConvertError::Exists { path: target.to_owned() });
    }
    let is_folder = place.is_dir();
    let refused = |problem: &str| Err(ConvertError::Request(format!("{}: {problem}", target.display())));
    match form {
        Form::Gguf if is_folder => refused("is a folder; a GGUF file does not take its place"),
        Form::HuggingFace if replaces && !is_folder => refused("is a file; a folder does not take its place"),
        Form::HuggingFace if is_folder && !is_model(&place) => {
            refused("has files, but no config.json: --force replaces models and empty folders only")
        }
        Form::Gguf | Form::HuggingFace => Ok(()),
    }
}

/// Whether a folder is a model's, or empty.
fn is_model(folder: &Path) -> bool {
    folder.join("config.json").is_file() || std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// Refuses what the file system has no room for, where it says how much it has.
pub(crate) fn check_space(target: &Path, needed: u64) -> Result<(), ConvertError> {
    match free_space(&parent(target)) {
        Some(available) if available < needed => {
            Err(ConvertError::Space { path: target.to_owned(), needed, available })
        }
        _ => Ok(()),
    }
}

/// Bytes that may still be written to the file system that a folder lies on, where it says (only Unix is asked so far).
#[cfg(unix)]
pub fn free_space(folder: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    // FUSE and 9p may say that there are no blocks at all, which says nothing of how much fits.
    if found.f_blocks == 0 {
        return None;
    }
    found.f_bavail.checked_mul(found.f_frsize)
}

/// Bytes that may still be written to the file system that a folder lies on, where it says (only Unix is asked so far).
#[cfg(not(unix))]
pub fn free_space(_: &Path) -> Option<u64> {
    None
}

/// A folder being filled beside its final place; removed unless it is kept.
pub(crate) struct NewFolder {
    target: PathBuf,
    temporary: PathBuf,
    kept: bool,
}

impl NewFolder {
    pub(crate) fn create(target: &Path) -> Result<Self, ConvertError> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let failed = |source| FormatError::Io { action: "write", path: target.to_owned(), source };
        let name = target.file_name().ok_or_else(|| failed(std::io::ErrorKind::InvalidInput.into()))?;
        let mut temporary = name.to_os_string();
        temporary.push(format!(".{}-{}.part", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
        let temporary = parent(target).join(temporary);
        std::fs::create_dir(&temporary).map_err(failed)?;
        Ok(Self { target: target.to_owned(), temporary, kept: false })
    }

    /// Where files go meanwhile.
    pub(crate) fn path(&self) -> &Path {
        &self.temporary
    }

    /// Gives the folder its name; what was there before goes.
    pub(crate) fn keep(mut self) -> Result<(), ConvertError> {
        let failed = |source| FormatError::Io { action: "write", path: self.target.clone(), source };
        let mut old = None;
        let is_there = std::fs::symlink_metadata(&self.target).is_ok();
        if is_there && exchanged(&self.temporary, &self.target) {
            // One step: at no time is there no model by that name.
            self.kept = true;
            sync(&parent(&self.target));
            return removed(&self.temporary).map_err(|error| failed(error).into());
        }
        if is_there {
            let aside = self.temporary.with_extension("old");
            std::fs::rename(&self.target, &aside).map_err(failed)?;
            old = Some(aside);
        }
        if let Err(error) = std::fs::rename(&self.temporary, &self.target) {
            if let Some(old) = &old {
                let _ = std::fs::rename(old, &self.target);
            }
            return Err(failed(error).into());
        }
        self.kept = true;
        sync(&parent(&self.target));
        Ok(old.map_or(Ok(()), |old| removed(&old)).map_err(failed)?)
    }
}

/// Gives two paths each other's names at once, where the system can.
#[cfg(target_os = "linux")]
fn exchanged(one: &Path, other: &Path) -> bool {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn exchanged(_: &Path, _: &Path) -> bool {
    false
}

fn sync(folder: &Path) {
    if let Ok(folder) = std::fs::File::open(folder) {
        let _ = folder.sync_all();
    }
}

/// Removes what was replaced: of a link only the link.
fn removed(old: &Path) -> std::io::Result<()> {
    if std::fs::symlink_metadata(old)?.is_dir() { std::fs::remove_dir_all(old) } else { std::fs::remove_file(old) }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_dir_all(&self.temporary);
        }
    }
}
