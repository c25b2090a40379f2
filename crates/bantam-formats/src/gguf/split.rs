//! Models in several GGUF files: `name-00001-of-00003.gguf`.
//!
//! As written by llama.cpp's `gguf-split`: each part says its place (`split.no`, from 0), the number of parts
//! (`split.count`) and of all tensors (`split.tensors.count`); the first part holds the model's metadata.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::reader::Gguf;
use super::tensor::TensorInfo;
use super::value::Value;
use super::writer::{GgufWriter, TensorHeader};
use crate::atomic::AtomicFile;
use crate::error::{FormatError, quoted};

const NUMBER_KEY: &str = "split.no";
const COUNT_KEY: &str = "split.count";
const TENSORS_KEY: &str = "split.tensors.count";
/// Most parts the file name has digits for and `split.count` (16 bits) can say.
const MAX_PARTS: usize = 65_535;

/// Takes the name of a part to pieces: prefix, number from 1, count. `None` where the name is no part's.
pub(crate) fn split_name(name: &str) -> Option<(&str, usize, usize)> {
    let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (prefix, number) = rest.rsplit_once('-')?;
    let digits = |text: &str| text.len() >= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(number) || !digits(count) {
        return None;
    }
    let (number, count) = (number.parse().ok()?, count.parse().ok()?);
    (1 <= number && number <= count && count <= MAX_PARTS).then_some((prefix, number, count))
}

/// The name of part `number` (from 1) of `count`.
fn part_name(prefix: &str, number: usize, count: usize) -> String {
    format!("{prefix}-{number:05}-of-{count:05}.gguf")
}

/// The files of the model whose first (or only) file is `path`, parsed as `first`: just `path` for a model in one file.
///
/// # Errors
///
/// Where `path` is not the first part (the sentence says which is), its name does not fit its metadata, or a part is missing.
pub fn split_parts(path: &Path, first: &Gguf) -> Result<Vec<PathBuf>, FormatError> {
    let count = first.usize(COUNT_KEY).map_err(|error| error.in_file(path))?.unwrap_or(1);
    if count <= 1 {
        return Ok(vec![path.to_path_buf()]);
    }
    let number = first.usize(NUMBER_KEY).map_err(|error| error.in_file(path))?.unwrap_or(0);
    let refuse = |problem: String| Err(FormatError::NotAModel(problem).in_file(path));
    if count > MAX_PARTS || number >= count {
        return refuse(format!("this file says it is part {} of {count}", number.saturating_add(1)));
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (prefix, named) = match split_name(&name) {
        Some((prefix, named_number, named_count)) => (prefix, Some((named_number, named_count))),
        None => (name.as_str(), None),
    };
    if number != 0 {
        let advice = match named {
            Some(_) => format!("give the first, {}", part_name(prefix, 1, count)),
            None => "give the first".to_owned(),
        };
        return refuse(format!("this is part {} of {count} of a split model; {advice}", number + 1));
    }
    if named != Some((1, count)) {
        return refuse(format!(
            "this is the first of {count} parts, so its name must end in {} for the others to be found",
            part_name("", 1, count)
        ));
    }
    let mut paths = vec![path.to_path_buf()];
    for number in 2..=count {
        let part = path.with_file_name(part_name(prefix, number, count));
        if !part.is_file() {
            return Err(FormatError::Missing {
                what: format!("part {number} of {count} of the split model, {},", part.display()),
                advice: String::new(),
            });
        }
        paths.push(part);
    }
    Ok(paths)
}

/// A model in one or several parsed files.
#[derive(Clone, Debug)]
pub struct SplitGguf {
    parts: Vec<Gguf>,
}

impl SplitGguf {
    /// Puts the parts together, in order.
    ///
    /// # Errors
    ///
    /// Where a part says it is another, the numbers of tensors do not add up, or a tensor is in two parts.
    pub fn new(parts: Vec<Gguf>) -> Result<Self, FormatError> {
        let Some(first) = parts.first() else {
            return Err(FormatError::Missing { what: "the first part".to_owned(), advice: String::new() });
        };
        let claimed = first.usize(COUNT_KEY)?.unwrap_or(1).max(1);
        if claimed != parts.len() {
            return Err(FormatError::damaged("the split model", format!("has {claimed} parts, {} given", parts.len())));
        }
        if claimed > 1 {
            check_parts(&parts)?;
        }
        let mut names: Vec<&str> = parts.iter().flat_map(Gguf::tensors).map(|tensor| tensor.name.as_str()).collect();
        names.sort_unstable();
        for pair in names.windows(2) {
            if let [first, second] = pair
                && first == second
            {
                return Err(FormatError::Duplicate { what: "tensor", name: quoted(first) });
            }
        }
        Ok(Self { parts })
    }

    /// The part with the metadata.
    pub fn first(&self) -> &Gguf {
        // `new` has seen that there is one.
        &self.parts[0]
    }

    /// All parts, in order.
    pub fn parts(&self) -> &[Gguf] {
        &self.parts
    }

    /// All tensors in order, each with the index of its part.
    pub fn tensors(&self) -> impl Iterator<Item = (usize, &TensorInfo)> {
        self.parts.iter().enumerate().flat_map(|(index, part)| part.tensors().iter().map(move |tensor| (index, tensor)))
    }

    /// The tensor of this name and the index of its part.
    pub fn tensor(&self, name: &str) -> Option<(usize, &TensorInfo)> {
        self.parts.iter().enumerate().find_map(|(index, part)| part.tensor(name).map(|tensor| (index, tensor)))
    }
}

fn check_parts(parts: &[Gguf]) -> Result<(), FormatError> {
    let count = parts.len();
    for (index, part) in parts.iter().enumerate() {
        let (number, said) = (part.usize(NUMBER_KEY)?, part.usize(COUNT_KEY)?);
        if number != Some(index) || said != Some(count) {
            let said = match (number, said) {
                (Some(number), Some(said)) => format!("part {} of {said}", number.saturating_add(1)),
                _ => "no part at all".to_owned(),
            };
            return Err(FormatError::damaged(
                format!("part {} of {count} of the split model", index + 1),
                format!("says it is {said}"),
            ));
        }
    }
    let there: usize = parts.iter().map(|part| part.tensors().len()).sum();
    if let Some(claimed) = parts.first().map_or(Ok(None), |first| first.usize(TENSORS_KEY))?
        && claimed != there
    {
        return Err(FormatError::damaged(
            "the split model",
            format!("should have {claimed} tensors, its parts hold {there}"),
        ));
    }
    Ok(())
}

/// How much a part of a split model may hold; a single larger tensor gets a part of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitLimits {
    /// Most bytes of tensor data.
    pub bytes: u64,
    /// Most tensors.
    pub tensors: usize,
}

/// The parts of a model in several files `prefix-00001-of-0000N.gguf`, each with its path, ready to be written.
///
/// # Errors
///
/// Where there are more tensors or parts than the format counts, or `prefix` names no file.
pub fn plan_split(
    model: &GgufWriter,
    prefix: &Path,
    limits: SplitLimits,
) -> Result<Vec<(PathBuf, GgufWriter)>, FormatError> {
    let groups = group_tensors(model.tensors(), limits);
    let count = groups.len();
    let unwritable = |problem: String| FormatError::unwritable("a split model", problem);
    let part_count = u16::try_from(count).map_err(|_| unwritable(format!("{count} parts, at most {MAX_PARTS} fit")))?;
    let tensor_count = i32::try_from(model.tensors().len()).map_err(|_| unwritable("too many tensors".to_owned()))?;
    let name = prefix.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.ok_or_else(|| unwritable(format!("{} names no file", prefix.display())))?;

    let mut writers = Vec::with_capacity(count);
    for (index, group) in groups.iter().enumerate() {
        let mut writer = GgufWriter::new();
        if index == 0 {
            for (key, value) in model.metadata() {
                writer.set(key.clone(), value.clone());
            }
        } else if let Some((key, value)) = model.metadata().iter().find(|(key, _)| key == super::ALIGNMENT_KEY) {
            writer.set(key.clone(), value.clone());
        }
        writer.set(NUMBER_KEY, Value::U16(index as u16));
        writer.set(COUNT_KEY, Value::U16(part_count));
        writer.set(TENSORS_KEY, Value::I32(tensor_count));
        for tensor in *group {
            writer.add_tensor(tensor.name.clone(), &tensor.dims, tensor.kind)?;
        }
        writers.push((prefix.with_file_name(part_name(&name, index + 1, count)), writer));
    }
    Ok(writers)
}

/// Writes parts as [`plan_split`] made them. None of them has its name before all are whole, and the first, by which the
/// model is opened, gets its name last.
///
/// # Errors
///
/// As for [`GgufWriter::write`]; nothing new is left then, and what was there before is there again.
pub fn write_parts(
    parts: &[(PathBuf, GgufWriter)],
    mut data: impl FnMut(&TensorHeader, &mut dyn Write) -> io::Result<()>,
) -> Result<(), FormatError> {
    if let Some((path, _)) = parts.iter().find(|(path, _)| path.is_dir()) {
        return Err(FormatError::io("write", path, io::ErrorKind::IsADirectory.into()));
    }
    let mut whole = Vec::with_capacity(parts.len());
    for (path, writer) in parts {
        let mut file = AtomicFile::create(path)?;
        writer.write_into(&mut file, &mut data).map_err(|error| match error {
            FormatError::Io { source, .. } => FormatError::io("write", path, source),
            other => other.in_file(path),
        })?;
        // Open files are few, parts may be many.
        file.seal()?;
        whole.push(file);
    }
    let mut placed: Vec<Replaced> = Vec::new();
    while let Some(file) = whole.pop() {
        // Half a model is none, and the one before is better.
        let all_back = |error, placed: &[Replaced]| {
            placed.iter().rev().for_each(Replaced::restore);
            Err(error)
        };
        let old = match Replaced::keep(file.path()) {
            Ok(old) => old,
            Err(error) => return all_back(error, &placed),
        };
        if let Err(error) = file.commit() {
            // Where nothing was kept, what stands there is not this one's.
            if old.aside.is_some() {
                old.restore();
            }
            return all_back(error, &placed);
        }
        placed.push(old);
    }
    placed.iter().for_each(Replaced::forget);
    Ok(())
}

/// What stood under a part's name, until all parts have theirs.
struct Replaced {
    path: PathBuf,
    /// Its other name; `None` where there was nothing.
    aside: Option<PathBuf>,
}

impl Replaced {
    /// Gives what stands there a second name beside its own; where that cannot be, another instead of it.
    fn keep(path: &Path) -> Result<Self, FormatError> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let path = path.to_owned();
        // A pipe or a device stays, and a folder is not replaced.
        if !std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_file()) {
            return Ok(Self { path, aside: None });
        }
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{}-{}.old", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
        let aside = path.with_file_name(name);
        std::fs::hard_link(&path, &aside)
            .or_else(|_| std::fs::rename(&path, &aside))
            .map_err(|error| FormatError::io("write", &path, error))?;
        Ok(Self { path, aside: Some(aside) })
    }

    fn restore(&self) {
        match &self.aside {
            Some(aside) => {
                // Of two names of one file a renaming leaves both. Where it fails, the other name is all that is left.
                if std::fs::rename(aside, &self.path).is_ok() {
                    let _ = std::fs::remove_file(aside);
                }
            }
            None => drop(std::fs::remove_file(&self.path)),
        }
    }

    fn forget(&self) {
        self.aside.iter().for_each(|aside| drop(std::fs::remove_file(aside)));
    }
}

/// Whether a metadata key says only how a model is split.
pub fn is_split_key(key: &str) -> bool {
    [NUMBER_KEY, COUNT_KEY, TENSORS_KEY].contains(&key)
}

/// Writes a model as several files `prefix-00001-of-0000N.gguf`, each with at most `max_bytes` of tensor data. Returns the
/// files written: all of them or, with an error, none.
///
/// # Errors
///
/// As for [`plan_split`] and [`write_parts`].
pub fn write_split(
    model: &GgufWriter,
    prefix: &Path,
    max_bytes: u64,
    data: impl FnMut(&TensorHeader, &mut dyn Write) -> io::Result<()>,
) -> Result<Vec<PathBuf>, FormatError> {
    let parts = plan_split(model, prefix, SplitLimits { bytes: max_bytes, tensors: usize::MAX })?;
    write_parts(&parts, data)?;
    Ok(parts.into_iter().map(|(path, _)| path).collect())
}

/// Consecutive tensors, in groups within the limits; at least one group.
fn group_tensors(tensors: &[TensorHeader], limits: SplitLimits) -> Vec<&[TensorHeader]> {
    let mut groups = Vec::new();
    let (mut start, mut bytes) = (0, 0u64);
    for (index, tensor) in tensors.iter().enumerate() {
        let full = index - start >= limits.tensors || bytes.saturating_add(tensor.byte_length) > limits.bytes;
        if index > start && full {
            groups.push(tensors.get(start..index).unwrap_or(&[]));
            (start, bytes) = (index, 0);
        }
        bytes = bytes.saturating_add(tensor.byte_length);
    }
    groups.push(tensors.get(start..).unwrap_or(&[]));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts() {
        fn check(name: &str, expected: Option<(&str, usize, usize)>) {
            assert_eq!(split_name(name), expected, "{name}");
        }
        check("m-00001-of-00003.gguf", Some(("m", 1, 3)));
        check("a-b-Q4_K-00003-of-00003.gguf", Some(("a-b-Q4_K", 3, 3)));
        check("m-00004-of-00003.gguf", None);
        check("m-00000-of-00003.gguf", None);
        check("m-1-of-3.gguf", None);
        check("m-0000x-of-00003.gguf", None);
        check("m.gguf", None);
        check("m-99999999999999999999999-of-99999999999999999999999.gguf", None);
    }
}
