//! Writing a file so that its name only ever stands for all of it.
//!
//! Bytes go to a `.part` file in the same directory, which is synced and renamed over the target at the end. A crash, an
//! error or a full disk leaves whatever stood under the name before.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{FormatError, quoted};

/// A file being written. Dropped before [`AtomicFile::commit`], it removes what it wrote.
#[derive(Debug)]
pub struct AtomicFile {
    target: PathBuf,
    /// The `.part` file; `None` where the target is a pipe or device, which is written straight.
    temporary: Option<PathBuf>,
    writer: Option<BufWriter<File>>,
}

const BUFFER_BYTES: usize = 1 << 20;

impl AtomicFile {
    /// Begins to write the file `path`. A symbolic link is followed; a pipe or a device (`/dev/stdout`) is written directly.
    ///
    /// # Errors
    ///
    /// Where no file can be made in that directory; the sentence names the path.
    pub fn create(path: &Path) -> Result<Self, FormatError> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let failed = |error| FormatError::io("write", path, error);
        let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        if let Ok(metadata) = std::fs::metadata(&target) {
            if metadata.is_dir() {
                return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
            }
            if !metadata.is_file() {
                let file = OpenOptions::new().write(true).open(&target).map_err(failed)?;
                let writer = Some(BufWriter::with_capacity(BUFFER_BYTES, file));
                return Ok(Self { target, temporary: None, writer });
            }
        }
        let Some(name) = target.file_name() else {
            return Err(failed(io::Error::from(io::ErrorKind::InvalidInput)));
        };
        // Two writers of one target, in one process or two, must not share a temporary file.
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let mut temporary_name = name.to_os_string();
        temporary_name.push(format!(".{}-{number}.part", std::process::id()));
        let temporary = target.with_file_name(temporary_name);
        let file = OpenOptions::new().write(true).create_new(true).open(&temporary).map_err(failed)?;
        let writer = Some(BufWriter::with_capacity(BUFFER_BYTES, file));
        Ok(Self { target, temporary: Some(temporary), writer })
    }

    /// The file that will be there in the end.
    pub fn path(&self) -> &Path {
        &self.target
    }

    /// Puts everything on the disk and gives it its name.
    ///
    /// # Errors
    ///
    /// Where the disk is full or the rename fails; then the target is as it was before.
    pub fn commit(mut self) -> Result<(), FormatError> {
        self.finish().map_err(|error| FormatError::io("write", &self.target, error))
    }

    /// Puts everything on the disk and closes the file, which has its name only after [`commit`](Self::commit).
    ///
    /// # Errors
    ///
    /// Where the disk is full.
    pub fn seal(&mut self) -> Result<(), FormatError> {
        self.close().map_err(|error| FormatError::io("write", &self.target, error))
    }

    /// Lets the file have `length` bytes, those that were not written being 0.
    pub(crate) fn extend_to(&mut self, length: u64) -> io::Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.flush()?;
        writer.get_ref().set_len(length)
    }

    fn close(&mut self) -> io::Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        if self.temporary.is_some() { file.sync_all() } else { Ok(()) }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.close()?;
        let Some(temporary) = &self.temporary else { return Ok(()) };
        std::fs::rename(temporary, &self.target)?;
        self.temporary = None;
        // The new name is itself data of the directory. Not every system lets a directory be synced; the file is whole anyway.
        if let Ok(directory) = File::open(directory_of(&self.target)) {
            let _ = directory.sync_all();
        }
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.writer {
            Some(writer) => writer.write(bytes),
            None => Err(io::Error::other("the file has been committed")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            // What is still in the buffer is not worth writing.
            let (_file, _buffer) = writer.into_parts();
        }
        if let Some(temporary) = &self.temporary {
            let _ = std::fs::remove_file(temporary);
        }
    }
}

/// Removes what [`AtomicFile`]s of this target have left beside it where their process was killed: `NAME.PID-NUMBER.part`.
/// Nobody may be writing the target meanwhile.
///
/// # Errors
///
/// Where one of them cannot be removed; the sentence names it.
pub fn remove_unfinished(path: &Path) -> Result<(), FormatError> {
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let Some(name) = target.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
    // A folder that is not there has nothing in it; one that cannot be read says so when it is written to.
    let Ok(entries) = std::fs::read_dir(directory_of(&target)) else { return Ok(()) };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    for entry in entries.flatten() {
        let found = entry.file_name();
        let numbers =
            found.to_str().and_then(|found| found.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(".part"));
        let ours = numbers.and_then(|numbers| numbers.split_once('-'));
        if ours.is_some_and(|(process, number)| is_number(process) && is_number(number)) && entry.path().is_file() {
            let path = entry.path();
            std::fs::remove_file(&path).map_err(|error| FormatError::io("remove", &path, error))?;
        }
    }
    Ok(())
}

/// The directory that a file lies in.
fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Writes a whole file through `write`, atomically.
///
/// # Errors
///
/// Those of the file system and of `write`, with the path named.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut AtomicFile) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    let mut file = AtomicFile::create(path)?;
    write(&mut file)?;
    file.commit()
}

/// Lets exactly as many bytes of a tensor through as were announced.
pub(crate) struct ExactWriter<'a> {
    into: &'a mut dyn Write,
    announced: u64,
    left: u64,
}

impl<'a> ExactWriter<'a> {
    pub(crate) fn new(into: &'a mut dyn Write, announced: u64) -> Self {
        Self { into, announced, left: announced }
    }

    /// Refuses a tensor of which bytes are missing.
    pub(crate) fn finish(self, name: &str) -> Result<(), FormatError> {
        if self.left == 0 {
            return Ok(());
        }
        Err(FormatError::unwritable(
            format!("tensor {}", quoted(name)),
            format!("{} bytes were announced, {} given", self.announced, self.announced - self.left),
        ))
    }
}

impl Write for ExactWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            let problem = format!("a tensor of {} bytes was given more than that", self.announced);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        let written = self.into.write(bytes)?;
        self.left -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.into.flush()
    }
}
