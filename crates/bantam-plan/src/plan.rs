//! The Plan itself: values, weights, steps.

use std::collections::HashMap;

use crate::op::Op;
use crate::{PlanError, reference};

/// How many rows a value has in a given batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rows {
    /// One per token of the batch.
    Tokens,
    /// One per row whose output is wanted.
    Outputs,
    /// So many per token: one for each expert it goes to.
    Routed(usize),
}

/// Index of a [`Value`] in its Plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub usize);

/// Index of a [`Weight`] in its Plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WeightId(pub usize);

/// Index of a [`RopeTable`] in its Plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId(pub usize);

/// A matrix `[rows, width]` of f32 made by one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// For people: printing and errors.
    pub name: String,
    /// How many rows.
    pub rows: Rows,
    /// How many columns.
    pub width: usize,
}

/// A weight matrix `[rows, width]`; a vector has one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weight {
    /// GGUF's tensor name.
    pub name: String,
    /// Output features.
    pub rows: usize,
    /// Input features.
    pub width: usize,
    /// Whether the `train` rewrite makes a gradient for it.
    pub trainable: bool,
}

/// Angular frequencies of a rotary position embedding: the angle of pair `i` at position `p` is `p * frequencies[i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeTable {
    /// One per rotated pair, in radians per position.
    pub frequencies: Vec<f32>,
    /// Factor on cosine and sine (1 unless a context extension asks for another).
    pub magnitude: f32,
}

/// One step: an op, what it reads, what it writes.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What is computed.
    pub op: Op,
    /// Values read.
    pub inputs: Vec<ValueId>,
    /// Values written.
    pub outputs: Vec<ValueId>,
    /// Layer it belongs to, where it belongs to one.
    pub layer: Option<usize>,
}

/// A straight list of steps, with the values and weights they name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Every value, by [`ValueId`].
    pub values: Vec<Value>,
    /// Every weight, by [`WeightId`].
    pub weights: Vec<Weight>,
    /// Rope tables, by [`TableId`].
    pub tables: Vec<RopeTable>,
    /// The steps, in the order they run.
    pub steps: Vec<Step>,
    /// What a run gives back (the logits).
    pub output: Option<ValueId>,
    /// Layer that steps added now belong to.
    pub current_layer: Option<usize>,
    /// Weights by name, so that naming one twice is quick in a model of many layers.
    names: HashMap<String, WeightId>,
}

impl Step {
    /// The values whose numbers it looks at: all its inputs, but of a gradient only those that it depends on.
    pub fn reads(&self, plan: &Plan) -> impl Iterator<Item = ValueId> {
        self.inputs.iter().enumerate().filter_map(move |(n, id)| {
            if let Op::Backward(backward) = &self.op
                && n < backward.wanted.len()
                && !backward.of.backward_reads(plan, n)
            {
                return None;
            }
            Some(*id)
        })
    }
}

impl Plan {
    /// An empty Plan.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names a weight `[rows, width]`; the same name gives the same weight.
    pub fn weight(&mut self, name: impl Into<String>, rows: usize, width: usize) -> WeightId {
        let name = name.into();
        if let Some(&found) = self.names.get(&name) {
            return found;
        }
        let id = WeightId(self.weights.len());
        self.names.insert(name.clone(), id);
        self.weights.push(Weight { name, rows, width, trainable: false });
        id
    }

    /// The weight of that name, where the Plan has one.
    pub fn weight_named(&self, name: &str) -> Option<WeightId> {
        self.names.get(name).copied()
    }

    /// Adds a rope table, or finds an equal one.
    pub fn table(&mut self, table: RopeTable) -> TableId {
        if let Some(found) = self.tables.iter().position(|known| *known == table) {
            return TableId(found);
        }
        self.tables.push(table);
        TableId(self.tables.len() - 1)
    }

    /// Adds a value.
    pub fn value(&mut self, name: impl Into<String>, rows: Rows, width: usize) -> ValueId {
        self.values.push(Value { name: name.into(), rows, width });
        ValueId(self.values.len() - 1)
    }

    /// Adds a step that makes one value; its shape follows from the op and what it reads.
    pub fn step(
        &mut self,
        name: impl Into<String>,
        op: impl Into<Op>,
        inputs: &[ValueId],
    ) -> Result<ValueId, PlanError> {
        let (op, name) = (op.into(), name.into());
        let (rows, width) = op.output_shape(self, inputs, &name)?;
        let output = self.value(name, rows, width);
        let layer = self.current_layer;
        self.steps.push(Step { op, inputs: inputs.to_vec(), outputs: vec![output], layer });
        Ok(output)
    }

    /// The value of that index.
    pub fn get(&self, id: ValueId) -> &Value {
        &self.values[id.0]
    }

    /// Memory layers: how many `Attend` steps keep keys and values, with their widths per position.
    pub fn memory_layers(&self) -> Vec<crate::Attend> {
        let mut layers: Vec<crate::Attend> = Vec::new();
        for step in &self.steps {
            if let Op::Attend(attend) = &step.op
                && attend.memory == layers.len()
            {
                layers.push(attend.clone());
            }
        }
        layers
    }

    /// By weight: whether it is a matrix whose rows are multiplied or looked up by token, so that it may be kept in fewer
    /// bits. Vectors, tables of positions and the small matrices that routes are read from are not.
    pub fn matrices(&self) -> Vec<bool> {
        let mut matrices = vec![false; self.weights.len()];
        let routed: Vec<ValueId> = self
            .steps
            .iter()
            .filter(|step| matches!(step.op, Op::Route(_)))
            .flat_map(|step| step.inputs.clone())
            .collect();
        for step in &self.steps {
            if let Op::Linear(linear) = &step.op
                && !step.outputs.iter().any(|output| routed.contains(output))
            {
                matrices[linear.weight.0] = true;
            }
            if let Op::Embed(embed) = &step.op
                && embed.by == crate::EmbedBy::Token
            {
                matrices[embed.table.0] = true;
            }
            if let Op::ExpertLinear(experts) = &step.op {
                experts.weights.iter().for_each(|id| matrices[id.0] = true);
            }
        }
        matrices
    }

    /// Width of the vocabulary table that embeds tokens, where there is one.
    pub fn vocabulary(&self) -> Option<usize> {
        self.steps.iter().find_map(|step| {
            let Op::Embed(embed) = &step.op else { return None };
            (embed.by == crate::EmbedBy::Token).then(|| self.weights[embed.table.0].rows)
        })
    }

    /// Holds the invariants: every value written once and before it is read, every shape in agreement.
    pub fn check(&self) -> Result<(), PlanError> {
        let mut written = vec![false; self.values.len()];
        for step in &self.steps {
            for input in &step.inputs {
                if !written[input.0] {
                    return Err(PlanError::Order {
                        value: self.get(*input).name.clone(),
                        problem: "read before it is written",
                    });
                }
            }
            step.op.check(self, step)?;
            for output in &step.outputs {
                if std::mem::replace(&mut written[output.0], true) {
                    return Err(PlanError::Order { value: self.get(*output).name.clone(), problem: "written twice" });
                }
            }
        }
        match self.output {
            Some(output) if !written[output.0] => {
                Err(PlanError::Order { value: self.get(output).name.clone(), problem: "read before it is written" })
            }
            _ => Ok(()),
        }
    }

    /// Runs the Plan on the reference interpreter once, with memory of its own (see [`mod@reference`]).
    pub fn run_reference(&self, weights: &dyn crate::Weights, batch: &crate::Batch) -> Result<Vec<f32>, PlanError> {
        let mut interpreter = reference::Interpreter::new(self, weights)?;
        interpreter.run(batch)?;
        Ok(interpreter.output().to_vec())
    }
}
