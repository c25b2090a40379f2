//! Runs of training: against PyTorch and PEFT, interrupted and gone on with, stopped by numbers that are none.

use std::cell::Cell;

use bantam_kernels::Precision;
use bantam_runtime::{AnyBase, Model, read_peft};
use bantam_testkit::assert_close;
use bantam_train::adapters::Lora;
use bantam_train::data::{Example, micro_batches};
use bantam_train::optimiser::{AdamW, Muon};
use bantam_train::schedule::Schedule;
use bantam_train::trainer::promise;
use bantam_train::{Method, Recompute, Tokens, TrainError, TrainOptions, Trainer};
use serde_json::Value;

use crate::support::{AdapterGolden, Folder, examples, json, logits};

fn trainer(model: &Model, options: &TrainOptions, examples: &[Example]) -> Trainer {
    let tokens = Tokens::of(examples, options);
    Trainer::new(model, options, tokens, "a run".into(), &mut |_| true).unwrap()
}

/// The options of the golden's training.
fn options(training: &Value) -> TrainOptions {
    let number = |key: &str| training[key].as_f64().unwrap();
    let lora = Lora { rank: number("rank") as usize, alpha: number("alpha") as f32, ..Lora::default() };
    TrainOptions {
        method: Method::Lora(lora),
        rate: number("rate") as f32,
        schedule: Schedule::Linear,
        warmup: (number("warmup") / number("steps")) as f32,
        batch: number("batch") as usize,
        clip: Some(number("clip") as f32),
        optimiser: AdamW { weight_decay: number("weight_decay") as f32, ..AdamW::default() },
        shuffle: false,
        threads: Some(2),
        // Two batches for most steps.
        rows: 50,
        precision: Precision::F32,
        ..TrainOptions::default()
    }
}

#[test]
fn fifty_steps_follow_pytorch_and_peft() {
    follows("tiny-qwen2-a");
}

#[test]
fn fifty_steps_of_dora_follow_pytorch_and_peft() {
    follows("tiny-qwen2-a-dora");
}

#[test]
fn fifty_steps_with_saved_modules_follow_pytorch_and_peft() {
    follows("tiny-qwen2-a-saved");
}

fn follows(name: &str) {
    let golden = AdapterGolden::load(name);
    let training = json(&golden.path.join("training.json"));
    let examples = examples(&training["examples"]);
    let losses: Vec<f32> = training["losses"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect();
    for model in golden.models() {
        let mut options = options(&training);
        if let (Method::Lora(lora), true) = (&mut options.method, name.ends_with("dora")) {
            lora.dora = true;
        }
        if let (Method::Lora(lora), true) = (&mut options.method, name.ends_with("saved")) {
            lora.targets = ["q_proj", "down_proj"].map(str::to_owned).to_vec();
            lora.saved = ["lm_head", "*norm"].map(str::to_owned).to_vec();
        }
        let mut trainer = trainer(&model, &options, &examples);
        // Magnitudes begin as the lengths of rows on both sides.
        for part in read_peft(&golden.path.join("begin"), model.checkpoint(), AnyBase::No).unwrap().parts {
            trainer.set(&format!("{}.lora_a", part.weight), &part.a).unwrap();
            trainer.set(&format!("{}.lora_b", part.weight), &part.b).unwrap();
        }
        let found: Vec<f32> =
            (0..losses.len()).map(|_| trainer.step(&examples, losses.len(), &|| true).unwrap().loss as f32).collect();
        for (step, (found, expected)) in found.iter().zip(&losses).enumerate() {
            assert!((found - expected).abs() < 1e-3, "step {step}: {found} against {expected}");
        }
        let theirs = read_peft(&golden.path.join("end"), model.checkpoint(), AnyBase::No).unwrap();
        let expected = logits(&model, &[theirs], &golden.tokens);
        let found = logits(&model, &[trainer.adapter()], &golden.tokens);
        assert_close(&found, &expected, 2e-3, "logits after fifty steps");
    }
}

fn lora() -> Lora {
    Lora { rank: 3, dropout: 0.2, targets: vec!["q_proj".into(), "*_proj".into()], ..Lora::default() }
}

#[test]
fn an_interrupted_run_goes_on_bit_for_bit() {
    goes_on("tiny-llama-a", |options| options.method = Method::Lora(lora()));
}

#[test]
fn an_interrupted_run_of_all_weights_goes_on_bit_for_bit() {
    goes_on("tiny-llama-a", |options| {
        (options.method, options.dropout, options.prompt_weight) = (Method::Full, 0.2, 0.1)
    });
}

#[test]
fn an_interrupted_run_of_dora_goes_on_bit_for_bit() {
    goes_on("tiny-llama-a", |options| options.method = Method::Lora(Lora { dora: true, ..lora() }));
}

#[test]
fn an_interrupted_run_on_nf4_goes_on_bit_for_bit() {
    goes_on("tiny-llama-a", |options| (options.method, options.nf4) = (Method::Lora(lora()), true));
}

/// The head, which is the table of tokens in this model, is taken apart from it.
#[test]
fn an_interrupted_run_with_saved_modules_goes_on_bit_for_bit() {
    let saved = ["lm_head", "*norm"].map(str::to_owned).to_vec();
    goes_on("tiny-qwen2-a", |options| options.method = Method::Lora(Lora { saved: saved.clone(), ..lora() }));
}

#[test]
fn an_interrupted_average_goes_on_bit_for_bit() {
    goes_on("tiny-llama-a", |options| (options.method, options.average) = (Method::Lora(lora()), 0.7));
}

/// A state on the disk is as large as was promised, but for what it says of its steps.
#[test]
fn a_state_has_the_promised_size() {
    let model = &AdapterGolden::load("tiny-llama-a").models()[1];
    let training = json(&AdapterGolden::load("tiny-qwen2-a").path.join("training.json"));
    let examples = &examples(&training["examples"]);
    let folder = Folder::new("size");
    let path = folder.0.join("state.safetensors");
    let check = |change: &dyn Fn(&mut TrainOptions)| {
        let mut options = options(&training);
        change(&mut options);
        let promised = promise(model, &options, Tokens::of(examples, &options), 1).unwrap();
        trainer(model, &options, examples).save(&path).unwrap();
        let numbers: usize = {
            let bytes = std::fs::read(&path).unwrap();
            let file = bantam_formats::safetensors::SafeTensors::parse(&bytes).unwrap();
            file.tensors().iter().map(|tensor| tensor.range.len()).sum()
        };
        assert_eq!(numbers as u64, promised.state);
        assert!(promised.state >= 8 * promised.trained);
    };
    check(&|_| {});
    check(&|options| options.average = 0.9);
    check(&|options| options.method = Method::Lora(Lora { dora: true, saved: vec!["lm_head".into()], ..lora() }));
    check(&|options| (options.method, options.optimiser.muon) = (Method::Full, Some(Muon::default())));
}

#[test]
fn an_average_follows_the_weights() {
    let golden = AdapterGolden::load("tiny-qwen2-a");
    let training = json(&golden.path.join("training.json"));
    let examples = examples(&training["examples"]);
    let options = TrainOptions { average: 0.4, rate: 1e-2, method: Method::Full, ..options(&training) };
    let mut trainer = trainer(&golden.models()[1], &options, &examples);
    let mut expected = trainer.weights();
    for step in 1..=5 {
        trainer.step(&examples, 5, &|| true).unwrap();
        // 2/11, 3/12, 4/13, 5/14, then what was asked for: less of the past in the first steps.
        let kept = f64::min(f64::from(options.average), f64::from(1 + step) / f64::from(10 + step));
        for ((_, average), (_, now)) in expected.iter_mut().zip(trainer.weights()) {
            let mix = |average: f32, now: f32| (kept * f64::from(average) + (1.0 - kept) * f64::from(now)) as f32;
            average.iter_mut().zip(now).for_each(|(average, now)| *average = mix(*average, now));
        }
    }
    for ((name, found), (_, expected)) in trainer.into_learned().iter().zip(&expected) {
        assert_close(found, expected, 1e-5, name);
    }
}

#[test]
fn a_full_run_with_muon_goes_on_to_the_same_bits() {
    goes_on("tiny-llama-a", |options| {
        (options.method, options.optimiser.muon) = (Method::Full, Some(Muon::default()));
    });
}

fn goes_on(name: &str, change: impl Fn(&mut TrainOptions)) {
    let model = &AdapterGolden::load(name).models()[1];
    let training = json(&AdapterGolden::load("tiny-qwen2-a").path.join("training.json"));
    let examples = &examples(&training["examples"]);
    let options = &mut TrainOptions { shuffle: true, ..options(&training) };
    change(options);
    let options = &*options;
    let mut whole = trainer(model, options, examples);
    for _ in 0..9 {
        whole.step(examples, 9, &|| true).unwrap();
    }
    let (expected, learned) = (whole.weights(), whole.adapter());
    let folder = Folder::new("resume");
    let path = folder.0.join("state.safetensors");
    for stop in [0, 3, 8] {
        let mut first = trainer(model, &TrainOptions { threads: Some(1), ..options.clone() }, examples);
        for _ in 0..stop {
            first.step(examples, 9, &|| true).unwrap();
        }
        // Interrupted in the middle of a step: as if it had not begun.
        let calls = Cell::new(0);
        let interrupted = first.step(examples, 9, &|| {
            calls.set(calls.get() + 1);
            calls.get() < 2
        });
        assert!(matches!(interrupted, Err(TrainError::Interrupted)) || calls.get() < 2);
        first.save(&path).unwrap();
        let done = first.state.step;
        drop(first);
        let mut second = trainer(model, &TrainOptions { recompute: Recompute::Always, ..options.clone() }, examples);
        second.restore(&path).unwrap();
        assert_eq!(second.state.step, done);
        for _ in done..9 {
            second.step(examples, 9, &|| true).unwrap();
        }
        assert_eq!(second.state.losses, whole.state.losses);
        for ((name, found), (_, expected)) in second.weights().iter().zip(&expected) {
            let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(found), bits(expected), "{name}, stopped at {stop}");
        }
        assert_eq!(second.adapter(), learned, "stopped at {stop}");
    }
    let tokens = Tokens::of(examples, options);
    let mut other = Trainer::new(model, options, tokens, "another run".into(), &mut |_| true).unwrap();
    let error = other.restore(&path).unwrap_err().to_string();
    assert!(error.contains("another model, other data or other settings"), "{error}");
}

#[test]
fn packed_examples_have_the_losses_of_single_ones() {
    let golden = AdapterGolden::load("tiny-qwen2-a");
    let model = &golden.models()[0];
    let training = json(&golden.path.join("training.json"));
    let examples = examples(&training["examples"]);
    let run = |rows: usize| {
        let options = TrainOptions { rows, batch: examples.len(), ..options(&training) };
        let mut trainer = trainer(model, &options, &examples);
        let packed = micro_batches(&examples.iter().collect::<Vec<_>>(), rows).len();
        let evaluated = trainer.evaluate(&examples, &|| true).unwrap();
        let event = trainer.step(&examples, 1, &|| true).unwrap();
        assert!((evaluated - event.loss).abs() < 1e-6, "{evaluated} against {}", event.loss);
        (packed, event.loss, event.norm)
    };
    let ((many, single_loss, single_norm), (few, loss, norm)) = (run(1), run(1000));
    assert!(many == examples.len() && few == 1, "{many} batches and {few}");
    assert!((loss - single_loss).abs() < 1e-5 * loss && (norm - single_norm).abs() < 1e-4 * norm);
}

#[test]
fn every_weight_can_be_trained() {
    let golden = AdapterGolden::load("tiny-qwen2-a");
    let training = json(&golden.path.join("training.json"));
    let examples = examples(&training["examples"]);
    let options = TrainOptions { method: Method::Full, rate: 1e-2, ..options(&training) };
    let mut trainer = trainer(&golden.models()[1], &options, &examples);
    let events: Vec<f64> = (0..30).map(|_| trainer.step(&examples, 30, &|| true).unwrap().loss).collect();
    assert!(events[29] < 0.7 * events[0], "{events:?}");
    assert!(trainer.weights().iter().any(|(name, _)| name == "token_embd.weight"));
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_changes_nothing() {
    let golden = AdapterGolden::load("tiny-qwen2-a");
    let training = json(&golden.path.join("training.json"));
    let examples = examples(&training["examples"]);
    let mut trainer = trainer(&golden.models()[0], &options(&training), &examples);
    trainer.step(&examples, 10, &|| true).unwrap();
    let (name, mut values) = trainer.weights().swap_remove(1);
    values[0] = f32::NAN;
    trainer.set(&name, &values).unwrap();
    let before = trainer.weights();
    let error = trainer.step(&examples, 10, &|| true).unwrap_err();
    assert!(matches!(error, TrainError::NotFinite { step: 2, .. }), "{error}");
    assert_eq!(trainer.state.step, 1);
    for ((_, found), (_, expected)) in trainer.weights().iter().zip(&before) {
        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(found), bits(expected));
    }
}

#[test]
fn what_cannot_be_trained_is_refused_beforehand() {
    let golden = AdapterGolden::load("tiny-qwen2-a");
    let model = &golden.models()[0];
    let training = json(&golden.path.join("training.json"));
    let examples = examples(&training["examples"]);
    let refused = |options: TrainOptions, expected: &str| {
        let tokens = Tokens::of(&examples, &options);
        let error =
            Trainer::new(model, &options, tokens, String::new(), &mut |_| true).map(drop).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let with = |lora: Lora| TrainOptions { method: Method::Lora(lora), ..options(&training) };
    refused(
        with(Lora { targets: vec!["query".into()], ..Lora::default() }),
        "no linear of this model is called `query`; there are down_proj, gate_proj, k_proj, lm_head, o_proj",
    );
    refused(with(Lora { rank: 0, ..Lora::default() }), "a rank of at least 1");
    refused(with(Lora { rank: 1 << 40, ..Lora::default() }), "at most 65536");
    // Refused before hundreds of megabytes are drawn, also where only a promise is asked for.
    let huge = TrainOptions { memory_limit: Some(200 << 20), ..with(Lora { rank: 65_536, ..Lora::default() }) };
    let told = promise(model, &huge, Tokens::of(&examples, &huge), 0).unwrap_err().to_string();
    assert!(told.contains("tuning this model needs at least"), "{told}");
    refused(huge, "tuning this model needs at least");
    refused(TrainOptions { memory_limit: Some(1 << 20), ..options(&training) }, "tuning this model needs");
}

#[test]
fn weights_held_as_nf4_learn() {
    let golden = AdapterGolden::load("tiny-llama-a");
    let model = &golden.models()[0];
    let training = json(&AdapterGolden::load("tiny-qwen2-a").path.join("training.json"));
    let examples = examples(&training["examples"]);
    let plain = options(&training);
    let held = TrainOptions { nf4: true, ..plain.clone() };
    let tokens = Tokens::of(&examples, &plain);
    let memory = |options: &TrainOptions| promise(model, options, tokens, 1).unwrap();
    assert_eq!(memory(&held).trained, memory(&plain).trained);
    let mut trainer = trainer(model, &held, &examples);
    let losses: Vec<f64> = (0..20).map(|_| trainer.step(&examples, 20, &|| true).unwrap().loss).collect();
    assert!(losses[19] < 0.95 * losses[0], "{losses:?}");
    let Method::Lora(lora) = &held.method else { unreachable!("the golden's method is LoRA") };
    let dora = Method::Lora(Lora { dora: true, ..lora.clone() });
    let refused = |method: Method, expected: &str| {
        let options = TrainOptions { method, ..held.clone() };
        let error = promise(model, &options, tokens, 1).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(dora, "DoRA looks at the lengths");
    refused(Method::Full, "no frozen weights");
}
