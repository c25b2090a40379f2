//! Memory that training asks for: no matrix of all tokens by the vocabulary, and none of all tokens by all tokens.

use std::sync::Arc;

use bantam_cpu::CpuBackend;
use bantam_kernels::{Isa, KvFormat, Pool};
use bantam_model::lower;
use bantam_model::spec::{Dense, FeedForward, Rope, RopeScaling, Spec};
use bantam_plan::rewrite::{Adapter, recompute, train, with_adapters};
use bantam_plan::{Activation, Backend, Batch, CompileOptions, Plan, RopePairs, Target};
use bantam_tensor::TensorType;
use bantam_testkit::CountingAllocator;

use crate::{attention, spec, weights_of};

/// Large beside everything else: logits of a row are 64 KiB, and all its other values together less than a quarter of that.
const VOCABULARY: usize = 16384;
/// Tokens, all of one sequence: logits of all are 64 MiB, scores of all by all 4 MiB a head.
const ROWS: usize = 1024;
/// Repacked weights share a range of so many addresses, which whoever comes first asks for: memory only where they lie.
const ADDRESSES: u64 = 258 << 20;
/// What a program may take beside what it promises: its steps, names and lists.
const BESIDE: u64 = 256 << 10;

fn narrow() -> Spec {
    spec(|spec, layer| {
        (spec.vocabulary, spec.width, spec.context) = (VOCABULARY, 32, ROWS);
        let rope = Rope { rotated: 16, pairs: RopePairs::Halves, theta: 100.0, scaling: RopeScaling::None };
        let attention = attention(layer);
        (attention.heads, attention.kv_heads, attention.rope) = (2, 1, Some(rope));
        (attention.key_width, attention.value_width) = (16, 16);
        layer.feed_forward = FeedForward::Gated(Dense { hidden: 64, activation: Activation::Silu, bias: false });
    })
}

/// Adapters on a linear of each layer and on the head.
fn with_pairs(plan: &Plan) -> Plan {
    let adapter = |weight: &str, dropout| Adapter { weight: weight.into(), rank: 4, scale: 1.0, dropout, dora: None };
    let adapters =
        [adapter("blk.0.attn_q.weight", 0.1), adapter("blk.1.ffn_down.weight", 0.0), adapter("output.weight", 0.0)];
    let plan = with_adapters(plan, &adapters).unwrap();
    train(&plan, |name| name.contains(".lora_")).unwrap().plan
}

fn check(name: &str, plan: &Plan, tensor_type: TensorType, nf4: bool) {
    let matrices = |name: &str| if name.contains(".lora_") { TensorType::F32 } else { tensor_type };
    let weights = weights_of(plan, &matrices);
    // All of its work is the calling thread's, which counts what it asks for.
    let backend = CpuBackend::new(Arc::new(Pool::new(1)), Isa::detect(), KvFormat::F32);
    let backend = backend.with_logits_bytes(2 << 20).with_training_nf4(nf4);
    let options = |rows| CompileOptions { rows, outputs: rows, sequences: 1, positions: rows, pages: 0 };
    let promised = |rows| backend.training_memory(plan, &weights, &options(rows)).unwrap();
    let [quarter, half, whole] = [ROWS / 4, ROWS / 2, ROWS].map(promised);
    assert_eq!((quarter.weights, quarter.mapped), (whole.weights, whole.mapped), "{name}");
    let (first, second) = (half.scratch - quarter.scratch, whole.scratch - half.scratch);
    assert_eq!(second, 2 * first, "{name}: twice the tokens take twice as much, however long a sequence is");
    let logits_of_row = 4 * VOCABULARY as u64;
    assert!(second < (ROWS / 2) as u64 * logits_of_row / 4, "{name}: {second} bytes for {} tokens more", ROWS / 2);

    // Compiles, takes two steps, and gives what was asked for on the way.
    let asked = |rows: usize| {
        let tokens: Vec<u32> = (0..rows).map(|at| ((at * 7919) % VOCABULARY) as u32).collect();
        let mut batch = Batch::packed(&[&tokens]);
        let target = |at: &u32| Target { token: tokens[(*at as usize + 1) % rows], weight: 1.0 / rows as f32 };
        batch.targets = batch.outputs.iter().map(target).collect();
        batch.dropout = Some(1);
        let (mut program, compiled) = CountingAllocator::count_thread(|| {
            backend.compile_training(plan, &weights, &options(rows), &mut |_| true).unwrap()
        });
        let (loss, ran) = CountingAllocator::count_thread(|| program.run(&batch).unwrap().iter().sum::<f32>());
        // Nothing is known yet of so many tokens.
        assert!((loss - (VOCABULARY as f32).ln()).abs() < 4.0, "{name}: {loss}");
        let (_, again) = CountingAllocator::count_thread(|| program.run(&batch).unwrap().len());
        assert!(again.bytes <= BESIDE, "{name}: another step asks for {} bytes", again.bytes);
        compiled.bytes % ADDRESSES + ran.bytes
    };
    let (few, all) = (asked(ROWS / 4), asked(ROWS));
    let most = whole.weights + whole.scratch + BESIDE;
    assert!(all <= most, "{name}: {all} bytes were asked for, {most} promised");
    let most = whole.scratch - quarter.scratch + BESIDE;
    assert!(all <= few + most, "{name}: {} bytes more were asked for with more tokens, {most} promised", all - few);
}

#[test]
fn training_makes_no_matrix_of_tokens_by_vocabulary_or_by_tokens() {
    assert!(CountingAllocator::is_installed());
    let plan = lower(&narrow()).unwrap();
    let (full, pairs) = (train(&plan, |_| true).unwrap().plan, with_pairs(&plan));
    check("full", &full, TensorType::F32, false);
    check("adapters", &pairs, TensorType::BF16, false);
    check("adapters on blocks", &pairs, TensorType::Q8_0, false);
    check("adapters on NF4", &pairs, TensorType::BF16, true);
    check("recompute", &recompute(&pairs).unwrap(), TensorType::BF16, false);
}
