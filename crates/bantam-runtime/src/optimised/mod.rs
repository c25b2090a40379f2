//! A model's weights as this processor's products read them, kept in a file, so that loading need not repack them.
//!
//! The file: a mark, then each weight's panels from a multiple of 4096 on, then a table (JSON), then 32 bytes: where the
//! table begins, how long it is, its checksum (u64, least byte first) and the mark again. It is written to a temporary
//! file, synced and renamed, so that there is a whole file or none.
//!
//! Its name says what it was made of and how: the hash of all that the model's files hold ([`content`]), the type it is
//! re-encoded to, the instruction set, and a fingerprint of how this program sees the model and lays panels out ([`Form`]). So
//! a copied, renamed or touched model finds it, and another model under the same name does not.
//!
//! To read a model through at every start would cost more than to repack it, where it does not lie in memory. So its content
//! is only asked for where a kept form of a model that looks alike is there at all, and what was found is remembered
//! ([`index`]) beside what the system said of the files: path, size, times of writing and of change, device and inode. While all
//! of these and the samples of tensors are as they were, the files are taken to hold what they held. What that trusts is the
//! system's clock and its time of change, which no program sets at will; where a system keeps no such time (Windows), a
//! file that was written in place with its time put back is taken for the old one, unless a byte of a sample differs.
//! [`Model::optimise`] itself always reads everything.
//!
//! What is read is checked: the table's checksum and every length when the file is opened, and each weight's checksum when
//! the weight is loaded, by all threads. A weight that fails is repacked from the model instead.

mod index;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bantam_cpu::{RepackedWeight, RepackedWeights};
use bantam_kernels::{Isa, Matrix, PANEL_LAYOUT, Pool};
use bantam_plan::PlanError;
use bantam_tensor::{SharedBytes, TensorType};
use blake3::{Hash, Hasher};
use serde::{Deserialize, Serialize};

use crate::files::{content, map};
use crate::model::Progress;
use crate::{Model, RuntimeError};
use index::Index;

const MARK: &[u8; 8] = b"BANTAMp1";
/// Panels begin on pages.
const ALIGNMENT: u64 = 4096;
const ENDING: &str = "panels";

/// A kept form of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Optimised {
    /// Where it lies.
    pub path: PathBuf,
    /// How large it is.
    pub bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    name: String,
    tensor_type: String,
    rows: usize,
    width: usize,
    start: u64,
    length: u64,
    checksum: u64,
}

/// How a model's weights are kept, whatever they are.
struct Form {
    /// The type they are re-encoded to and the instruction set.
    made_for: String,
    /// What was looked at of the tensors, as this program sees them.
    looks: Hash,
    /// The end of the kept form's name: the same for all models that look like this one.
    ending: String,
}

impl Form {
    /// What stands in the names of all that are made for this instruction set and type.
    fn made_for(model: &Model) -> String {
        format!("-{}-{}-", model.quantize.map_or("stored", TensorType::name), Isa::detect().name())
    }

    fn of(model: &Model) -> Self {
        let mut looks = Hasher::new();
        for (name, tensor) in model.checkpoint.tensors() {
            let stored = tensor.tensor_type.as_ref().map_or("?", |stored| stored.name());
            looks.update(format!("|{name} {stored} {:?} {}", tensor.shape, tensor.bytes.len()).as_bytes());
            sample(&tensor.bytes, &mut looks);
        }
        let looks = looks.finalize();
        let order = if cfg!(target_endian = "big") { "big" } else { "little" };
        let form = blake3::hash(format!("{looks}|{PANEL_LAYOUT}|{order}").as_bytes()).to_hex();
        let made_for = Self::made_for(model);
        let ending = format!("{made_for}{}.{ENDING}", form.get(..16).unwrap_or_default());
        Self { made_for, looks, ending }
    }

    fn file(&self, content: &Hash) -> String {
        format!("{content}{}", self.ending)
    }

    /// What the names of all forms begin with that were made of this content for this type and instruction set.
    fn family(&self, content: &Hash) -> String {
        format!("{content}{}", self.made_for)
    }
}

/// Some bytes from a tensor's beginning, middle and end.
fn sample(bytes: &SharedBytes, to: &mut Hasher) {
    const EACH: usize = 64;
    // What is made when looked at is made of other tensors' bytes.
    if bytes.is_made() {
        return;
    }
    for start in [0, bytes.len() / 2, bytes.len().saturating_sub(EACH)] {
        let end = start.saturating_add(EACH).min(bytes.len());
        to.update(bytes.get(start..end).unwrap_or_default());
    }
    bytes.done_with(0..bytes.len());
}

/// The names in a directory that hold something and end in something.
fn names(directory: &Path, holding: &str, ending: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.contains(holding) && name.ends_with(ending)).collect()
}

/// A checksum against damage (not against malice): eight lanes of FNV-1a over words, which a processor takes side by side.
fn checksum(bytes: &[u8], seed: u64) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut lanes: [u64; 8] = std::array::from_fn(|lane| 0xcbf2_9ce4_8422_2325 ^ (seed * 8 + lane as u64));
    let (lines, rest) = bytes.as_chunks::<64>();
    for line in lines {
        for (lane, word) in lanes.iter_mut().zip(line.as_chunks::<8>().0) {
            *lane = (*lane ^ u64::from_le_bytes(*word)).wrapping_mul(PRIME).rotate_left(23);
        }
    }
    let mut sum = bytes.len() as u64;
    for part in lanes.into_iter().chain(rest.iter().map(|byte| u64::from(*byte))) {
        sum = (sum ^ part).wrapping_mul(PRIME).rotate_left(29);
    }
    sum ^ sum >> 31
}

/// The checksum of pieces' checksums, taken by all threads.
fn checksum_by(pool: &Pool, bytes: &[u8]) -> u64 {
    const PIECE: usize = 1 << 20;
    let sums: Vec<AtomicU64> = bytes.chunks(PIECE).map(|_| AtomicU64::new(0)).collect();
    pool.pieces(sums.len(), |piece| {
        let end = (piece + 1).saturating_mul(PIECE).min(bytes.len());
        sums[piece].store(checksum(&bytes[piece * PIECE..end], 3), Ordering::Relaxed);
    });
    let sums: Vec<u8> = sums.iter().flat_map(|sum| sum.load(Ordering::Relaxed).to_le_bytes()).collect();
    checksum(&sums, 4)
}

/// A kept form that is mapped.
pub(crate) struct Kept {
    bytes: SharedBytes,
    entries: HashMap<String, Entry>,
    pool: Arc<Pool>,
}

impl Kept {
    /// The kept form of a model, where there is a whole one. The model's files are only read through where there may be one
    /// and it is not remembered what they hold; `go_on` is asked meanwhile.
    pub(crate) fn find(
        model: &Model,
        directory: &Path,
        pool: &Arc<Pool>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Self>, RuntimeError> {
        if names(directory, &Form::made_for(model), ENDING).is_empty() {
            return Ok(None);
        }
        let form = Form::of(model);
        let there = names(directory, "", &form.ending);
        if there.is_empty() {
            return Ok(None);
        }
        let mut index = Index::read(directory);
        let found = match index.content(model.path(), model.files(), &form.looks) {
            Some(content) => content,
            None => {
                let content = content(model.files(), pool, go_on).ok_or(RuntimeError::Interrupted)?;
                index.remember(model.path(), model.files(), &form.looks, &content);
                index.write(directory);
                content
            }
        };
        let name = form.file(&found);
        Ok(if there.contains(&name) { Self::open(&directory.join(name), pool) } else { None })
    }

    fn open(path: &Path, pool: &Arc<Pool>) -> Option<Self> {
        Self::parse(map(path).ok()?, pool)
    }

    fn parse(bytes: SharedBytes, pool: &Arc<Pool>) -> Option<Self> {
        let end = bytes.len().checked_sub(32)?;
        let (content, tail) = bytes.split_at_checked(end)?;
        let word = |index: usize| tail.as_chunks::<8>().0.get(index).copied();
        let number = |index: usize| usize::try_from(u64::from_le_bytes(word(index)?)).ok();
        let (start, length, sum) = (number(0)?, number(1)?, u64::from_le_bytes(word(2)?));
        let table = content.get(start..start.checked_add(length)?)?;
        if !content.starts_with(MARK) || word(3)? != *MARK || checksum(table, 5) != sum {
            return None;
        }
        let entries: Vec<Entry> = serde_json::from_slice(table).ok()?;
        let entries = entries.into_iter().map(|entry| (entry.name.clone(), entry)).collect();
        Some(Self { bytes, entries, pool: Arc::clone(pool) })
    }

    fn window(&self, entry: &Entry) -> Option<RepackedWeight> {
        let tensor_type = TensorType::from_name(&entry.tensor_type)?;
        let start = usize::try_from(entry.start).ok()?;
        let end = start.checked_add(usize::try_from(entry.length).ok()?)?;
        let bytes = self.bytes.slice(start..end)?;
        let panels = Matrix::activation_of(tensor_type).is_int8() && tensor_type.bytes(entry.rows, entry.width).is_ok();
        let fits = panels && Matrix::owned_bytes(tensor_type, entry.rows, entry.width, Isa::detect()) == bytes.len();
        fits.then_some(RepackedWeight { tensor_type, rows: entry.rows, width: entry.width, bytes })
    }
}

impl RepackedWeights for Kept {
    fn weight(&self, name: &str) -> Option<RepackedWeight> {
        let entry = self.entries.get(name)?;
        let weight = self.window(entry)?;
        (checksum_by(&self.pool, &weight.bytes) == entry.checksum).then_some(weight)
    }
}

impl Model {
    /// Keeps the model's weights in the directory in the form that this processor's products read; loading then takes them
    /// from there ([`Model::with_optimised`]). Where that is done already, nothing is written. `progress` as in
    /// [`Model::load`].
    ///
    /// # Errors
    /// What the weights or the directory refuse; [`RuntimeError::Interrupted`].
    pub fn optimise(
        &self,
        directory: &Path,
        threads: Option<usize>,
        progress: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<Optimised, RuntimeError> {
        let form = Form::of(self);
        let pool = Arc::new(Pool::new(threads.unwrap_or_else(crate::preferred_threads)));
        let failed =
            |path: &Path, error: &io::Error| RuntimeError::Write { path: path.to_owned(), problem: error.to_string() };
        let content = self.content(&pool, progress)?;
        let path = directory.join(form.file(&content));
        if let Some(kept) = Kept::open(&path, &pool)
            && kept.entries.keys().all(|name| kept.weight(name).is_some())
        {
            self.remember(directory, &form, &content)?;
            return Ok(Optimised { path, bytes: kept.bytes.len() as u64 });
        }
        fs::create_dir_all(directory).map_err(|error| failed(directory, &error))?;
        let temporary = directory.join(format!("{}.{}.part", form.file(&content), std::process::id()));
        let written = self.write_optimised(&temporary, &pool, progress).and_then(|bytes| {
            fs::rename(&temporary, &path).map_err(|error| failed(&path, &error))?;
            // The name itself is to last too; where a directory cannot be synced, the rename still is whole or not at all.
            let _ = File::open(directory).and_then(|directory| directory.sync_all());
            Ok(Optimised { path: path.clone(), bytes })
        });
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        let written = written?;
        remove(directory, &form.family(&content), Some(&path))?;
        self.remember(directory, &form, &content)?;
        Ok(written)
    }

    /// All that its files hold.
    fn content(&self, pool: &Pool, progress: &mut dyn FnMut(Progress) -> bool) -> Result<Hash, RuntimeError> {
        let total_bytes = self.total_bytes();
        let mut go_on = || progress(Progress { done_bytes: 0, total_bytes });
        content(self.files(), pool, &mut go_on).ok_or(RuntimeError::Interrupted)
    }

    /// Remembers what the model holds, and removes what was kept of what it held before; gives the bytes of that.
    fn remember(&self, directory: &Path, form: &Form, content: &Hash) -> Result<u64, RuntimeError> {
        let mut index = Index::read(directory);
        index.remember(self.path(), self.files(), &form.looks, content);
        let former = index.take_former(self.path());
        index.write(directory);
        former.iter().try_fold(0, |sum, former| Ok(sum + remove(directory, &format!("{former}-"), None)?))
    }

    /// Removes what [`Model::optimise`] has kept of this model for its type, here or from wherever else the same model lies,
    /// and all that it has kept of what the model held before. Says how many bytes that was.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn remove_optimised(&self, directory: &Path) -> Result<u64, RuntimeError> {
        if names(directory, "", ENDING).is_empty() {
            return Ok(0);
        }
        let form = Form::of(self);
        let content = self.content(&Pool::new(crate::preferred_threads()), &mut |_| true)?;
        let removed = remove(directory, &form.family(&content), None)?;
        Ok(removed + self.remember(directory, &form, &content)?)
    }

    /// Lets loading take weights from what [`Model::optimise`] has kept in a directory, where it has.
    #[must_use]
    pub fn with_optimised(mut self, directory: Option<PathBuf>) -> Self {
        self.optimised = directory;
        self
    }

    fn write_optimised(
        &self,
        path: &Path,
        pool: &Pool,
        progress: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<u64, RuntimeError> {
        let failed = |error: io::Error| RuntimeError::Write { path: path.to_owned(), problem: error.to_string() };
        let total_bytes = self.total_bytes();
        let (mut entries, mut done_bytes) = (Vec::new(), 0u64);
        let mut file = File::create(path).map_err(failed)?;
        let mut length = MARK.len() as u64;
        file.write_all(MARK).map_err(failed)?;
        let mut problem = None;
        let plan = self.checkpoint.plan_for(self.spec().first_context().min(crate::DEFAULT_CONTEXT));
        let plan = plan.map_err(|error| RuntimeError::Model { path: self.path().to_owned(), error })?;
        let result = self.with_weights(|weights| {
            bantam_cpu::repack(&plan, weights, Isa::detect(), pool, &mut |weight, tensor_type, panels| {
                let start = length.next_multiple_of(ALIGNMENT);
                let gap = vec![0; (start - length) as usize];
                if let Err(error) = file.write_all(&gap).and_then(|()| file.write_all(panels)) {
                    problem = Some(failed(error));
                    return Err(PlanError::Interrupted);
                }
                length = start + panels.len() as u64;
                entries.push(Entry {
                    name: weight.name.clone(),
                    tensor_type: tensor_type.name().to_owned(),
                    rows: weight.rows,
                    width: weight.width,
                    start,
                    length: panels.len() as u64,
                    checksum: checksum_by(pool, panels),
                });
                done_bytes = done_bytes.saturating_add(panels.len() as u64).min(total_bytes);
                if progress(Progress { done_bytes, total_bytes }) { Ok(()) } else { Err(PlanError::Interrupted) }
            })
        });
        if let Some(problem) = problem {
            return Err(problem);
        }
        result?;
        let table = serde_json::to_vec(&entries).map_err(|error| failed(error.into()))?;
        let tail = [length, table.len() as u64, checksum(&table, 5)].map(u64::to_le_bytes);
        file.write_all(&table).map_err(failed)?;
        file.write_all(tail.as_flattened()).map_err(failed)?;
        file.write_all(MARK).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        Ok(length + table.len() as u64 + 32)
    }
}

/// Removes the files of a directory that were made of one model, but for one; gives their bytes.
fn remove(directory: &Path, family: &str, but: Option<&Path>) -> Result<u64, RuntimeError> {
    let Ok(entries) = fs::read_dir(directory) else { return Ok(0) };
    let mut removed = 0;
    for entry in entries.filter_map(Result::ok) {
        let (path, name) = (entry.path(), entry.file_name());
        let ours = name.to_str().is_some_and(|name| name.starts_with(family) && name.ends_with(ENDING));
        if !ours || but == Some(&path) {
            continue;
        }
        let bytes = entry.metadata().map_or(0, |facts| facts.len());
        let failed = |error: io::Error| RuntimeError::Write { path: path.clone(), problem: error.to_string() };
        fs::remove_file(&path).map_err(failed)?;
        removed += bytes;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use bantam_testkit::mutate::{Mutator, Region};

    use super::*;

    #[test]
    fn a_checksum_sees_every_byte_and_its_place() {
        let bytes: Vec<u8> = (0..1000u32).map(|i| (i * 7 % 251) as u8).collect();
        let whole = checksum(&bytes, 0);
        for at in [0, 7, 8, 63, 64, 511, 959, 960, 999] {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_ne!(checksum(&other, 0), whole, "byte {at}");
        }
        let mut swapped = bytes.clone();
        swapped.swap(0, 64);
        assert_ne!(checksum(&swapped, 0), whole);
        assert_ne!(checksum(&bytes, 1), whole);
        assert_ne!(checksum(&bytes[..999], 0), whole);
        let pool = Pool::new(1);
        assert_eq!(checksum_by(&pool, &bytes), checksum_by(&Pool::new(3), &bytes));
    }

    /// A kept form of nothing but its table.
    fn made(start: u64, length: u64, table: &[u8]) -> Vec<u8> {
        let mut bytes = MARK.to_vec();
        bytes.extend(table);
        bytes.extend([start, length, checksum(table, 5)].map(u64::to_le_bytes).as_flattened());
        bytes.extend(MARK);
        bytes
    }

    #[test]
    fn what_is_no_table_is_no_kept_form() {
        let pool = Arc::new(Pool::new(1));
        let check = |bytes: Vec<u8>, expected: bool| {
            assert_eq!(Kept::parse(SharedBytes::from_vec(bytes), &pool).is_some(), expected);
        };
        check(Vec::new(), false);
        check(MARK.repeat(9), false);
        check(made(8, 2, b"[]"), true);
        check(made(8, 3, b"[]"), false);
        check(made(u64::MAX, 2, b"[]"), false);
        check(made(8, u64::MAX, b"[]"), false);
        check(made(8, 2, b"{}"), false);
        let entry = |start: u64, length: u64, rows: usize| {
            let table = format!(
                r#"[{{"name":"a","tensor_type":"Q8_0","rows":{rows},"width":32,"start":{start},"length":{length},"checksum":0}}]"#
            );
            let kept =
                Kept::parse(SharedBytes::from_vec(made(8, table.len() as u64, table.as_bytes())), &pool).unwrap();
            assert!(kept.weight("a").is_none() && kept.weight("b").is_none());
        };
        entry(0, 8, 16);
        entry(u64::MAX, 8, 16);
        entry(0, u64::MAX, usize::MAX);
    }

    #[test]
    fn a_damaged_table_with_the_right_checksum_gives_no_weight_that_is_not_there() {
        let pool = Arc::new(Pool::new(1));
        let (rows, width) = (16, 64);
        let panels = vec![7; Matrix::owned_bytes(TensorType::Q8_0, rows, width, Isa::detect())];
        let entry = |name: &str| Entry {
            name: name.into(),
            tensor_type: "Q8_0".into(),
            rows,
            width,
            start: MARK.len() as u64,
            length: panels.len() as u64,
            checksum: checksum_by(&pool, &panels),
        };
        let table = serde_json::to_vec(&[entry("a"), entry("b")]).unwrap();
        let sealed = |table: &[u8]| {
            let mut bytes = MARK.to_vec();
            bytes.extend(&panels);
            let start = bytes.len() as u64;
            bytes.extend(table);
            bytes.extend([start, table.len() as u64, checksum(table, 5)].map(u64::to_le_bytes).as_flattened());
            bytes.extend(MARK);
            SharedBytes::from_vec(bytes)
        };
        let whole = Kept::parse(sealed(&table), &pool).unwrap();
        assert!(["a", "b"].into_iter().all(|name| whole.weight(name).is_some()));
        let mut read = 0;
        for iteration in 0..3000 {
            let mut mutator = Mutator::new(11, iteration);
            let damaged = match iteration % 2 {
                0 => mutator.damage(&table, &Region::half_in_first(table.len())),
                _ => mutator.damage_text(&table),
            };
            let Some(kept) = Kept::parse(sealed(&damaged), &pool) else { continue };
            read += 1;
            for (name, entry) in &kept.entries {
                let Some(weight) = kept.weight(name) else { continue };
                let length = Matrix::owned_bytes(weight.tensor_type, entry.rows, entry.width, Isa::detect());
                assert_eq!(weight.bytes.len(), length, "{}", String::from_utf8_lossy(&damaged));
            }
        }
        assert!(read > 100, "only {read} tables could be read");
    }
}
