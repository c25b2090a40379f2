//! The Program: instructions over one arena, run without a decision or an allocation left.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bantam_kernels::{
    self as kernels, Activation, ActivationKind, Activations, AttentionScratch, AttentionShape, Int8Rows, Isa,
    KvMemory, Matrix, Pool, Product, RopePairs, RowPlace,
};
use bantam_plan::{Batch, CompileOptions, EmbedBy, NormKind, PlanError, Profile, Program, RopeTable, Route, Rows};

use crate::experts::{ExpertJob, Routed};
use crate::profile::{self, Watch};
use crate::waiting::Waiting;

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) offset: usize,
    pub(crate) width: usize,
    pub(crate) rows: Rows,
}

/// One weight's part in a [`Instruction::Multiply`].
#[derive(Clone, Debug)]
pub(crate) struct ProductSlot {
    pub(crate) matrix: usize,
    pub(crate) out: Slot,
    pub(crate) bias: Option<usize>,
    pub(crate) accumulate: bool,
}

/// One step of a Program. Numbers name matrices, vectors and tables of the Program.
#[derive(Clone, Debug)]
pub(crate) enum Instruction {
    Embed {
        matrix: usize,
        by: EmbedBy,
        out: Slot,
    },
    /// Each row times one vector, in place.
    Factor {
        by: usize,
        x: Slot,
    },
    /// Each row times one vector, plus another.
    Magnitude {
        by: usize,
        bias: Option<usize>,
        x: Slot,
        out: Slot,
    },
    Norm {
        kind: NormKind,
        eps: f32,
        groups: usize,
        weight: Option<usize>,
        bias: Option<usize>,
        x: Slot,
        out: Slot,
    },
    /// Makes the int8 form of `x`, for the products that follow.
    Quantize {
        kind: ActivationKind,
        x: Slot,
    },
    /// Of the int8 form, the one made last serves.
    Multiply {
        x: Slot,
        kind: ActivationKind,
        products: Vec<ProductSlot>,
    },
    /// The products of a gated activation, of rows made int8, and the activation: in one pass where there is a kernel for it, else
    /// one after the other by way of the products' places.
    MultiplyGated {
        x: Slot,
        kind: ActivationKind,
        products: [ProductSlot; 2],
        activation: Activation,
        out: Slot,
    },
    Rope {
        heads: usize,
        head_width: usize,
        rotated: usize,
        pairs: RopePairs,
        table: usize,
        x: Slot,
        out: Slot,
    },
    Attend {
        layer: usize,
        shape: AttentionShape,
        q: Slot,
        k: Slot,
        v: Slot,
        out: Slot,
    },
    Glu {
        activation: Activation,
        gate: Slot,
        up: Slot,
        out: Slot,
    },
    Activate {
        activation: Activation,
        x: Slot,
        out: Slot,
    },
    Add {
        a: Slot,
        b: Slot,
        out: Slot,
    },
    Scale {
        by: f32,
        x: Slot,
        out: Slot,
    },
    Softcap {
        cap: f32,
        x: Slot,
        out: Slot,
    },
    Select {
        x: Slot,
        out: Slot,
    },
    Route {
        route: Route,
        x: Slot,
        out: Slot,
    },
    Spread {
        chosen: usize,
        x: Slot,
        out: Slot,
    },
    /// Each row of `x` times the matrix of its expert.
    MultiplyExperts {
        experts: Vec<usize>,
        x: Slot,
        route: Slot,
        out: Slot,
    },
    Combine {
        x: Slot,
        route: Slot,
        out: Slot,
    },
}

/// Cosines and sines of the batch's positions, made once a batch for all layers.
pub(crate) struct Angles {
    table: RopeTable,
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

impl Angles {
    pub(crate) fn new(table: RopeTable, rows: usize) -> Self {
        let length = rows * table.frequencies.len();
        Self { table, cosines: vec![0.0; length], sines: vec![0.0; length] }
    }

    fn length(&self, rows: usize) -> usize {
        rows * self.table.frequencies.len()
    }
}

/// A Plan compiled for this processor.
pub(crate) struct CpuProgram {
    pub(crate) pool: Arc<Pool>,
    pub(crate) isa: Isa,
    pub(crate) options: CompileOptions,
    pub(crate) vocabulary: usize,
    /// Positions that tables of positions have a row for.
    pub(crate) places_known: usize,
    pub(crate) instructions: Vec<Instruction>,
    pub(crate) matrices: Vec<Matrix>,
    pub(crate) waiting: Waiting,
    /// By matrix: the weight's name.
    pub(crate) names: Vec<String>,
    pub(crate) watch: Option<Watch>,
    pub(crate) vectors: Vec<Vec<f32>>,
    pub(crate) angles: Vec<Angles>,
    pub(crate) arena: Vec<f32>,
    pub(crate) int8: Int8Rows,
    pub(crate) routed: Routed,
    pub(crate) attention: AttentionScratch,
    pub(crate) memory: KvMemory,
    pub(crate) positions: Vec<u32>,
    pub(crate) places: Vec<RowPlace>,
    pub(crate) output: Slot,
}

/// Rows of this batch.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    tokens: usize,
    outputs: usize,
}

impl Slot {
    pub(crate) fn rows(&self, extent: Extent) -> usize {
        match self.rows {
            Rows::Tokens => extent.tokens,
            Rows::Outputs => extent.outputs,
            Rows::Routed(chosen) => extent.tokens * chosen,
        }
    }

    fn range(&self, extent: Extent) -> Range<usize> {
        self.offset..self.offset + self.rows(extent) * self.width
    }
}

/// Borrows several values of the arena at once. The arena's plan keeps values that are alive together apart.
fn borrow<const N: usize>(arena: &mut [f32], slots: [Slot; N], extent: Extent) -> [&mut [f32]; N] {
    arena.get_disjoint_mut(slots.map(|slot| slot.range(extent))).expect("the arena keeps live values apart")
}

impl Program for CpuProgram {
    fn options(&self) -> CompileOptions {
        self.options
    }

    fn run(&mut self, batch: &Batch) -> Result<&[f32], PlanError> {
        batch.check(self.vocabulary, self.options.pages)?;
        let refuse = |what: &str, found: usize, most: usize| {
            Err(PlanError::Batch(format!("{found} {what}, but the program was compiled for {most}")))
        };
        let extent = Extent { tokens: batch.rows(), outputs: batch.outputs.len() };
        if extent.tokens > self.options.rows {
            return refuse("rows", extent.tokens, self.options.rows);
        }
        if extent.outputs > self.options.outputs {
            return refuse("output rows", extent.outputs, self.options.outputs);
        }
        if batch.tables.len() > self.options.sequences {
            return refuse("sequences", batch.tables.len(), self.options.sequences);
        }
        if let Some(place) = batch.places.iter().find(|place| place.position as usize >= self.places_known) {
            return refuse("positions", place.position as usize + 1, self.places_known);
        }
        self.waiting.before_batch(&mut self.matrices, &self.pool);
        self.positions.clear();
        self.positions.extend(batch.places.iter().map(|place| place.position));
        self.places.clear();
        let place = |place: &bantam_plan::Place| RowPlace { sequence: place.sequence, position: place.position };
        self.places.extend(batch.places.iter().map(place));
        for angles in &mut self.angles {
            let length = angles.length(extent.tokens);
            let (cosines, sines) = (&mut angles.cosines[..length], &mut angles.sines[..length]);
            kernels::rope_angles(&self.positions, &angles.table.frequencies, angles.table.magnitude, cosines, sines);
        }
        let start = self.watch.as_ref().map(|_| Instant::now());
        for index in 0..self.instructions.len() {
            match self.watch {
                None => self.execute(index, batch, extent),
                Some(_) => self.watched(index, batch, extent),
            }
        }
        if let (Some(watch), Some(start)) = (&mut self.watch, start) {
            watch.note_run(start);
        }
        Ok(&self.arena[self.output.range(extent)])
    }

    fn copy_page(&mut self, from: u32, to: u32) {
        self.memory.copy_page(from, to);
    }

    fn profile(&mut self, on: bool) -> Profile {
        let watched = self.watch.take().map(|watch| watch.end(&self.pool)).unwrap_or_default();
        self.watch = on.then(|| Watch::new(&self.instructions, &self.names, &self.pool));
        watched
    }
}

impl CpuProgram {
    fn watched(&mut self, index: usize, batch: &Batch, extent: Extent) {
        let start = Instant::now();
        self.execute(index, batch, extent);
        let Some(watch) = &mut self.watch else { return };
        let work = profile::work(&self.instructions[index], extent, &self.matrices, &self.memory, &self.places);
        watch.note(index, start, work);
    }

    fn execute(&mut self, index: usize, batch: &Batch, extent: Extent) {
        let Self { pool, isa, arena, matrices, vectors, angles, int8, routed, attention, memory, places, .. } = self;
        let (pool, isa) = (&**pool, *isa);
        match &self.instructions[index] {
            Instruction::Embed { matrix, by, out } => {
                let named = |row: usize| match by {
                    EmbedBy::Token => batch.tokens[row] as usize,
                    EmbedBy::Position => batch.places[row].position as usize,
                    EmbedBy::First => 0,
                };
                matrices[*matrix].decode_rows(pool, extent.tokens, &named, &mut arena[out.range(extent)]);
            }
            Instruction::Factor { by, x } => {
                let factor = &vectors[*by];
                for row in arena[x.range(extent)].chunks_exact_mut(x.width) {
                    row.iter_mut().zip(factor).for_each(|(x, factor)| *x *= factor);
                }
            }
            Instruction::Magnitude { by, bias, x, out } => {
                if x.offset != out.offset {
                    let [source, made] = borrow(arena, [*x, *out], extent);
                    made.copy_from_slice(source);
                }
                let (factor, bias) = (&vectors[*by], bias.map(|bias| &vectors[bias]));
                for row in arena[out.range(extent)].chunks_exact_mut(out.width) {
                    row.iter_mut().zip(factor).for_each(|(x, factor)| *x *= factor);
                    if let Some(bias) = bias {
                        row.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
                    }
                }
            }
            Instruction::Norm { kind, eps, groups, weight, bias, x, out } => {
                let (rows, weight) = (x.rows(extent), weight.map(|weight| vectors[weight].as_slice()));
                let [source, made] = borrow(arena, [*x, *out], extent);
                match kind {
                    NormKind::Rms => kernels::norm_rms(pool, isa, source, rows, x.width, *groups, weight, *eps, made),
                    NormKind::Layer => {
                        let bias = bias.map(|bias| vectors[bias].as_slice());
                        kernels::norm_layer(pool, isa, source, rows, x.width, *groups, weight, bias, *eps, made);
                    }
                }
            }
            Instruction::Quantize { kind, x } => {
                int8.quantize(pool, isa, *kind, &arena[x.range(extent)], x.rows(extent), x.width);
            }
            Instruction::Multiply { x, kind, products } => {
                let run = Multiply { pool, arena, matrices, vectors, int8, x: *x, kind: *kind, extent };
                match &products[..] {
                    [a] => run.products([a]),
                    [a, b] => run.products([a, b]),
                    [a, b, c] => run.products([a, b, c]),
                    others => unreachable!("{} products in one pass", others.len()),
                }
            }
            Instruction::MultiplyGated { x, kind, products: [gate, up], activation, out } => {
                let factors = (&matrices[gate.matrix], &matrices[up.matrix]);
                if !kernels::multiply_gated(pool, int8, factors, *activation, &mut arena[out.range(extent)]) {
                    let run = Multiply { pool, arena, matrices, vectors, int8, x: *x, kind: *kind, extent };
                    run.products([gate, up]);
                    let [gate, up, out] = borrow(arena, [gate.out, up.out, *out], extent);
                    kernels::glu(pool, isa, *activation, gate, up, out);
                }
            }
            Instruction::Rope { heads, head_width, rotated, pairs, table, x, out } => {
                if x.offset != out.offset {
                    let [source, made] = borrow(arena, [*x, *out], extent);
                    made.copy_from_slice(source);
                }
                let length = angles[*table].length(extent.tokens);
                let (cosines, sines) = (&angles[*table].cosines[..length], &angles[*table].sines[..length]);
                let (rows, made) = (extent.tokens, &mut arena[out.range(extent)]);
                kernels::rope_apply(pool, isa, made, rows, *heads, *head_width, *rotated, *pairs, cosines, sines);
            }
            Instruction::Attend { layer, shape, q, k, v, out } => {
                let tables = kernels::PageTables::new(&batch.tables);
                let [q, k, v, out] = borrow(arena, [*q, *k, *v, *out], extent);
                memory.store(pool, *layer, k, v, places, &tables);
                kernels::attend(pool, isa, attention, memory, *layer, shape, q, places, &tables, out);
            }
            Instruction::Glu { activation, gate, up, out } => {
                let [gate, up, out] = borrow(arena, [*gate, *up, *out], extent);
                kernels::glu(pool, isa, *activation, gate, up, out);
            }
            Instruction::Activate { activation, x, out } => {
                let [x, out] = borrow(arena, [*x, *out], extent);
                kernels::activate(pool, isa, *activation, x, out);
            }
            Instruction::Add { a, b, out } => {
                if a == b {
                    let [a, out] = borrow(arena, [*a, *out], extent);
                    kernels::add(pool, isa, a, a, out);
                } else {
                    let [a, b, out] = borrow(arena, [*a, *b, *out], extent);
                    kernels::add(pool, isa, a, b, out);
                }
            }
            Instruction::Scale { by, x, out } => {
                let [x, out] = borrow(arena, [*x, *out], extent);
                kernels::scale(pool, isa, *by, x, out);
            }
            Instruction::Softcap { cap, x, out } => {
                let [x, out] = borrow(arena, [*x, *out], extent);
                kernels::softcap(pool, isa, *cap, x, out);
            }
            Instruction::Route { route, x, out } => {
                let [logits, made] = borrow(arena, [*x, *out], extent);
                let rows = logits.chunks_exact(x.width).zip(made.chunks_exact_mut(out.width));
                rows.for_each(|(logits, made)| route.row(logits, made));
            }
            Instruction::Spread { chosen, x, out } => {
                let [source, made] = borrow(arena, [*x, *out], extent);
                for (row, made) in source.chunks_exact(x.width).zip(made.chunks_exact_mut(x.width * chosen)) {
                    made.chunks_exact_mut(x.width).for_each(|made| made.copy_from_slice(row));
                }
            }
            Instruction::MultiplyExperts { experts, x, route, out } => {
                let chosen = route.width / 2;
                let [source, route, made] = borrow(arena, [*x, *route, *out], extent);
                for (number, matrix) in experts.iter().enumerate() {
                    let job =
                        ExpertJob { number, matrix: &matrices[*matrix], x: source, x_width: x.width, chosen, route };
                    routed.multiply(pool, isa, int8, &job, made);
                }
            }
            Instruction::Combine { x, route, out } => {
                let chosen = route.width / 2;
                let [source, route, made] = borrow(arena, [*x, *route, *out], extent);
                let rows = source.chunks_exact(out.width * chosen).zip(route.chunks_exact(2 * chosen));
                for ((source, route), made) in rows.zip(made.chunks_exact_mut(out.width)) {
                    made.fill(0.0);
                    for (x, weight) in source.chunks_exact(out.width).zip(&route[chosen..]) {
                        made.iter_mut().zip(x).for_each(|(sum, x)| *sum += weight * x);
                    }
                }
            }
            Instruction::Select { x, out } => {
                let [source, made] = borrow(arena, [*x, *out], extent);
                for (row, &wanted) in made.chunks_exact_mut(out.width).zip(&batch.outputs) {
                    row.copy_from_slice(&source[wanted as usize * x.width..][..x.width]);
                }
            }
        }
    }
}

/// One pass of products over the same rows.
struct Multiply<'a> {
    pool: &'a Pool,
    arena: &'a mut [f32],
    matrices: &'a [Matrix],
    vectors: &'a [Vec<f32>],
    int8: &'a Int8Rows,
    x: Slot,
    kind: ActivationKind,
    extent: Extent,
}

impl Multiply<'_> {
    /// Runs `N` products; `N` is at most [`crate::compile::MOST_PRODUCTS`].
    fn products<const N: usize>(self, products: [&ProductSlot; N]) {
        let Self { pool, arena, matrices, vectors, int8, x, kind, extent } = self;
        // Always as many as can be, those too many empty: an array's length cannot be computed from another's.
        let out = |n: usize| products.get(n).map_or(0..0, |product| product.out.range(extent));
        let [source, a, b, c] = arena
            .get_disjoint_mut([x.range(extent), out(0), out(1), out(2)])
            .expect("the arena keeps live values apart");
        let activations = match kind {
            ActivationKind::F32 | ActivationKind::Bf16 => Activations::F32(source),
            ActivationKind::Int8 | ActivationKind::Int8By256 => Activations::Int8(int8),
        };
        let mut outs = [a, b, c].into_iter();
        let mut products = products.map(|product| Product {
            matrix: &matrices[product.matrix],
            out: outs.next().expect("a place for each product"),
            bias: product.bias.map(|bias| vectors[bias].as_slice()),
            accumulate: product.accumulate,
        });
        kernels::multiply(pool, activations, x.rows(extent), &mut products);
    }
}
