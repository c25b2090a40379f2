//! The memory promise, and what one token costs.

use bantam_plan::{CostQuestion, total_cost};
use bantam_runtime::{KvFormat, LoadOptions, Model, OpenOptions};
use bantam_testkit::Golden;

fn model() -> Model {
    Model::open(&Golden::load("tiny-llama-a").directory, &OpenOptions::default()).unwrap()
}

#[test]
fn memory_grows_with_context_and_format_as_it_must() {
    let model = model();
    let cache = |context, kv| {
        model.memory(&LoadOptions { context: Some(context), kv, ..LoadOptions::default() }).unwrap().cache
    };
    assert_eq!(cache(128, KvFormat::F32), 2 * cache(64, KvFormat::F32));
    assert_eq!(cache(128, KvFormat::F32), 2 * cache(128, KvFormat::F16));
    assert_eq!(cache(65, KvFormat::F16), cache(128, KvFormat::F16), "pages are whole");
}

#[test]
fn a_model_that_does_not_fit_is_refused_with_a_context_that_does() {
    let model = model();
    let at = |context| LoadOptions { context: Some(context), threads: Some(1), ..LoadOptions::default() };
    let room = model.memory(&at(64)).unwrap().total() + 16;
    let refused = LoadOptions { memory_limit: Some(room), ..at(128) };
    let error = model.load(&refused, &mut |_| true).map(drop).unwrap_err().to_string();
    assert!(error.contains("with a context of 128, but --memory allows"), "{error}");
    assert!(error.ends_with("a context of 64 fits (--context 64)"), "{error}");
    assert!(model.load(&LoadOptions { memory_limit: Some(room), ..at(64) }, &mut |_| true).is_ok());
    let hopeless = LoadOptions { memory_limit: Some(1000), ..at(128) };
    let error = model.load(&hopeless, &mut |_| true).map(drop).unwrap_err().to_string();
    assert!(error.contains("no context fits"), "{error}");
}

#[test]
fn steps_and_bytes_of_a_token_are_what_the_shape_says() {
    let model = model();
    let plan = model.plan();
    let layers = model.spec().layers.len();
    // Embed; per layer 2 norms, q k v o gate up down, 2 ropes, attend, glu, 2 sums; of the last one what attention
    // gives and what it began with selected; norm, head.
    assert_eq!(plan.steps.len(), 1 + 15 * layers + 2 + 2);
    let cost = total_cost(
        plan,
        &CostQuestion {
            tokens: 1,
            outputs: 1,
            context: 1,
            memory_bytes: &|numbers| 2 * numbers as u64,
            weight_bytes: &|_, rows, width| 2 * (rows * width) as u64,
        },
    );
    let all: u64 = plan.weights.iter().map(|weight| 2 * (weight.rows * weight.width) as u64).sum();
    let table = &plan.weights[0];
    let one_row = 2 * table.width as u64;
    assert_eq!(cost.weights, all - 2 * (table.rows * table.width) as u64 + one_row);
}
