//! A directory of its own for a test, gone afterwards.

use std::path::{Path, PathBuf};

pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("formats-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file (and the directories above it) and gives its path.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// The names in the directory, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// A message with the directory's own path taken out of it.
    pub fn shorten(&self, message: impl ToString) -> String {
        message.to_string().replace(&format!("{}/", self.0.display()), "").replace(&self.0.display().to_string(), "DIR")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Bytes put together piece by piece, little-endian.
#[derive(Clone, Default)]
pub struct Raw(pub Vec<u8>);

impl Raw {
    /// Magic, version and counts of a GGUF file of version 2 or 3.
    pub fn gguf(version: u32, tensors: u64, entries: u64) -> Self {
        Self(b"GGUF".to_vec()).u32(version).u64(tensors).u64(entries)
    }

    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    pub fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    /// A string with a 64-bit length.
    pub fn string(self, text: impl AsRef<[u8]>) -> Self {
        let text = text.as_ref();
        self.u64(text.len() as u64).bytes(text)
    }

    /// A metadata entry of type uint32.
    pub fn entry(self, key: &str, value: u32) -> Self {
        self.string(key).u32(4).u32(value)
    }

    /// A tensor's description.
    pub fn tensor(self, name: &str, dims: &[u64], kind: u32, offset: u64) -> Self {
        let mut raw = self.string(name).u32(dims.len() as u32);
        for &size in dims {
            raw = raw.u64(size);
        }
        raw.u32(kind).u64(offset)
    }

    /// Zeros up to the next multiple of `alignment`, and `count` bytes of data.
    pub fn data(mut self, alignment: usize, count: usize) -> Self {
        self.0.resize(self.0.len().next_multiple_of(alignment) + count, 0);
        self
    }
}
