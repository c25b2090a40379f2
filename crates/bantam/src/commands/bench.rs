//! `bantam bench MODEL`: how fast prompts are read and answers made.

mod measure;
mod profile;
mod report;
mod train;

use std::time::Instant;

use anyhow::bail;
use bantam_kernels::{Isa, Pool, int8_peak, read_bandwidth};
use clap::Args;

use crate::arguments::{LoadArguments, ModelArgument, positive, sequences};
use crate::interrupt::Interrupt;
use crate::models;
use crate::output::emit_json_pretty;
use crate::progress::Progress;
use report::{Form, Machine, Report};

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
    /// Sequences that generate together; a list makes a test of each
    #[arg(short = 'b', long, value_name = "N,…", value_delimiter = ',', default_value = "1", value_parser = sequences())]
    batch: Vec<usize>,
    /// How often each test is measured
    #[arg(short = 'r', long, value_name = "N", default_value = "5", value_parser = positive())]
    repetitions: usize,
    /// Print JSON with llama-bench's field names
    #[arg(long)]
    json: bool,
    /// Print a table in Markdown
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Say of each test where the time goes: every kind of step, and waiting for the slowest thread
    #[arg(long)]
    profile: bool,
    #[command(flatten)]
    training: train::TrainingArguments,
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
    /// Sequences that do so together.
    pub parallel: usize,
}

impl Test {
    /// Tokens counted, of all sequences: a test either reads or generates.
    pub fn tokens(&self) -> usize {
        (self.prompt + self.generate) * self.parallel
    }

    /// As llama-bench names it, and how many sequences.
    fn name(&self) -> String {
        let what = if self.generate == 0 { format!("pp{}", self.prompt) } else { format!("tg{}", self.generate) };
        let together = if self.parallel == 1 { String::new() } else { format!(" x{}", self.parallel) };
        let depth = if self.depth == 0 { String::new() } else { format!(" @ d{}", self.depth) };
        format!("{what}{together}{depth}")
    }

    /// Positions that each sequence comes to hold.
    fn positions(&self) -> usize {
        self.depth.saturating_add(self.prompt).saturating_add(self.generate)
    }
}

/// Measures and prints.
pub fn run(arguments: &BenchArguments) -> anyhow::Result<()> {
    let model = models::open_decoder(&arguments.model.model, arguments.load.size.quantize)?;
    let model = models::adapted(model, &arguments.load)?;
    if arguments.training.train {
        let form = (arguments.json, arguments.profile);
        return train::run(&model, &arguments.training, &arguments.load, arguments.repetitions, form);
    }
    let tests = tests(arguments);
    let Some(needed) = tests.iter().map(Test::positions).max() else {
        bail!("there is nothing to measure: -p and -n are both 0");
    };
    let together = tests.iter().map(|test| test.parallel).max().unwrap_or(1);
    let mut options = models::load_options(&arguments.load, together);
    match options.context {
        None => options.context = Some(needed),
        Some(context) if context < needed => bail!("the tests need {needed} positions, --context gives {context}"),
        Some(_) => {}
    }
    let threads = options.threads.unwrap_or_else(bantam_runtime::preferred_threads);
    let interrupt = Interrupt::install()?;
    // Before the model takes its memory.
    let pool = Pool::new(threads);
    let (bandwidth, int8_peak) = (read_bandwidth(&pool), int8_peak(&pool, Isa::detect()));
    drop(pool);
    let counts_memory = measure::forget_peak_memory();
    let peak_memory = || if counts_memory { bantam_runtime::peak_memory() } else { None };
    let begin = Instant::now();
    let mut loaded = models::load(&model, &options, &interrupt)?;
    let machine = Machine { threads, bandwidth, int8_peak, load: begin.elapsed() };
    let report = Report::new(&model, options, machine);
    let form = match (arguments.json, arguments.markdown) {
        (true, _) => None,
        (false, markdown) => Some(if markdown { Form::Markdown } else { Form::Terminal }),
    };
    let mut rows = Vec::new();
    if let Some(form) = form {
        report.head(form)?;
    }
    for test in tests {
        let mut bar = Progress::start();
        let runs = arguments.repetitions + 1;
        let name = test.name();
        let mut step = |done: usize| bar.update_count(&name, done, runs);
        let work = measure::Work { test, repetitions: arguments.repetitions, profile: arguments.profile };
        let measured = measure::run(&mut loaded, work, &interrupt, &mut step)?;
        drop(bar);
        match form {
            Some(form) => {
                report.row(form, test, &measured.nanoseconds)?;
                if arguments.profile {
                    profile::print(form, &measured.profile)?;
                }
            }
            None => {
                let mut row = report.json(test, &measured.nanoseconds, peak_memory());
                if arguments.profile {
                    row["profile"] = profile::json(&measured.profile);
                }
                rows.push(row);
            }
        }
    }
    match form {
        Some(_) => Ok(report.foot(peak_memory())?),
        None => emit_json_pretty(&rows),
    }
}

/// Every depth with every prompt length, then with every answer length and number of sequences.
fn tests(arguments: &BenchArguments) -> Vec<Test> {
    let at_depth = |&depth: &usize| {
        let prompts = arguments.prompt.iter().map(move |&prompt| Test { prompt, generate: 0, depth, parallel: 1 });
        let answers = arguments.batch.iter().flat_map(move |&parallel| {
            arguments.generate.iter().map(move |&generate| Test { prompt: 0, generate, depth, parallel })
        });
        prompts.chain(answers).filter(|test| test.tokens() > 0)
    };
    arguments.depth.iter().flat_map(at_depth).collect()
}
