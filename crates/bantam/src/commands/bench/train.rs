//! `bantam bench MODEL --train`: how fast an adapter learns.

use std::time::Instant;

use anyhow::bail;
use bantam_kernels::{Isa, Pool, available_threads, float_peak};
use bantam_plan::{Op, Rows, Step};
use bantam_runtime::Model;
use bantam_train::adapters::Lora;
use bantam_train::data::Example;
use bantam_train::trainer::promise;
use bantam_train::{Method, Tokens, TrainError, TrainOptions, Trainer};
use clap::Args;
use serde_json::{Value, json};

use super::report::Form;
use super::{measure, profile};
use crate::arguments::{LoadArguments, RecomputeChoice, positive, rank, share};
use crate::failure::interrupted;
use crate::interrupt::Interrupt;
use crate::output::{emit, emit_json_pretty};
use crate::progress::Progress;
use crate::size;

/// What is trained to measure it.
#[derive(Args, Debug)]
#[command(next_help_heading = "Training")]
pub struct TrainingArguments {
    /// Measure training instead: LoRA on all linears, examples of random tokens
    #[arg(long, conflicts_with_all = ["prompt", "generate", "depth", "batch", "quantize", "context", "kv", "adapter", "any_base"])]
    pub train: bool,
    /// Rank of the adapters; a list makes a test of each
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "16", requires = "train", value_parser = rank())]
    pub rank: Vec<usize>,
    /// Examples of a step
    #[arg(long, value_name = "N", default_value = "4", requires = "train", value_parser = positive())]
    pub examples: usize,
    /// Tokens of an example
    #[arg(long, value_name = "N", default_value = "256", requires = "train", value_parser = positive())]
    pub length: usize,
    /// Share of each example's tokens that are learned, its last ones
    #[arg(long, value_name = "SHARE", default_value = "1", requires = "train", value_parser = share)]
    pub learned: f32,
    /// Modules that get an adapter, such as q_proj,v_proj
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', default_value = "all-linear", requires = "train")]
    pub target: Vec<String>,
    /// Share of what an adapter reads that is left out
    #[arg(long, value_name = "X", default_value = "0", requires = "train", value_parser = share)]
    pub dropout: f32,
    /// Hold the frozen matrices of layers as NF4 with double quantization
    #[arg(long, requires = "train")]
    pub nf4: bool,
    /// When to make the values of layers anew on the way back instead of keeping them
    #[arg(long, value_name = "WHEN", default_value = "auto", requires = "train")]
    pub recompute: RecomputeChoice,
}

/// Most tokens of a step: more than any machine trains with at once, and few enough to be counted with.
const MOST_TOKENS: usize = 1 << 24;

/// Measures and prints.
pub fn run(
    model: &Model,
    arguments: &TrainingArguments,
    load: &LoadArguments,
    repetitions: usize,
    (as_json, profiled): (bool, bool),
) -> anyhow::Result<()> {
    let TrainingArguments { examples: count, length, .. } = *arguments;
    let tokens_in_step = count.checked_mul(length).filter(|tokens| *tokens <= MOST_TOKENS);
    let Some(tokens_in_step) = tokens_in_step else {
        bail!("{count} examples of {length} tokens are more than the {MOST_TOKENS} tokens that a step may have");
    };
    // Every test before anything is drawn or printed.
    let mut tests = Vec::new();
    for &rank in &arguments.rank {
        let options = TrainOptions {
            method: Method::Lora(Lora {
                rank,
                alpha: 2.0 * rank as f32,
                targets: arguments.target.clone(),
                dropout: arguments.dropout,
                ..Lora::default()
            }),
            batch: count,
            rows: tokens_in_step,
            epochs: repetitions + 1,
            recompute: arguments.recompute.into(),
            nf4: arguments.nf4,
            threads: load.size.threads,
            memory_limit: load.memory,
            ..TrainOptions::default()
        };
        let tokens = Tokens::for_lengths(count, length + 1, &options);
        let promised = promise(model, &options, tokens, 0)?;
        promised.check(&options)?;
        tests.push((rank, options, tokens, promised));
    }
    let interrupt = Interrupt::install()?;
    let vocabulary = model.spec().vocabulary as u64;
    let mut state = 7u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % vocabulary) as u32
    };
    let silent = ((1.0 - arguments.learned) * length as f32) as usize;
    let examples: Vec<Example> = (0..count)
        .map(|_| Example {
            // The last token is only predicted.
            tokens: (0..=length).map(|_| draw()).collect(),
            said: (0..=length).map(|at| at > silent.min(length - 1)).collect(),
            line: 0,
        })
        .collect();
    // A product each forwards and backwards with every frozen matrix; what adapters and attention add is not counted.
    let plan = model.plan();
    let outputs = |step: &Step| step.outputs.iter().any(|id| plan.get(*id).rows == Rows::Outputs);
    let share = |step: &Step| if outputs(step) { 1.0 - silent as f64 / length as f64 } else { 1.0 };
    let products = plan.steps.iter().filter(|step| matches!(step.op, Op::Linear(_)));
    let frozen: f64 = products.map(|step| step.op.flops(plan, &step.inputs, 0) as f64 * share(step)).sum();
    let pool = Pool::new(load.size.threads.unwrap_or_else(available_threads));
    let peak = float_peak(&pool, Isa::detect());
    drop(pool);
    let mut rows = Vec::new();
    if !as_json {
        let of = peak.map_or("share of peak".to_owned(), |peak| format!("of the {} peak", peak.of));
        emit(&format!("| test | tokens/s | Gflop/s | {of} | peak memory |\n|---|--:|--:|--:|--:|\n"))?;
    }
    for (rank, options, tokens, promised) in tests {
        let counts_memory = measure::forget_peak_memory();
        let mut bar = Progress::start();
        let loading = &mut |_: u64| !interrupt.is_set();
        let mut trainer = stop(Trainer::new(model, &options, tokens, String::new(), loading))?;
        let mut seconds = Vec::new();
        for repetition in 0..=repetitions {
            if profiled && repetition == 1 {
                trainer.profile(true);
            }
            let begin = Instant::now();
            stop(trainer.step(&examples, repetitions + 1, &|| !interrupt.is_set()))?;
            bar.update_count("training", repetition + 1, repetitions + 1);
            // The first touches all memory for the first time.
            if repetition > 0 {
                seconds.push(begin.elapsed().as_secs_f64());
            }
        }
        drop(bar);
        let profile = trainer.profile(false);
        seconds.sort_by(f64::total_cmp);
        let median = seconds[seconds.len() / 2];
        let speed = tokens_in_step as f64 / median;
        let flops = speed * 2.0 * frozen;
        let memory = if counts_memory { bantam_runtime::peak_memory() } else { None };
        let held = if arguments.nf4 { "nf4 " } else { "" };
        let name = format!("{held}lora r{rank} {count}x{length}");
        if as_json {
            rows.push(json!({
                "test": name,
                "model": model.name(),
                "rank": rank,
                "examples": count,
                "length": length,
                "recompute": promised.recompute,
                "learned": arguments.learned,
                "profile": if profiled { profile::json(&profile) } else { Value::Null },
                "tokens_per_second": speed,
                "seconds": seconds,
                "flops_per_second": flops,
                "peak_flops_per_second": peak.map(|peak| peak.flops),
                "peak_of": peak.map(|peak| peak.of),
                "promised_memory": promised.memory,
                "peak_memory": memory,
            }));
        } else {
            let memory = memory.map_or("-".to_owned(), size::format);
            let share = peak.map_or("-".to_owned(), |peak| format!("{:.0}%", 100.0 * flops / peak.flops));
            emit(&format!("| {name} | {speed:.1} | {:.1} | {share} | {memory} |\n", flops / 1e9))?;
            if profiled {
                profile::print(Form::Terminal, &profile)?;
            }
        }
    }
    if as_json { emit_json_pretty(&rows) } else { Ok(()) }
}

/// An interruption as the command's own.
fn stop<T>(result: Result<T, TrainError>) -> anyhow::Result<T> {
    match result {
        Err(TrainError::Interrupted) => Err(interrupted()),
        other => Ok(other?),
    }
}
