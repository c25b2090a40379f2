//! A model's weights as this processor's products read them, kept in a file, so that loading need not repack them.
//!
//! The file: a mark, then each weight's panels from a multiple of 4096 on, then a table (JSON), then 32 bytes: where the
//! table begins, how long it is, its checksum (u64, least byte first) and the mark again. It is written to a temporary
//! file, synced and renamed, so that there is a whole file or none.
//!
//! Its name says what it was made of: the model's path and the type it is re-encoded to, then a fingerprint of the model
//! (names, types, extents and samples of all tensors, sizes and times of its files), of the layout of panels and of the
//! processor's instructions. A model that changed has another name, and its old file is removed when a new one is made.
//! What is read is checked: the table's checksum and every length when the file is opened, and each weight's checksum when
//! the weight is loaded, by all threads. A weight that fails is repacked from the model instead.

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
use serde::{Deserialize, Serialize};

use crate::model::Progress;
use crate::{Model, RuntimeError};

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

/// What a model's kept form is called.
pub(crate) struct Names {
    /// Of all that were made of this model in this way.
    family: String,
    /// Of the one that fits the model as it is.
    file: String,
}

impl Names {
    pub(crate) fn of(model: &Model) -> Self {
        let path = model.path().canonicalize().unwrap_or_else(|_| model.path().to_owned());
        let made_as = model.quantize.map_or("as-is", TensorType::name);
        let isa = Isa::detect().name();
        let family = format!("{}|{made_as}|{isa}", path.display());
        let mut facts =
            format!("{family}|{PANEL_LAYOUT}|{}", if cfg!(target_endian = "big") { "big" } else { "little" });
        for (size, time) in file_facts(&path) {
            facts += &format!("|{size} {time}");
        }
        let mut facts = facts.into_bytes();
        for (name, tensor) in model.checkpoint.tensors() {
            let stored = tensor.tensor_type.as_ref().map_or("?", |stored| stored.name());
            facts.extend(format!("|{name} {stored} {:?} {}", tensor.shape, tensor.bytes.len()).bytes());
            sample(&tensor.bytes, &mut facts);
        }
        let family = checksum(family.as_bytes(), 0);
        let file = format!("{family:016x}-{:016x}{:016x}.{ENDING}", checksum(&facts, 1), checksum(&facts, 2));
        Self { family: format!("{family:016x}-"), file }
    }
}

/// Sizes and times of a model's files.
fn file_facts(path: &Path) -> Vec<(u64, u128)> {
    let facts = |path: &Path| {
        let facts = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        let time = facts.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some((facts.len(), time.as_nanos()))
    };
    if let Some(facts) = facts(path) {
        return vec![facts];
    }
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    files.iter().filter_map(|path| facts(path)).collect()
}

/// Some bytes from a tensor's beginning, middle and end.
fn sample(bytes: &SharedBytes, to: &mut Vec<u8>) {
    const EACH: usize = 64;
    // What is made when looked at is made of other tensors' bytes.
    if bytes.is_made() {
        return;
    }
    for start in [0, bytes.len() / 2, bytes.len().saturating_sub(EACH)] {
        let end = start.saturating_add(EACH).min(bytes.len());
        to.extend_from_slice(bytes.get(start..end).unwrap_or_default());
    }
    bytes.done_with(0..bytes.len());
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
    /// The kept form of a model, where there is a whole one.
    pub(crate) fn find(model: &Model, directory: &Path, pool: &Arc<Pool>) -> Option<Self> {
        if !directory.is_dir() {
            return None;
        }
        let path = directory.join(Names::of(model).file);
        if !path.is_file() {
            return None;
        }
        Self::parse(crate::open::map(&path).ok()?, pool)
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
        fits.then_some(RepackedWeight { tensor_type, bytes })
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
        let names = Names::of(self);
        let path = directory.join(&names.file);
        let pool = Arc::new(Pool::new(threads.unwrap_or_else(crate::preferred_threads)));
        let failed =
            |path: &Path, error: &io::Error| RuntimeError::Write { path: path.to_owned(), problem: error.to_string() };
        if let Some(kept) = Kept::find(self, directory, &pool)
            && kept.entries.keys().all(|name| kept.weight(name).is_some())
        {
            return Ok(Optimised { path, bytes: kept.bytes.len() as u64 });
        }
        fs::create_dir_all(directory).map_err(|error| failed(directory, &error))?;
        let temporary = directory.join(format!("{}.{}.part", names.file, std::process::id()));
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
        remove(directory, &names.family, Some(&path))?;
        Ok(written)
    }

    /// Removes what [`Model::optimise`] has kept of this model, and says how many bytes that was.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn remove_optimised(&self, directory: &Path) -> Result<u64, RuntimeError> {
        remove(directory, &Names::of(self).family, None)
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
        let total_bytes = self.checkpoint.tensors().map(|(_, tensor)| tensor.bytes.len() as u64).sum();
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

    #[test]
    fn what_is_no_table_is_no_kept_form() {
        let pool = Arc::new(Pool::new(1));
        let check = |bytes: Vec<u8>, expected: bool| {
            assert_eq!(Kept::parse(SharedBytes::from_vec(bytes), &pool).is_some(), expected);
        };
        let made = |start: u64, length: u64, table: &[u8]| {
            let mut bytes = MARK.to_vec();
            bytes.extend(table);
            bytes.extend([start, length, checksum(table, 5)].map(u64::to_le_bytes).as_flattened());
            bytes.extend(MARK);
            bytes
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
}
