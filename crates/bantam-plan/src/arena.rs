//! The arena: one buffer for all values of a Plan, with places reused once a value is dead.

use crate::{Plan, Rows, Step, ValueId};

/// Where a value lies in the arena, in numbers (not bytes), and how many numbers it may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// First number.
    pub offset: usize,
    /// Numbers at full rows.
    pub length: usize,
}

/// Places for every value, planned from when each is first written and last read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arena {
    /// By [`ValueId`].
    pub placements: Vec<Placement>,
    /// Numbers in all.
    pub length: usize,
}

/// Values start on multiples of this many numbers (a cache line).
const ALIGNMENT: usize = 16;

impl Arena {
    /// Plans for batches of at most `tokens` rows and `outputs` output rows. No two values that are alive at the same
    /// step overlap; values written by a step never overlap the values it reads.
    pub fn plan(plan: &Plan, tokens: usize, outputs: usize) -> Self {
        Self::plan_in_place(plan, tokens, outputs, |_, _| None)
    }

    /// As [`Arena::plan`], but a step for which `in_place` names one of its inputs writes its output over that input.
    /// Only allowed where the input has the output's shape and no later step reads it; otherwise the wish is ignored.
    pub fn plan_in_place(
        plan: &Plan,
        tokens: usize,
        outputs: usize,
        in_place: impl Fn(usize, &Step) -> Option<ValueId>,
    ) -> Self {
        let numbers = |id: ValueId| {
            let rows = match plan.get(id).rows {
                Rows::Tokens => tokens,
                Rows::Outputs => outputs,
                Rows::Routed(chosen) => tokens * chosen,
            };
            rows * plan.get(id).width
        };
        Self::plan_sized(plan, numbers, 0..0, in_place)
    }

    /// As [`Arena::plan_in_place`], with the numbers that each value takes. The steps of `repeated` run several times over:
    /// what they share with steps outside keeps its place until the last time.
    pub fn plan_sized(
        plan: &Plan,
        numbers: impl Fn(ValueId) -> usize,
        repeated: std::ops::Range<usize>,
        in_place: impl Fn(usize, &Step) -> Option<ValueId>,
    ) -> Self {
        let mut lives = vec![None::<(usize, usize)>; plan.values.len()];
        for (index, step) in plan.steps.iter().enumerate() {
            let reads: Vec<ValueId> = step.reads(plan).collect();
            for id in reads.iter().chain(&step.outputs) {
                let life = lives[id.0].get_or_insert((index, index));
                life.1 = index;
            }
        }
        // What the Plan gives is read when all is done, and made by repeats it keeps its place through all of them.
        if let Some(life) = plan.output.and_then(|ValueId(output)| lives[output].as_mut()) {
            life.1 = plan.steps.len();
        }
        for (start, end) in lives.iter_mut().flatten() {
            let reaches_in = *start < repeated.end && *end >= repeated.start;
            let reaches_out = *start < repeated.start || *end >= repeated.end;
            if reaches_in && reaches_out {
                (*start, *end) = ((*start).min(repeated.start), (*end).max(repeated.end - 1));
            }
        }
        // A value written over another shares its place: both are one life, from the first's start to the last's end.
        let mut home: Vec<usize> = (0..plan.values.len()).collect();
        for (index, step) in plan.steps.iter().enumerate() {
            let (Some(input), &[output]) = (in_place(index, step), &step.outputs[..]) else { continue };
            let (of, made) = (home[input.0], output.0);
            let (Some(old), Some(new)) = (lives[of], lives[made]) else { continue };
            let same_shape = (plan.values[input.0].rows, plan.values[input.0].width)
                == (plan.values[made].rows, plan.values[made].width);
            if old.1 == index && same_shape && step.inputs.contains(&input) {
                home[made] = of;
                lives[of] = Some((old.0, new.1));
            }
        }
        let size = |id: usize| numbers(ValueId(id)).next_multiple_of(ALIGNMENT);
        // Largest first, each at the lowest place free over its whole life.
        let mut order: Vec<usize> =
            (0..plan.values.len()).filter(|&id| lives[id].is_some() && home[id] == id).collect();
        order.sort_by_key(|&id| (std::cmp::Reverse(size(id)), lives[id].map(|life| life.0)));
        let mut placements = vec![Placement::default(); plan.values.len()];
        let mut placed: Vec<usize> = Vec::new();
        let mut total = 0;
        for id in order {
            let Some((start, end)) = lives[id] else { continue };
            let mut taken: Vec<Placement> = placed
                .iter()
                .filter(|&&other| lives[other].is_some_and(|(from, to)| from <= end && start <= to))
                .map(|&other| placements[other])
                .collect();
            taken.sort_by_key(|placement| placement.offset);
            let length = size(id);
            let mut offset = 0;
            for other in taken {
                if offset + length <= other.offset {
                    break;
                }
                offset = offset.max(other.offset + other.length);
            }
            placements[id] = Placement { offset, length };
            placed.push(id);
            total = total.max(offset + length);
        }
        for id in 0..placements.len() {
            placements[id] = placements[home[id]];
        }
        Self { placements, length: total }
    }
}
