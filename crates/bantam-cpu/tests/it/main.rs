//! The CPU backend against the reference interpreter, over every property a Spec can have.

#[path = "../../../bantam-model/tests/it/load.rs"]
mod load;
mod memory;
mod training;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bantam_cpu::CpuBackend;
use bantam_kernels::{ActivationKind, Isa, KvFormat, Matrix, Pool, Precision};
use bantam_model::lower;
use bantam_model::spec::{
    Attention, AttentionBias, Dense, Experts, FeedForward, Head, Layer, Mixer, Norm, NormOver, Norms, QueryKeyNorm,
    Rope, RopeScaling, Spec, Wiring,
};
use bantam_plan::{
    Activation, Backend, Batch, CompileOptions, NormKind, PAGE_CELLS, Place, Plan, Profile, Program, RopePairs, Router,
    WeightView, Weights,
};
use bantam_tensor::{OwnBytes, SharedBytes, TensorType};
use bantam_testkit::{CountingAllocator, Random, assert_bits_equal, assert_close, evidence};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const VOCABULARY: usize = 40;

/// Weights in one format, matrices at least; vectors stay f32.
struct Made(HashMap<String, WeightView>);

impl Weights for Made {
    fn weight(&self, name: &str) -> Option<WeightView> {
        self.0.get(name).cloned()
    }
}

fn weights(plan: &Plan, tensor_type: TensorType) -> Made {
    weights_of(plan, &|_| tensor_type)
}

/// The same, each of a type of its own.
fn weights_of(plan: &Plan, types: &dyn Fn(&str) -> TensorType) -> Made {
    let mut random = Random::new(3);
    let made = plan.weights.iter().map(|weight| {
        let count = weight.rows * weight.width;
        let tensor_type = types(&weight.name);
        let (tensor_type, values) = if weight.rows == 1 {
            (TensorType::F32, (0..count).map(|_| random.between(0.5, 1.5)).collect::<Vec<f32>>())
        } else {
            (tensor_type, random.normals(count, 1.3 / (weight.width as f32).sqrt()))
        };
        let mut bytes = vec![0; tensor_type.bytes(weight.rows, weight.width).unwrap()];
        if tensor_type.can_encode() {
            tensor_type.encode(&values, &mut bytes).unwrap();
        } else {
            noise(tensor_type, &mut bytes, &mut random);
        }
        let view =
            WeightView { tensor_type, rows: weight.rows, width: weight.width, bytes: SharedBytes::from_vec(bytes) };
        (weight.name.clone(), view)
    });
    Made(made.collect())
}

/// Any codes, with scales that make values of about 1/16: for types that are only read.
fn noise(tensor_type: TensorType, bytes: &mut [u8], random: &mut Random) {
    bytes.iter_mut().for_each(|byte| *byte = random.below(256) as u8);
    for block in bytes.chunks_exact_mut(tensor_type.block_bytes()) {
        match tensor_type {
            TensorType::NVFP4 => block[..4].iter_mut().for_each(|scale| *scale = 0x08 | *scale & 0x07),
            // Four bits of the scale in each of four bytes.
            TensorType::IQ1_M => [49, 51, 53, 55].into_iter().zip([0, 0, 4, 2]).for_each(|(at, four)| {
                block[at] = block[at] & 15 | four << 4;
            }),
            TensorType::IQ1_S => block[..2].copy_from_slice(&[0x00, 0x24]),
            TensorType::Q1_0 | TensorType::Q2_0 => block[..2].copy_from_slice(&[0x00, 0x2c]),
            _ => block[..2].copy_from_slice(&[0x00, 0x14]),
        }
    }
}

/// Two layers with heads of 32 columns, so that every format of keys and values fits.
fn spec(change: impl Fn(&mut Spec, &mut Layer)) -> Spec {
    let norm = Norm { kind: NormKind::Rms, eps: 1e-3, shift: 0.0, bias: false };
    let norms = Norms { before: Some(norm), after: None };
    let attention = Attention {
        heads: 4,
        kv_heads: 2,
        key_width: 32,
        value_width: 32,
        scale: 0.2,
        window: None,
        softcap: None,
        causal: true,
        rope: Some(Rope { rotated: 32, pairs: RopePairs::Halves, theta: 100.0, scaling: RopeScaling::None }),
        query_key_norm: None,
        bias: AttentionBias::default(),
    };
    let mut layer = Layer {
        wiring: Wiring::Sequential,
        mixer: Mixer::Attention(attention),
        mixer_norms: norms.clone(),
        feed_forward: FeedForward::Gated(Dense { hidden: 96, activation: Activation::Silu, bias: false }),
        feed_forward_norms: norms,
        branch_scale: None,
    };
    let mut spec = Spec {
        family: "test",
        vocabulary: VOCABULARY,
        width: 64,
        context: 256,
        embedding_scale: None,
        layers: Vec::new(),
        output_norm: Some(norm),
        learned_positions: false,
        segments: None,
        embedding_norm: None,
        head: Some(Head::default()),
    };
    change(&mut spec, &mut layer);
    spec.layers = vec![layer.clone(), layer];
    spec
}

fn attention(layer: &mut Layer) -> &mut Attention {
    let Mixer::Attention(attention) = &mut layer.mixer;
    attention
}

fn specs() -> Vec<(&'static str, Spec)> {
    let layer_norm = Norm { kind: NormKind::Layer, eps: 1e-3, shift: 0.0, bias: true };
    let shifted = Norm { kind: NormKind::Rms, eps: 1e-3, shift: 1.0, bias: false };
    let dense = |activation, bias| Dense { hidden: 96, activation, bias };
    vec![
        ("plain", spec(|_, _| ())),
        (
            "tied, biases",
            spec(move |spec, layer| {
                spec.head = Some(Head { tied: true, ..spec.head.take().unwrap_or_default() });
                attention(layer).bias = AttentionBias { qkv: true, output: true };
                layer.feed_forward = FeedForward::Gated(dense(Activation::GeluTanh, true));
            }),
        ),
        (
            "layer norm, parallel, plain network, partial interleaved rope",
            spec(move |spec, layer| {
                layer.wiring = Wiring::Parallel;
                layer.mixer_norms.before = Some(layer_norm);
                layer.feed_forward_norms.before = None;
                layer.feed_forward = FeedForward::Plain(dense(Activation::GeluErf, true));
                spec.output_norm = Some(layer_norm);
                spec.head = Some(Head { bias: true, ..spec.head.take().unwrap_or_default() });
                let rope = Rope {
                    rotated: 16,
                    pairs: RopePairs::Interleaved,
                    theta: 50.0,
                    scaling: RopeScaling::Linear { factor: 2.0 },
                };
                attention(layer).rope = Some(rope);
            }),
        ),
        ("parallel with two norms", spec(|_, layer| layer.wiring = Wiring::Parallel)),
        (
            "sandwich, shifted norms, softcaps, scales",
            spec(move |spec, layer| {
                spec.embedding_scale = Some(8.0);
                spec.head = Some(Head { softcap: Some(3.0), ..spec.head.take().unwrap_or_default() });
                spec.head = Some(Head { scale: Some(0.5), ..spec.head.take().unwrap_or_default() });
                attention(layer).softcap = Some(2.0);
                layer.mixer_norms = Norms { before: Some(shifted), after: Some(shifted) };
                layer.feed_forward_norms = Norms { before: Some(shifted), after: Some(shifted) };
                layer.branch_scale = Some(0.4);
            }),
        ),
        (
            "window, head norms",
            spec(move |_, layer| {
                attention(layer).window = Some(20);
                attention(layer).query_key_norm = Some(QueryKeyNorm { norm: shifted, over: NormOver::Head });
            }),
        ),
        (
            "no rope, whole-row norms, norms only after",
            spec(move |_, layer| {
                attention(layer).rope = None;
                attention(layer).query_key_norm = Some(QueryKeyNorm { norm: shifted, over: NormOver::Row });
                layer.mixer_norms = Norms { before: None, after: Some(shifted) };
                layer.feed_forward_norms = Norms { before: None, after: Some(shifted) };
                layer.feed_forward = FeedForward::Plain(dense(Activation::ReluSquared, false));
            }),
        ),
        (
            "learned positions, segments, layer norms of heads with factors of their own",
            spec(move |spec, layer| {
                spec.learned_positions = true;
                spec.segments = Some(2);
                spec.embedding_norm = Some(layer_norm);
                let norm = Norm { bias: false, ..layer_norm };
                attention(layer).query_key_norm = Some(QueryKeyNorm { norm, over: NormOver::OwnHead });
            }),
        ),
        (
            // All of them: which are chosen is not for rounding to say.
            "experts",
            spec(move |_, layer| {
                let (router, expert) = (Router::Softmax { normalized: true }, dense(Activation::Silu, false));
                layer.feed_forward = FeedForward::Experts(Experts { count: 3, chosen: 3, router, expert });
            }),
        ),
    ]
}

fn compile(plan: &Plan, weights: &Made, threads: usize, cache: KvFormat) -> Box<dyn Program> {
    compile_with(plan, weights, CpuBackend::new(Arc::new(Pool::new(threads)), Isa::detect(), cache))
}

fn compile_with(plan: &Plan, weights: &Made, backend: CpuBackend) -> Box<dyn Program> {
    let options = CompileOptions { rows: 96, outputs: 96, sequences: 2, positions: 128, pages: 4 };
    backend.compile(plan, weights, &options, &mut |_| true).unwrap()
}

fn tokens(count: usize) -> Vec<u32> {
    let mut random = Random::new(9);
    (0..count).map(|_| random.below(VOCABULARY) as u32).collect()
}

/// Logits of all tokens, run in pieces.
fn in_pieces(program: &mut dyn Program, tokens: &[u32], piece: usize) -> Vec<f32> {
    let mut out = Vec::new();
    for (n, part) in tokens.chunks(piece).enumerate() {
        let mut batch = Batch { tables: vec![vec![3, 1]], ..Batch::default() };
        for (i, &token) in part.iter().enumerate() {
            let position = n * piece + i;
            assert!(position < 2 * PAGE_CELLS);
            batch.outputs.push(i as u32);
            batch.tokens.push(token);
            batch.places.push(Place { sequence: 0, position: position as u32 });
        }
        out.extend_from_slice(program.run(&batch).unwrap());
    }
    out
}

#[test]
fn programs_compute_what_the_reference_says() {
    let tokens = tokens(90);
    for (name, spec) in specs() {
        let plan = lower(&spec).unwrap();
        let weights = weights(&plan, TensorType::F32);
        let expected = plan.run_reference(&weights, &Batch::packed(&[&tokens])).unwrap();
        let whole = in_pieces(&mut *compile(&plan, &weights, 1, KvFormat::F32), &tokens, 96);
        assert_close(&whole, &expected, 1e-5, name);
        for (threads, piece) in [(1, 1), (2, 7), (3, 64)] {
            let found = in_pieces(&mut *compile(&plan, &weights, threads, KvFormat::F32), &tokens, piece);
            assert_bits_equal(&found, &whole, &format!("{name}: {threads} threads, pieces of {piece}"));
        }
    }
}

#[test]
fn quantized_programs_do_not_depend_on_how_a_prompt_is_cut() {
    // One type throughout, and gates whose partners have another: what runs as one for many rows must not show.
    let mixed = |name: &str| if name.contains("ffn_up") { TensorType::Q5_0 } else { TensorType::Q4_0 };
    let tokens = tokens(40);
    for (name, spec) in specs() {
        let plan = lower(&spec).unwrap();
        for types in [&|_: &str| TensorType::Q8_0, &mixed] as [&dyn Fn(&str) -> TensorType; 2] {
            let weights = weights_of(&plan, types);
            let whole = in_pieces(&mut *compile(&plan, &weights, 2, KvFormat::F32), &tokens, 96);
            for (threads, piece) in [(1, 1), (2, 17)] {
                for later in [None, Some(0)] {
                    let backend = CpuBackend::new(Arc::new(Pool::new(threads)), Isa::detect(), KvFormat::F32);
                    let mut program = compile_with(&plan, &weights, backend.with_repacking_later(later));
                    let found = in_pieces(&mut *program, &tokens, piece);
                    let how = format!("{name}: {threads} threads, pieces of {piece}, repacked later: {later:?}");
                    assert_bits_equal(&found, &whole, &how);
                }
            }
        }
    }
}

/// Bytes that count how often somebody is done with some of them.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl OwnBytes for Counted {
    fn done_with(&self, _: std::ops::Range<usize>) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn weights_that_wait_are_repacked_between_the_first_batches() {
    let plan = lower(&specs().remove(0).1).unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let mut weights = weights(&plan, TensorType::Q8_0);
    for view in weights.0.values_mut().filter(|view| view.tensor_type == TensorType::Q8_0) {
        let counted = Counted(view.bytes.to_vec(), Arc::clone(&count));
        view.bytes = SharedBytes::new(Arc::new(counted), 0..view.bytes.len()).unwrap();
    }
    let backend = CpuBackend::new(Arc::new(Pool::new(1)), Isa::detect(), KvFormat::F32);
    let mut program = compile_with(&plan, &weights, backend.with_repacking_later(Some(0)));
    let tokens = tokens(8);
    let done = [1, 2, 3, 4, 5, 6].map(|batches| {
        in_pieces(&mut *program, &tokens[..1], 1);
        (batches, count.load(Ordering::Relaxed))
    });
    let all = weights.0.values().filter(|view| view.tensor_type == TensorType::Q8_0).count();
    assert_eq!((done[0], done[4], done[5]), ((1, 0), (5, all), (6, all)), "{done:?}");
    assert!(done.windows(2).take(4).all(|pair| pair[0].1 < pair[1].1), "{done:?}");
}

#[test]
fn every_format_of_keys_and_values_stays_close_and_bit_equal_to_itself() {
    let tokens = tokens(90);
    let plan = lower(&spec(|_, _| ())).unwrap();
    let weights = weights(&plan, TensorType::F32);
    let expected = plan.run_reference(&weights, &Batch::packed(&[&tokens])).unwrap();
    for (cache, tolerance) in [(KvFormat::F16, 1e-3), (KvFormat::Q8_0, 3e-2)] {
        let whole = in_pieces(&mut *compile(&plan, &weights, 1, cache), &tokens, 96);
        assert_close(&whole, &expected, tolerance, cache.name());
        assert!(whole.iter().zip(&expected).any(|(a, b)| (a - b).abs() > 1e-6), "{} was used", cache.name());
        for piece in [1, 30] {
            let found = in_pieces(&mut *compile(&plan, &weights, 2, cache), &tokens, piece);
            assert_bits_equal(&found, &whole, &format!("{}, pieces of {piece}", cache.name()));
        }
    }
}

#[test]
fn every_weight_type_runs_within_its_own_rounding() {
    let tokens = tokens(30);
    // Rows of 256 throughout, so that the blocks of every type fit.
    let plan = lower(&spec(|spec, layer| {
        spec.width = 256;
        attention(layer).heads = 8;
        layer.feed_forward = FeedForward::Gated(Dense { hidden: 256, activation: Activation::Silu, bias: false });
    }))
    .unwrap();
    let floats = [TensorType::F32, TensorType::F16, TensorType::BF16];
    for tensor_type in TensorType::ALL.iter().copied().filter(|each| each.is_quantized() || floats.contains(each)) {
        let weights = weights(&plan, tensor_type);
        let expected = plan.run_reference(&weights, &Batch::packed(&[&tokens])).unwrap();
        let whole = in_pieces(&mut *compile(&plan, &weights, 2, KvFormat::F32), &tokens, 96);
        // Weights are exact on both sides; what differs is that some products round their activations.
        let tolerance = match Matrix::activation_in(Precision::Bf16, tensor_type) {
            ActivationKind::F32 => 1e-5,
            ActivationKind::Bf16 => 2e-2,
            ActivationKind::Int8 => 5e-2,
            // One scale for 256 rounds more coarsely, and a model of noise bends much.
            ActivationKind::Int8By256 => 8e-2,
        };
        assert_close(&whole, &expected, tolerance, tensor_type.name());
        let one_by_one = in_pieces(&mut *compile(&plan, &weights, 1, KvFormat::F32), &tokens, 1);
        assert_bits_equal(&one_by_one, &whole, tensor_type.name());
        if Matrix::activation_in(Precision::Bf16, tensor_type).is_int8() {
            evidence::shown("tensor type", tensor_type.name(), "int8 product");
        }
    }
}

#[test]
fn keys_and_values_that_do_not_fit_are_refused_before_loading_too() {
    let plan = lower(&spec(|_, layer| {
        attention(layer).key_width = 24;
        attention(layer).rope = None;
    }))
    .unwrap();
    let weights = weights(&plan, TensorType::F32);
    let backend = CpuBackend::new(Arc::new(Pool::new(1)), Isa::detect(), KvFormat::Q8_0);
    let options = CompileOptions { rows: 8, outputs: 8, sequences: 1, positions: 64, pages: 1 };
    let promised = backend.memory(&plan, &weights, &options).map(drop).unwrap_err().to_string();
    let compiled = backend.compile(&plan, &weights, &options, &mut |_| true).map(drop).unwrap_err().to_string();
    assert_eq!(promised, compiled);
    assert_eq!(promised, "keys and values in q8_0 need a head width that is a multiple of 32, found 24 in layer 0");
}

#[test]
fn a_layer_has_few_barriers_and_a_profile_tells_of_every_step() {
    let plan = lower(&spec(|spec, layer| {
        spec.width = 256;
        attention(layer).heads = 8;
        layer.feed_forward = FeedForward::Gated(Dense { hidden: 256, activation: Activation::Silu, bias: false });
    }))
    .unwrap();
    let layers = plan.memory_layers().len() as u64;
    let weights = weights(&plan, TensorType::Q8_0);
    let mut program = compile(&plan, &weights, 2, KvFormat::F16);
    assert_eq!(program.profile(true), Profile::default());
    let (tokens, mut count) = (tokens(40), 0);
    for piece in [40, 1] {
        in_pieces(&mut *program, &tokens[..piece], piece);
        count += 1;
    }
    let profile = program.profile(false);
    assert_eq!(profile.runs, count);
    // Queries with keys and values, attention, its output, gate with up, down; storing and rope of a long prompt; the head.
    let most = 2 * (5 * layers + 1) + 8 * layers;
    assert!(profile.regions <= most, "{} regions in two runs of {layers} layers", profile.regions);
    for name in ["norm", "quantize", "linear attn_q+attn_k+attn_v", "attend", "linear ffn_gate+ffn_up, glu"] {
        let step = profile.steps.iter().find(|step| step.name == name);
        let step = step.unwrap_or_else(|| panic!("no {name} in {:?}", profile.steps));
        assert!(step.calls >= layers * count && step.nanoseconds > 0, "{step:?}");
        assert_eq!(step.operations > 0, name.starts_with("linear") || name == "attend", "{step:?}");
    }
    assert_eq!(program.profile(false), Profile::default());
}
