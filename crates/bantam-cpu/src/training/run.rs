//! A training program: a batch forwards and backwards over one arena.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bantam_kernels::{self as kernels, ActivationKind, Int8Rows, Isa, Pool, ProductScratch, SequenceScratch};
use bantam_plan::{
    Batch, CompileOptions, Op, Parameter, Placement, Plan, PlanError, Profile, Rows, TrainingProgram, ValueId, WeightId,
};

use super::angles::Angles;
use super::experts::Gathered;
use super::fuse::Fusions;
use super::held::Held;
use super::magnitude::Lengths;
use super::nf4::Nf4Scratch;
use super::tail::Tail;
use super::watch;
use crate::profile::Watch;

/// A Plan with gradients, compiled for this processor.
pub(crate) struct CpuTraining {
    pub(crate) plan: Plan,
    pub(crate) options: CompileOptions,
    /// Steps before the first backward.
    pub(crate) forward: usize,
    pub(crate) places_known: usize,
    pub(crate) output: ValueId,
    pub(crate) held: Vec<Held>,
    pub(crate) lengths: Vec<Lengths>,
    pub(crate) fusions: Fusions,
    pub(crate) tail: Tail,
    pub(crate) placements: Vec<Placement>,
    pub(crate) arena: Vec<f32>,
    pub(crate) buffers: Buffers,
    pub(crate) watch: Option<Watch>,
}

/// Working memory of steps.
pub(crate) struct Buffers {
    pub(crate) pool: Arc<Pool>,
    pub(crate) isa: Isa,
    pub(crate) angles: Vec<Angles>,
    pub(crate) int8: Int8Rows,
    /// Whose int8 form is at hand.
    pub(crate) quantized: Option<ValueId>,
    pub(crate) products: ProductScratch,
    pub(crate) nf4: Nf4Scratch,
    pub(crate) attention: SequenceScratch,
    /// Rows of each sequence.
    pub(crate) sequences: Vec<Range<usize>>,
    /// Targets of the rows of a chunk, and their weights.
    pub(crate) tokens: Vec<u32>,
    pub(crate) weights: Vec<f32>,
    /// A norm's factor with its shift added.
    pub(crate) factor: Vec<f32>,
    pub(crate) gathered: Gathered,
}

/// Rows of this batch, and the output rows that run now.
#[derive(Clone, Debug)]
pub(crate) struct Extent {
    pub(crate) tokens: usize,
    pub(crate) outputs: Range<usize>,
}

/// What a step may look at.
pub(crate) struct Running<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) batch: &'a Batch,
    pub(crate) extent: Extent,
    pub(crate) tail: &'a Tail,
    pub(crate) placements: &'a [Placement],
    pub(crate) arena: &'a mut [f32],
    pub(crate) held: &'a mut [Held],
    pub(crate) lengths: &'a mut [Lengths],
    pub(crate) buffers: &'a mut Buffers,
}

impl Running<'_> {
    /// Rows of a value in this batch (in a chunk: of the chunk).
    pub(crate) fn rows(&self, id: ValueId) -> usize {
        match self.plan.get(id).rows {
            Rows::Tokens => self.extent.tokens,
            Rows::Outputs => self.extent.outputs.len(),
            Rows::Routed(chosen) => self.extent.tokens * chosen,
        }
    }

    pub(crate) fn width(&self, id: ValueId) -> usize {
        self.plan.get(id).width
    }

    /// Where a value lies.
    pub(crate) fn range(&self, id: ValueId) -> Range<usize> {
        let value = self.plan.get(id);
        let first = match value.rows {
            Rows::Outputs if !self.tail.is_inside(id) => self.extent.outputs.start,
            Rows::Outputs | Rows::Tokens | Rows::Routed(_) => 0,
        };
        let start = self.placements[id.0].offset + first * value.width;
        start..start + self.rows(id) * value.width
    }

    /// Borrows ranges of the arena at once. The arena's plan keeps values that are alive together apart.
    pub(crate) fn split<const N: usize>(arena: &mut [f32], ranges: [Range<usize>; N]) -> [&mut [f32]; N] {
        arena.get_disjoint_mut(ranges).expect("the arena keeps live values apart")
    }

    /// Whether two values share their place.
    pub(crate) fn same_place(&self, a: ValueId, b: ValueId) -> bool {
        self.placements[a.0].offset == self.placements[b.0].offset
    }
}

impl CpuTraining {
    /// Runs steps `..end`.
    fn steps(&mut self, batch: &Batch, end: usize) -> Result<(), PlanError> {
        self.begin(batch)?;
        let outputs = batch.outputs.len();
        let tail = self.tail.steps.clone();
        self.some(batch, 0..tail.start.min(end), 0..outputs);
        let rows = self.tail.rows.max(1);
        for first in (0..outputs).step_by(rows) {
            self.some(batch, tail.start.min(end)..tail.end.min(end), first..(first + rows).min(outputs));
        }
        self.some(batch, tail.end.min(end)..end, 0..outputs);
        Ok(())
    }

    fn some(&mut self, batch: &Batch, steps: Range<usize>, outputs: Range<usize>) {
        let Self { plan, fusions, tail, placements, arena, held, lengths, buffers, watch, .. } = self;
        buffers.quantized = None;
        let extent = Extent { tokens: batch.rows(), outputs };
        let mut running = Running { plan, batch, extent, tail, placements, arena, held, lengths, buffers };
        for index in steps {
            if fusions.is_absorbed(index) {
                continue;
            }
            let step = &plan.steps[index];
            let start = watch.as_ref().map(|_| Instant::now());
            // A product that is added to another value goes to where the sum is.
            let onto = fusions.adds_to(index).is_some().then(|| plan.steps[index + 1].outputs[0]);
            if let Op::Backward(backward) = &step.op {
                running.back(backward, step, onto);
            } else {
                running.forward(&step.op, step, onto);
            }
            if let (Some(watch), Some(start)) = (watch.as_mut(), start) {
                watch.note(index, start, running.work(step));
            }
        }
    }

    /// Checks a batch and makes what all steps need.
    fn begin(&mut self, batch: &Batch) -> Result<(), PlanError> {
        let refuse = |message: String| Err(PlanError::Batch(message));
        let Self { plan, options, buffers, .. } = self;
        let counts = [
            ("rows", batch.rows(), options.rows),
            ("output rows", batch.outputs.len(), options.outputs),
            ("sequences", batch.tables.len(), options.sequences),
        ];
        for (what, found, most) in counts {
            if found > most {
                return refuse(format!("{found} {what}, but the program was compiled for {most}"));
            }
        }
        batch.check(plan.vocabulary().unwrap_or(usize::MAX), usize::MAX)?;
        if batch.targets.len() != batch.outputs.len() {
            return refuse(format!("{} output rows but {} targets", batch.outputs.len(), batch.targets.len()));
        }
        let loss = plan.steps.iter().find(|step| matches!(step.op, Op::Loss(_)));
        let vocabulary = loss.map(|step| plan.get(step.inputs[0]).width);
        let width = vocabulary.unwrap_or(usize::MAX);
        if let Some(target) = batch.targets.iter().find(|target| target.token as usize >= width) {
            return refuse(format!("target {} is outside the vocabulary of {width}", target.token));
        }
        buffers.sequences.clear();
        for (row, place) in batch.places.iter().enumerate() {
            let follows = row > 0 && batch.places[row - 1].sequence == place.sequence;
            let expected = if follows { batch.places[row - 1].position + 1 } else { 0 };
            if place.position != expected {
                return refuse(format!(
                    "position {} of sequence {} where {expected} was expected: sequences are trained whole",
                    place.position, place.sequence
                ));
            }
            if place.position as usize >= self.places_known {
                return refuse(format!("position {} of a model of {}", place.position, self.places_known));
            }
            match buffers.sequences.last_mut().filter(|_| follows) {
                Some(range) => range.end = row + 1,
                None => buffers.sequences.push(row..row + 1),
            }
        }
        let positions: Vec<u32> = batch.places.iter().map(|place| place.position).collect();
        buffers.angles.iter_mut().for_each(|angles| angles.make(&positions));
        Ok(())
    }

    fn losses(&self, batch: &Batch) -> &[f32] {
        &self.arena[self.placements[self.output.0].offset..][..batch.outputs.len()]
    }
}

impl TrainingProgram for CpuTraining {
    fn options(&self) -> CompileOptions {
        self.options
    }

    fn run(&mut self, batch: &Batch) -> Result<&[f32], PlanError> {
        let start = Instant::now();
        self.steps(batch, self.plan.steps.len())?;
        if let Some(watch) = &mut self.watch {
            watch.note_run(start);
        }
        Ok(self.losses(batch))
    }

    fn evaluate(&mut self, batch: &Batch) -> Result<&[f32], PlanError> {
        self.steps(batch, self.forward)?;
        Ok(self.losses(batch))
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        // They may be changed through what this gives.
        self.lengths.iter_mut().for_each(Lengths::forget);
        let held = self.held.iter_mut().enumerate();
        held.filter_map(|(index, held)| match held {
            Held::Trained(trained) => Some(Parameter {
                weight: WeightId(index),
                values: &mut trained.values,
                gradient: &mut trained.gradient,
            }),
            Held::Frozen(_) | Held::Nf4(_) | Held::Vector(_) => None,
        })
        .collect()
    }

    fn profile(&mut self, on: bool) -> Profile {
        let found = self.watch.take().map(|watch| watch.end(&self.buffers.pool));
        self.watch = on.then(|| watch::named(&self.plan, &self.buffers.pool));
        found.unwrap_or_default()
    }
}

impl Buffers {
    /// Makes the int8 form of a value, unless it is at hand.
    pub(crate) fn quantize(&mut self, id: ValueId, kind: ActivationKind, x: &[f32], rows: usize, width: usize) {
        if self.quantized != Some(id) || self.int8.kind() != kind {
            self.int8.quantize(&self.pool, self.isa, kind, x, rows, width);
            self.quantized = Some(id);
        }
    }

    /// The targets of the output rows that run now.
    pub(crate) fn take_targets(&mut self, batch: &Batch, outputs: Range<usize>) {
        self.tokens.clear();
        self.weights.clear();
        for target in &batch.targets[outputs] {
            self.tokens.push(target.token);
            self.weights.push(target.weight);
        }
    }
}

/// Sums two values where neither place is free.
pub(crate) fn add(buffers: &Buffers, a: &[f32], b: &[f32], out: &mut [f32]) {
    kernels::add(&buffers.pool, buffers.isa, a, b, out);
}
