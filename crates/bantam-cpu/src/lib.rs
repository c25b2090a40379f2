//! The CPU backend: Plan to Program on the kernels.
//!
//! Duty: decide, once per model, how each step runs on this processor (which steps run as one, what is written in place,
//! which weights are repacked), then run batches without a decision or an allocation left.
//!
//! Invariants
//! * A row's result does not depend on the rest of its batch, on chunking or on the number of threads, bit for bit.
//! * A run allocates nothing; all buffers are made by [`CpuBackend::compile`]. Only where weights are repacked later
//!   ([`CpuBackend::with_repacking_later`]) do the first five runs make the memory for them.
//! * Every fused or repacked path computes what `bantam_plan::reference` says, up to the format's own rounding.
//!
//! Not here: the kernels themselves (`bantam-kernels`), what a model is, who owns which page of the memory.
#![forbid(unsafe_code)]
#![deny(clippy::wildcard_enum_match_arm)]

mod compile;
mod experts;
mod fuse;
mod magnitude;
mod profile;
mod program;
mod repacked;
mod row_lengths;
mod training;
mod vectors;
mod waiting;

use std::sync::Arc;

use bantam_kernels::{FloatRows, Isa, KvFormat, KvMemory, Matrix, PAGE_CELLS, Pool, Precision};
use bantam_plan::{
    Arena, Backend, CompileOptions, Plan, PlanError, Program, ProgramMemory, TrainingProgram, WeightView, Weights,
    fetch_weight,
};

pub use repacked::{RepackedWeight, RepackedWeights, TakePanels, repack};
pub use row_lengths::{LowRank, length, row_factor, row_lengths};

const _: () = assert!(PAGE_CELLS == bantam_plan::PAGE_CELLS, "kernels and Plan agree on the page");

/// Runs Plans on the processor's cores.
pub struct CpuBackend {
    pool: Arc<Pool>,
    isa: Isa,
    cache: KvFormat,
    precision: Precision,
    /// Threads that memory is counted for.
    threads: usize,
    repacked: Option<Arc<dyn RepackedWeights>>,
    /// Weights of so many bytes in all are repacked between the first batches.
    repacked_later: Option<usize>,
    /// What training multiplies frozen weights in.
    training_precision: Precision,
    /// Most bytes of logits that training holds at a time.
    logits_bytes: usize,
    /// Whether training holds the frozen matrices of layers as NF4.
    as_nf4: bool,
}

impl CpuBackend {
    /// A backend on a thread pool, with the number format of its key-value memory.
    pub fn new(pool: Arc<Pool>, isa: Isa, cache: KvFormat) -> Self {
        let threads = pool.threads();
        Self {
            pool,
            isa,
            cache,
            threads,
            repacked: None,
            repacked_later: None,
            training_precision: Precision::F32,
            precision: Precision::Bf16,
            logits_bytes: training::CHUNK_BYTES,
            as_nf4: false,
        }
    }

    /// In training, multiplies frozen weights of BF16 and of blocks in this precision; f32 where nobody says. Block formats
    /// run forwards with int8 activations, as they do in inference.
    pub fn with_training_precision(self, precision: Precision) -> Self {
        Self { training_precision: precision, ..self }
    }

    /// In training, holds at most so many bytes of logits at a time (and those of 24 rows at least).
    pub fn with_logits_bytes(self, logits_bytes: usize) -> Self {
        Self { logits_bytes, ..self }
    }

    /// In training, holds the frozen matrices of layers' linears as NF4 with double quantization, whatever they are in (QLoRA).
    pub fn with_training_nf4(self, as_nf4: bool) -> Self {
        Self { as_nf4, ..self }
    }

    /// What BF16 weights are multiplied as: bf16, with activations rounded to it, where nothing else is said; F32 takes
    /// activations as they are.
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Counts memory as if the pool had so many threads.
    pub fn counted_for(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Takes weights from here that were repacked before.
    pub fn with_repacked(self, repacked: Option<Arc<dyn RepackedWeights>>) -> Self {
        Self { repacked, ..self }
    }

    /// Multiplies the first batch by weights as the file has them, where there are at least so many bytes of them, and repacks them
    /// before the next four: the first batch is done sooner, those four later. `None`: before the first. For weights that lie in
    /// a mapped file; others would be in memory twice.
    pub fn with_repacking_later(self, least: Option<usize>) -> Self {
        Self { repacked_later: least, ..self }
    }
}

impl Backend for CpuBackend {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn memory(&self, plan: &Plan, weights: &dyn Weights, options: &CompileOptions) -> Result<ProgramMemory, PlanError> {
        let (mut memory, mut all_owned, mut room) = (ProgramMemory::default(), 0, 0);
        let vectors = vectors::wanted(plan);
        // Rows of plain numbers are packed in the pool's memory.
        let (mut packed, rows) = (0, experts::most_rows(plan, options.rows));
        for (index, weight) in plan.weights.iter().enumerate() {
            let view = fetch_weight(weights, weight)?;
            if vectors[index] {
                memory.scratch += 4 * (weight.rows * weight.width) as u64;
                continue;
            }
            if !Matrix::activation_in(self.precision, view.tensor_type).is_int8() {
                packed = packed.max(FloatRows::bytes(Precision::F32, rows, weight.width));
            }
            match Matrix::owned_bytes(view.tensor_type, weight.rows, weight.width, self.isa) {
                // What is made for this model lies beside the file.
                0 if view.bytes.is_made() => memory.weights += bytes_of(&view),
                0 => memory.mapped += bytes_of(&view),
                owned => all_owned += owned as u64,
            }
            if self.repacked_later.is_some() {
                room = room.max(Matrix::room_bytes(view.tensor_type, weight.rows, weight.width));
            }
        }
        memory.scratch += (room * self.threads) as u64;
        memory.weights += all_owned + Matrix::bytes_beside(all_owned);
        let layers = compile::memory_layers(plan);
        compile::check_cache(&layers, self.cache)?;
        let cache = KvMemory::bytes(&layers, options.pages, self.cache);
        memory.cache = cache.ok_or(PlanError::OutOfMemory { what: "the key-value memory", bytes: u64::MAX })?;
        let fused = fuse::Fusions::of(plan);
        let arena =
            Arena::plan_in_place(plan, options.rows, options.outputs, |index, step| fused.in_place(index, step));
        memory.scratch += packed as u64 + 4 * arena.length as u64 + compile::scratch_bytes(plan, options, self.threads);
        Ok(memory)
    }

    fn compile(
        &self,
        plan: &Plan,
        weights: &dyn Weights,
        options: &CompileOptions,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Box<dyn Program>, PlanError> {
        let (isa, cache, precision) = (self.isa, self.cache, self.precision);
        let (repacked, repacked_later) = (self.repacked.as_deref(), self.repacked_later);
        let setting = compile::Setting { pool: &self.pool, isa, cache, repacked, repacked_later, precision };
        Ok(Box::new(compile::compile(&setting, plan, weights, options, progress)?))
    }

    fn training_memory(
        &self,
        plan: &Plan,
        weights: &dyn Weights,
        options: &CompileOptions,
    ) -> Result<ProgramMemory, PlanError> {
        training::memory(plan, weights, options, (self.isa, self.threads, self.logits_bytes, self.as_nf4))
    }

    fn compile_training(
        &self,
        plan: &Plan,
        weights: &dyn Weights,
        options: &CompileOptions,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Box<dyn TrainingProgram>, PlanError> {
        Ok(Box::new(training::compile(
            (&self.pool, self.isa, self.training_precision, self.logits_bytes, self.as_nf4),
            plan,
            weights,
            options,
            progress,
        )?))
    }
}

/// Bytes of a weight in its format (a view's own bytes may still be of another, when sizes are asked beforehand).
fn bytes_of(view: &WeightView) -> u64 {
    view.tensor_type.bytes(view.rows, view.width).map_or(u64::MAX, |bytes| bytes as u64)
}
