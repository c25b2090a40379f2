//! From Plan to Program: every decision is taken here, once.

use std::sync::Arc;

use bantam_kernels::{
    AttentionScratch, AttentionShape, Int8Rows, Isa, KernelError, KvFormat, KvLayer, KvMemory, Matrix, Pool, Precision,
    RopePairs as KernelPairs,
};
use bantam_plan::{
    Activation, Arena, Attend, CompileOptions, EmbedBy, Norm, Op, Plan, PlanError, RopePairs, Step, ValueId, WeightId,
    WeightView, Weights, fetch_weight,
};

use crate::experts::{Routed, most_rows};
use crate::fuse::Fusions;
use crate::magnitude;
use crate::program::{Angles, CpuProgram, Instruction, ProductSlot, Slot};
use crate::repacked::{RepackedWeight, RepackedWeights};
use crate::vectors;
use crate::waiting::{self, Waiting};

/// What a Program is compiled for, beside its sizes.
pub(crate) struct Setting<'a> {
    pub(crate) pool: &'a Arc<Pool>,
    pub(crate) isa: Isa,
    pub(crate) cache: KvFormat,
    pub(crate) repacked: Option<&'a dyn RepackedWeights>,
    /// From how many bytes on weights of a file wait for the first batch to be over.
    pub(crate) repacked_later: Option<usize>,
    /// What BF16 weights are multiplied as.
    pub(crate) precision: Precision,
}

/// Most products that run as one (queries, keys and values).
pub(crate) const MOST_PRODUCTS: usize = 3;

/// Products that are nothing but what a gated activation reads: the gate's, and its partner's.
fn gated_by(products: &[ProductSlot], gate: Slot, up: Slot) -> Option<[ProductSlot; 2]> {
    let [a, b] = products else { return None };
    let (gates, ups) = if a.out == gate { (a, b) } else { (b, a) };
    let plain = |product: &ProductSlot| product.bias.is_none() && !product.accumulate;
    (gates.out == gate && ups.out == up && plain(gates) && plain(ups)).then(|| [gates.clone(), ups.clone()])
}

/// The layers of key-value memory a Plan needs.
pub(crate) fn memory_layers(plan: &Plan) -> Vec<KvLayer> {
    plan.memory_layers()
        .iter()
        .map(|attend| KvLayer {
            kv_heads: attend.kv_heads,
            key_width: attend.key_width,
            value_width: attend.value_width,
        })
        .collect()
}

/// Refuses heads that the format of keys and values cannot hold.
pub(crate) fn check_cache(layers: &[KvLayer], cache: KvFormat) -> Result<(), PlanError> {
    for (index, layer) in layers.iter().enumerate() {
        if let Some(width) = [layer.key_width, layer.value_width].into_iter().find(|width| !cache.fits(*width)) {
            return Err(PlanError::Cache(KernelError::HeadWidth { width, layer: index }.to_string()));
        }
    }
    Ok(())
}

/// Bytes of buffers beside the arena.
pub(crate) fn scratch_bytes(plan: &Plan, options: &CompileOptions, threads: usize) -> u64 {
    let widest = widest_input(plan);
    let angles: usize = plan.tables.iter().map(|table| 2 * table.frequencies.len()).sum();
    let shapes: Vec<AttentionShape> = plan.memory_layers().iter().map(attention_shape).collect();
    let attention = AttentionScratch::bytes(threads, &shapes, options.rows, options.positions);
    let int8 = Int8Rows::bytes(most_rows(plan, options.rows), widest) + Routed::bytes(plan, options.rows);
    (int8 + 4 * angles * options.rows + attention) as u64
}

pub(crate) fn widest_input(plan: &Plan) -> usize {
    let linear = |step: &Step| match &step.op {
        Op::Linear(linear) => plan.weights[linear.weight.0].width,
        Op::ExpertLinear(experts) => experts.weights.first().map_or(0, |id| plan.weights[id.0].width),
        Op::Embed(_)
        | Op::Norm(_)
        | Op::Rope(_)
        | Op::Attend(_)
        | Op::Glu(_)
        | Op::Activate(_)
        | Op::Add(_)
        | Op::Scale(_)
        | Op::Softcap(_)
        | Op::Select(_)
        | Op::Route(_)
        | Op::Spread(_)
        | Op::Combine(_)
        | Op::Dropout(_)
        | Op::Magnitude(_)
        | Op::Loss(_)
        | Op::Observe(_)
        | Op::Backward(_) => 0,
    };
    plan.steps.iter().map(linear).max().unwrap_or(0)
}

/// Positions that every table of positions has a row for.
pub(crate) fn places_known(plan: &Plan) -> usize {
    let rows = |step: &Step| {
        let Op::Embed(embed) = &step.op else { return None };
        (embed.by == EmbedBy::Position).then(|| plan.weights[embed.table.0].rows)
    };
    plan.steps.iter().filter_map(rows).min().unwrap_or(usize::MAX)
}

pub(crate) fn attention_shape(attend: &Attend) -> AttentionShape {
    AttentionShape {
        heads: attend.heads,
        kv_heads: attend.kv_heads,
        key_width: attend.key_width,
        value_width: attend.value_width,
        scale: attend.scale,
        window: attend.window.map(|window| u32::try_from(window).unwrap_or(u32::MAX)),
        softcap: attend.softcap,
        causal: attend.causal,
    }
}

pub(crate) fn activation(activation: Activation) -> bantam_kernels::Activation {
    match activation {
        Activation::Silu => bantam_kernels::Activation::Silu,
        Activation::GeluErf => bantam_kernels::Activation::GeluErf,
        Activation::GeluTanh => bantam_kernels::Activation::GeluTanh,
        Activation::Relu => bantam_kernels::Activation::Relu,
        Activation::ReluSquared => bantam_kernels::Activation::ReluSquared,
    }
}

pub(crate) fn kernel_error(name: &str, error: KernelError) -> PlanError {
    PlanError::Unsupported { backend: "cpu", step: name.to_owned(), problem: error.to_string() }
}

/// Loads weights, plans buffers and writes the instructions.
pub(crate) fn compile(
    setting: &Setting<'_>,
    plan: &Plan,
    weights: &dyn Weights,
    options: &CompileOptions,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<CpuProgram, PlanError> {
    plan.check()?;
    let (mut matrices, mut vectors) = (Vec::new(), Vec::new());
    let mut places = Vec::with_capacity(plan.weights.len());
    let is_vector = vectors::wanted(plan);
    for (weight, is_vector) in plan.weights.iter().zip(is_vector) {
        let kept = setting.repacked.filter(|_| !is_vector).and_then(|repacked| repacked.weight(&weight.name));
        // One of another shape is not this weight's, whoever says so.
        let kept = kept.filter(|kept| (kept.rows, kept.width) == (weight.rows, weight.width));
        if let Some(RepackedWeight { tensor_type, bytes, .. }) = kept {
            let stored = tensor_type.bytes(weight.rows, weight.width).unwrap_or(0);
            let matrix = Matrix::from_panels(tensor_type, weight.rows, weight.width, bytes, setting.isa, setting.pool);
            places.push(matrices.len());
            matrices.push(matrix.map_err(|error| kernel_error(&weight.name, error))?);
            if !progress(stored as u64) {
                return Err(PlanError::Interrupted);
            }
            continue;
        }
        let view = fetch_weight(weights, weight)?;
        // Asked for once: a weight may be encoded anew each time.
        let stored = view.bytes.len();
        if is_vector {
            places.push(vectors.len());
            vectors.push(vectors::decoded(&weight.name, &view)?);
        } else {
            let WeightView { tensor_type, rows, width, bytes } = view;
            let (isa, pool) = (setting.isa, setting.pool);
            // What is made for this model would be in memory twice.
            let later = setting.repacked_later.is_some() && !bytes.is_made();
            let make = if later { Matrix::waiting } else { Matrix::with_precision };
            let matrix = make(setting.precision, tensor_type, rows, width, bytes.clone(), isa, pool);
            let matrix = matrix.map_err(|error| kernel_error(&weight.name, error))?;
            if matrix.is_waiting() {
                waiting::look_at(&bytes, pool);
            }
            places.push(matrices.len());
            matrices.push(matrix);
        }
        if !progress(stored as u64) {
            return Err(PlanError::Interrupted);
        }
    }
    let waiting = Waiting::new(setting.repacked_later.unwrap_or(0), &mut matrices, setting.pool);
    let waiting = waiting.map_err(|error| kernel_error("the weights", error))?;
    magnitude::by_lengths(setting, plan, weights, &places, &matrices, &mut vectors)?;
    let fusions = Fusions::of(plan);
    let arena = Arena::plan_in_place(plan, options.rows, options.outputs, |index, step| fusions.in_place(index, step));
    let mut writer = Writer { plan, fusions: &fusions, arena: &arena, places: &places, matrices: &matrices, vectors };
    let instructions = writer.instructions()?;
    let names = plan.weights.iter().zip(vectors::wanted(plan)).filter(|(_, is_vector)| !is_vector);
    let names = names.map(|(weight, _)| weight.name.clone()).collect();
    let output = plan.output.map(|id| writer.slot(id)).ok_or_else(|| unsupported("the plan", "it has no output"))?;
    let vectors = writer.vectors;

    let layers = memory_layers(plan);
    check_cache(&layers, setting.cache)?;
    let memory = KvMemory::new(&layers, options.pages, setting.cache).map_err(|error| kernel_error("attend", error))?;
    let shapes: Vec<AttentionShape> = plan.memory_layers().iter().map(attention_shape).collect();
    let attention = AttentionScratch::new(setting.pool, &shapes, options.rows, options.positions);
    let int8 = Int8Rows::with_capacity(most_rows(plan, options.rows), widest_input(plan));
    let angles = plan.tables.iter().map(|table| Angles::new(table.clone(), options.rows)).collect();
    Ok(CpuProgram {
        pool: Arc::clone(setting.pool),
        isa: setting.isa,
        options: *options,
        vocabulary: plan.vocabulary().unwrap_or(usize::MAX),
        places_known: places_known(plan),
        instructions,
        matrices,
        waiting,
        names,
        watch: None,
        vectors,
        angles,
        arena: vec![0.0; arena.length],
        routed: Routed::new(plan, options.rows),
        int8: int8.map_err(|error| kernel_error("linear", error))?,
        attention: attention.map_err(|error| kernel_error("attend", error))?,
        memory,
        positions: Vec::with_capacity(options.rows),
        places: Vec::with_capacity(options.rows),
        output,
    })
}

pub(crate) fn unsupported(step: &str, problem: &str) -> PlanError {
    PlanError::Unsupported { backend: "cpu", step: step.to_owned(), problem: problem.to_owned() }
}

struct Writer<'a> {
    plan: &'a Plan,
    fusions: &'a Fusions,
    arena: &'a Arena,
    /// By weight: its index among matrices or vectors.
    places: &'a [usize],
    matrices: &'a [Matrix],
    vectors: Vec<Vec<f32>>,
}

impl Writer<'_> {
    fn slot(&self, id: ValueId) -> Slot {
        let value = self.plan.get(id);
        Slot { offset: self.arena.placements[id.0].offset, width: value.width, rows: value.rows }
    }

    fn vector(&self, id: Option<WeightId>) -> Option<usize> {
        id.map(|id| self.places[id.0])
    }

    fn instructions(&mut self) -> Result<Vec<Instruction>, PlanError> {
        let mut out: Vec<Instruction> = Vec::new();
        for (index, step) in self.plan.steps.iter().enumerate() {
            if self.fusions.is_absorbed(index) {
                continue;
            }
            let inputs: Vec<Slot> = step.inputs.iter().map(|id| self.slot(*id)).collect();
            let input = |n: usize| inputs[n];
            let Some(output) = step.outputs.first().map(|id| self.slot(*id)) else {
                return Err(unsupported(step.op.name(), "only inference runs here so far"));
            };
            let instruction = match &step.op {
                Op::Embed(embed) => {
                    Instruction::Embed { matrix: self.places[embed.table.0], by: embed.by, out: output }
                }
                // The kernels share one factor among groups, so one for each comes after.
                Op::Norm(norm) if norm.has_own(self.plan) => {
                    if norm.bias.is_some() {
                        return Err(unsupported(step.op.name(), "its groups have biases of their own"));
                    }
                    let weight = norm.weight.map(|id| self.shifted(id, norm.shift));
                    let Norm { kind, eps, groups, .. } = *norm;
                    out.push(Instruction::Norm {
                        kind,
                        eps,
                        groups,
                        weight: None,
                        bias: None,
                        x: input(0),
                        out: output,
                    });
                    match weight {
                        Some(by) => Instruction::Factor { by, x: output },
                        None => continue,
                    }
                }
                Op::Norm(norm) => {
                    let weight = norm.weight.map(|id| self.shifted(id, norm.shift));
                    Instruction::Norm {
                        kind: norm.kind,
                        eps: norm.eps,
                        groups: norm.groups,
                        weight,
                        bias: self.vector(norm.bias),
                        x: input(0),
                        out: output,
                    }
                }
                Op::Linear(linear) => {
                    let matrix = self.places[linear.weight.0];
                    let stream = self.fusions.adds_to(index).map(|id| self.slot(id));
                    let product = ProductSlot {
                        matrix,
                        out: stream.unwrap_or(output),
                        bias: self.vector(linear.bias),
                        accumulate: stream.is_some(),
                    };
                    let kind = self.matrices[matrix].activation();
                    let x = input(0);
                    // Linears that follow each other and read the same rows in the same form are one pass.
                    if let Some(Instruction::Multiply { x: same, kind: same_kind, products, .. }) = out.last_mut()
                        && *same == x
                        && *same_kind == kind
                        && products.len() < MOST_PRODUCTS
                        && !product.accumulate
                        && products.iter().all(|other| !other.accumulate)
                    {
                        products.push(product);
                        continue;
                    }
                    // The form made for the instruction before serves where its input is the same.
                    let ready = match out.last() {
                        Some(Instruction::Multiply { x: same, kind: made, .. }) => (*same, *made) == (x, kind),
                        _ => false,
                    };
                    if kind.is_int8() && !ready {
                        out.push(Instruction::Quantize { kind, x });
                    }
                    Instruction::Multiply { x, kind, products: vec![product] }
                }
                Op::Rope(rope) => Instruction::Rope {
                    heads: rope.heads,
                    head_width: rope.head_width,
                    rotated: rope.rotated,
                    pairs: match rope.pairs {
                        RopePairs::Interleaved => KernelPairs::Interleaved,
                        RopePairs::Halves => KernelPairs::Halves,
                    },
                    table: rope.table.0,
                    x: input(0),
                    out: output,
                },
                Op::Attend(attend) => Instruction::Attend {
                    layer: attend.memory,
                    shape: attention_shape(attend),
                    q: input(0),
                    k: input(1),
                    v: input(2),
                    out: output,
                },
                Op::Glu(glu) => {
                    let (activation, gate, up) = (activation(glu.activation), input(0), input(1));
                    let alone = self.fusions.gates_alone(index);
                    let pair = match out.last() {
                        Some(Instruction::Multiply { x, kind, products }) if alone && kind.is_int8() => {
                            gated_by(products, gate, up).map(|pair| (*x, *kind, pair))
                        }
                        _ => None,
                    };
                    match pair {
                        Some((x, kind, products)) => {
                            out.pop();
                            Instruction::MultiplyGated { x, kind, products, activation, out: output }
                        }
                        None => Instruction::Glu { activation, gate, up, out: output },
                    }
                }
                Op::Activate(op) => {
                    Instruction::Activate { activation: activation(op.activation), x: input(0), out: output }
                }
                Op::Add(_) => Instruction::Add { a: input(0), b: input(1), out: output },
                Op::Scale(scale) => Instruction::Scale { by: scale.by, x: input(0), out: output },
                Op::Softcap(softcap) => Instruction::Softcap { cap: softcap.cap, x: input(0), out: output },
                Op::Route(route) => Instruction::Route { route: route.clone(), x: input(0), out: output },
                Op::Spread(spread) => Instruction::Spread { chosen: spread.chosen, x: input(0), out: output },
                Op::ExpertLinear(experts) => Instruction::MultiplyExperts {
                    experts: experts.weights.iter().map(|id| self.places[id.0]).collect(),
                    x: input(0),
                    route: input(1),
                    out: output,
                },
                Op::Combine(_) => Instruction::Combine { x: input(0), route: input(1), out: output },
                Op::Select(_) => Instruction::Select { x: input(0), out: output },
                Op::Magnitude(of) => Instruction::Magnitude {
                    by: self.places[of.magnitude.0],
                    bias: self.vector(of.bias),
                    x: input(0),
                    out: output,
                },
                Op::Dropout(_) | Op::Loss(_) | Op::Observe(_) | Op::Backward(_) => {
                    return Err(unsupported(step.op.name(), "only inference runs here so far"));
                }
            };
            out.push(instruction);
        }
        Ok(out)
    }

    /// A norm's factor with its shift added, once and for all.
    fn shifted(&mut self, id: WeightId, shift: f32) -> usize {
        let place = self.places[id.0];
        if shift == 0.0 {
            return place;
        }
        let shifted = self.vectors[place].iter().map(|weight| weight + shift).collect();
        self.vectors.push(shifted);
        self.vectors.len() - 1
    }
}
