//! The reference interpreter: the meaning of a Plan.
//!
//! Scalar, in f32 with f64 sums, one step after the other, no tricks. It runs inference over its own paged memory,
//! training Plans (gradients of trainable weights), and calibration Plans (statistics of observed values).

use std::collections::HashMap;
use std::sync::Arc;

use crate::{Batch, Op, PAGE_CELLS, Plan, PlanError, Rows, ValueId, WeightId, Weights};

/// Column statistics of an observed value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Rows seen.
    pub rows: u64,
    /// Per column, the sum of squares.
    pub squares: Vec<f64>,
    /// Per column, the largest magnitude.
    pub largest: Vec<f32>,
}

impl Statistics {
    /// Adds rows of `width` columns.
    pub fn add(&mut self, rows: &[f32], width: usize) {
        self.squares.resize(width, 0.0);
        self.largest.resize(width, 0.0);
        for row in rows.chunks_exact(width) {
            self.rows += 1;
            for ((square, largest), x) in self.squares.iter_mut().zip(&mut self.largest).zip(row) {
                *square += f64::from(*x).powi(2);
                *largest = largest.max(x.abs());
            }
        }
    }
}

/// Keys and values of every layer, in f32, by page.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    layers: Vec<HashMap<u32, Page>>,
    tables: Vec<Vec<u32>>,
    lengths: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Page {
    keys: Vec<f32>,
    values: Vec<f32>,
    key_row: usize,
    value_row: usize,
}

impl Memory {
    /// Takes over a batch's page tables; a sequence's length is one more than the last position it has in the batch.
    fn begin(&mut self, batch: &Batch) {
        self.tables.clone_from(&batch.tables);
        self.lengths = vec![0; batch.tables.len()];
        for place in &batch.places {
            let length = &mut self.lengths[place.sequence as usize];
            *length = (*length).max(place.position as usize + 1);
        }
    }

    pub(crate) fn length(&self, sequence: u32) -> usize {
        self.lengths[sequence as usize]
    }

    pub(crate) fn store(
        &mut self,
        layer: usize,
        batch: &Batch,
        keys: &[f32],
        values: &[f32],
        key_row: usize,
        value_row: usize,
    ) {
        if self.layers.len() <= layer {
            self.layers.resize_with(layer + 1, HashMap::new);
        }
        let rows = keys.chunks_exact(key_row).zip(values.chunks_exact(value_row));
        for (place, (key, value)) in batch.places.iter().zip(rows) {
            let position = place.position as usize;
            let page = self.tables[place.sequence as usize][position / PAGE_CELLS];
            let page = self.layers[layer].entry(page).or_insert_with(|| Page {
                keys: vec![0.0; PAGE_CELLS * key_row],
                values: vec![0.0; PAGE_CELLS * value_row],
                key_row,
                value_row,
            });
            let cell = position % PAGE_CELLS;
            page.keys[cell * key_row..][..key_row].copy_from_slice(key);
            page.values[cell * value_row..][..value_row].copy_from_slice(value);
        }
    }

    fn page(&self, layer: usize, sequence: u32, position: usize) -> &Page {
        &self.layers[layer][&self.tables[sequence as usize][position / PAGE_CELLS]]
    }

    pub(crate) fn key(&self, layer: usize, sequence: u32, position: usize) -> &[f32] {
        let page = self.page(layer, sequence, position);
        &page.keys[position % PAGE_CELLS * page.key_row..][..page.key_row]
    }

    pub(crate) fn value(&self, layer: usize, sequence: u32, position: usize) -> &[f32] {
        let page = self.page(layer, sequence, position);
        &page.values[position % PAGE_CELLS * page.value_row..][..page.value_row]
    }
}

/// What an op's reference may look at while it runs.
pub struct Scope<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) batch: &'a Batch,
    pub(crate) memory: &'a mut Memory,
    pub(crate) observations: &'a mut Vec<Statistics>,
    weights: &'a [Arc<[f32]>],
    gradients: &'a mut [Option<Vec<f32>>],
    inputs: &'a [ValueId],
}

impl Scope<'_> {
    /// A weight, decoded, row after row.
    pub(crate) fn weight(&self, id: WeightId) -> Arc<[f32]> {
        Arc::clone(&self.weights[id.0])
    }

    /// Lets `add` add to the gradient of a weight, if it is trainable.
    pub(crate) fn with_gradient(&mut self, id: WeightId, add: impl FnOnce(&mut [f32])) {
        if let Some(gradient) = &mut self.gradients[id.0] {
            add(gradient);
        }
    }

    /// Width of the step's `n`th input.
    pub(crate) fn input_width(&self, n: usize) -> usize {
        self.plan.get(self.inputs[n]).width
    }

    /// The row of the batch at a place: training needs every position of a sequence in its batch.
    pub(crate) fn row_of(&self, sequence: u32, position: usize) -> Result<usize, PlanError> {
        let wanted = |place: &crate::Place| place.sequence == sequence && place.position as usize == position;
        self.batch.places.iter().position(wanted).ok_or_else(|| {
            PlanError::Batch(format!("position {position} of sequence {sequence} is not in the batch it is trained in"))
        })
    }
}

/// Runs one Plan, keeping its memory between batches.
pub struct Interpreter<'a> {
    plan: &'a Plan,
    weights: Vec<Arc<[f32]>>,
    memory: Memory,
    values: Vec<Vec<f32>>,
    gradients: Vec<Option<Vec<f32>>>,
    observations: Vec<Statistics>,
}

impl<'a> Interpreter<'a> {
    /// Checks the Plan and decodes its weights to f32.
    pub fn new(plan: &'a Plan, weights: &dyn Weights) -> Result<Self, PlanError> {
        plan.check()?;
        let weights = plan.weights.iter().map(|weight| decode(weight, weights)).collect::<Result<Vec<_>, _>>()?;
        let gradients =
            plan.weights.iter().map(|weight| weight.trainable.then(|| vec![0.0; weight.rows * weight.width])).collect();
        let values = vec![Vec::new(); plan.values.len()];
        Ok(Self { plan, weights, memory: Memory::default(), values, gradients, observations: Vec::new() })
    }

    /// Runs a batch: its rows follow what the memory already holds of their sequences.
    pub fn run(&mut self, batch: &Batch) -> Result<(), PlanError> {
        batch.check(self.plan.vocabulary().unwrap_or(usize::MAX), usize::MAX)?;
        self.memory.begin(batch);
        for step in &self.plan.steps {
            let mut scope = Scope {
                plan: self.plan,
                batch,
                memory: &mut self.memory,
                observations: &mut self.observations,
                weights: &self.weights,
                gradients: &mut self.gradients,
                inputs: &step.inputs,
            };
            let inputs: Vec<&[f32]> = step.inputs.iter().map(|id| self.values[id.0].as_slice()).collect();
            let size = |id: ValueId| rows_of(self.plan.get(id).rows, batch) * self.plan.get(id).width;
            if let Op::Backward(backward) = &step.op {
                let forward = backward.wanted.len();
                let mut wanted: Vec<Option<Vec<f32>>> =
                    (0..forward).map(|i| backward.wanted[i].then(|| vec![0.0; inputs[i].len()])).collect();
                let ones = vec![1.0; batch.outputs.len()];
                let gradient = inputs.get(forward).copied().unwrap_or(&ones);
                backward.of.backward(&mut scope, &inputs[..forward], gradient, &mut wanted)?;
                for (output, made) in step.outputs.iter().zip(wanted.into_iter().flatten()) {
                    self.values[output.0] = made;
                }
            } else {
                let mut output = step.outputs.first().map_or_else(Vec::new, |id| vec![0.0; size(*id)]);
                step.op.forward(&mut scope, &inputs, &mut output)?;
                if let Some(id) = step.outputs.first() {
                    self.values[id.0] = output;
                }
            }
        }
        Ok(())
    }

    /// The Plan's output after a run: `[outputs, width]`.
    pub fn output(&self) -> &[f32] {
        self.plan.output.map_or(&[], |id| self.value(id))
    }

    /// Any value after a run.
    pub fn value(&self, id: ValueId) -> &[f32] {
        &self.values[id.0]
    }

    /// The gradient of a trainable weight, summed over the runs since [`Interpreter::clear_gradients`].
    pub fn gradient(&self, id: WeightId) -> Option<&[f32]> {
        self.gradients[id.0].as_deref()
    }

    /// Sets every gradient to zero.
    pub fn clear_gradients(&mut self) {
        self.gradients.iter_mut().flatten().for_each(|gradient| gradient.fill(0.0));
    }

    /// Changes a weight, as an optimiser does.
    pub fn set_weight(&mut self, id: WeightId, values: &[f32]) {
        assert_eq!(values.len(), self.weights[id.0].len(), "a weight keeps its size");
        self.weights[id.0] = values.into();
    }

    /// A weight as decoded.
    pub fn weight(&self, id: WeightId) -> &[f32] {
        &self.weights[id.0]
    }

    /// What `Observe` steps gathered, by slot.
    pub fn observations(&self) -> &[Statistics] {
        &self.observations
    }
}

fn rows_of(rows: Rows, batch: &Batch) -> usize {
    match rows {
        Rows::Tokens => batch.rows(),
        Rows::Outputs => batch.outputs.len(),
        Rows::Routed(chosen) => batch.rows() * chosen,
    }
}

fn decode(weight: &crate::Weight, weights: &dyn Weights) -> Result<Arc<[f32]>, PlanError> {
    let view = crate::weights::fetch(weights, weight)?;
    let mut values = vec![0.0; view.rows * view.width];
    view.tensor_type
        .decode(&view.bytes, &mut values)
        .map_err(|error| PlanError::WeightBytes { name: weight.name.clone(), problem: error.to_string() })?;
    Ok(values.into())
}
