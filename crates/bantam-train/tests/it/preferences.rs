//! Runs on answers that are compared: against PyTorch and PEFT, and gone on with.

use bantam_runtime::{AnyBase, Model, read_peft};
use bantam_train::adapters::Lora;
use bantam_train::data::{Comparison, Example};
use bantam_train::optimiser::AdamW;
use bantam_train::preference::Loss;
use bantam_train::schedule::Schedule;
use bantam_train::{Method, Tokens, TrainOptions, Trainer};
use serde_json::Value;

use crate::support::{AdapterGolden, Folder, examples, json};

const BETA: f32 = 0.3;
const DPO: Loss = Loss::Dpo { beta: BETA, smoothing: 0.0 };
const ORPO: Loss = Loss::Orpo { beta: BETA };
const KTO: Loss = Loss::Kto { beta: BETA, desirable: 1.0, undesirable: 1.0 };

/// As `tools/goldens/preference_runs.py` makes them of the examples.
fn comparisons(examples: &[Example], loss: Loss) -> Vec<Comparison> {
    let begin = |example: &Example| example.said.iter().position(|said| *said).unwrap();
    let longest = examples.iter().map(|example| example.tokens.len()).max().unwrap();
    let each = examples.iter().enumerate().map(|(at, example)| {
        if let Loss::Kto { .. } = loss {
            return Comparison::Single { answer: example.clone(), good: at % 2 == 0 };
        }
        let (other, first) = (&examples[(at + 1) % examples.len()], begin(example));
        let mut tokens = [&example.tokens[..first], &other.tokens[begin(other)..]].concat();
        tokens.truncate(longest);
        let said = (0..tokens.len()).map(|at| at >= first).collect();
        Comparison::Pair { chosen: example.clone(), rejected: Example { tokens, said, line: 0 } }
    });
    each.collect()
}

struct Run {
    golden: AdapterGolden,
    training: Value,
    expected: Value,
    steps: usize,
    dora: bool,
}

impl Run {
    fn load(name: &str) -> Self {
        let (golden, dora) = (AdapterGolden::load(name), name.ends_with("-dora"));
        let (training, expected) =
            (json(&golden.path.join("training.json")), json(&golden.path.join("preferences.json")));
        let steps = expected["steps"].as_u64().unwrap() as usize;
        Self { golden, training, expected, steps, dora }
    }

    fn options(&self, loss: Loss) -> TrainOptions {
        let number = |key: &str| self.expected[key].as_f64().unwrap();
        let rank = self.training["rank"].as_u64().unwrap() as usize;
        let alpha = self.training["alpha"].as_f64().unwrap() as f32;
        let lora = Lora { rank, alpha, dora: self.dora, ..Lora::default() };
        TrainOptions {
            method: Method::Lora(lora),
            loss,
            rate: number("rate") as f32,
            schedule: Schedule::Linear,
            // Rounded up to whole steps.
            warmup: ((number("warmup") - 0.5) / number("steps")) as f32,
            batch: number("batch") as usize,
            clip: Some(number("clip") as f32),
            optimiser: AdamW { weight_decay: number("weight_decay") as f32, ..AdamW::default() },
            shuffle: false,
            threads: Some(2),
            // Several batches for every step.
            rows: 70,
            precision: bantam_kernels::Precision::F32,
            ..TrainOptions::default()
        }
    }

    fn trainer(&self, model: &Model, options: &TrainOptions, list: &[Comparison]) -> Trainer {
        let tokens = Tokens::of_comparisons(&[list], options);
        let mut trainer = Trainer::new(model, options, tokens, "a run".into(), &mut |_| true).unwrap();
        for part in read_peft(&self.golden.path.join("begin"), model.checkpoint(), AnyBase::No).unwrap().parts {
            trainer.set(&format!("{}.lora_a", part.weight), &part.a).unwrap();
            trainer.set(&format!("{}.lora_b", part.weight), &part.b).unwrap();
        }
        trainer
    }
}

#[test]
fn steps_follow_pytorch_and_peft() {
    follow("tiny-qwen2-a");
}

#[test]
fn steps_of_dora_follow_pytorch_and_peft() {
    follow("tiny-qwen2-a-dora");
}

fn follow(name: &str) {
    let run = Run::load(name);
    let model = &run.golden.models()[1];
    let examples = examples(&run.training["examples"]);
    for (name, loss) in [("dpo", DPO), ("orpo", ORPO), ("kto", KTO)] {
        let (options, list) = (run.options(loss), comparisons(&examples, loss));
        let mut trainer = run.trainer(model, &options, &list);
        let numbers = |key: &str| -> Vec<f64> {
            run.expected[name][key].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
        };
        for (step, (loss, norm)) in numbers("losses").into_iter().zip(numbers("norms")).enumerate() {
            let event = trainer.step_on_comparisons(&list, run.steps, &|| true).unwrap();
            assert!((event.loss - loss).abs() < 2e-3, "{name}, step {step}: {} against {loss}", event.loss);
            assert!((event.norm - norm).abs() < 2e-2 * norm, "{name}, step {step}: norm {} against {norm}", event.norm);
        }
    }
}

#[test]
fn an_interrupted_comparison_goes_on_bit_for_bit() {
    let folder = Folder::new("preferences");
    let path = folder.0.join("state.safetensors");
    for (name, loss) in [("tiny-qwen2-a", DPO), ("tiny-qwen2-a", KTO), ("tiny-qwen2-a-dora", DPO)] {
        let run = Run::load(name);
        let model = &run.golden.models()[1];
        let examples = examples(&run.training["examples"]);
        let list = comparisons(&examples, loss);
        let mut options = TrainOptions { shuffle: true, seed: 3, ..run.options(loss) };
        options.optimiser.eight_bit = true;
        if let Method::Lora(lora) = &mut options.method {
            lora.dropout = 0.1;
        }
        let bits = |trainer: &mut Trainer| {
            let all = trainer.weights().into_iter().flat_map(|(_, values)| values);
            all.map(f32::to_bits).collect::<Vec<_>>()
        };
        let steps = |trainer: &mut Trainer, count: usize| {
            for _ in 0..count {
                trainer.step_on_comparisons(&list, 5, &|| true).unwrap();
            }
        };
        let mut whole = run.trainer(model, &options, &list);
        steps(&mut whole, 5);
        let mut first = run.trainer(model, &options, &list);
        steps(&mut first, 3);
        first.save(&path).unwrap();
        let mut second = run.trainer(model, &options, &list);
        second.restore(&path).unwrap();
        steps(&mut second, 2);
        assert_eq!(bits(&mut second), bits(&mut whole));
    }
}

#[test]
fn comparisons_of_the_wrong_kind_are_refused() {
    let run = Run::load("tiny-qwen2-a");
    let model = &run.golden.models()[1];
    let examples = examples(&run.training["examples"]);
    for (loss, other, expected) in [(DPO, KTO, "a chosen and a rejected answer"), (KTO, DPO, "good or bad")] {
        let list = comparisons(&examples, other);
        let mut trainer = run.trainer(model, &run.options(loss), &list);
        let error = trainer.step_on_comparisons(&list, 1, &|| true).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
