//! The interpreter: batches, chunks and tokens one by one give the same bits.

use bantam_plan::reference::Interpreter;
use bantam_plan::*;

use crate::tiny::{Tiny, weights_for};

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn whole_chunked_single_and_batched_runs_agree_bit_for_bit() {
    let plan = Tiny { window: Some(70), ..Tiny::default() }.plan();
    let weights = weights_for(&plan, 1);
    let a: Vec<u32> = (0..90).map(|i| i * 7 % 11).collect();
    let b: Vec<u32> = (0..5).map(|i| i * 3 % 11).collect();
    let whole = plan.run_reference(&weights, &Batch::packed(&[&a])).unwrap();
    let both = plan.run_reference(&weights, &Batch::packed(&[&a, &b])).unwrap();
    assert_eq!(bits(&whole), bits(&both[..whole.len()]));
    for chunk in [1, 7, 64] {
        let mut interpreter = Interpreter::new(&plan, &weights).unwrap();
        let mut out = Vec::new();
        for (n, tokens) in a.chunks(chunk).enumerate() {
            // Pages in another order than positions, to hold the page table to its word.
            let mut batch = Batch { tables: vec![vec![9, 4]], ..Batch::default() };
            for (i, &token) in tokens.iter().enumerate() {
                batch.outputs.push(i as u32);
                batch.tokens.push(token);
                batch.places.push(Place { sequence: 0, position: (n * chunk + i) as u32 });
            }
            interpreter.run(&batch).unwrap();
            out.extend_from_slice(interpreter.output());
        }
        assert_eq!(bits(&whole), bits(&out), "chunks of {chunk}");
    }
}

#[test]
fn a_window_hides_what_lies_before_it() {
    let weights = weights_for(&Tiny::default().plan(), 1);
    let run = |window, tokens: &[u32]| {
        let plan = Tiny { layers: 1, window, ..Tiny::default() }.plan();
        let out = plan.run_reference(&weights, &Batch::packed(&[tokens])).unwrap();
        out[out.len() - 11..].to_vec()
    };
    let (long, changed) = ([1, 2, 3, 4, 5, 6], [9, 2, 3, 4, 5, 6]);
    assert_eq!(run(Some(5), &long), run(Some(5), &changed));
    assert_ne!(run(Some(6), &long), run(Some(6), &changed));
    assert_eq!(run(Some(6), &long), run(None, &long));
}

#[test]
fn bad_batches_and_weights_are_named() {
    let plan = Tiny::default().plan();
    let mut weights = weights_for(&plan, 1);
    let run =
        |batch: &Batch, weights: &crate::tiny::MapWeights| plan.run_reference(weights, batch).unwrap_err().to_string();
    let good = Batch::packed(&[&[1, 2, 3]]);
    let check = |change: &dyn Fn(&mut Batch), expected: &str| {
        let mut batch = good.clone();
        change(&mut batch);
        assert_eq!(run(&batch, &weights), expected);
    };
    check(&|batch| batch.tokens[1] = 11, "batch: token 11 is outside the vocabulary of 11");
    check(&|batch| batch.tables.clear(), "batch: sequence 0 has no page table");
    check(&|batch| batch.tables[0].clear(), "batch: position 0 has no page");
    check(&|batch| batch.outputs.push(3), "batch: output row 3 is outside the batch of 3 rows");
    check(&|batch| batch.outputs.push(0), "batch: output rows are not ascending");
    weights.0.get_mut("output.weight").unwrap().0 = 10;
    assert_eq!(run(&good, &weights), "weight `output.weight`: expected 11 × 8, found 10 × 8");
    weights.0.remove("output.weight");
    assert_eq!(run(&good, &weights), "weight `output.weight` is missing");
}
