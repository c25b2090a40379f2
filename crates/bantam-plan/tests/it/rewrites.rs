//! The printable form, and rewrites seen through it.

use bantam_plan::reference::Interpreter;
use bantam_plan::rewrite::{Adapter, observe, recompute, train, with_adapters, with_dropout};
use bantam_plan::*;

use crate::tiny::{Tiny, training_batch, weights_for};

fn one_layer() -> Plan {
    Tiny { layers: 1, gated: false, ..Tiny::default() }.plan()
}

#[test]
fn a_plan_prints_one_line_a_step() {
    let expected = "\
x [tokens, 8] = embed token_embd.weight()
blk.0.attn_norm [tokens, 8] = norm_rms blk.0.attn_norm.weight eps=1e-2 shift=0.25(x)
blk.0.attn_q [tokens, 16] = linear blk.0.attn_q.weight bias=blk.0.attn_q.bias(blk.0.attn_norm)
blk.0.attn_k [tokens, 8] = linear blk.0.attn_k.weight(blk.0.attn_norm)
blk.0.attn_v [tokens, 8] = linear blk.0.attn_v.weight bias=blk.0.attn_v.bias(blk.0.attn_norm)
q turned [tokens, 16] = rope heads=4x4 rotated=4 pairs=Halves table=0(blk.0.attn_q)
k turned [tokens, 8] = rope heads=2x4 rotated=4 pairs=Halves table=0(blk.0.attn_k)
attended [tokens, 16] = attend memory=0 heads=4/2x4 scale=0.6(q turned, k turned, blk.0.attn_v)
blk.0.attn_output [tokens, 8] = linear blk.0.attn_output.weight(attended)
x attn [tokens, 8] = add(x, blk.0.attn_output)
blk.0.ffn_norm [tokens, 8] = norm_rms blk.0.ffn_norm.weight eps=1e-2 shift=0.25(x attn)
blk.0.ffn_up [tokens, 12] = linear blk.0.ffn_up.weight(blk.0.ffn_norm)
hidden [tokens, 12] = activate Silu(blk.0.ffn_up)
blk.0.ffn_down [tokens, 8] = linear blk.0.ffn_down.weight bias=blk.0.ffn_down.bias(hidden)
x ffn [tokens, 8] = add(x attn, blk.0.ffn_down)
selected [outputs, 8] = select(x ffn)
output_norm [outputs, 8] = norm_rms output_norm.weight eps=1e-2 shift=0.25(selected)
logits [outputs, 11] = linear output.weight(output_norm)
output logits
";
    assert_eq!(one_layer().to_string(), expected);
}

#[test]
fn backward_steps_stop_where_nothing_is_trained() {
    let training = train(&one_layer(), |name| name == "blk.0.ffn_down.weight").unwrap();
    let text = training.plan.to_string();
    let added: Vec<&str> = text.lines().skip(18).collect();
    let expected = [
        "loss [outputs, 1] = loss(logits)",
        "d logits [outputs, 11] = backward loss(logits)",
        "d output_norm [outputs, 8] = backward linear output.weight(output_norm, d logits)",
        "d selected [outputs, 8] = backward norm_rms output_norm.weight eps=1e-2 shift=0.25(selected, d output_norm)",
        "d x ffn [tokens, 8] = backward select(x ffn, d selected)",
        "backward linear blk.0.ffn_down.weight bias=blk.0.ffn_down.bias(hidden, d x ffn)",
        "output loss",
    ];
    assert_eq!(added, expected);
}

#[test]
fn recompute_repeats_a_layer_just_before_its_backward() {
    let training = train(&one_layer(), |_| true).unwrap();
    let text = recompute(&training.plan).unwrap().to_string();
    let again: Vec<&str> = text.lines().filter(|line| line.contains(" again [")).collect();
    assert_eq!(again.len(), 12, "all of the layer but its last sum and its last linear:\n{text}");
    let first = text.lines().position(|line| line.contains(" again [")).unwrap();
    assert!(text.lines().nth(first - 1).unwrap().starts_with("d x ffn"), "{text}");
    let plain = recompute(&one_layer()).unwrap_err().to_string();
    assert_eq!(plain, "rewrite `recompute`: the plan has no backward steps; apply `train` first");
}

#[test]
fn an_adapter_of_an_unknown_weight_is_refused() {
    let adapter = Adapter { weight: "blk.7.attn_q.weight".into(), rank: 1, scale: 1.0, dropout: 0.0, dora: None };
    let error = with_adapters(&one_layer(), &[adapter]).unwrap_err().to_string();
    assert_eq!(error, "rewrite `with_adapters`: no linear reads weight `blk.7.attn_q.weight`");
}

#[test]
fn dropout_is_on_embeddings_and_on_what_joins_the_stream() {
    let plan = one_layer();
    let dropped = with_dropout(&plan, 0.25).unwrap();
    let text = dropped.to_string();
    let found: Vec<&str> = text.lines().filter(|line| line.contains("dropout")).collect();
    let expected = [
        "x [tokens, 8] = dropout rate=0.25 stream=1(x whole)",
        "blk.0.attn_output dropout [tokens, 8] = dropout rate=0.25 stream=2(blk.0.attn_output)",
        "x attn [tokens, 8] = add(x, blk.0.attn_output dropout)",
        "blk.0.ffn_down dropout [tokens, 8] = dropout rate=0.25 stream=3(blk.0.ffn_down)",
        "x ffn [tokens, 8] = add(x attn, blk.0.ffn_down dropout)",
    ];
    assert_eq!(found, expected, "{text}");
    // Without a seed nothing is left out.
    let (weights, mut batch) = (weights_for(&plan, 1), training_batch());
    let kept = plan.run_reference(&weights, &batch).unwrap();
    assert_eq!(dropped.run_reference(&weights, &batch).unwrap(), kept);
    batch.dropout = Some(5);
    assert_ne!(dropped.run_reference(&weights, &batch).unwrap(), kept);
}

#[test]
fn each_value_linears_read_is_observed_once() {
    let plan = one_layer();
    let weights = weights_for(&plan, 1);
    let observed = observe(&plan);
    let readers: Vec<usize> = observed.slots.iter().map(|(_, readers)| readers.len()).collect();
    assert_eq!(readers, [3, 1, 1, 1, 1]);
    let mut interpreter = Interpreter::new(&observed.plan, &weights).unwrap();
    let batch = training_batch();
    interpreter.run(&batch).unwrap();
    let (value, _) = observed.slots[0];
    let seen = &interpreter.observations()[0];
    let column: f64 = interpreter.value(value).chunks(8).map(|row| f64::from(row[2]).powi(2)).sum();
    assert_eq!((seen.rows, seen.squares[2]), (10, column));
    assert_eq!(interpreter.output(), plan.run_reference(&weights, &batch).unwrap());
}

#[test]
fn cost_counts_flops_and_bytes() {
    let plan = one_layer();
    let (memory_bytes, weight_bytes) =
        (|n: usize| 2 * n as u64, |_: &str, rows: usize, width: usize| (4 * rows * width) as u64);
    let question =
        CostQuestion { tokens: 3, outputs: 1, context: 10, memory_bytes: &memory_bytes, weight_bytes: &weight_bytes };
    let logits = step_cost(&plan, plan.steps.last().unwrap(), &question);
    assert_eq!(logits, Cost { flops: 2 * 8 * 11, weights: 4 * 88, activations: 4 * (8 + 11), memory: 0 });
    let embed = step_cost(&plan, &plan.steps[0], &question);
    assert_eq!(embed, Cost { flops: 0, weights: 3 * 8 * 4, activations: 3 * 8 * 4, memory: 0 });
    let attend = step_cost(&plan, &plan.steps[7], &question);
    assert_eq!((attend.flops, attend.memory), (3 * 2 * 4 * 8 * 10, 3 * 11 * 2 * 16));
    assert!(total_cost(&plan, &question).flops > logits.flops + attend.flops);
}
