//! The loop: batches, gradients, clipping, updates.

mod options;
mod preferences;
mod promise;
mod state;

pub use options::{Method, Recompute, Tokens, TrainOptions};
pub use preferences::Set;
pub use promise::{Promise, promise};

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bantam_cpu::{CpuBackend, row_lengths};
use bantam_kernels::{Isa, KvFormat};
use bantam_model::exchange::AdapterPlace;
use bantam_plan::{Backend, Parameter, PlanError, Profile, TrainingProgram, WeightId, Weights};
use bantam_runtime::{Adapter, AdapterPart, Dora, Model, SavedWeight};

use crate::TrainError;
use crate::checkpoint::State;
use crate::data::{Example, micro_batches, micro_batches_with_prompts, step_order};
use crate::optimiser::{Moments, norm};
use promise::{Prepared, check_memory, compile_options, pool};

/// What happened in a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// The step, from 1.
    pub step: usize,
    /// Mean loss of the tokens learned, before the update.
    pub loss: f64,
    /// Norm of all gradients together, before clipping.
    pub norm: f64,
    /// The learning rate.
    pub rate: f32,
    /// Tokens seen in this step.
    pub tokens: usize,
    /// Tokens learned in this step.
    pub learned: usize,
    /// Share of the answers compared that are on the right side, where answers are compared.
    pub right: Option<f64>,
}

/// What a step has gathered.
struct Taken {
    loss: f64,
    tokens: usize,
    learned: usize,
    right: Option<f64>,
}

/// A model being trained.
pub struct Trainer {
    options: TrainOptions,
    tokens: Tokens,
    program: Box<dyn TrainingProgram>,
    /// Names of the trained weights, in the order of the program's parameters.
    names: Vec<String>,
    /// Rows of the trained weights by name.
    rows: HashMap<String, usize>,
    states: Vec<Moments>,
    /// By trained weight the average of what it has been, where one is taken.
    average: Vec<Vec<f32>>,
    places: Vec<AdapterPlace>,
    /// Log-probabilities of answers before any step, of what is learned and of what is measured.
    reference: [Vec<f64>; 2],
    /// Where it stands.
    pub state: State,
}

impl Trainer {
    /// Brings a model into memory for training, if it fits. `progress` is told the bytes that are ready, and stops the work
    /// by giving `false`. `run` is kept in states: what is trained on what and how.
    pub fn new(
        model: &Model,
        options: &TrainOptions,
        tokens: Tokens,
        run: String,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Self, TrainError> {
        let pool = pool(options.threads);
        let (prepared, places) = Prepared::new(model, options, tokens, &pool)?;
        check_memory(prepared.memory, options)?;
        let lengths_pool = Arc::clone(&pool);
        let backend = CpuBackend::new(pool, Isa::detect(), KvFormat::F32).with_training_precision(options.precision);
        let backend = backend.with_training_nf4(options.nf4);
        let program =
            backend.compile_training(&prepared.plan, &prepared.weights, &compile_options(tokens), &mut |bytes| {
                progress(bytes)
            });
        let mut program = program.map_err(|error| match error {
            PlanError::Interrupted => TrainError::Interrupted,
            other => TrainError::Plan(other),
        })?;
        let name = |WeightId(id): WeightId| prepared.plan.weights[id].name.clone();
        let parameters = program.parameters();
        let names: Vec<String> = parameters.iter().map(|parameter| name(parameter.weight)).collect();
        let state = |parameter: &Parameter<'_>| {
            let weight = &prepared.plan.weights[parameter.weight.0];
            Moments::of(&options.optimiser, &weight.name, weight.rows, weight.width)
        };
        let states = parameters.iter().map(state).collect();
        let rows = |parameter: &Parameter<'_>| (name(parameter.weight), prepared.plan.weights[parameter.weight.0].rows);
        let rows = parameters.iter().map(rows).collect();
        // DoRA begins with the lengths that the weights' rows have.
        for (parameter, name) in parameters.into_iter().zip(&names) {
            let Some(weight) = name.strip_suffix(".lora_magnitude") else { continue };
            let missing = || PlanError::MissingWeight { name: weight.to_owned() };
            let view = model.checkpoint().weight(weight).ok_or_else(missing)?;
            parameter.values.copy_from_slice(&row_lengths(&lengths_pool, weight, &view, None)?);
        }
        let average = if options.average > 0.0 { program.parameters() } else { Vec::new() };
        let average = average.into_iter().map(|parameter| parameter.values.to_vec()).collect();
        let state = State { run, ..State::default() };
        let reference = Default::default();
        Ok(Self { options: options.clone(), tokens, program, names, rows, states, average, places, reference, state })
    }

    /// Steps in all, for so many examples.
    pub fn steps(&self, examples: usize) -> usize {
        self.options.epochs * self.steps_of_epoch(examples)
    }

    /// Steps until each of so many examples was seen once.
    pub fn steps_of_epoch(&self, examples: usize) -> usize {
        examples.div_ceil(self.options.batch.max(1))
    }

    /// Takes the next step on `examples`, the whole of the training data; `steps` is how many there will be in all.
    ///
    /// # Errors
    /// A loss or gradients that are no numbers: then no weight has changed. An interruption, told by `keep_on`, between two
    /// batches: then the step was not taken, and gradients are as before it.
    pub fn step(
        &mut self,
        examples: &[Example],
        steps: usize,
        keep_on: &dyn Fn() -> bool,
    ) -> Result<Event, TrainError> {
        let begin = Instant::now();
        let chosen: Vec<&Example> = self.order(examples.len()).into_iter().map(|at| &examples[at]).collect();
        let batches = micro_batches_with_prompts(&chosen, self.tokens.rows, self.options.prompt_weight);
        let mut loss = 0.0;
        for (number, mut batch) in batches.into_iter().enumerate() {
            self.go_on(keep_on)?;
            batch.dropout = self.mask(number);
            let losses = self.program.run(&batch)?;
            loss += losses.iter().map(|loss| f64::from(*loss)).sum::<f64>();
        }
        let tokens = chosen.iter().map(|example| example.tokens.len()).sum();
        let learned = chosen.iter().map(|example| example.learned()).sum();
        self.update(begin, steps, Taken { loss, tokens, learned, right: None })
    }

    /// What the next step takes of so much data.
    fn order(&self, count: usize) -> Vec<usize> {
        let options = &self.options;
        step_order(count, options.batch.max(1), self.state.step, options.shuffle.then_some(options.seed))
    }

    /// Stops between two batches, gradients as before the step.
    fn go_on(&mut self, keep_on: &dyn Fn() -> bool) -> Result<(), TrainError> {
        if keep_on() {
            return Ok(());
        }
        self.forget();
        Err(TrainError::Interrupted)
    }

    /// A mask of dropout for each batch of each step.
    fn mask(&self, number: usize) -> Option<u64> {
        let drops = match &self.options.method {
            Method::Lora(lora) => lora.dropout > 0.0,
            Method::Full => self.options.dropout > 0.0,
        };
        drops.then_some(self.options.seed ^ ((self.state.step as u64) << 20) ^ (number as u64) ^ 0x5eed << 48)
    }

    /// Takes the step whose gradients have been gathered.
    fn update(&mut self, begin: Instant, steps: usize, taken: Taken) -> Result<Event, TrainError> {
        let Taken { loss, tokens, learned, right } = taken;
        let (step, options) = (self.state.step, &self.options);
        let parameters = self.program.parameters();
        let norm = norm(&parameters);
        for (what, value) in [("the loss", loss), ("the gradients' norm", norm)] {
            if !value.is_finite() {
                drop(parameters);
                self.forget();
                let advice =
                    "no weight was changed by this step; a lower learning rate or stronger clipping may help".into();
                return Err(TrainError::NotFinite { step: step + 1, what, value, advice });
            }
        }
        let factor = match options.clip {
            // As PyTorch's clip_grad_norm_.
            Some(most) => (f64::from(most) / (norm + 1e-6)).min(1.0) as f32,
            None => 1.0,
        };
        let warmup = (steps as f64 * f64::from(options.warmup)).ceil() as usize;
        let rate = options.rate * options.schedule.factor(step, steps, warmup);
        options.optimiser.step(parameters, &mut self.states, step + 1, rate, factor);
        self.state.step += 1;
        // The first steps weigh more, so that what was drawn is soon forgotten.
        let kept = options.average.min((2 + step) as f32 / (11 + step) as f32);
        for (average, parameter) in self.average.iter_mut().zip(self.program.parameters()) {
            average
                .iter_mut()
                .zip(parameter.values)
                .for_each(|(average, now)| *average += (1.0 - kept) * (*now - *average));
        }
        self.state.losses.push(loss);
        self.state.tokens += tokens as u64;
        self.state.seconds += begin.elapsed().as_secs_f64();
        Ok(Event { step: step + 1, loss, norm, rate, tokens, learned, right })
    }

    fn forget(&mut self) {
        self.program.parameters().into_iter().for_each(|parameter| parameter.gradient.fill(0.0));
    }

    /// Mean loss of the tokens that examples learn, without learning them.
    pub fn evaluate(&mut self, examples: &[Example], keep_on: &dyn Fn() -> bool) -> Result<f64, TrainError> {
        let all: Vec<&Example> = examples.iter().collect();
        let mut loss = 0.0;
        for batch in micro_batches(&all, self.tokens.rows) {
            if !keep_on() {
                return Err(TrainError::Interrupted);
            }
            for part in within(&batch, self.tokens.sequences) {
                loss += self.program.evaluate(&part)?.iter().map(|loss| f64::from(*loss)).sum::<f64>();
            }
        }
        Ok(loss)
    }

    /// Begins (or ends) to time every step of the Plan, and gives what was found since it last began.
    pub fn profile(&mut self, on: bool) -> Profile {
        self.program.profile(on)
    }

    /// The trained weights by name.
    pub fn weights(&mut self) -> Vec<(String, Vec<f32>)> {
        let parameters = self.program.parameters();
        self.names.iter().cloned().zip(parameters.into_iter().map(|parameter| parameter.values.to_vec())).collect()
    }

    /// What has been learned, by name: the trained weights, or their average. All else goes.
    pub fn into_learned(mut self) -> Vec<(String, Vec<f32>)> {
        if self.average.is_empty() { self.weights() } else { self.names.into_iter().zip(self.average).collect() }
    }

    /// The adapter that has been learned up to now; empty where every weight is trained.
    pub fn adapter(&mut self) -> Adapter {
        let Method::Lora(lora) = self.options.method.clone() else { return Adapter::default() };
        let averaged = || self.names.iter().cloned().zip(self.average.iter().cloned()).collect();
        let mut weights: HashMap<String, Vec<f32>> =
            if self.average.is_empty() { self.weights().into_iter().collect() } else { averaged() };
        let mut take = |name: String| weights.remove(&name).unwrap_or_default();
        let parts = self.places.iter().map(|place| {
            let (weight, rank) = (place.weight.clone(), lora.rank_of(place));
            let scale = lora.scale(rank);
            let (a, b) = (take(format!("{weight}.lora_a")), take(format!("{weight}.lora_b")));
            let dora = lora.dora.then(|| Dora { magnitude: take(format!("{weight}.lora_magnitude")), factor: 1.0 });
            AdapterPart { weight, rank, scale, a, b, dora }
        });
        let parts = parts.collect();
        // What is left was trained wholly.
        let rows = &self.rows;
        let saved = self.names.iter().filter_map(|name| {
            let values = weights.remove(name)?;
            Some(SavedWeight { weight: name.clone(), rows: rows.get(name).copied().unwrap_or(1), values })
        });
        Adapter { parts, saved: saved.collect(), ..Adapter::default() }
    }

    /// Sets a trained weight before the first step, by its name in the Plan (`blk.0.attn_q.weight.lora_a`).
    ///
    /// # Errors
    /// Where no such weight of that size is trained.
    pub fn set(&mut self, name: &str, values: &[f32]) -> Result<(), TrainError> {
        let at = self.names.iter().position(|known| known == name);
        let mut parameters = self.program.parameters();
        let parameter = at.and_then(|at| parameters.get_mut(at)).filter(|there| there.values.len() == values.len());
        let none = || TrainError::Option(format!("no weight `{name}` of {} numbers is trained", values.len()));
        parameter.ok_or_else(none)?.values.copy_from_slice(values);
        if let Some(average) = at.and_then(|at| self.average.get_mut(at)) {
            average.copy_from_slice(values);
        }
        Ok(())
    }
}

/// A batch in parts of at most so many sequences.
fn within(batch: &bantam_plan::Batch, most: usize) -> Vec<bantam_plan::Batch> {
    if batch.tables.len() <= most {
        return vec![batch.clone()];
    }
    let mut parts = Vec::new();
    for first in (0..batch.tables.len()).step_by(most.max(1)) {
        let here = first..(first + most).min(batch.tables.len());
        let mut part = bantam_plan::Batch { tables: batch.tables[here.clone()].to_vec(), ..Default::default() };
        let mut targets = batch.outputs.iter().zip(&batch.targets).peekable();
        for (row, place) in batch.places.iter().enumerate() {
            let mine = here.contains(&(place.sequence as usize));
            if mine {
                part.tokens.push(batch.tokens[row]);
                part.places.push(bantam_plan::Place { sequence: place.sequence - first as u32, ..*place });
            }
            if let Some((_, target)) = targets.next_if(|(output, _)| **output as usize == row)
                && mine
            {
                part.outputs.push(part.tokens.len() as u32 - 1);
                part.targets.push(*target);
            }
        }
        parts.push(part);
    }
    parts
}
