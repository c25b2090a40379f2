//! From a Plan with gradients to a training program.

use std::sync::Arc;

use bantam_kernels::{AttentionShape, Int8Rows, Isa, Matrix, Pool, Precision, ProductScratch, SequenceScratch};
use bantam_plan::{
    Arena, CompileOptions, Op, Plan, PlanError, ProgramMemory, Rows, Step, ValueId, Weights, fetch_weight,
};
use bantam_tensor::Nf4;

use super::angles::Angles;
use super::fuse::Fusions;
use super::held::Held;
use super::magnitude::Lengths;
use super::nf4::{self, Nf4Scratch};
use super::run::{Buffers, CpuTraining};
use super::tail::Tail;
use crate::compile::{attention_shape, kernel_error, places_known, unsupported, widest_input};
use crate::experts::most_rows;
use crate::vectors;

/// Decisions that do not depend on weights.
struct Layout {
    fusions: Fusions,
    tail: Tail,
    arena: Arena,
}

impl Layout {
    fn of(plan: &Plan, options: &CompileOptions, logits_bytes: usize) -> Self {
        let tail = Tail::of(plan, logits_bytes);
        let fusions = Fusions::of(plan, &tail);
        // What a product adds elsewhere in place is never written down.
        let mut nowhere = vec![false; plan.values.len()];
        for (index, step) in plan.steps.iter().enumerate() {
            if let (Some(_), Some(ValueId(made))) = (fusions.adds_to(index), step.outputs.first()) {
                nowhere[*made] = true;
            }
        }
        let numbers = |id: ValueId| {
            let value = plan.get(id);
            let rows = match value.rows {
                _ if nowhere[id.0] => 0,
                Rows::Outputs if tail.is_inside(id) => tail.rows.min(options.outputs),
                Rows::Outputs => options.outputs,
                Rows::Tokens => options.rows,
                Rows::Routed(chosen) => options.rows * chosen,
            };
            rows * value.width
        };
        // A chunk's rows and all rows share no place.
        let alike =
            |step: &Step, id: &ValueId| step.outputs.iter().all(|out| tail.is_inside(*out) == tail.is_inside(*id));
        let in_place = |index: usize, step: &Step| fusions.in_place(index, step).filter(|id| alike(step, id));
        let arena = Arena::plan_sized(plan, numbers, tail.steps.clone(), in_place);
        Self { fusions, tail, arena }
    }
}

fn shapes(plan: &Plan) -> Vec<AttentionShape> {
    plan.memory_layers().iter().map(attention_shape).collect()
}

/// What a training program takes.
pub(crate) fn memory(
    plan: &Plan,
    weights: &dyn Weights,
    options: &CompileOptions,
    (isa, threads, logits_bytes, as_nf4): (Isa, usize, usize, bool),
) -> Result<ProgramMemory, PlanError> {
    let (mut memory, mut all_owned) = (ProgramMemory::default(), 0);
    let as_nf4: Vec<bool> = nf4::wanted(plan).into_iter().map(|wanted| wanted && as_nf4).collect();
    let mut widest = (0, 0);
    for ((weight, is_vector), &as_nf4) in plan.weights.iter().zip(vectors::wanted(plan)).zip(&as_nf4) {
        let view = fetch_weight(weights, weight)?;
        let numbers = 4 * (weight.rows * weight.width) as u64;
        if weight.trainable {
            memory.weights += 2 * numbers;
        } else if is_vector {
            memory.scratch += numbers;
        } else if as_nf4 {
            memory.weights += Nf4::bytes(weight.rows, weight.width) as u64;
            widest = (widest.0.max(weight.rows), widest.1.max(weight.width));
        } else {
            match Matrix::owned_bytes(view.tensor_type, weight.rows, weight.width, isa) {
                0 if view.bytes.is_made() => memory.weights += crate::bytes_of(&view),
                0 => memory.mapped += crate::bytes_of(&view),
                owned => all_owned += owned as u64,
            }
        }
    }
    memory.weights += all_owned + Matrix::bytes_beside(all_owned);
    let layout = Layout::of(plan, options, logits_bytes);
    let angles: usize = plan.tables.iter().map(|table| 3 * table.frequencies.len() * options.rows).sum();
    let int8 = Int8Rows::bytes(most_rows(plan, options.rows), widest_input(plan));
    let rows = most_rows(plan, options.rows);
    let products = products(plan, &layout.tail, &as_nf4, options);
    let attention = SequenceScratch::bytes(threads, &shapes(plan), options.rows);
    let own = if widest.0 > 0 { Nf4Scratch::bytes(rows, widest.0, widest.1) } else { 0 };
    memory.scratch +=
        (4 * layout.arena.length + 4 * angles + int8 + products + attention + Lengths::bytes(plan) + own) as u64;
    Ok(memory)
}

/// What products take: rows that go back through a frozen weight are put into another form first, all of a step's.
fn products(plan: &Plan, tail: &Tail, as_nf4: &[bool], options: &CompileOptions) -> usize {
    let width = plan.weights.iter().map(|weight| weight.width).max().unwrap_or(0);
    let chunk = tail.rows.min(options.outputs);
    let of = |(index, step): (usize, &Step)| {
        let Op::Backward(backward) = &step.op else { return 0 };
        let weights = if let Op::Linear(linear) = &*backward.of {
            std::slice::from_ref(&linear.weight)
        } else if let Op::ExpertLinear(experts) = &*backward.of {
            &experts.weights
        } else {
            return 0;
        };
        let rows = if tail.steps.contains(&index) { chunk } else { most_rows(plan, options.rows) };
        let frozen = weights.iter().filter(|id| !plan.weights[id.0].trainable && !as_nf4[id.0]);
        frozen.map(|id| ProductScratch::bytes(rows, plan.weights[id.0].rows, width)).max().unwrap_or(0)
    };
    plan.steps.iter().enumerate().map(of).max().unwrap_or(0).max(ProductScratch::bytes(0, 0, width))
}

/// Loads weights and plans buffers.
pub(crate) fn compile(
    (pool, isa, precision, logits_bytes, as_nf4): (&Arc<Pool>, Isa, Precision, usize, bool),
    plan: &Plan,
    weights: &dyn Weights,
    options: &CompileOptions,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<CpuTraining, PlanError> {
    plan.check()?;
    let Some(output) = plan.output.filter(|_| plan.steps.iter().any(|step| matches!(step.op, Op::Loss(_)))) else {
        return Err(unsupported("the plan", "it has no loss; apply `train` first"));
    };
    if let Some(step) = plan.steps.iter().find(|step| matches!(step.op, Op::Observe(_))) {
        return Err(unsupported(step.op.name(), "statistics are not gathered while training"));
    }
    let held = Held::all(plan, weights, (pool, isa, precision), as_nf4, progress)?;
    let lengths = Lengths::all(plan, weights, &held, pool)?;
    let Layout { fusions, tail, arena } = Layout::of(plan, options, logits_bytes);
    let int8 = Int8Rows::with_capacity(most_rows(plan, options.rows), widest_input(plan));
    let angles = plan.tables.iter().map(|table| Angles::new(table.clone(), options.rows)).collect();
    Ok(CpuTraining {
        options: *options,
        forward: plan.steps.iter().position(|step| matches!(step.op, Op::Backward(_))).unwrap_or(plan.steps.len()),
        places_known: places_known(plan),
        output,
        held,
        lengths,
        fusions,
        tail,
        placements: arena.placements,
        arena: vec![0.0; arena.length],
        buffers: Buffers {
            pool: Arc::clone(pool),
            isa,
            angles,
            int8: int8.map_err(|error| kernel_error("linear", error))?,
            quantized: None,
            products: ProductScratch::new(precision),
            nf4: Nf4Scratch::new(precision),
            attention: SequenceScratch::new(pool),
            sequences: Vec::new(),
            tokens: Vec::new(),
            weights: Vec::new(),
            factor: Vec::new(),
            gathered: Default::default(),
        },
        plan: plan.clone(),
        watch: None,
    })
}
