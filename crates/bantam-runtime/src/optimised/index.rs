//! Which content lies at which path, remembered beside the kept forms, so that a file that stayed as it was is not read
//! through at every start.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use bantam_formats::atomic::AtomicFile;
use blake3::Hash;
use serde::{Deserialize, Serialize};

use crate::files::{FileFacts, ModelFile, place};

/// Its name in the directory of kept forms.
const NAME: &str = "index.json";
/// Most bytes of it that are read: what is longer was not written here.
const LONGEST: u64 = 8 << 20;
/// Most models that are remembered, the latest first.
const MOST: usize = 256;
/// Most contents of one place whose forms may still lie here.
const MOST_FORMER: usize = 16;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Index {
    models: Vec<Remembered>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    path: String,
    /// None where a change might not show in them.
    files: Vec<FileFacts>,
    /// The hash of what was looked at of its tensors.
    looks: String,
    /// The hash of what it holds, then of what it held before, in hexadecimal.
    contents: Vec<String>,
}

impl Index {
    /// The index of a directory; an empty one where there is none, or none that can be read.
    pub(super) fn read(directory: &Path) -> Self {
        let read = || {
            let mut text = String::new();
            File::open(directory.join(NAME))?.take(LONGEST).read_to_string(&mut text)?;
            serde_json::from_str(&text).map_err(io::Error::from)
        };
        read().unwrap_or_default()
    }

    /// Writes it, whole or not at all. It is worth no error: what is not remembered is found out again.
    pub(super) fn write(&self, directory: &Path) {
        let (Ok(text), Ok(mut file)) = (serde_json::to_vec(self), AtomicFile::create(&directory.join(NAME))) else {
            return;
        };
        if file.write_all(&text).is_ok() {
            let _ = file.commit();
        }
    }

    /// The content of a model whose files look as they did when it was hashed.
    pub(super) fn content(&self, path: &Path, files: &[ModelFile], looks: &Hash) -> Option<Hash> {
        let facts: Option<Vec<FileFacts>> = files.iter().map(|file| file.facts.clone()).collect();
        let known = self.models.iter().find(|known| Some(&known.path) == place(path).as_ref())?;
        let same = !files.is_empty() && known.files == facts? && known.looks == looks.to_hex().as_str();
        // What is no hash is no name of a file either.
        if same { Hash::from_hex(known.contents.first()?).ok() } else { None }
    }

    /// Remembers what was found in a model's files.
    pub(super) fn remember(&mut self, path: &Path, files: &[ModelFile], looks: &Hash, content: &Hash) {
        let Some(path) = place(path) else { return };
        let settled = |file: &ModelFile| file.facts.clone().filter(|facts| facts.is_settled(file.seen));
        let facts: Option<Vec<FileFacts>> = files.iter().map(settled).collect();
        let content = content.to_hex().to_string();
        let former = self.models.iter().find(|known| known.path == path).map(|known| known.contents.clone());
        let mut contents = former.unwrap_or_default();
        contents.retain(|former| *former != content);
        contents.insert(0, content);
        contents.truncate(MOST_FORMER);
        self.models.retain(|known| known.path != path);
        let files = facts.unwrap_or_default();
        self.models.insert(0, Remembered { path, files, looks: looks.to_hex().to_string(), contents });
        self.models.truncate(MOST);
    }

    /// What the model held before and no other that is there holds, which is forgotten.
    pub(super) fn take_former(&mut self, path: &Path) -> Vec<Hash> {
        let Some(path) = place(path) else { return Vec::new() };
        let own = self.models.iter_mut().find(|known| known.path == path);
        let former: Vec<String> =
            own.map_or(Vec::new(), |own| own.contents.drain(1.min(own.contents.len())..).collect());
        let elsewhere = |content: &String| {
            let holds = |other: &&Remembered| other.path != path && other.contents.contains(content);
            self.models.iter().filter(holds).any(|other| Path::new(&other.path).exists())
        };
        former.iter().filter(|content| !elsewhere(content)).filter_map(|content| Hash::from_hex(content).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::time::{Duration, SystemTime};

    use super::*;

    /// A directory with a file in it, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("bantam-index-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, name: &str, bytes: &[u8]) -> (PathBuf, Vec<ModelFile>) {
            let path = self.0.join(name);
            fs::write(&path, bytes).unwrap();
            // Looked at when what is written now has settled.
            let seen = SystemTime::now() + Duration::from_secs(60);
            let file = ModelFile { seen, ..ModelFile::map(&path).unwrap() };
            (path, vec![file])
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_remembered_is_believed_while_file_and_looks_stay_the_same() {
        let folder = Folder::new("same");
        let (path, files) = folder.file("model", b"one");
        let [looks, other] = [&b"a"[..], b"b"].map(blake3::hash);
        // Whatever the content is: nobody looks.
        let content = blake3::hash(b"not what it holds");
        let mut index = Index::default();
        index.remember(&path, &files, &looks, &content);
        index.write(&folder.0);
        let index = Index::read(&folder.0);
        assert_eq!(index.content(&path, &files, &looks), Some(content));
        assert_eq!(index.content(&path, &files, &other), None, "other samples");
        assert_eq!(index.content(&path, &[], &looks), None, "no files");
        let (copy, copied) = folder.file("copy", b"one");
        assert_eq!(index.content(&copy, &copied, &looks), None, "another path");
        // A link to it is the same path.
        #[cfg(unix)]
        {
            let link = folder.0.join("link");
            std::os::unix::fs::symlink(&path, &link).unwrap();
            assert_eq!(index.content(&link, &files, &looks), Some(content));
        }
        // Written anew, under the same name, of the same size, and with the time put back.
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        fs::remove_file(&path).unwrap();
        let (path, _) = folder.file("model", b"two");
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        let written = [ModelFile::map(&path).unwrap()];
        if cfg!(unix) {
            // The first is open still, so this one has another inode.
            assert_eq!(index.content(&path, &written, &looks), None, "another file by that name");
        }
        assert_eq!(index.content(&path, &files, &looks), Some(content));
    }

    #[test]
    fn what_may_still_change_unseen_is_not_believed() {
        let folder = Folder::new("racy");
        let (path, mut files) = folder.file("model", b"one");
        let looks = blake3::hash(b"a");
        let mut index = Index::default();
        let seen = std::mem::replace(&mut files[0].seen, SystemTime::now());
        index.remember(&path, &files, &looks, &looks);
        assert_eq!(index.content(&path, &files, &looks), None);
        files[0].seen = seen;
        index.remember(&path, &files, &looks, &looks);
        assert_eq!(index.content(&path, &files, &looks), Some(looks));
    }

    #[test]
    fn a_damaged_index_is_none() {
        let folder = Folder::new("damaged");
        let (path, files) = folder.file("model", b"one");
        let looks = blake3::hash(b"a");
        let mut index = Index::default();
        index.remember(&path, &files, &looks, &looks);
        index.write(&folder.0);
        let whole = fs::read(folder.0.join(NAME)).unwrap();
        let check = |text: &[u8], expected: Option<Hash>| {
            fs::write(folder.0.join(NAME), text).unwrap();
            assert_eq!(Index::read(&folder.0).content(&path, &files, &looks), expected);
        };
        check(&whole, Some(looks));
        let text = String::from_utf8(whole.clone()).unwrap();
        let name = looks.to_hex();
        check(text.replace(&format!("[\"{name}\"]"), "[\"../../elsewhere\"]").as_bytes(), None);
        check(text.replace(&format!("[\"{name}\"]"), "[]").as_bytes(), None);
        for text in [&b""[..], b"[]", b"{}", b"{\"models\":7}", b"\xff\xfe", &whole[..whole.len() / 2]] {
            check(text, None);
        }
    }

    #[test]
    fn what_a_model_held_before_is_told_once_and_not_while_another_holds_it() {
        let folder = Folder::new("former");
        let [(a, files_a), (b, files_b)] = [folder.file("a", b"one"), folder.file("b", b"one")];
        let [one, two, three] = [&b"1"[..], b"2", b"3"].map(blake3::hash);
        let mut index = Index::default();
        for content in [one, two, one, three] {
            index.remember(&a, &files_a, &one, &content);
        }
        index.remember(&b, &files_b, &one, &two);
        assert_eq!(index.take_former(&a), [one]);
        assert!(index.take_former(&a).is_empty());
        assert_eq!(index.content(&a, &files_a, &one), Some(three));
        // The other is gone.
        index.remember(&a, &files_a, &one, &two);
        index.remember(&a, &files_a, &one, &three);
        fs::remove_file(&b).unwrap();
        assert_eq!(index.take_former(&a), [two]);
        assert!(index.take_former(&folder.0.join("c")).is_empty());
    }
}
