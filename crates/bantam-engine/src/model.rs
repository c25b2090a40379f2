//! The door to a loaded model: what the engine needs of one, so that tests can put a scripted model in its place.

use std::error::Error;

pub use bantam_runtime::{Feed, Outputs, SequenceId};

/// Why a model did not run.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// It was told to stop. What ran before it was told is in the sequence's memory.
    #[error("interrupted")]
    Interrupted,
    /// Anything else, in the model's own words.
    #[error(transparent)]
    Failed(Box<dyn Error + Send + Sync>),
}

/// A model that is ready to run.
///
/// The results of a sequence must not depend on what else runs in the same call, nor on how its tokens are split over
/// calls: the engine batches and splits as it likes and promises bit-equal answers.
pub trait LanguageModel {
    /// Most positions one sequence may hold.
    fn context(&self) -> usize;

    /// Length of a row of logits.
    fn vocabulary_len(&self) -> usize;

    /// Begins an empty sequence.
    ///
    /// # Errors
    /// [`ModelError::Failed`] where the model was loaded for fewer sequences.
    fn open_sequence(&mut self) -> Result<SequenceId, ModelError>;

    /// Forgets a sequence.
    fn close_sequence(&mut self, sequence: SequenceId);

    /// Forgets what a sequence holds from position `length` on.
    fn truncate(&mut self, sequence: SequenceId, length: usize);

    /// How many positions a sequence holds.
    fn length(&self, sequence: SequenceId) -> usize;

    /// Appends tokens to sequences, each named at most once, and gives the logits `[rows asked for, vocabulary]` in the
    /// order of the feeds.
    ///
    /// # Errors
    /// [`ModelError::Interrupted`] if stopped from outside, [`ModelError::Failed`] for everything else.
    fn run(&mut self, feeds: &[Feed<'_>]) -> Result<&[f32], ModelError>;
}
