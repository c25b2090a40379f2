//! The files that a model was opened from: their bytes, what the system says of them, and what they hold.

use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bantam_formats::embedded;
use bantam_kernels::{Mapping, Pool};
use bantam_tensor::SharedBytes;
use blake3::{Hash, Hasher};
use serde::{Deserialize, Serialize};

use crate::RuntimeError;
use crate::machine::memory_limit;

/// A file of a model as it was when it was opened.
pub(crate) struct ModelFile {
    pub(crate) bytes: SharedBytes,
    /// `None` for what lies within the program.
    pub(crate) facts: Option<FileFacts>,
    /// When these were taken.
    pub(crate) seen: SystemTime,
}

/// What the system says of a file: while all of it stays as it was, the content is taken to be the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileFacts {
    size: u64,
    /// When its content was written, in nanoseconds since 1970: anybody may set that to what they like.
    modified: u64,
    /// When content, name or rights last changed, by the system's own clock, where it keeps such a time; else 0.
    changed: u64,
    device: u64,
    inode: u64,
}

impl FileFacts {
    fn of(facts: &Metadata) -> Option<Self> {
        let modified = nanoseconds(facts.modified().ok()?)?;
        #[cfg(unix)]
        let [changed, device, inode] = {
            use std::os::unix::fs::MetadataExt as _;
            let seconds = u64::try_from(facts.ctime()).ok()?.checked_mul(1_000_000_000)?;
            [seconds.checked_add(u64::try_from(facts.ctime_nsec()).ok()?)?, facts.dev(), facts.ino()]
        };
        #[cfg(not(unix))]
        let [changed, device, inode] = [0; 3];
        Some(Self { size: facts.len(), modified, changed, device, inode })
    }

    /// Whether a change after `now` would show in the times: a file system's clock ticks every few milliseconds, FAT's every
    /// two seconds, and what is written in the tick in which it was looked at looks the same. (Git calls such an entry of its
    /// index racy: `Documentation/technical/racy-git.txt`.)
    pub(crate) fn is_settled(&self, now: SystemTime) -> bool {
        const TICK: Duration = Duration::from_secs(2);
        let last = if self.changed > 0 { self.changed } else { self.modified };
        now.checked_sub(TICK).and_then(nanoseconds).is_some_and(|now| last < now)
    }
}

fn nanoseconds(time: SystemTime) -> Option<u64> {
    u64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
}

impl ModelFile {
    /// Maps a file. Its facts are taken before its bytes are looked at, so that what changes it later shows.
    pub(crate) fn map(path: &Path) -> Result<Self, RuntimeError> {
        if let Some(bytes) = embedded::bytes(path) {
            return Ok(Self { bytes: SharedBytes::from_static(bytes), facts: None, seen: UNIX_EPOCH });
        }
        let failed =
            |problem: std::io::Error| RuntimeError::Read { path: path.to_owned(), problem: problem.to_string() };
        let file = File::open(path).map_err(failed)?;
        let seen = SystemTime::now();
        let facts = file.metadata().ok().as_ref().and_then(FileFacts::of);
        let mapping = Mapping::of(&file).map_err(failed)?;
        let length = mapping.as_ref().len();
        let gone = || RuntimeError::Read { path: path.to_owned(), problem: "it shrank while it was opened".into() };
        Ok(Self { bytes: SharedBytes::new(Arc::new(mapping), 0..length).ok_or_else(gone)?, facts, seen })
    }
}

/// Bytes that the system is asked at a time to read ahead: Linux reads no more of a request than its disk takes at once or its
/// setting for reading ahead says, which is 128 KiB where nobody changed it.
const AHEAD: usize = 128 << 10;

/// Has the system read the files while the vocabulary is made and whatever else comes before the first weight: a disk that waits
/// for page faults reads at a fraction of its speed. On a thread of its own, since asking waits for the disk now and then; not
/// where they would fill more than half of the memory there is.
pub(crate) fn read_ahead(files: &[ModelFile]) {
    let files: Vec<SharedBytes> = files.iter().map(|file| file.bytes.clone()).collect();
    let total = files.iter().fold(0u64, |sum, file| sum.saturating_add(file.len() as u64));
    if memory_limit(None).is_some_and(|limit| limit.bytes / 2 >= total) {
        let ask = move || {
            for file in files {
                (0..file.len()).step_by(AHEAD).for_each(|start| file.will_need(start..start.saturating_add(AHEAD)));
            }
        };
        // Without a thread the weights are read when they are looked at, as without this.
        let _ = thread::Builder::new().name("read ahead".into()).spawn(ask);
    }
}

/// Maps a file whose facts nobody asks for.
pub(crate) fn map(path: &Path) -> Result<SharedBytes, RuntimeError> {
    Ok(ModelFile::map(path)?.bytes)
}

/// Bytes that one thread hashes at a time.
const PIECE: usize = 1 << 20;
/// Bytes after which somebody is asked whether to go on.
const ASK: usize = 256 * PIECE;

/// The hash of all that the files hold, in their order and not of their names: BLAKE3 of each file's length and of the
/// BLAKE3 of its pieces of a mebibyte, which all threads take side by side. `None` where `go_on`, asked now and then,
/// says no.
///
/// A cryptographic hash, because it decides whose weights are loaded. Of any other, somebody could make a model whose hash is that
/// of a file that many people have; whoever kept the panels of the one would from then on run its weights under the other's
/// name.
pub(crate) fn content(files: &[ModelFile], pool: &Pool, go_on: &mut dyn FnMut() -> bool) -> Option<Hash> {
    let mut all = Hasher::new();
    for file in files {
        all.update(&(file.bytes.len() as u64).to_le_bytes());
        let mut begin = 0;
        while begin < file.bytes.len() {
            if begin > 0 && !go_on() {
                return None;
            }
            let end = begin.saturating_add(ASK).min(file.bytes.len());
            let hashes: Vec<OnceLock<Hash>> = (begin..end).step_by(PIECE).map(|_| OnceLock::new()).collect();
            pool.pieces(hashes.len(), |piece| {
                let start = begin + piece * PIECE;
                let range = start..(start + PIECE).min(end);
                let _ = hashes[piece].set(blake3::hash(&file.bytes[range.clone()]));
                // A mapped file is read through, not held.
                file.bytes.done_with(range);
            });
            for hash in &hashes {
                all.update(hash.get()?.as_bytes());
            }
            begin = end;
        }
    }
    Some(all.finalize())
}

/// The place by which a model is remembered; `None` where no text says it.
pub(crate) fn place(path: &Path) -> Option<String> {
    path.canonicalize().unwrap_or_else(|_| PathBuf::from(path)).to_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(files: &[&[u8]], threads: usize) -> Hash {
        let file =
            |bytes: &&[u8]| ModelFile { bytes: SharedBytes::from_vec(bytes.to_vec()), facts: None, seen: UNIX_EPOCH };
        let files: Vec<ModelFile> = files.iter().map(file).collect();
        content(&files, &Pool::new(threads), &mut || true).unwrap()
    }

    #[test]
    fn a_hash_is_of_every_byte_and_of_where_files_end() {
        let bytes: Vec<u8> = (0..3 * PIECE as u32 + 5).map(|i| (i * 7 % 251) as u8).collect();
        let whole = hash(&[&bytes], 1);
        assert_eq!(hash(&[&bytes], 3), whole);
        for at in [0, PIECE - 1, PIECE, 2 * PIECE + 77, 3 * PIECE, 3 * PIECE + 4] {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_ne!(hash(&[&other], 2), whole, "byte {at}");
        }
        let (a, b) = bytes.split_at(PIECE);
        assert_ne!(hash(&[a, b], 2), whole);
        assert_ne!(hash(&[b, a], 2), hash(&[a, b], 2));
        assert_ne!(hash(&[&bytes, b""], 2), whole);
    }

    #[test]
    fn what_may_still_change_unseen_is_not_settled() {
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
        let check = |modified: u64, changed: u64, now: u64, expected: bool| {
            let [modified, changed] = [modified, changed].map(|seconds| seconds * 1_000_000_000);
            let facts = FileFacts { size: 1, modified, changed, device: 1, inode: 1 };
            assert_eq!(facts.is_settled(at(now)), expected, "{modified} {changed} at {now}");
        };
        check(100, 100, 103, true);
        check(100, 100, 102, false);
        check(100, 100, 90, false);
        // A time that was put back does not hide when that was done.
        check(50, 100, 101, false);
        check(50, 100, 103, true);
        // Nor does one in the future keep it from settling, but where there is no other.
        check(500, 100, 103, true);
        check(500, 0, 103, false);
        check(100, 0, 103, true);
        check(100, 100, 0, false);
    }
}
