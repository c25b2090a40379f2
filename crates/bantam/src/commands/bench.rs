//! `bantam bench MODEL`: how fast prompts are read and answers made.

mod measure;
mod report;

use anyhow::bail;
use bantam_kernels::available_threads;
use clap::Args;

use crate::arguments::{LoadArguments, ModelArgument, positive};
use crate::interrupt::Interrupt;
use crate::models;
use crate::output::emit_json_pretty;

/// Arguments of `bantam bench`.
#[derive(Args, Debug)]
pub struct BenchArguments {
    #[command(flatten)]
    model: ModelArgument,
    /// Tokens of a prompt; a list makes a test of each, 0 none
    #[arg(short = 'p', long, value_name = "N,…", value_delimiter = ',', default_value = "512")]
    prompt: Vec<usize>,
    /// Tokens to generate; a list makes a test of each, 0 none
    #[arg(short = 'n', long, value_name = "N,…", value_delimiter = ',', default_value = "128")]
    generate: Vec<usize>,
    /// Tokens that are there before; a list makes every test at each depth
    #[arg(short = 'd', long, value_name = "N,…", value_delimiter = ',', default_value = "0")]
    depth: Vec<usize>,
    /// How often each test is measured
    #[arg(short = 'r', long, value_name = "N", default_value = "5", value_parser = positive())]
    repetitions: usize,
    /// Print JSON with llama-bench's field names
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    load: LoadArguments,
}

/// One thing to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test {
    /// Tokens read at once, or 0.
    pub prompt: usize,
    /// Tokens generated one by one, or 0.
    pub generate: usize,
    /// Tokens that are there before either.
    pub depth: usize,
}

impl Test {
    /// Tokens counted: a test either reads or generates.
    pub fn tokens(&self) -> usize {
        self.prompt + self.generate
    }
}

/// Measures and prints.
pub fn run(arguments: &BenchArguments) -> anyhow::Result<()> {
    let model = models::open(&arguments.model.model, arguments.load.size.quantize)?;
    let tests = tests(arguments);
    let Some(needed) = tests.iter().map(|test| test.depth.saturating_add(test.tokens())).max() else {
        bail!("there is nothing to measure: -p and -n are both 0");
    };
    let mut options = models::load_options(&arguments.load, 1);
    match options.context {
        None => options.context = Some(needed),
        Some(context) if context < needed => bail!("the tests need {needed} positions, --context gives {context}"),
        Some(_) => {}
    }
    let threads = options.threads.unwrap_or_else(available_threads);
    let interrupt = Interrupt::install()?;
    // Before the model takes its memory.
    let bandwidth = measure::bandwidth(threads);
    let mut loaded = models::load(&model, &options, &interrupt)?;
    let report = report::Report::new(&model, options, threads, bandwidth);
    let mut rows = Vec::new();
    if !arguments.json {
        report.head()?;
    }
    for test in tests {
        let nanoseconds = measure::run(&mut loaded, test, arguments.repetitions, &interrupt)?;
        if arguments.json {
            rows.push(report.json(test, &nanoseconds));
        } else {
            report.row(test, &nanoseconds)?;
        }
    }
    if arguments.json { emit_json_pretty(&rows) } else { Ok(()) }
}

/// Every depth with every prompt length, then with every answer length.
fn tests(arguments: &BenchArguments) -> Vec<Test> {
    let at_depth = |&depth: &usize| {
        let prompts = arguments.prompt.iter().map(move |&prompt| Test { prompt, generate: 0, depth });
        let answers = arguments.generate.iter().map(move |&generate| Test { prompt: 0, generate, depth });
        prompts.chain(answers).filter(|test| test.tokens() > 0)
    };
    arguments.depth.iter().flat_map(at_depth).collect()
}
