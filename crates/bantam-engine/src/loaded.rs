//! The runtime's loaded models behind the engine's door.

use bantam_runtime::{GenerationDefaults, Loaded, RuntimeError};

use crate::{Feed, LanguageModel, ModelError, Outputs, SamplingOptions, SequenceId};

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
        Ok(self.open_sequence()?.into())
    }

    fn close_sequence(&mut self, sequence: SequenceId) {
        if let Some(sequence) = sequence.loaded() {
            self.close_sequence(sequence);
        }
    }

    fn truncate(&mut self, sequence: SequenceId, length: usize) {
        if let Some(sequence) = sequence.loaded() {
            self.truncate(sequence, length);
        }
    }

    fn length(&self, sequence: SequenceId) -> usize {
        sequence.loaded().map_or(0, |sequence| self.length(sequence))
    }

    fn run(&mut self, feeds: &[Feed<'_>]) -> Result<&[f32], ModelError> {
        // One sequence is fed without asking for memory.
        if let [feed] = feeds {
            return Ok(self.run(&[convert(feed)?])?);
        }
        let feeds = feeds.iter().map(convert).collect::<Result<Vec<_>, _>>()?;
        Ok(self.run(&feeds)?)
    }
}

fn convert<'a>(feed: &Feed<'a>) -> Result<bantam_runtime::Feed<'a>, ModelError> {
    let outputs = match feed.outputs {
        Outputs::None => bantam_runtime::Outputs::None,
        Outputs::Last => bantam_runtime::Outputs::Last,
        Outputs::All => bantam_runtime::Outputs::All,
    };
    let sequence = feed.sequence.loaded().ok_or(RuntimeError::Closed)?;
    Ok(bantam_runtime::Feed { sequence, tokens: feed.tokens, outputs })
}
