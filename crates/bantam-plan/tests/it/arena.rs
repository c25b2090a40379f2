//! The arena's plan: nothing alive overlaps, and dead places are used again.

use bantam_plan::rewrite::{recompute, train};
use bantam_plan::*;

use crate::tiny::Tiny;

fn check(plan: &Plan) -> Arena {
    let arena = Arena::plan(plan, 7, 3);
    let last_read = |id: ValueId| {
        let read = plan.steps.iter().rposition(|step| step.reads(plan).any(|read| read == id));
        if plan.output == Some(id) { plan.steps.len() } else { read.unwrap_or(0) }
    };
    for (index, step) in plan.steps.iter().enumerate() {
        let alive: Vec<ValueId> = (0..plan.values.len())
            .map(ValueId)
            .filter(|&id| {
                let written = plan.steps.iter().position(|step| step.outputs.contains(&id)).unwrap();
                written <= index && (last_read(id) >= index || step.outputs.contains(&id))
            })
            .collect();
        for (n, a) in alive.iter().enumerate() {
            let a = arena.placements[a.0];
            assert!(a.offset + a.length <= arena.length);
            for b in &alive[n + 1..] {
                let b = arena.placements[b.0];
                assert!(
                    a.offset + a.length <= b.offset || b.offset + b.length <= a.offset,
                    "step {index}: {a:?} {b:?}"
                );
            }
        }
    }
    arena
}

#[test]
fn values_alive_together_never_overlap() {
    let plan = Tiny { layers: 4, ..Tiny::default() }.plan();
    let arena = check(&plan);
    let one = check(&Tiny { layers: 1, ..Tiny::default() }.plan());
    assert_eq!(arena.length, one.length, "inference memory does not grow with layers");
    let training = train(&plan, |_| true).unwrap();
    check(&training.plan);
    check(&recompute(&training.plan).unwrap());
}
