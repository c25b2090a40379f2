//! What trained models make of fixed tokens by the fast paths, beside exact arithmetic on the same weights: perplexity stays
//! what it is to a thousandth.
//!
//! Rounding activations moves the loss of a token by a few hundredths, up or down, so two thousand tokens show a mean only to
//! about half a thousandth. A type fails where its perplexity is off by more than the bound and twice that standard error.

use std::path::PathBuf;
use std::sync::Arc;

use bantam_cpu::CpuBackend;
use bantam_kernels::{Isa, KvFormat, Pool, Precision};
use bantam_plan::{Backend, Batch, CompileOptions, PAGE_CELLS, Plan, WeightView, Weights};
use bantam_runtime::{Model, OpenOptions};
use bantam_tensor::{SharedBytes, TensorType};
use bantam_testkit::shared_dir;
use serde_json::Value;

/// What transformers makes of it: `tools/goldens/perplexity.py`.
const GOLDEN: &str = include_str!("perplexity.json");

struct Case {
    model: Model,
    sequences: Vec<Vec<u32>>,
    /// The mean loss by transformers.
    loss: f64,
}

fn open(path: &str) -> Model {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    Model::open(&path, &OpenOptions::default()).unwrap()
}

fn case(name: &str, model: Model) -> Case {
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let golden = &golden[name];
    let sequences: Vec<Vec<u32>> = serde_json::from_value(golden["sequences"].clone()).unwrap();
    let file = model.path().file_name().unwrap().to_str().unwrap();
    let loss = golden["losses"][file].as_f64().unwrap();
    Case { model, sequences, loss }
}

/// A model's weights, matrices in another type.
struct Encoded(Vec<(String, WeightView)>);

impl Weights for Encoded {
    fn weight(&self, name: &str) -> Option<WeightView> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, view)| view.clone())
    }
}

fn decoded(view: &WeightView) -> Vec<f32> {
    let mut values = vec![0.0; view.rows * view.width];
    view.tensor_type.decode(&view.bytes, &mut values).unwrap();
    values
}

/// Encodes matrices that have whole blocks as the type, others as what stands in for it.
fn encoded(plan: &Plan, weights: &dyn Weights, tensor_type: TensorType) -> Encoded {
    let view = |name: &str| {
        let view = weights.weight(name).unwrap();
        let tensor_type = tensor_type.fallback(view.width);
        if view.rows == 1 || tensor_type == view.tensor_type {
            return view;
        }
        let mut bytes = vec![0; tensor_type.bytes(view.rows, view.width).unwrap()];
        tensor_type.encode(&decoded(&view), &mut bytes).unwrap();
        WeightView { tensor_type, bytes: SharedBytes::from_vec(bytes), ..view }
    };
    Encoded(plan.weights.iter().map(|weight| (weight.name.clone(), view(&weight.name))).collect())
}

/// The loss of each token of a sequence but the first.
fn losses(logits: &[f32], tokens: &[u32]) -> Vec<f64> {
    let width = logits.len() / tokens.len();
    let loss = |(&token, logits): (&u32, &[f32])| {
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = logits.iter().map(|logit| (logit - most).exp()).sum();
        f64::from(most) + f64::from(sum).ln() - f64::from(logits[token as usize])
    };
    tokens[1..].iter().zip(logits.chunks_exact(width)).map(loss).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn by_reference(plan: &Plan, weights: &dyn Weights, sequences: &[Vec<u32>]) -> Vec<f64> {
    let run = |tokens: &Vec<u32>| losses(&plan.run_reference(weights, &Batch::packed(&[tokens])).unwrap(), tokens);
    sequences.iter().flat_map(run).collect()
}

/// How a fast path runs: as `bantam run` does, or without rounding anything.
#[derive(Clone, Copy)]
enum Path {
    Run(Isa),
    Exact,
}

fn by_fast_path(plan: &Plan, weights: &dyn Weights, sequences: &[Vec<u32>], path: Path) -> Vec<f64> {
    let (isa, kv, precision) = match path {
        Path::Run(isa) => (isa, KvFormat::F16, Precision::Bf16),
        Path::Exact => (Isa::detect(), KvFormat::F32, Precision::F32),
    };
    let backend = CpuBackend::new(Arc::new(Pool::new(2)), isa, kv).with_precision(precision);
    let rows = sequences.iter().map(Vec::len).max().unwrap();
    let pages = rows.div_ceil(PAGE_CELLS);
    let options = CompileOptions { rows, outputs: rows, sequences: 1, positions: rows, pages };
    let mut program = backend.compile(plan, weights, &options, &mut |_| true).unwrap();
    let run = |tokens: &Vec<u32>| losses(program.run(&Batch::packed(&[tokens])).unwrap(), tokens);
    sequences.iter().flat_map(run).collect()
}

/// Holds the perplexity of each type, as each of the instruction sets makes it, to that of exact arithmetic, and that of the
/// model as it is to transformers'.
fn check(case: &Case, isas: &[Isa], types: &[(TensorType, f64)]) {
    let Case { model, sequences, loss } = case;
    let file = model.path().display();
    let plan = model.checkpoint().plan_for(256).unwrap();
    let own = encoded(&plan, model.checkpoint(), TensorType::F32);
    let found = mean(&by_fast_path(&plan, &own, sequences, Path::Exact));
    assert!((found - loss).abs() < 1e-5, "{file}: {found}, by transformers {loss}");
    for &(tensor_type, bound) in types {
        let weights = encoded(&plan, model.checkpoint(), tensor_type);
        let plain = encoded(&plan, &weights, TensorType::F32);
        let exact = by_fast_path(&plan, &plain, sequences, Path::Exact);
        // That the exact path is what the Plan means, on a piece: the interpreter takes its time.
        let piece = &[sequences[0][..32].to_vec()];
        let (meant, same) = (by_reference(&plan, &weights, piece), by_fast_path(&plan, &plain, piece, Path::Exact));
        assert!((mean(&meant) - mean(&same)).abs() < 1e-6, "{file} {tensor_type}: the reference {}", mean(&meant));
        for &isa in isas {
            let found = by_fast_path(&plan, &weights, sequences, Path::Run(isa));
            let apart: Vec<f64> = found.iter().zip(&exact).map(|(found, exact)| found - exact).collect();
            let difference = mean(&apart);
            let spread = apart.iter().map(|each| (each - difference).powi(2)).sum::<f64>() / apart.len() as f64;
            let error = (spread / apart.len() as f64).sqrt();
            let said = format!(
                "{file} {tensor_type} {}: {:+.4}% ± {:.4}% of a perplexity of {:.4}",
                isa.name(),
                100.0 * difference.exp_m1(),
                100.0 * error,
                mean(&exact).exp()
            );
            println!("{said}");
            assert!(difference.exp_m1().abs() <= bound + 2.0 * error, "{said}");
        }
    }
}

/// By how much a perplexity may be another.
const BOUND: f64 = 1e-3;

#[test]
fn perplexity_of_stories_stays_what_it_is() {
    let types = [
        TensorType::F32,
        TensorType::F16,
        TensorType::BF16,
        TensorType::Q4_0,
        TensorType::Q4_1,
        TensorType::Q5_0,
        TensorType::Q5_1,
        TensorType::Q8_0,
        TensorType::IQ4_NL,
        TensorType::MXFP4,
    ];
    let types = types.map(|tensor_type| (tensor_type, BOUND));
    check(&case("stories", open("assets/stories260K-q8_0.gguf")), Isa::available(), &types);
    if let Some(shared) = shared_dir() {
        let path = shared.join("data/stories260k/stories260K-f32.gguf");
        let model = Model::open(&path, &OpenOptions::default()).unwrap();
        check(&case("stories", model), &[Isa::detect()], &types[3..8]);
    }
}

#[test]
fn perplexity_of_the_assistant_stays_what_it_is() {
    let types = [
        // Two bits leave a model that rounding moves more than others: 0.43% ± 0.08%.
        (TensorType::Q2_K, 5e-3),
        (TensorType::Q3_K, BOUND),
        (TensorType::Q4_K, BOUND),
        (TensorType::Q5_K, BOUND),
        (TensorType::Q6_K, BOUND),
        (TensorType::IQ4_NL, BOUND),
        (TensorType::IQ4_XS, BOUND),
        (TensorType::MXFP4, BOUND),
    ];
    check(&case("assistant", open("crates/bantam/assets/assistant.gguf")), &[Isa::detect()], &types);
}
