//! Logits and gradients of tiny models against PyTorch's, on the reference interpreter.

use bantam_model::Checkpoint;
use bantam_plan::reference::Interpreter;
use bantam_plan::rewrite::train;
use bantam_plan::{Batch, Op, PAGE_CELLS, Place, Target, WeightId};
use bantam_testkit::{Golden, GoldenSequence, assert_bits_equal, assert_close, evidence};

use crate::load;

fn check_sequence(golden: &Golden, sequence: &GoldenSequence, logits: &[f32], rows: usize, context: &str) {
    let (first, last) = (sequence.first_row * sequence.width, rows.min(sequence.tokens.len()) * sequence.width);
    let Some(found) = logits.get(first..last) else { return };
    let expected = &sequence.logits[..found.len()];
    assert_close(found, expected, golden.tolerance, &format!("{} {context}", golden.name));
}

/// Compares the first `rows` of every sequence, run in a context that just holds them.
fn check(golden: &Golden, checkpoint: &Checkpoint, rows: usize, source: &str) {
    let longest = golden.sequences.iter().map(|sequence| sequence.tokens.len()).max().unwrap();
    let plan = &checkpoint.plan_for(longest).unwrap();
    let mut alone = Vec::new();
    for sequence in &golden.sequences {
        let logits = plan.run_reference(checkpoint, &Batch::packed(&[&sequence.tokens])).unwrap();
        check_sequence(golden, sequence, &logits, rows, &format!("{source}, whole"));
        let mut one_by_one = Vec::new();
        let mut interpreter = Interpreter::new(plan, checkpoint).unwrap();
        for (position, &token) in sequence.tokens.iter().enumerate() {
            let mut batch = Batch { tokens: vec![token], outputs: vec![0], ..Batch::default() };
            batch.places.push(Place { sequence: 0, position: position as u32 });
            batch.tables.push((0..=(position / PAGE_CELLS) as u32).collect());
            interpreter.run(&batch).unwrap();
            one_by_one.extend_from_slice(interpreter.output());
        }
        assert_bits_equal(&one_by_one, &logits, &format!("{} {source}, token by token", golden.name));
        alone.extend(logits);
    }
    let sequences: Vec<&[u32]> = golden.sequences.iter().map(|sequence| sequence.tokens.as_slice()).collect();
    let together = plan.run_reference(checkpoint, &Batch::packed(&sequences)).unwrap();
    assert_bits_equal(&together, &alone, &format!("{} {source}, in one batch", golden.name));
}

#[test]
fn logits_are_those_of_transformers() {
    let names = Golden::names();
    assert!(names.len() >= 5, "goldens are there: {names:?}");
    for name in names {
        let golden = Golden::load(&name);
        assert!(!golden.sensitivity.is_empty());
        for (setting, moved) in &golden.sensitivity {
            assert!(*moved >= 100.0 * golden.tolerance, "{name}: {setting} moves the logits by {moved} only");
        }
        check(&golden, &load::hugging_face(&golden.directory), usize::MAX, "from Hugging Face");
        if let Some(path) = &golden.gguf {
            let checkpoint = load::gguf(std::fs::read(path).unwrap()).unwrap();
            check(&golden, &checkpoint, golden.rows_of_gguf(), "from GGUF");
        }
    }
}

#[test]
fn hidden_states_of_encoders_are_those_of_transformers() {
    let names = Golden::encoders();
    assert!(names.len() >= 2, "goldens are there: {names:?}");
    for golden in names.iter().map(|name| Golden::load(name)) {
        let from_gguf = golden.gguf.as_ref().map(|path| load::gguf(std::fs::read(path).unwrap()).unwrap());
        for checkpoint in [load::hugging_face(&golden.directory)].into_iter().chain(from_gguf) {
            let mut alone = Vec::new();
            for sequence in &golden.sequences {
                let batch = Batch::packed(&[&sequence.tokens]);
                let states = checkpoint.plan().run_reference(&checkpoint, &batch).unwrap();
                check_sequence(&golden, sequence, &states, usize::MAX, "whole");
                alone.extend(states);
            }
            let sequences: Vec<&[u32]> = golden.sequences.iter().map(|sequence| sequence.tokens.as_slice()).collect();
            let together = checkpoint.plan().run_reference(&checkpoint, &Batch::packed(&sequences)).unwrap();
            assert_bits_equal(&together, &alone, &format!("{}, in one batch", golden.name));
        }
    }
}

#[test]
fn newer_configurations_say_the_same() {
    let mut checked = 0;
    for golden in Golden::names().into_iter().chain(Golden::encoders()).map(|name| Golden::load(&name)) {
        let Ok(newer) = std::fs::read(golden.directory.join("config.v5.json")) else { continue };
        let (_, tensors) = load::parts(&golden.directory);
        let newer = serde_json::from_slice(&newer).unwrap();
        let newer = Checkpoint::from_hugging_face(&newer, tensors).unwrap_or_else(|e| panic!("{}: {e}", golden.name));
        assert_eq!(newer.spec(), load::hugging_face(&golden.directory).spec(), "{}", golden.name);
        checked += 1;
    }
    assert!(checked > 0);
}

/// The loss of predicting each next token, summed over the batch's rows.
fn loss_batch(tokens: &[u32]) -> Batch {
    let mut batch = Batch::packed(&[tokens]);
    let predicted = tokens.len() - 1;
    batch.targets = (0..tokens.len())
        .map(|i| match tokens.get(i + 1) {
            Some(&token) => Target { token, weight: 1.0 / predicted as f32 },
            None => Target { token: 0, weight: 0.0 },
        })
        .collect();
    batch
}

/// Of each kind of weight, the gradient at its largest number against a central difference.
#[test]
fn gradients_through_every_golden_are_central_differences() {
    for golden in Golden::names().into_iter().chain(Golden::encoders()).map(|name| Golden::load(&name)) {
        let checkpoint = load::hugging_face(&golden.directory);
        let sequence = golden.sequences.last().unwrap();
        let tokens = &sequence.tokens[..sequence.tokens.len().min(12)];
        let plan = checkpoint.plan_for(tokens.len()).unwrap();
        let training = train(&plan, |_| true).unwrap();
        let mut batch = loss_batch(tokens);
        // Hidden states are fewer than tokens: any column of theirs will do.
        batch.targets.iter_mut().for_each(|target| target.token %= sequence.width as u32);
        let mut interpreter = Interpreter::new(&training.plan, &checkpoint).unwrap();
        interpreter.run(&batch).unwrap();
        let gradients: Vec<Vec<f32>> =
            (0..plan.weights.len()).map(|i| interpreter.gradient(WeightId(i)).unwrap().to_vec()).collect();
        // Differences need the forward steps alone.
        let mut forward = training.plan.clone();
        let first = forward.steps.iter().position(|step| matches!(step.op, Op::Backward(_))).unwrap();
        forward.steps.truncate(first);
        let mut interpreter = Interpreter::new(&forward, &checkpoint).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for (i, weight) in plan.weights.iter().enumerate() {
            let kind: String = weight.name.chars().filter(|c| !c.is_ascii_digit()).collect();
            if !seen.insert(kind) {
                continue;
            }
            let gradient = &gradients[i];
            let mut order: Vec<usize> = (0..gradient.len()).collect();
            order.sort_by(|&a, &b| gradient[b].abs().total_cmp(&gradient[a].abs()));
            let values = interpreter.weight(WeightId(i)).to_vec();
            let mut slope = |n: usize, h: f32| {
                let mut at = |delta: f32| {
                    let mut changed = values.clone();
                    changed[n] += delta;
                    interpreter.set_weight(WeightId(i), &changed);
                    interpreter.run(&batch).unwrap();
                    interpreter.output().iter().map(|x| f64::from(*x)).sum::<f64>()
                };
                let (one, two) = (at(h) - at(-h), at(2.0 * h) - at(-2.0 * h));
                (8.0 * one - two) / (12.0 * f64::from(h))
            };
            let name = format!("{}: {}", golden.name, weight.name);
            // Where a step reaches over a choice of experts the loss jumps: there two step lengths disagree.
            let smooth = order.iter().take(8).find_map(|&n| {
                let (coarse, fine) = (slope(n, 1e-3), slope(n, 5e-4));
                ((coarse - fine).abs() <= 3e-3 * fine.abs() + 2e-3).then_some((n, coarse))
            });
            let (n, expected) = smooth.unwrap_or_else(|| panic!("{name}: the loss is nowhere smooth"));
            interpreter.set_weight(WeightId(i), &values);
            let found = f64::from(gradient[n]);
            let tolerance = 5e-3 * found.abs() + 1e-3;
            assert!((found - expected).abs() <= tolerance, "{name}: {found} against {expected}");
        }
        evidence::shown("family", checkpoint.family().name, "gradients");
    }
}

#[test]
fn loss_and_gradients_are_those_of_pytorch() {
    let mut checked = 0;
    for golden in Golden::names().iter().map(|name| Golden::load(name)) {
        let Some(loss) = golden.loss else { continue };
        let checkpoint = load::hugging_face(&golden.directory);
        let training = train(checkpoint.plan(), |_| true).unwrap();
        let tokens = &golden.sequences[0].tokens;
        let batch = loss_batch(tokens);
        let mut interpreter = Interpreter::new(&training.plan, &checkpoint).unwrap();
        interpreter.run(&batch).unwrap();
        let found: f32 = interpreter.output().iter().sum();
        assert!((found - loss).abs() < 1e-5 * loss, "{}: loss {found} against {loss}", golden.name);
        for gradient in &golden.gradients {
            let name = checkpoint.gguf_name(&gradient.name).unwrap();
            let id = training.plan.weights.iter().position(|weight| weight.name == name).unwrap();
            let found = interpreter.gradient(WeightId(id)).unwrap();
            assert_close(found, &gradient.values, 1e-4, &format!("{}: gradient of {name}", golden.name));
            checked += 1;
        }
    }
    assert!(checked > 10, "{checked} gradients checked");
}
