//! The state of a run in one file: trained weights, the optimiser's means, and where it stands.
//!
//! A safetensors file written beside the old one and renamed over it, so that there is a whole one whenever a run ends. The
//! numbers are the very bits, and everything random is a function of seed and step, so a run goes on as if it had not stopped.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use bantam_formats::safetensors::{Dtype, SafeTensors, SafeTensorsWriter};
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::optimiser::Moments;

/// The key of the metadata that holds [`State`].
const KEY: &str = "bantam_training";

/// Where the run in a file stands, whichever run that is.
///
/// # Errors
/// No such file, or a damaged one.
pub fn state(path: &Path) -> Result<State, TrainError> {
    let bytes =
        std::fs::read(path).map_err(|error| TrainError::Read { path: path.to_owned(), problem: error.to_string() })?;
    let tensors = SafeTensors::parse(&bytes).map_err(|error| error.in_file(path))?;
    let refuse = |problem: String| TrainError::Checkpoint { path: path.to_owned(), problem };
    let text = tensors.metadata().iter().find(|(key, _)| key == KEY).map(|(_, text)| text.as_str());
    let text = text.ok_or_else(|| refuse("it is no state of a training run".into()))?;
    serde_json::from_str(text).map_err(|error| refuse(error.to_string()))
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

/// One trained weight: its name, its numbers and the optimiser's means.
pub struct Saved<'a> {
    /// The weight's name.
    pub name: &'a str,
    /// Its numbers.
    pub values: &'a [f32],
    /// The optimiser's means of it.
    pub moments: &'a Moments,
}

/// Writes a state.
///
/// # Errors
/// What the file system says; the last state is then as it was.
pub fn write(path: &Path, state: &State, weights: &[Saved<'_>]) -> Result<(), TrainError> {
    let mut writer = SafeTensorsWriter::new();
    let text = serde_json::to_string(state)
        .map_err(|error| TrainError::Checkpoint { path: path.to_owned(), problem: error.to_string() })?;
    writer.set(KEY, text);
    let mut data: HashMap<String, &[f32]> = HashMap::new();
    for saved in weights {
        let parts = [("values", saved.values), ("mean", &saved.moments.mean), ("square", &saved.moments.square)];
        for (part, numbers) in parts {
            let name = format!("{}/{part}", saved.name);
            writer.add_tensor(name.clone(), Dtype::F32, &[numbers.len() as u64])?;
            data.insert(name, numbers);
        }
    }
    writer.write(path, |tensor, out| {
        let missing = || io::Error::other("a tensor that was not announced");
        let numbers = data.get(&tensor.name).ok_or_else(missing)?;
        let mut bytes = Vec::with_capacity(4 * 4096);
        for chunk in numbers.chunks(4096) {
            bytes.clear();
            chunk.iter().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes()));
            out.write_all(&bytes)?;
        }
        Ok(())
    })?;
    Ok(())
}

/// A state read back.
pub struct Read {
    /// Where it stands.
    pub state: State,
    bytes: Vec<u8>,
    tensors: SafeTensors,
}

/// Reads a state of the run `run`.
///
/// # Errors
/// No such file, a damaged one, or one of another run.
pub fn read(path: &Path, run: &str) -> Result<Read, TrainError> {
    let bytes =
        std::fs::read(path).map_err(|error| TrainError::Read { path: path.to_owned(), problem: error.to_string() })?;
    let tensors = SafeTensors::parse(&bytes).map_err(|error| error.in_file(path))?;
    let refuse = |problem: String| TrainError::Checkpoint { path: path.to_owned(), problem };
    let text = tensors.metadata().iter().find(|(key, _)| key == KEY).map(|(_, text)| text.as_str());
    let text = text.ok_or_else(|| refuse("it is no state of a training run".into()))?;
    let state: State = serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?;
    if state.run != run {
        let problem = "it belongs to a run with another model, other data or other settings; begin anew or use those";
        return Err(refuse(problem.into()));
    }
    Ok(Read { state, bytes, tensors })
}

impl Read {
    /// Puts one weight's numbers back.
    ///
    /// # Errors
    /// Where the state has none of that name and length.
    pub fn restore(
        &self,
        path: &Path,
        name: &str,
        values: &mut [f32],
        moments: &mut Moments,
    ) -> Result<(), TrainError> {
        for (part, numbers) in
            [("values", values), ("mean", &mut moments.mean[..]), ("square", &mut moments.square[..])]
        {
            let refuse = || TrainError::Checkpoint {
                path: path.to_owned(),
                problem: format!("it has no fitting `{name}/{part}`"),
            };
            let tensor = self.tensors.tensor(&format!("{name}/{part}")).ok_or_else(refuse)?;
            let bytes = self.bytes.get(tensor.range.clone()).ok_or_else(refuse)?;
            let (chunks, rest) = bytes.as_chunks::<4>();
            if tensor.dtype != Dtype::F32 || chunks.len() != numbers.len() || !rest.is_empty() {
                return Err(refuse());
            }
            numbers.iter_mut().zip(chunks).for_each(|(number, bytes)| *number = f32::from_le_bytes(*bytes));
        }
        Ok(())
    }
}
