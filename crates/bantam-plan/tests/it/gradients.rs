//! Gradients of every op against central differences.

use bantam_plan::reference::Interpreter;
use bantam_plan::rewrite::{Adapter, recompute, train, with_adapters};
use bantam_plan::*;

use crate::tiny::{Tiny, training_batch, weights_for};

const RELU_SEED: u64 = 10;

fn loss(interpreter: &mut Interpreter<'_>, batch: &Batch) -> f64 {
    interpreter.run(batch).unwrap();
    interpreter.output().iter().map(|x| f64::from(*x)).sum()
}

fn check(name: &str, plan: &Plan, seed: u64) {
    check_some(name, plan, seed, &|_| true);
}

/// Every chosen weight's gradient against central differences, at a dozen of its numbers.
fn check_some(name: &str, plan: &Plan, seed: u64, chosen: &dyn Fn(&str) -> bool) {
    let weights = weights_for(plan, seed);
    let training = train(plan, |_| true).unwrap();
    let batch = training_batch();
    let mut interpreter = Interpreter::new(&training.plan, &weights).unwrap();
    loss(&mut interpreter, &batch);
    let gradients: Vec<Vec<f32>> =
        (0..plan.weights.len()).map(|i| interpreter.gradient(WeightId(i)).unwrap().to_vec()).collect();
    for (i, weight) in plan.weights.iter().enumerate().filter(|(_, weight)| chosen(&weight.name)) {
        let largest = gradients[i].iter().fold(0f32, |a, b| a.max(b.abs()));
        let values = interpreter.weight(WeightId(i)).to_vec();
        let stride = (values.len() / 12).max(1);
        for n in (0..values.len()).step_by(stride) {
            let h = 2e-3;
            let mut at = |delta: f32| {
                let mut changed = values.clone();
                changed[n] += delta;
                interpreter.set_weight(WeightId(i), &changed);
                loss(&mut interpreter, &batch)
            };
            // Fourth-order central difference.
            let (one, two) = (at(h) - at(-h), at(2.0 * h) - at(-2.0 * h));
            let expected = (8.0 * one - two) / (12.0 * f64::from(h));
            let found = f64::from(gradients[i][n]);
            let tolerance = 1e-3 * f64::from(largest) + 2e-4;
            assert!((found - expected).abs() <= tolerance, "{name}: {}[{n}]: {found} against {expected}", weight.name);
        }
        interpreter.set_weight(WeightId(i), &values);
        assert!(largest > 1e-4, "{name}: {} has no gradient to speak of ({largest})", weight.name);
    }
}

#[test]
fn every_op_has_the_gradient_of_its_value() {
    let tiny = Tiny::default;
    let expert = |chosen, router| Tiny { experts: Some((3, chosen, router)), ..tiny() };
    let cases: [(&str, Tiny); 14] = [
        ("experts, normalized", expert(2, Router::Softmax { normalized: true })),
        ("experts, as they are", expert(2, Router::Softmax { normalized: false })),
        ("experts, sparse", expert(2, Router::Sparse { jitter: 0.2 })),
        (
            "layer norms of heads with their own factors",
            Tiny { norm: NormKind::Layer, head_norm: true, own_factors: true, ..tiny() },
        ),
        ("learned positions", Tiny { positions: true, ..tiny() }),
        ("rms, gated silu, halves", tiny()),
        (
            "interleaved, partial, magnitude",
            Tiny { pairs: RopePairs::Interleaved, rotated: 2, magnitude: 1.3, ..tiny() },
        ),
        (
            "layer norm, plain gelu",
            Tiny { norm: NormKind::Layer, gated: false, activation: Activation::GeluErf, ..tiny() },
        ),
        ("head norm, window", Tiny { head_norm: true, window: Some(3), ..tiny() }),
        ("softcaps, gelu tanh", Tiny { softcap: Some(1.5), activation: Activation::GeluTanh, ..tiny() }),
        ("full attention", Tiny { causal: false, ..tiny() }),
        ("full attention, window", Tiny { causal: false, window: Some(2), ..tiny() }),
        ("relu squared, scale", Tiny { gated: false, activation: Activation::ReluSquared, scale: Some(2.5), ..tiny() }),
        ("relu", Tiny { layers: 1, activation: Activation::Relu, ..tiny() }),
    ];
    for (name, tiny) in cases {
        // The ReLUs' seed keeps their kink out of reach of the differences.
        check(name, &tiny.plan(), if name.starts_with("relu") { RELU_SEED } else { 7 });
    }
}

#[test]
fn adapters_train_beside_frozen_weights() {
    let plan = Tiny::default().plan();
    let adapters = [
        Adapter { weight: "blk.0.attn_q.weight".into(), rank: 2, scale: 1.5, dropout: 0.0, dora: None },
        Adapter { weight: "blk.1.ffn_down.weight".into(), rank: 3, scale: 0.5, dropout: 0.0, dora: None },
        Adapter { weight: "blk.1.ffn_down.weight".into(), rank: 1, scale: 0.5, dropout: 0.0, dora: None },
    ];
    let adapted = with_adapters(&plan, &adapters).unwrap();
    check("adapted", &adapted, 7);
    let training = train(&adapted, |name| name.contains(".lora_")).unwrap();
    let mut interpreter_weights = weights_for(&adapted, 3);
    let trainable: Vec<&Weight> = training.plan.weights.iter().filter(|weight| weight.trainable).collect();
    assert_eq!(trainable.len(), 6);
    let mut interpreter = Interpreter::new(&training.plan, &interpreter_weights).unwrap();
    interpreter.run(&training_batch()).unwrap();
    assert!(interpreter.gradient(WeightId(0)).is_none(), "a frozen weight has no gradient");

    // With B = 0 the adapted Plan is the plain one, bit for bit.
    for (name, (_, _, values)) in &mut interpreter_weights.0 {
        if name.contains(".lora_b") {
            values.fill(0.0);
        }
    }
    let batch = Batch::packed(&[&[1, 2, 3, 4, 5]]);
    let plain = plan.run_reference(&interpreter_weights, &batch).unwrap();
    assert_eq!(plain, adapted.run_reference(&interpreter_weights, &batch).unwrap());
}

#[test]
fn magnitudes_are_trained_and_lengths_are_constants() {
    let plan = Tiny::default().plan();
    let dora =
        |weight: &str, factor| Adapter { weight: weight.into(), rank: 2, scale: 1.5, dropout: 0.0, dora: Some(factor) };
    // With a bias, alone and whole; in part; and beside another.
    let adapters =
        [dora("blk.0.attn_q.weight", 1.0), dora("blk.1.ffn_up.weight", 0.5), dora("blk.1.ffn_down.weight", 1.0), {
            Adapter { dora: None, ..dora("blk.1.ffn_down.weight", 1.0) }
        }];
    let adapted = with_adapters(&plan, &adapters).unwrap();
    // What the lengths depend on has no gradient through them, which differences would see.
    let through = ["blk.0.attn_q.weight", "blk.1.ffn_up.weight", "blk.1.ffn_down.weight"];
    let of_lengths = |name: &str| {
        let weight = name.split(".lora_").next().unwrap();
        through.contains(&weight) && !name.contains("magnitude")
    };
    check_some("dora", &adapted, 7, &|name| !of_lengths(name));

    // With B = 0 and magnitudes that are the rows' lengths, the adapted Plan is the plain one.
    let mut weights = weights_for(&adapted, 3);
    let plain = weights.clone();
    for (name, (_, _, values)) in &mut weights.0 {
        if name.contains(".lora_b") {
            values.fill(0.0);
        } else if let Some((weight, _)) = name.split_once(".lora_magnitude") {
            let (_, width, rows) = &plain.0[weight];
            let length = |row: &[f32]| row.iter().map(|x| x * x).sum::<f32>().sqrt();
            *values = rows.chunks_exact(*width).map(length).collect();
        }
    }
    let batch = Batch::packed(&[&[1, 2, 3, 4, 5]]);
    let expected = plan.run_reference(&weights, &batch).unwrap();
    let found = adapted.run_reference(&weights, &batch).unwrap();
    assert!(expected.iter().zip(found).all(|(a, b)| (a - b).abs() < 1e-4));
}

#[test]
fn recompute_keeps_gradients_bit_for_bit_and_takes_less_memory() {
    let plan = Tiny { layers: 6, ..Tiny::default() }.plan();
    let weights = weights_for(&plan, 5);
    let training = train(&plan, |_| true).unwrap();
    let again = recompute(&training.plan).unwrap();
    let batch = training_batch();
    let mut whole = Interpreter::new(&training.plan, &weights).unwrap();
    let mut checkpointed = Interpreter::new(&again, &weights).unwrap();
    assert_eq!(loss(&mut whole, &batch), loss(&mut checkpointed, &batch));
    for i in 0..plan.weights.len() {
        let bits =
            |x: &Interpreter<'_>| x.gradient(WeightId(i)).unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&whole), bits(&checkpointed), "{}", plan.weights[i].name);
    }
    let size = |plan: &Plan| Arena::plan(plan, 512, 1).length;
    let (whole, checkpointed) = (size(&training.plan), size(&again));
    assert!(2 * checkpointed < whole, "{checkpointed} numbers with recompute, {whole} without");
}
