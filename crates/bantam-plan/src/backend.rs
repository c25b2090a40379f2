//! What a backend must offer: turning a Plan into a Program, and saying beforehand what memory that takes.

use crate::{Batch, Plan, PlanError, Profile, Weights};

/// Sizes a Program is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileOptions {
    /// Most rows in one batch.
    pub rows: usize,
    /// Most output rows in one batch.
    pub outputs: usize,
    /// Most sequences in one batch.
    pub sequences: usize,
    /// Most positions in one sequence.
    pub positions: usize,
    /// Pages of the paged memory.
    pub pages: usize,
}

/// Memory of a Program in bytes, by what it is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramMemory {
    /// Weights repacked for this machine (owned, beside the file).
    pub weights: u64,
    /// Weights read in place from the mapped file.
    pub mapped: u64,
    /// Paged memory of keys and values.
    pub cache: u64,
    /// Activations and scratch.
    pub scratch: u64,
}

/// One way to run Plans.
pub trait Backend {
    /// Short name for people: `cpu`.
    fn name(&self) -> &'static str;

    /// What [`Backend::compile`] would take, without doing it.
    fn memory(&self, plan: &Plan, weights: &dyn Weights, options: &CompileOptions) -> Result<ProgramMemory, PlanError>;

    /// Makes the ready-to-go form. `progress` is told the stored bytes of each weight that is ready, and
    /// stops the work with [`PlanError::Interrupted`] by giving `false`.
    fn compile(
        &self,
        plan: &Plan,
        weights: &dyn Weights,
        options: &CompileOptions,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Box<dyn Program>, PlanError>;

    /// What [`Backend::compile_training`] would take, without doing it.
    fn training_memory(
        &self,
        plan: &Plan,
        weights: &dyn Weights,
        options: &CompileOptions,
    ) -> Result<ProgramMemory, PlanError>;

    /// Makes the ready-to-go form of a Plan with gradients. Of the options, `pages` and `positions` do not matter: nothing is
    /// kept from one batch to the next.
    fn compile_training(
        &self,
        plan: &Plan,
        weights: &dyn Weights,
        options: &CompileOptions,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Box<dyn TrainingProgram>, PlanError>;
}

/// A Plan compiled for one machine, with its paged memory.
pub trait Program: Send {
    /// The sizes it was compiled for.
    fn options(&self) -> CompileOptions;

    /// Runs a batch and gives its output `[batch.outputs.len(), width]`.
    ///
    /// Fails only for a batch that does not fit the options; a row's result does not depend on the rest of the batch.
    fn run(&mut self, batch: &Batch) -> Result<&[f32], PlanError>;

    /// Copies one page of the paged memory over another, in every layer.
    fn copy_page(&mut self, from: u32, to: u32);

    /// Begins (or ends) to time every step, and gives what was found since it last began; empty where it was not on, or
    /// where a backend cannot tell.
    fn profile(&mut self, _on: bool) -> Profile {
        Profile::default()
    }
}

/// A trained weight of a [`TrainingProgram`].
#[derive(Debug)]
pub struct Parameter<'a> {
    /// Which weight of the Plan.
    pub weight: crate::WeightId,
    /// Its numbers `[rows, width]`, row after row.
    pub values: &'a mut [f32],
    /// The loss's gradient by them, summed over runs since it was last set to zero.
    pub gradient: &'a mut [f32],
}

/// A Plan with gradients (see [`crate::rewrite::train`]), compiled for one machine.
///
/// A batch holds whole sequences: every row sees what its sequence has in the batch and nothing else. Results are the same
/// bits on any number of threads.
pub trait TrainingProgram: Send {
    /// The sizes it was compiled for.
    fn options(&self) -> CompileOptions;

    /// Runs forwards and backwards: gives the weighted loss of each output row, and adds to the gradients.
    fn run(&mut self, batch: &Batch) -> Result<&[f32], PlanError>;

    /// Runs forwards only: gives the weighted loss of each output row.
    fn evaluate(&mut self, batch: &Batch) -> Result<&[f32], PlanError>;

    /// The trained weights, in the Plan's order.
    fn parameters(&mut self) -> Vec<Parameter<'_>>;

    /// Begins (or ends) to time every step, as [`Program::profile`].
    fn profile(&mut self, _on: bool) -> Profile {
        Profile::default()
    }
}
