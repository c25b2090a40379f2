//! Logits and gradients of tiny models against PyTorch's, on the reference interpreter.

use bantam_model::Checkpoint;
use bantam_plan::reference::Interpreter;
use bantam_plan::rewrite::train;
use bantam_plan::{Batch, PAGE_CELLS, Place, Target, WeightId};
use bantam_testkit::{Golden, GoldenSequence, assert_bits_equal, assert_close};

use crate::load;

fn check_sequence(golden: &Golden, sequence: &GoldenSequence, logits: &[f32], context: &str) {
    let first = sequence.first_row * sequence.width;
    assert_close(&logits[first..], &sequence.logits, golden.tolerance, &format!("{} {context}", golden.name));
}

fn check(golden: &Golden, checkpoint: &Checkpoint, source: &str) {
    let plan = checkpoint.plan();
    let mut alone = Vec::new();
    for sequence in &golden.sequences {
        let logits = plan.run_reference(checkpoint, &Batch::packed(&[&sequence.tokens])).unwrap();
        check_sequence(golden, sequence, &logits, &format!("{source}, whole"));
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
        check(&golden, &load::hugging_face(&golden.directory), "from Hugging Face");
        if let Some(path) = &golden.gguf {
            check(&golden, &load::gguf(std::fs::read(path).unwrap()).unwrap(), "from GGUF");
        }
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
        let mut batch = Batch::packed(&[tokens]);
        let predicted = tokens.len() - 1;
        batch.targets = (0..tokens.len())
            .map(|i| match tokens.get(i + 1) {
                Some(&token) => Target { token, weight: 1.0 / predicted as f32 },
                None => Target { token: 0, weight: 0.0 },
            })
            .collect();
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
