//! Where the target goes: is there something already, is it the source, is there room.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use bantam_formats::FormatError;

use crate::ConvertError;

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

/// Refuses a target that the model is read from, and one that is there where it may not be replaced.
pub(crate) fn check<'a>(
    target: &Path,
    source: impl Iterator<Item = &'a Path>,
    force: bool,
) -> Result<(), ConvertError> {
    let place = resolved(target);
    for path in source {
        if resolved(path).starts_with(&place) {
            return Err(ConvertError::IsSource { path: target.to_owned() });
        }
    }
    // A pipe or a device takes what it is given.
    let replaces = std::fs::symlink_metadata(target)
        .is_ok_and(|_| std::fs::metadata(target).map_or(true, |found| found.is_file() || found.is_dir()));
    if replaces && !force {
        return Err(ConvertError::Exists { path: target.to_owned() });
    }
    Ok(())
}

/// Refuses what the file system has no room for, where it says how much it has.
pub(crate) fn check_space(target: &Path, needed: u64) -> Result<(), ConvertError> {
    match available(&parent(target)) {
        Some(available) if available < needed => {
            Err(ConvertError::Space { path: target.to_owned(), needed, available })
        }
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn available(folder: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    found.f_bavail.checked_mul(found.f_frsize)
}

#[cfg(not(unix))]
fn available(_: &Path) -> Option<u64> {
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
        if self.target.exists() {
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
        if let Ok(folder) = std::fs::File::open(parent(&self.target)) {
            let _ = folder.sync_all();
        }
        if let Some(old) = old {
            let removed = if old.is_dir() { std::fs::remove_dir_all(&old) } else { std::fs::remove_file(&old) };
            removed.map_err(failed)?;
        }
        Ok(())
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_dir_all(&self.temporary);
        }
    }
}
