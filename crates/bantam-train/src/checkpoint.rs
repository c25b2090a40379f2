//! The state of a run in one file: trained weights, the optimiser's means, and where it stands.
//!
//! A safetensors file written beside the old one and renamed over it, so that there is a whole one whenever a run ends. The
//! numbers are the very bits, and everything random is a function of seed and step, so a run goes on as if it had not stopped.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use bantam_formats::safetensors::{Dtype, SafeTensors, SafeTensorsWriter};
use bantam_kernels::Mapping;
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::optimiser::Part;

/// The key of the metadata that holds [`State`].
const KEY: &str = "bantam_training";

/// Where the run in a file stands, whichever run that is.
///
/// # Errors
/// No such file, or a damaged one.
pub fn state(path: &Path) -> Result<State, TrainError> {
    Ok(open(path)?.state)
}

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// What is trained on what and how: another run's state is refused.
    pub run: String,
    /// Steps taken.
    pub step: usize,
    /// Loss of each step taken.
    pub losses: Vec<f64>,
    /// Validation losses: the step and the loss.
    pub validation: Vec<(usize, f64)>,
    /// Tokens seen.
    pub tokens: u64,
    /// Seconds spent.
    pub seconds: f64,
    /// The date that chat templates were told.
    #[serde(default)]
    pub date: String,
}

impl State {
    /// The step that measured best, and its loss; of equals the earliest.
    pub fn best(&self) -> Option<(usize, f64)> {
        self.validation.iter().copied().reduce(|best, next| if next.1 < best.1 { next } else { best })
    }

    /// Measurements since the best.
    pub fn measured_since_best(&self) -> usize {
        let best = self.best().map_or(0, |(step, _)| step);
        self.validation.iter().filter(|(step, _)| *step > best).count()
    }
}

/// Writes a state: numbers by name.
///
/// # Errors
/// What the file system says; the last state is then as it was.
pub fn write(path: &Path, state: &State, numbers: &[(String, Part<'_>)]) -> Result<(), TrainError> {
    let mut writer = SafeTensorsWriter::new();
    let text = serde_json::to_string(state)
        .map_err(|error| TrainError::Checkpoint { path: path.to_owned(), problem: error.to_string() })?;
    writer.set(KEY, text);
    let mut data: HashMap<&str, &Part<'_>> = HashMap::new();
    for (name, part) in numbers {
        let (dtype, length) = extent(part);
        writer.add_tensor(name.clone(), dtype, &[length as u64])?;
        data.insert(name, part);
    }
    writer.write(path, |tensor, out| {
        let missing = || io::Error::other("a tensor that was not announced");
        match data.get(tensor.name.as_str()).ok_or_else(missing)? {
            Part::F32(numbers) => put(numbers, out, |x, bytes| bytes.extend_from_slice(&x.to_le_bytes())),
            Part::F64(numbers) => put(numbers, out, |x, bytes| bytes.extend_from_slice(&x.to_le_bytes())),
            Part::U8(codes) => out.write_all(codes),
        }
    })?;
    Ok(())
}

/// A part's type in a file, and how many numbers it has.
fn extent(part: &Part<'_>) -> (Dtype, usize) {
    match part {
        Part::F32(numbers) => (Dtype::F32, numbers.len()),
        Part::F64(numbers) => (Dtype::F64, numbers.len()),
        Part::U8(codes) => (Dtype::U8, codes.len()),
    }
}

fn put<T: Copy>(numbers: &[T], out: &mut dyn io::Write, encode: impl Fn(T, &mut Vec<u8>)) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(8 * 4096);
    for chunk in numbers.chunks(4096) {
        bytes.clear();
        chunk.iter().for_each(|x| encode(*x, &mut bytes));
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// A state read back: mapped, and looked at a tensor at a time, so that it is never in memory beside what it becomes.
pub struct Read {
    /// Where it stands.
    pub state: State,
    mapping: Mapping,
    tensors: SafeTensors,
}

/// Reads a state of the run `run`.
///
/// # Errors
/// No such file, a damaged one, or one of another run.
pub fn read(path: &Path, run: &str) -> Result<Read, TrainError> {
    let read = open(path)?;
    if read.state.run != run {
        let problem = "it belongs to a run with another model, other data or other settings; begin anew or use those";
        return Err(TrainError::Checkpoint { path: path.to_owned(), problem: problem.into() });
    }
    Ok(read)
}

/// Reads a state, whichever run's it is.
fn open(path: &Path) -> Result<Read, TrainError> {
    let mapping =
        Mapping::open(path).map_err(|error| TrainError::Read { path: path.to_owned(), problem: error.to_string() })?;
    let tensors = SafeTensors::parse(mapping.as_ref()).map_err(|error| error.in_file(path))?;
    let refuse = |problem: String| TrainError::Checkpoint { path: path.to_owned(), problem };
    let text = tensors.metadata().iter().find(|(key, _)| key == KEY).map(|(_, text)| text.as_str());
    let text = text.ok_or_else(|| refuse("it is no state of a training run".into()))?;
    let state = serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?;
    Ok(Read { state, mapping, tensors })
}

impl Read {
    /// How many numbers there are by a name.
    pub fn numbers(&self, name: &str) -> usize {
        // Bounded by the bytes that are there.
        self.tensors.tensor(name).map_or(0, |tensor| tensor.range.len() / (tensor.dtype.bits() as usize / 8).max(1))
    }

    /// Puts numbers back.
    ///
    /// # Errors
    /// Where the state has none of that name, type and length.
    pub fn restore(&self, path: &Path, name: &str, into: Part<'_>) -> Result<(), TrainError> {
        let refuse =
            || TrainError::Checkpoint { path: path.to_owned(), problem: format!("it has no fitting `{name}`") };
        let tensor = self.tensors.tensor(name).ok_or_else(refuse)?;
        let bytes = self.mapping.as_ref().get(tensor.range.clone()).ok_or_else(refuse)?;
        let (dtype, length) = extent(&into);
        if tensor.dtype != dtype || self.numbers(name) != length {
            return Err(refuse());
        }
        match into {
            Part::F32(numbers) => {
                let chunks = bytes.as_chunks::<4>().0;
                numbers.iter_mut().zip(chunks).for_each(|(number, bytes)| *number = f32::from_le_bytes(*bytes));
            }
            Part::F64(numbers) => {
                let chunks = bytes.as_chunks::<8>().0;
                numbers.iter_mut().zip(chunks).for_each(|(number, bytes)| *number = f64::from_le_bytes(*bytes));
            }
            Part::U8(codes) => codes.copy_from_slice(bytes),
        }
        self.mapping.done_with(tensor.range.clone());
        Ok(())
    }
}
