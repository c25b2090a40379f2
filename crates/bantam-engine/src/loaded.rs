//! The runtime's loaded models behind the engine's door.

use bantam_runtime::{GenerationDefaults, Loaded, RuntimeError};

use crate::{Feed, LanguageModel, ModelError, SamplingOptions, SequenceId};

impl From<RuntimeError> for ModelError {
    fn from(error: RuntimeError) -> Self {
        match error {
            RuntimeError::Interrupted => Self::Interrupted,
            other => Self::Failed(Box::new(other)),
        }
    }
}

impl From<&GenerationDefaults> for SamplingOptions {
    /// What the model's makers recommend.
    fn from(defaults: &GenerationDefaults) -> Self {
        Self {
            temperature: defaults.temperature,
            top_k: defaults.top_k.map(|count| count as usize),
            top_p: defaults.top_p,
            min_p: defaults.min_p,
            typical_p: defaults.typical_p,
            repeat_penalty: defaults.repetition_penalty,
            ..Self::default()
        }
    }
}

impl LanguageModel for Loaded {
    fn context(&self) -> usize {
        self.context()
    }

    fn vocabulary_len(&self) -> usize {
        self.vocabulary_len()
    }

    fn open_sequence(&mut self) -> Result<SequenceId, ModelError> {
        Ok(self.open_sequence()?)
    }

    fn close_sequence(&mut self, sequence: SequenceId) {
        self.close_sequence(sequence);
    }

    fn truncate(&mut self, sequence: SequenceId, length: usize) {
        self.truncate(sequence, length);
    }

    fn length(&self, sequence: SequenceId) -> usize {
        self.length(sequence)
    }

    fn run(&mut self, feeds: &[Feed<'_>]) -> Result<&[f32], ModelError> {
        Ok(self.run(feeds)?)
    }
}
