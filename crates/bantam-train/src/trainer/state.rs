//! What a run leaves on the disk, and how it goes on with that ([`crate::checkpoint`]).

use std::path::Path;

use super::Trainer;
use crate::TrainError;
use crate::checkpoint;
use crate::optimiser::Part;

/// The references' names in a state.
const REFERENCES: [&str; 2] = ["reference/learned", "reference/measured"];

impl Trainer {
    /// Writes the state, over the last one.
    pub fn save(&mut self, path: &Path) -> Result<(), TrainError> {
        let parameters = self.program.parameters();
        let mut saved = Vec::new();
        for ((parameter, moments), name) in parameters.into_iter().zip(&mut self.states).zip(&self.names) {
            saved.push((format!("{name}/values"), Part::F32(parameter.values)));
            saved.extend(moments.parts().into_iter().map(|(part, numbers)| (format!("{name}/{part}"), numbers)));
        }
        for (average, name) in self.average.iter_mut().zip(&self.names) {
            saved.push((format!("{name}/average"), Part::F32(average)));
        }
        for (set, numbers) in REFERENCES.into_iter().zip(&mut self.reference) {
            saved.push((set.to_owned(), Part::F64(numbers)));
        }
        checkpoint::write(path, &self.state, &saved)
    }

    /// Writes the trained weights alone, over those that were there.
    pub fn save_weights(&mut self, path: &Path) -> Result<(), TrainError> {
        let parameters = self.program.parameters().into_iter().zip(&self.names);
        let saved: Vec<_> =
            parameters.map(|(parameter, name)| (format!("{name}/values"), Part::F32(parameter.values))).collect();
        checkpoint::write(path, &self.state, &saved)
    }

    /// Takes back what [`Trainer::save_weights`] has written; an average begins anew with it.
    pub fn restore_weights(&mut self, path: &Path) -> Result<(), TrainError> {
        let read = checkpoint::read(path, &self.state.run)?;
        for (at, (parameter, name)) in self.program.parameters().into_iter().zip(&self.names).enumerate() {
            read.restore(path, &format!("{name}/values"), Part::F32(parameter.values))?;
            if let Some(average) = self.average.get_mut(at) {
                average.copy_from_slice(parameter.values);
            }
        }
        Ok(())
    }

    /// Goes on where a state of the same run stands.
    pub fn restore(&mut self, path: &Path) -> Result<(), TrainError> {
        let read = checkpoint::read(path, &self.state.run)?;
        let parameters = self.program.parameters();
        for ((parameter, moments), name) in parameters.into_iter().zip(&mut self.states).zip(&self.names) {
            read.restore(path, &format!("{name}/values"), Part::F32(parameter.values))?;
            for (part, numbers) in moments.parts() {
                read.restore(path, &format!("{name}/{part}"), numbers)?;
            }
        }
        for (average, name) in self.average.iter_mut().zip(&self.names) {
            read.restore(path, &format!("{name}/average"), Part::F32(average))?;
        }
        for (set, numbers) in REFERENCES.into_iter().zip(&mut self.reference) {
            numbers.resize(read.numbers(set), 0.0);
            read.restore(path, set, Part::F64(numbers))?;
        }
        self.state = read.state;
        Ok(())
    }
}
