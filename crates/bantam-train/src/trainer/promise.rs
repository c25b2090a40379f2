//! What training will take: the Plan with gradients, its memory, its state on the disk, its time.

use std::sync::Arc;
use std::time::Instant;

use bantam_cpu::CpuBackend;
use bantam_kernels::{Isa, KvFormat, Pool, Precision, ProductScratch, available_threads, multiply_trained};
use bantam_model::exchange::AdapterPlace;
use bantam_plan::rewrite::{recompute, train, with_adapters, with_dropout};
use bantam_plan::{Backend, CompileOptions, CostQuestion, Plan, total_cost};
use bantam_runtime::{Adapted, Model, in_words, memory_limit, with_saved};

use super::{Method, Recompute, Tokens, TrainOptions};
use crate::TrainError;
use crate::adapters::Lora;
use crate::optimiser::Moments;

/// What training will take, said beforehand.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Promise {
    /// Bytes of memory at the most.
    pub memory: u64,
    /// Bytes of a state on the disk, but for what it says of the steps.
    pub state: u64,
    /// Numbers that are trained.
    pub trained: u64,
    /// Seconds it may take, for the tokens asked about.
    pub seconds: f64,
    /// Whether layers run again on the way back.
    pub recompute: bool,
}

impl Promise {
    /// Refuses what needs more memory than it may have.
    pub fn check(&self, options: &TrainOptions) -> Result<(), TrainError> {
        check_memory(self.memory, options)
    }
}

pub(super) fn check_memory(needed: u64, options: &TrainOptions) -> Result<(), TrainError> {
    check_fits(needed, "", options)
}

/// Refuses adapters that are too large by themselves, before they are drawn.
fn check_adapters(lora: &Lora, places: &[AdapterPlace], options: &TrainOptions) -> Result<(), TrainError> {
    let bytes = places.iter().map(|place| {
        let rank = lora.rank_of(place);
        let parts = [("lora_a", rank, place.inputs), ("lora_b", place.outputs, rank)];
        let parts = parts.into_iter().map(|(part, rows, width)| {
            let name = format!("{}.{part}", place.weight);
            // Values, gradients and what a state is written from.
            (8 + WRITTEN_ADAPTER) * (rows * width) as u64 + Moments::bytes(&options.optimiser, &name, rows, width)
        });
        parts.sum::<u64>()
    });
    check_fits(bytes.sum(), "at least ", options)
}

fn check_fits(needed: u64, how_surely: &str, options: &TrainOptions) -> Result<(), TrainError> {
    match memory_limit(options.memory_limit) {
        Some(limit) if limit.bytes < needed => Err(TrainError::Memory {
            needed: format!("{how_surely}{}", in_words(needed)),
            limit: limit.whose.to_owned(),
            available: in_words(limit.bytes),
            advice:
                "fewer tokens at once (--rows), shorter examples, a smaller rank or a quantized model would fit sooner"
                    .into(),
        }),
        _ => Ok(()),
    }
}

/// Bytes beside weights and activations: the program, the vocabulary, examples.
const OVERHEAD: u64 = 96 << 20;
/// Bytes of each number of an adapter while it is written: in a state and as a tensor of its file.
const WRITTEN_ADAPTER: u64 = 8;

/// A Plan with gradients, and what is trained in it.
pub(super) struct Prepared<'m> {
    pub(super) plan: Plan,
    pub(super) weights: Adapted<'m>,
    /// Bytes that training takes at the most.
    pub(super) memory: u64,
    /// Bytes of what changes from step to step.
    state: u64,
    recompute: bool,
}

impl<'m> Prepared<'m> {
    pub(super) fn new(
        model: &'m Model,
        options: &TrainOptions,
        tokens: Tokens,
        pool: &Arc<Pool>,
    ) -> Result<(Self, Vec<AdapterPlace>), TrainError> {
        let (longest, context) = (tokens.longest, model.context_length());
        if longest > context {
            let problem = format!("an example has {longest} tokens, but the model's context is {context}");
            return Err(TrainError::Option(problem));
        }
        let checkpoint = model.checkpoint();
        let unsound = match &options.method {
            Method::Lora(lora) if lora.dora => Some("DoRA looks at the lengths of the model's own rows"),
            Method::Lora(_) => None,
            Method::Full => Some("full training has no frozen weights"),
        };
        if let Some(why) = unsound.filter(|_| options.nf4) {
            return Err(TrainError::Option(format!("weights cannot be held as NF4 here: {why}")));
        }
        let plan = checkpoint.plan_for(longest.max(1));
        let plan =
            plan.map_err(|error| bantam_runtime::RuntimeError::Model { path: model.path().to_owned(), error })?;
        let (plan, weights, places) = match &options.method {
            Method::Lora(lora) => {
                let places = lora.places(checkpoint)?;
                check_adapters(lora, &places, options)?;
                let saved = lora.saved_places(checkpoint)?;
                let plan = with_saved(&plan, saved.iter().map(|place| place.weight.as_str()));
                let (wanted, adapter) = lora.begin(&places, options.seed);
                let weights = Adapted::new(&plan, checkpoint, &[adapter])?;
                let adapted = with_adapters(&plan, &wanted)?;
                let whole = |name: &str| saved.iter().any(|place| place.weight == name);
                (train(&adapted, |name| name.contains(".lora_") || whole(name))?.plan, weights, places)
            }
            Method::Full => {
                let weights = Adapted::new(&plan, checkpoint, &[])?;
                let plan = if options.dropout > 0.0 { with_dropout(&plan, options.dropout)? } else { plan };
                (train(&plan, |_| true)?.plan, weights, Vec::new())
            }
        };
        let mut prepared = Self { plan, weights, memory: 0, state: 0, recompute: false };
        (prepared.memory, prepared.state) = prepared.count(pool, tokens, options)?;
        let again = match options.recompute {
            Recompute::Always => true,
            Recompute::Never => false,
            Recompute::Automatic => {
                memory_limit(options.memory_limit).is_some_and(|limit| limit.bytes < prepared.memory)
            }
        };
        if again {
            (prepared.plan, prepared.recompute) = (recompute(&prepared.plan)?, true);
            (prepared.memory, prepared.state) = prepared.count(pool, tokens, options)?;
        }
        Ok((prepared, places))
    }

    fn trained(&self) -> u64 {
        let trained = self.plan.weights.iter().filter(|weight| weight.trainable);
        trained.map(|weight| (weight.rows * weight.width) as u64).sum()
    }

    /// Bytes of memory at the most, and those among them that a state holds.
    fn count(&self, pool: &Arc<Pool>, tokens: Tokens, options: &TrainOptions) -> Result<(u64, u64), TrainError> {
        let backend = CpuBackend::new(Arc::clone(pool), Isa::detect(), KvFormat::F32);
        let backend = backend.with_training_nf4(options.nf4);
        let program = backend.training_memory(&self.plan, &self.weights, &compile_options(tokens))?;
        // Weights and gradients are the program's.
        let trained = self.plan.weights.iter().filter(|weight| weight.trainable);
        let states = trained.map(|weight| Moments::bytes(&options.optimiser, &weight.name, weight.rows, weight.width));
        let averaged = options.average > 0.0;
        let beside = states.sum::<u64>() + if averaged { 4 * self.trained() } else { 0 };
        // All of it once more when it is written (an average is written from where it is), and of an adapter as the tensors
        // of its file, too.
        let written = match options.method {
            Method::Full if averaged => 0,
            Method::Full => 4,
            Method::Lora(_) => WRITTEN_ADAPTER,
        };
        let program = program.weights + program.mapped + program.scratch;
        Ok((program + beside + written * self.trained() + OVERHEAD, beside + 4 * self.trained()))
    }
}

pub(super) fn compile_options(tokens: Tokens) -> CompileOptions {
    let Tokens { rows, sequences, .. } = tokens;
    CompileOptions { rows, outputs: rows, sequences, positions: rows, pages: 0 }
}

/// What training would take: the memory, and the time for so many `tokens_in_all`. Reads no weights; looks for a moment how
/// fast this machine multiplies.
pub fn promise(
    model: &Model,
    options: &TrainOptions,
    tokens: Tokens,
    tokens_in_all: u64,
) -> Result<Promise, TrainError> {
    let pool = pool(options.threads);
    let (prepared, _) = Prepared::new(model, options, tokens, &pool)?;
    let (memory, state, trained) = (prepared.memory, prepared.state, prepared.trained());
    let (weight_bytes, memory_bytes) = (|_: &str, _: usize, _: usize| 0u64, |_: usize| 0u64);
    let rows = tokens.rows as u64;
    let question = CostQuestion {
        tokens: rows,
        outputs: rows,
        context: tokens.longest as u64 / 2,
        memory_bytes: &memory_bytes,
        weight_bytes: &weight_bytes,
    };
    let flops = total_cost(&prepared.plan, &question).flops as f64 / tokens.rows as f64;
    let seconds = flops * tokens_in_all as f64 / speed(&pool);
    Ok(Promise { memory, state, trained, seconds, recompute: prepared.recompute })
}

/// All threads that this process may use, where not given.
pub(super) fn pool(threads: Option<usize>) -> Arc<Pool> {
    Arc::new(Pool::new(threads.unwrap_or_else(available_threads)))
}

fn speed(pool: &Pool) -> f64 {
    let (rows, width) = (192, 1024);
    let (x, weight, mut out) = (vec![0.5; rows * width], vec![0.25; width * width], vec![0.0; rows * width]);
    let mut scratch = ProductScratch::new(Precision::F32);
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let begin = Instant::now();
        multiply_trained(pool, Isa::detect(), &mut scratch, &x, rows, &weight, None, &mut out, false);
        best = best.min(begin.elapsed().as_secs_f64());
    }
    2.0 * (rows * width * width) as f64 / best.max(1e-9)
}
