//! A file's bytes in memory without reading them first.

use bantam_tensor::OwnBytes;
use memmap2::Mmap;
#[cfg(unix)]
use memmap2::{Advice, UncheckedAdvice};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

/// A read-only map of a whole file.
///
/// **A file that shrinks while it is mapped** (cut short by another program, or by an update written in place) ends the
/// process with SIGBUS at the first read beyond its new end: the system offers no other answer. A file that is replaced
/// by a rename, as package managers and Bantam's own store do, keeps its old bytes and is safe; so is one that grows.
/// Bytes changed in place by another program show through: whoever reads the map checks what it reads and keeps no
/// pointer or length that a later change could turn against it.
#[derive(Debug)]
pub struct Mapping {
    map: Option<Mmap>,
}

impl Mapping {
    /// Maps the whole file. An empty file gives an empty map.
    ///
    /// # Errors
    /// What the system says; a directory or a pipe cannot be mapped.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::of(&File::open(path)?)
    }

    /// Maps an open file, which may be closed afterwards.
    ///
    /// # Errors
    /// As [`Mapping::open`].
    pub fn of(file: &File) -> io::Result<Self> {
        let facts = file.metadata()?;
        if !facts.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "only a regular file can be mapped"));
        }
        if facts.len() == 0 {
            return Ok(Self { map: None });
        }
        // SAFETY: the map is private and read-only. That another process may change or cut the file is the hazard
        // described above, which no caller can rule out; readers treat the bytes as untrusted.
        let map = unsafe { Mmap::map(file)? };
        Ok(Self { map: Some(map) })
    }

    /// Asks the system to start reading a range of bytes. Only a hint: whatever goes wrong is left for the read itself.
    pub fn will_need(&self, range: Range<usize>) {
        #[cfg(not(unix))]
        let _ = range;
        #[cfg(unix)]
        if let Some((map, start, length)) = self.clip(range) {
            let _ = map.advise_range(Advice::WillNeed, start, length);
        }
    }

    /// Tells the system that a range of bytes will not be read again soon, so that it no longer counts as this process's
    /// memory. Reading it later is correct, and reads the file again.
    pub fn done_with(&self, range: Range<usize>) {
        #[cfg(not(unix))]
        let _ = range;
        #[cfg(unix)]
        if let Some((map, start, length)) = self.clip(range) {
            // Whole pages inside the range only: its neighbours may still be in use.
            let page = 4096;
            let first = start.next_multiple_of(page);
            let last = (start + length) / page * page;
            if first < last {
                // SAFETY: dropping pages of a read-only private map of a file loses nothing, they are read again.
                let _ = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, first, last - first) };
            }
        }
    }

    #[cfg(unix)]
    fn clip(&self, range: Range<usize>) -> Option<(&Mmap, usize, usize)> {
        let map = self.map.as_ref()?;
        let end = range.end.min(map.len());
        (range.start < end).then(|| (map, range.start, end - range.start))
    }
}

impl OwnBytes for Mapping {
    fn done_with(&self, range: Range<usize>) {
        Mapping::done_with(self, range);
    }

    fn will_need(&self, range: Range<usize>) {
        Mapping::will_need(self, range);
    }
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_what_the_file_holds_before_and_after_letting_go() {
        let path = std::env::temp_dir().join(format!("bantam-mapping-{}", std::process::id()));
        let bytes: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).expect("write");
        let mapping = Mapping::open(&path).expect("map");
        mapping.will_need(10..200_000);
        assert_eq!(mapping.as_ref(), bytes);
        mapping.done_with(5000..90_000);
        mapping.done_with(90_000..usize::MAX);
        mapping.done_with(7..7);
        assert_eq!(mapping.as_ref(), bytes);
        std::fs::write(&path, []).expect("write");
        // The old map is dropped before anyone reads the file that is now empty.
        drop(mapping);
        assert!(Mapping::open(&path).expect("map").as_ref().is_empty());
        std::fs::remove_file(&path).expect("remove");
        assert!(Mapping::open(&path).is_err());
        assert!(Mapping::open(&std::env::temp_dir()).is_err());
    }
}
