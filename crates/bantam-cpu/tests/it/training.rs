//! Training programs against the reference interpreter, PyTorch and central differences.

use std::sync::Arc;

use bantam_cpu::CpuBackend;
use bantam_kernels::{ActivationKind, Isa, KvFormat, Matrix, Pool};
use bantam_model::lower;
use bantam_model::spec::{Dense, FeedForward, Head};
use bantam_plan::reference::Interpreter;
use bantam_plan::rewrite::{Adapter, recompute, train, with_adapters};
use bantam_plan::{
    Activation, Backend, Batch, CompileOptions, Plan, Target, TrainingProgram, WeightId, WeightView, Weights,
};
use bantam_tensor::{Nf4, SharedBytes, TensorType};
use bantam_testkit::{Golden, assert_bits_equal, assert_close, evidence};

use crate::{VOCABULARY, attention, load, spec, specs, tokens, weights};

fn compile(plan: &Plan, weights: &dyn Weights, threads: usize, rows: usize) -> Box<dyn TrainingProgram> {
    compile_as(plan, (weights, false), threads, rows)
}

fn compile_as(
    plan: &Plan,
    (weights, nf4): (&dyn Weights, bool),
    threads: usize,
    rows: usize,
) -> Box<dyn TrainingProgram> {
    // So few bytes that logits come in chunks of 24 rows.
    let backend = CpuBackend::new(Arc::new(Pool::new(threads)), Isa::detect(), KvFormat::F32).with_logits_bytes(1);
    let backend = backend.with_training_nf4(nf4);
    let options = CompileOptions { rows, outputs: rows, sequences: 4, positions: rows, pages: 0 };
    let program = backend.compile_training(plan, weights, &options, &mut |_| true).unwrap();
    let promised = backend.training_memory(plan, weights, &options).unwrap();
    assert!(promised.scratch > 0 && promised.cache == 0);
    program
}

/// Two sequences, each predicting its next tokens; a few rows count nothing or are no output at all.
fn batch(tokens: &[u32], vocabulary: usize) -> Batch {
    let (first, second) = tokens.split_at(tokens.len() / 3);
    let mut batch = Batch::packed(&[first, second]);
    batch.outputs.retain(|row| row % 7 != 3);
    let weight = 1.0 / batch.outputs.len() as f32;
    batch.targets = batch
        .outputs
        .iter()
        .map(|&row| Target {
            token: (tokens[(row as usize + 1) % tokens.len()] as usize % vocabulary) as u32,
            weight: if row % 5 == 1 { 0.0 } else { weight },
        })
        .collect();
    batch
}

/// Tolerances above this are for activations rounded to int8, whose errors are compared as a whole.
const ROUNDED: f32 = 1e-2;

/// What a program's gradients are, by weight.
fn gradients(program: &mut dyn TrainingProgram) -> Vec<(WeightId, Vec<f32>)> {
    program.parameters().into_iter().map(|parameter| (parameter.weight, parameter.gradient.to_vec())).collect()
}

/// Compares losses and gradients of a Plan with gradients, and gives the gradients.
fn check(name: &str, plan: &Plan, weights: &dyn Weights, batch: &Batch, tolerance: f32) {
    check_as(name, plan, weights, (weights, false), batch, tolerance);
}

/// The same, with weights of the program's own, held as NF4 or not.
fn check_as(name: &str, plan: &Plan, weights: &dyn Weights, own: (&dyn Weights, bool), batch: &Batch, tolerance: f32) {
    let mut reference = Interpreter::new(plan, weights).unwrap();
    reference.run(batch).unwrap();
    let mut program = compile_as(plan, own, 1, batch.rows());
    let losses = program.run(batch).unwrap().to_vec();
    assert_close(&losses, reference.output(), tolerance, &format!("{name}: losses"));
    let found = gradients(&mut *program);
    assert_eq!(found.len(), plan.weights.iter().filter(|weight| weight.trainable).count());
    // Weights whose gradient is nothing but rounding (a bias that a norm takes out again) have no range of their own.
    let range = |x: &[f32]| x.iter().fold(0f32, |a, b| a.max(b.abs()));
    let all = found.iter().map(|(id, _)| range(reference.gradient(*id).unwrap())).fold(0.0, f32::max);
    for (id, gradient) in &found {
        let context = format!("{name}: gradient of {}", plan.weights[id.0].name);
        let expected = reference.gradient(*id).unwrap();
        if tolerance > ROUNDED {
            let norm = |x: &mut dyn Iterator<Item = f32>| x.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            let off =
                norm(&mut gradient.iter().zip(expected).map(|(a, b)| a - b)) / norm(&mut expected.iter().copied());
            assert!(off <= f64::from(tolerance), "{context}: off by {off:e} of its norm");
            continue;
        }
        let worst = gradient.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let allowed = tolerance * (range(expected) + 1e-2 * all);
        assert!(worst <= allowed, "{context}: off by {worst:e} (allowed {allowed:e})");
    }
    // Evaluation leaves the gradients alone, more threads change no bit, and a second run doubles what is there.
    assert_bits_equal(program.evaluate(batch).unwrap(), &losses, &format!("{name}: evaluation"));
    let mut threaded = compile_as(plan, own, 3, batch.rows());
    assert_bits_equal(threaded.run(batch).unwrap(), &losses, &format!("{name}: losses on three threads"));
    let again = compile_as(&recompute(plan).unwrap(), own, 2, batch.rows() + 5);
    for (context, mut other) in [("three threads", threaded), ("recompute", again)] {
        if context == "recompute" {
            other.run(batch).unwrap();
        }
        for ((id, gradient), (_, expected)) in gradients(&mut *other).iter().zip(&found) {
            let name = format!("{name}, {context}: gradient of {}", plan.weights[id.0].name);
            assert_bits_equal(gradient, expected, &name);
        }
    }
}

#[test]
fn gradients_of_every_property_are_the_references() {
    let tokens = tokens(90);
    for (name, spec) in specs() {
        let plan = lower(&spec).unwrap();
        let weights = weights(&plan, TensorType::F32);
        let training = train(&plan, |_| true).unwrap();
        check(name, &training.plan, &weights, &batch(&tokens, VOCABULARY), 1e-4);
    }
}

#[test]
fn gradients_of_every_golden_are_the_references_and_pytorchs() {
    let mut compared = 0;
    for golden in Golden::names().into_iter().chain(Golden::encoders()).map(|name| Golden::load(&name)) {
        let checkpoint = load::hugging_face(&golden.directory);
        let sequence = golden.sequences.last().unwrap();
        let plan = checkpoint.plan_for(sequence.tokens.len()).unwrap();
        let training = train(&plan, |_| true).unwrap();
        let made = batch(&sequence.tokens, sequence.width);
        check(&golden.name, &training.plan, &checkpoint, &made, 2e-4);
        evidence::shown("family", checkpoint.family().name, "train");
        let Some(loss) = golden.loss else { continue };
        let tokens = &golden.sequences[0].tokens;
        let mut batch = Batch::packed(&[tokens]);
        batch.outputs.pop();
        let weight = 1.0 / batch.outputs.len() as f32;
        batch.targets = tokens[1..].iter().map(|&token| Target { token, weight }).collect();
        let training = train(checkpoint.plan(), |_| true).unwrap();
        let mut program = compile(&training.plan, &checkpoint, 2, tokens.len());
        let found: f32 = program.run(&batch).unwrap().iter().sum();
        assert!((found - loss).abs() < 1e-5 * loss, "{}: loss {found} against {loss}", golden.name);
        let of_program = gradients(&mut *program);
        for gradient in &golden.gradients {
            let name = checkpoint.gguf_name(&gradient.name).unwrap();
            let (_, found) =
                of_program.iter().find(|(id, _)| training.plan.weights[id.0].name == name).expect("a trained weight");
            assert_close(found, &gradient.values, 1e-4, &format!("{}: gradient of {name}", golden.name));
            compared += 1;
        }
    }
    assert!(compared > 10, "{compared} gradients of PyTorch's compared");
}

#[test]
fn gradients_pass_through_frozen_weights_of_every_type() {
    let tokens = tokens(70);
    let plan = lower(&spec(|spec, layer| {
        spec.width = 256;
        attention(layer).heads = 8;
        layer.feed_forward = FeedForward::Gated(Dense { hidden: 256, activation: Activation::Silu, bias: false });
    }))
    .unwrap();
    let adapter = |weight: &str, dropout| Adapter { weight: weight.into(), rank: 5, scale: 1.5, dropout, dora: None };
    let adapters = [
        adapter("blk.0.attn_q.weight", 0.0),
        adapter("blk.0.attn_q.weight", 0.0),
        adapter("blk.0.ffn_down.weight", 0.2),
        adapter("blk.1.attn_output.weight", 0.0),
        adapter("output.weight", 0.1),
        Adapter { dora: Some(1.0), ..adapter("blk.0.ffn_up.weight", 0.0) },
        Adapter { dora: Some(1.0), ..adapter("blk.1.ffn_gate.weight", 0.2) },
    ];
    let base = plan;
    let plan = with_adapters(&base, &adapters).unwrap();
    let training = train(&plan, |name| name.contains(".lora_")).unwrap();
    let floats = [TensorType::F32, TensorType::F16, TensorType::BF16];
    for tensor_type in TensorType::ALL.iter().copied().filter(|each| each.is_quantized() || floats.contains(each)) {
        let mut weights = weights(&base, tensor_type);
        let f32s = crate::weights(&plan, TensorType::F32);
        for name in plan.weights.iter().map(|weight| &weight.name).filter(|name| name.contains(".lora_")) {
            weights.0.insert(name.clone(), f32s.0[name].clone());
        }
        // Weights are the same on both sides; some products round their activations to int8 on the way forwards.
        let tolerance = match Matrix::activation_of(tensor_type) {
            ActivationKind::F32 | ActivationKind::Bf16 => 1e-4,
            // A model of noise bends so much that rounding its rows moves it far.
            _ if !tensor_type.can_encode() => 1.0,
            ActivationKind::Int8 | ActivationKind::Int8By256 => 0.4,
        };
        let mut batch = batch(&tokens, VOCABULARY);
        batch.dropout = Some(11);
        check(tensor_type.name(), &training.plan, &weights, &batch, tolerance);
        evidence::shown("tensor type", tensor_type.name(), "train");
    }
}

#[test]
fn losses_of_every_chunk_stay() {
    // Between the head and the loss there is more that is made anew for each chunk: nothing of it may lie where losses are.
    let tokens = tokens(90);
    for (name, vocabulary, rank, scale) in
        [("an adapter", 200, 4, None), ("a wide one", 60, 80, None), ("scaled logits", 200, 1, Some(0.7))]
    {
        let base = lower(&spec(|spec, _| {
            spec.vocabulary = vocabulary;
            spec.head = Some(Head { scale, ..spec.head.take().unwrap_or_default() });
        }))
        .unwrap();
        let adapter = Adapter { weight: "output.weight".into(), rank, scale: 1.0, dropout: 0.0, dora: None };
        for adapters in [&[][..], &[adapter]] {
            let plan = with_adapters(&base, adapters).unwrap();
            let training = train(&plan, |name| adapters.is_empty() || name.contains(".lora_")).unwrap();
            let weights = weights(&plan, TensorType::F32);
            check(name, &training.plan, &weights, &batch(&tokens, vocabulary), 1e-4);
        }
    }
}

#[test]
fn weights_held_as_nf4_are_what_nf4_decodes_to() {
    let tokens = tokens(70);
    let base = lower(&spec(|spec, layer| {
        spec.width = 160;
        attention(layer).heads = 4;
        layer.feed_forward = FeedForward::Gated(Dense { hidden: 320, activation: Activation::Silu, bias: false });
    }))
    .unwrap();
    let adapter = |weight: &str, dropout| Adapter { weight: weight.into(), rank: 5, scale: 1.5, dropout, dora: None };
    let adapters = [adapter("blk.0.attn_q.weight", 0.0), adapter("blk.1.ffn_down.weight", 0.2)];
    let plan = with_adapters(&base, &adapters).unwrap();
    let training = train(&plan, |name| name.contains(".lora_")).unwrap();
    for tensor_type in [TensorType::F32, TensorType::BF16, TensorType::Q8_0] {
        let (mut own, mut decoded) = (weights(&base, tensor_type), weights(&base, tensor_type));
        let f32s = weights(&plan, TensorType::F32);
        for weight in &plan.weights {
            let name = weight.name.clone();
            if name.contains(".lora_") {
                own.0.insert(name.clone(), f32s.0[&name].clone());
                decoded.0.insert(name.clone(), f32s.0[&name].clone());
            } else if name.starts_with("blk.") && weight.rows > 1 {
                let view = own.0[&name].clone();
                let stride = tensor_type.row_bytes(view.width).unwrap();
                let row = |row: usize, out: &mut [f32]| {
                    tensor_type.decode(&view.bytes[row * stride..(row + 1) * stride], out)
                };
                let nf4 = Nf4::encode(view.rows, view.width, row).unwrap();
                let mut values = vec![0.0; view.rows * view.width];
                let rows = values.chunks_exact_mut(view.width).enumerate();
                rows.for_each(|(row, values)| nf4.decode(row, 0, values));
                let bytes = SharedBytes::from_vec(values.iter().flat_map(|x| x.to_le_bytes()).collect());
                decoded.0.insert(name, WeightView { tensor_type: TensorType::F32, bytes, ..view });
            }
        }
        let mut batch = batch(&tokens, VOCABULARY);
        batch.dropout = Some(11);
        // The head keeps its type, and rounds its rows to int8 where that is Q8_0.
        let tolerance = if tensor_type == TensorType::Q8_0 { 0.4 } else { 1e-4 };
        let name = format!("NF4 of {}", tensor_type.name());
        check_as(&name, &training.plan, &decoded, (&own, true), &batch, tolerance);
    }
}

#[test]
fn gradients_are_central_differences() {
    let tokens = tokens(30);
    let plan = lower(&spec(|_, _| ())).unwrap();
    let weights = weights(&plan, TensorType::F32);
    let training = train(&plan, |_| true).unwrap();
    let batch = batch(&tokens, VOCABULARY);
    let mut program = compile(&training.plan, &weights, 2, 30);
    program.run(&batch).unwrap();
    let found = gradients(&mut *program);
    for (n, (id, gradient)) in found.iter().enumerate() {
        let largest = (0..gradient.len()).max_by(|a, b| gradient[*a].abs().total_cmp(&gradient[*b].abs())).unwrap();
        let mut at = |delta: f32| {
            program.parameters()[n].values[largest] += delta;
            let loss: f64 = program.evaluate(&batch).unwrap().iter().map(|loss| f64::from(*loss)).sum();
            program.parameters()[n].values[largest] -= delta;
            loss
        };
        let h = 1e-2;
        let (one, two) = (at(h) - at(-h), at(2.0 * h) - at(-2.0 * h));
        let expected = (8.0 * one - two) / (12.0 * f64::from(h));
        let found = f64::from(gradient[largest]);
        let name = &plan.weights[id.0].name;
        assert!((found - expected).abs() < 2e-2 * found.abs() + 1e-4, "{name}: {found} against {expected}");
    }
}

#[test]
fn batches_that_do_not_fit_are_refused() {
    let plan = lower(&spec(|_, _| ())).unwrap();
    let weights = weights(&plan, TensorType::F32);
    let training = train(&plan, |_| true).unwrap();
    let mut program = compile(&training.plan, &weights, 1, 30);
    let mut refused = |change: &dyn Fn(&mut Batch), expected: &str| {
        let mut batch = batch(&tokens(30), VOCABULARY);
        change(&mut batch);
        let error = program.run(&batch).map(drop).unwrap_err().to_string();
        assert_eq!(error, format!("batch: {expected}"));
    };
    refused(&|batch| batch.targets.truncate(25), "26 output rows but 25 targets");
    refused(&|batch| batch.targets[3].token = 40, "target 40 is outside the vocabulary of 40");
    refused(&|batch| batch.tokens[3] = 41, "token 41 is outside the vocabulary of 40");
    refused(
        &|batch| batch.places[4].position = 7,
        "position 7 of sequence 0 where 4 was expected: sequences are trained whole",
    );
    let program = CpuBackend::new(Arc::new(Pool::new(1)), Isa::detect(), KvFormat::F32);
    let options = CompileOptions { rows: 8, outputs: 8, sequences: 1, positions: 8, pages: 0 };
    let error = program.compile_training(&plan, &weights, &options, &mut |_| true).map(drop).unwrap_err().to_string();
    assert_eq!(error, "backend `cpu` cannot run step `the plan`: it has no loss; apply `train` first");
}
