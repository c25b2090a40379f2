//! An exponential moving average of the weights (Polyak & Juditsky 1992), which is often better than the last ones.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use bantam_formats::safetensors::{Dtype, SafeTensors, SafeTensorsWriter};

use crate::{TrainError, Trainer};

/// The average so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Average {
    decay: f32,
    weights: Vec<(String, Vec<f32>)>,
}

impl Average {
    /// Begins with the weights as they are; `decay` is what an average keeps of itself at each step.
    pub fn begin(trainer: &mut Trainer, decay: f32) -> Self {
        Self { decay, weights: trainer.weights() }
    }

    /// Takes the weights after step `step` (from 1) in. The first steps weigh more, so that what was drawn is soon forgotten.
    pub fn add(&mut self, trainer: &mut Trainer, step: usize) {
        let kept = self.decay.min((1 + step) as f32 / (10 + step) as f32);
        for ((_, average), (_, now)) in self.weights.iter_mut().zip(trainer.weights()) {
            average.iter_mut().zip(now).for_each(|(average, now)| *average += (1.0 - kept) * (now - *average));
        }
    }

    /// The averaged weights by name.
    pub fn weights(&self) -> &[(String, Vec<f32>)] {
        &self.weights
    }

    fn path(directory: &Path, step: usize) -> PathBuf {
        directory.join(format!("average-{step}.safetensors"))
    }

    /// Keeps the average of a step in a directory. It stands beside that of the step before until [`Average::forget`]
    /// says that the state of this one is kept, too.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save(&self, directory: &Path, step: usize) -> Result<(), TrainError> {
        let mut writer = SafeTensorsWriter::new();
        for (name, numbers) in &self.weights {
            writer.add_tensor(name.clone(), Dtype::F32, &[numbers.len() as u64])?;
        }
        let by_name: HashMap<&str, &[f32]> = self.weights.iter().map(|(name, all)| (&name[..], &all[..])).collect();
        writer.write(&Self::path(directory, step), |tensor, out| {
            let missing = || io::Error::other("a tensor that was not announced");
            let numbers = by_name.get(tensor.name.as_str()).ok_or_else(missing)?;
            let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
            out.write_all(&bytes)
        })?;
        Ok(())
    }

    /// Removes the averages of other steps than this one.
    pub fn forget(directory: &Path, step: usize) {
        let kept = Self::path(directory, step);
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if path != kept && name.to_string_lossy().starts_with("average-") {
                // One that stays is overwritten or ignored later.
                let _ = std::fs::remove_file(path);
            }
        }
    }

    /// Goes on with the average of a step.
    ///
    /// # Errors
    /// No such file, or one of another model.
    pub fn restore(&mut self, directory: &Path, step: usize) -> Result<(), TrainError> {
        let path = Self::path(directory, step);
        let bytes = std::fs::read(&path)
            .map_err(|error| TrainError::Read { path: path.clone(), problem: error.to_string() })?;
        let tensors = SafeTensors::parse(&bytes).map_err(|error| error.in_file(&path))?;
        for (name, numbers) in &mut self.weights {
            let refuse =
                || TrainError::Checkpoint { path: path.clone(), problem: format!("it has no fitting `{name}`") };
            let tensor = tensors.tensor(name).ok_or_else(refuse)?;
            let (chunks, rest) = bytes.get(tensor.range.clone()).ok_or_else(refuse)?.as_chunks::<4>();
            if tensor.dtype != Dtype::F32 || chunks.len() != numbers.len() || !rest.is_empty() {
                return Err(refuse());
            }
            numbers.iter_mut().zip(chunks).for_each(|(number, bytes)| *number = f32::from_le_bytes(*bytes));
        }
        Ok(())
    }
}
