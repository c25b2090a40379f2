//! Watching a Program: time by kind of step. Off, it costs one look at an option a step.

use std::time::Instant;

use bantam_kernels::{KvFormat, KvMemory, Matrix, Pool, PoolCounts, RowPlace};
use bantam_plan::{Profile, ProfiledStep};

use crate::program::{Extent, Instruction, ProductSlot, Slot};

/// What is being gathered.
pub(crate) struct Watch {
    /// By instruction: its kind's index in `profile.steps`.
    kinds: Vec<usize>,
    profile: Profile,
    /// What the pool had done before.
    before: PoolCounts,
}

/// Work of one instruction in one batch.
#[derive(Clone, Copy, Default)]
pub(crate) struct Work {
    pub(crate) operations: u64,
    pub(crate) bytes: u64,
}

impl Watch {
    pub(crate) fn new(instructions: &[Instruction], names: &[String], pool: &Pool) -> Self {
        Self::named(instructions.iter().map(|instruction| name(instruction, names)), pool)
    }

    /// By the names of steps, in their order.
    pub(crate) fn named(names: impl Iterator<Item = String>, pool: &Pool) -> Self {
        pool.watch(true);
        let mut profile = Profile::default();
        let mut kinds = Vec::new();
        for name in names {
            let known = profile.steps.iter().position(|step| step.name == name);
            kinds.push(known.unwrap_or(profile.steps.len()));
            if known.is_none() {
                profile.steps.push(ProfiledStep { name, ..ProfiledStep::default() });
            }
        }
        Self { kinds, profile, before: pool.counts() }
    }

    pub(crate) fn note(&mut self, instruction: usize, start: Instant, work: Work) {
        let taken = nanoseconds(start);
        let step = &mut self.profile.steps[self.kinds[instruction]];
        step.calls += 1;
        step.nanoseconds += taken;
        step.operations += work.operations;
        step.bytes += work.bytes;
    }

    pub(crate) fn note_run(&mut self, start: Instant) {
        self.profile.runs += 1;
        self.profile.nanoseconds += nanoseconds(start);
    }

    pub(crate) fn end(self, pool: &Pool) -> Profile {
        pool.watch(false);
        let now = pool.counts();
        let (regions, waited) = (now.regions - self.before.regions, now.waited - self.before.waited);
        Profile { regions, waited, ..self.profile }
    }
}

fn nanoseconds(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// A weight's name without its layer and what all share: `attn_q` of `blk.7.attn_q.weight`.
pub(crate) fn short(name: &str) -> &str {
    let name = name.strip_suffix(".weight").unwrap_or(name);
    let rest = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
    rest.map_or(name, |(_, rest)| rest)
}

fn name(instruction: &Instruction, names: &[String]) -> String {
    match instruction {
        Instruction::Embed { .. } => "embed".to_owned(),
        Instruction::Factor { .. } | Instruction::Norm { .. } => "norm".to_owned(),
        Instruction::Magnitude { .. } => "magnitude".to_owned(),
        Instruction::Quantize { .. } => "quantize".to_owned(),
        Instruction::Multiply { products, .. } => {
            let read: Vec<&str> = products.iter().map(|product| short(&names[product.matrix])).collect();
            format!("linear {}", read.join("+"))
        }
        Instruction::MultiplyGated { products, .. } => {
            let [gate, up] = products.each_ref().map(|product| short(&names[product.matrix]));
            format!("linear {gate}+{up}, glu")
        }
        Instruction::Rope { .. } => "rope".to_owned(),
        Instruction::Attend { .. } => "attend".to_owned(),
        Instruction::Glu { .. } => "glu".to_owned(),
        Instruction::Activate { .. } => "activate".to_owned(),
        Instruction::Add { .. } => "add".to_owned(),
        Instruction::Scale { .. } => "scale".to_owned(),
        Instruction::Softcap { .. } => "softcap".to_owned(),
        Instruction::Select { .. } => "select".to_owned(),
        Instruction::Route { .. } => "route".to_owned(),
        Instruction::Spread { .. } => "spread".to_owned(),
        Instruction::MultiplyExperts { experts, .. } => {
            let first = experts.first().map_or("", |first| short(&names[*first]));
            format!("linear {first}, experts")
        }
        Instruction::Combine { .. } => "combine".to_owned(),
    }
}

/// Bytes in which so many numbers are kept.
fn kept(memory: &KvMemory, numbers: usize) -> u64 {
    match memory.format() {
        KvFormat::F32 => 4 * numbers as u64,
        KvFormat::F16 => 2 * numbers as u64,
        KvFormat::Q8_0 => numbers as u64 * 34 / 32,
    }
}

/// What an instruction has to do for a batch.
pub(crate) fn work(
    instruction: &Instruction,
    extent: Extent,
    matrices: &[Matrix],
    memory: &KvMemory,
    places: &[RowPlace],
) -> Work {
    let of = |x: &Slot, product: &ProductSlot| {
        let matrix = &matrices[product.matrix];
        let operations = 2 * (x.rows(extent) * matrix.outputs()) as u64 * matrix.inputs() as u64;
        Work { operations, bytes: matrix.bytes_read() as u64 }
    };
    let all = |x: &Slot, products: &[ProductSlot]| {
        products.iter().map(|product| of(x, product)).fold(Work::default(), |sum, work| Work {
            operations: sum.operations + work.operations,
            bytes: sum.bytes + work.bytes,
        })
    };
    match instruction {
        Instruction::Multiply { x, products, .. } => all(x, products),
        Instruction::MultiplyGated { x, products, .. } => all(x, products),
        Instruction::Attend { shape, .. } => {
            let seen = |place: &RowPlace| {
                let all = place.position as u64 + 1;
                shape.window.map_or(all, |window| all.min(u64::from(window)))
            };
            let width = (shape.key_width + shape.value_width) as u64;
            // What a sequence's last row sees, all of its rows read together.
            let ends = places
                .iter()
                .enumerate()
                .filter(|(i, place)| places.get(i + 1).is_none_or(|next| next.sequence != place.sequence));
            let positions: u64 = ends.map(|(_, place)| seen(place)).sum();
            Work {
                operations: 2 * shape.heads as u64 * width * places.iter().map(seen).sum::<u64>(),
                bytes: positions * shape.kv_heads as u64 * kept(memory, shape.key_width + shape.value_width),
            }
        }
        Instruction::Embed { .. }
        | Instruction::Factor { .. }
        | Instruction::Magnitude { .. }
        | Instruction::Norm { .. }
        | Instruction::Quantize { .. }
        | Instruction::Rope { .. }
        | Instruction::Glu { .. }
        | Instruction::Activate { .. }
        | Instruction::Add { .. }
        | Instruction::Scale { .. }
        | Instruction::Softcap { .. }
        | Instruction::Select { .. }
        | Instruction::Route { .. }
        | Instruction::Spread { .. }
        | Instruction::MultiplyExperts { .. }
        | Instruction::Combine { .. } => Work::default(),
    }
}
