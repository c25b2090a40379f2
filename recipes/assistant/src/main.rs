//! The recipe's steps, one command each.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use assistant_recipe::augment::Augmentation;
use assistant_recipe::finish::{self, UNCALIBRATED, calibrate};
use assistant_recipe::judge::{Answer, judge, threshold};
use assistant_recipe::lines::{Variations, line, varied, write};
use assistant_recipe::make::Make;
use assistant_recipe::second;
use assistant_recipe::spec::{self, spec};
use assistant_recipe::split::{Split, split};
use assistant_recipe::{Call, Chance, Example, Source, read, vectors};
use clap::Parser;
use serde_json::{Value, json};

/// Makes the assistant's data and measures its answers.
#[derive(Debug, Parser)]
enum Step {
    /// Do all that follows, one step behind the other, each once: from the data sets to the shipped file and its figures
    Make(Make),
    /// Write the lines to learn from, to choose by and to measure
    Prepare {
        /// The directory with snips/ and clinc150/
        #[arg(long, default_value = "../shared/data/assistant")]
        data: PathBuf,
        /// Where learn.jsonl, choose.jsonl, measure.jsonl, corpus.txt and spec.toml go
        #[arg(short, long)]
        output: PathBuf,
        /// Variations of each utterance to learn from, beside itself
        #[arg(long, default_value_t = 3)]
        variations: u64,
        /// Where chance begins
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Write into a model's file which calls it can make, and how sure it must be
    Finish {
        /// The model, a .gguf file
        model: PathBuf,
        /// The finished model
        #[arg(short, long)]
        output: PathBuf,
        /// The directory with snips/ and clinc150/
        #[arg(long, default_value = "../shared/data/assistant")]
        data: PathBuf,
        /// Answers to choose.jsonl of a model finished without them: the threshold and the calibration come from these
        #[arg(long)]
        choose: Option<PathBuf>,
        /// What must stay right in scope while the threshold is chosen, in percent
        #[arg(long, default_value_t = 94.0)]
        in_scope: f64,
    },
    /// Count what is right among answers: lines of {"text": CALL, "confidence": …}, one for each line of a part
    Judge {
        /// The directory with snips/ and clinc150/
        #[arg(long, default_value = "../shared/data/assistant")]
        data: PathBuf,
        /// Answers to choose.jsonl, from which a threshold for what is out of scope is chosen; a finished model has its own
        #[arg(long)]
        choose: Option<PathBuf>,
        /// Answers to measure.jsonl
        #[arg(long)]
        measure: PathBuf,
        /// What must stay right in scope while the threshold is chosen, in percent
        #[arg(long, default_value_t = 94.0)]
        in_scope: f64,
    },
}

fn main() -> anyhow::Result<()> {
    match Step::parse() {
        Step::Make(make) => run_all(&make),
        Step::Prepare { data, output, variations, seed } => prepare(&data, &output, variations, seed),
        Step::Finish { model, output, data, choose, in_scope } => {
            let parts = split(read(&data)?);
            let calibration = match choose {
                Some(choose) => calibrate(&parts.choose, &answers(&choose, &parts.choose)?, in_scope),
                None => UNCALIBRATED,
            };
            eprintln!("{calibration:?}");
            finish::write(&model, &finish::calls(&parts.learn, calibration), &output)
        }
        Step::Judge { data, choose, measure, in_scope } => {
            let parts = split(read(&data)?);
            let threshold = match choose {
                Some(choose) => threshold(&parts.choose, &answers(&choose, &parts.choose)?, in_scope),
                None => 0.0,
            };
            let answers = answers(&measure, &parts.measure)?;
            report(&parts.measure, &answers, threshold)
        }
    }
}

fn report(examples: &[Example], answers: &[Answer], threshold: f64) -> anyhow::Result<()> {
    let figures = judge(examples, answers, threshold);
    let share = |share: assistant_recipe::judge::Share| json!({ "right": share.right, "of": share.of, "percent": share.percent() });
    let report = json!({
        "threshold": threshold, "snips_intent": share(figures.snips_intent), "snips_call": share(figures.snips_call),
        "slot_f1": figures.slot_f1(), "in_scope": share(figures.in_scope),
        "out_of_scope": share(figures.out_of_scope), "invalid": figures.invalid,
    });
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}

fn run_all(make: &Make) -> anyhow::Result<()> {
    let parts = split(read(&make.data)?);
    prepare(&make.data, &make.output, make.variations, make.seed)?;
    let told = parts.learn.iter().map(Example::text).collect::<Vec<_>>();
    let words = vectors::words(told.iter().map(String::as_str));
    let asked = vectors::asked(&words);
    make.once("words.txt", |path| write(path, &asked))?;
    let encoder = make.encoder.display().to_string();
    make.once("words.vectors", |path| {
        make.bantam(&["embed", &encoder, "--lines", "--parallel", "32"], Some(&make.file("words.txt")), Some(path))
    })?;
    make.once("vectors.jsonl", |path| {
        let found = std::fs::read_to_string(make.file("words.vectors"))?;
        write(path, &vectors::lines(&words, &asked, &vectors::read(&found, asked.len())?, spec::width()?)?)
    })?;
    make.train("spec.toml", "learn.jsonl", "trained.gguf")?;
    second::run(make, &parts, &words)?;
    make.once("quantized.gguf", |path| {
        let (from, to) = (make.file("blended.gguf").display().to_string(), path.display().to_string());
        make.bantam(&["convert", &from, "-o", &to, "--type", &make.quantized], None, None)
    })?;
    let finished = |calibration, path: &Path| {
        finish::write(&make.file("quantized.gguf"), &finish::calls(&parts.learn, calibration), path)
    };
    make.once("uncalibrated.gguf", |path| finished(UNCALIBRATED, path))?;
    for (part, model, examples) in
        [("choose", "uncalibrated.gguf", &parts.choose), ("measure", "assistant.gguf", &parts.measure)]
    {
        if part == "measure" {
            make.once("assistant.gguf", |path| {
                let answers = answers(&make.file("choose.answers"), &parts.choose)?;
                finished(calibrate(&parts.choose, &answers, make.in_scope), path)
            })?;
        }
        let prompts = make.file(&format!("{part}.prompts"));
        write(&prompts, &examples.iter().map(prompt).collect::<Vec<_>>())?;
        make.once(&format!("{part}.answers"), |path| make.answer(&make.file(model), &prompts, path))?;
    }
    report(&parts.measure, &answers(&make.file("measure.answers"), &parts.measure)?, 0.0)
}

/// What a model is asked about an utterance.
fn prompt(example: &Example) -> String {
    json!({ "messages": [{ "role": "user", "content": example.text() }] }).to_string()
}

fn prepare(data: &Path, output: &Path, variations: u64, seed: u64) -> anyhow::Result<()> {
    let Split { learn, choose, measure } = split(read(data)?);
    std::fs::create_dir_all(output).with_context(|| output.display().to_string())?;
    let variations = Variations { slots: variations, others: variations };
    let mut lines = varied(&learn, variations, Augmentation::default(), seed);
    Chance::new(seed).shuffle(&mut lines);
    write(&output.join("learn.jsonl"), &lines)?;
    for (name, part) in [("choose.jsonl", &choose), ("measure.jsonl", &measure)] {
        write(&output.join(name), &part.iter().map(line).collect::<Vec<_>>())?;
    }
    let texts: Vec<String> = learn.iter().map(Example::text).collect();
    write(&output.join("corpus.txt"), &texts)?;
    let told: Vec<Example> = learn.iter().filter(|example| example.marked).cloned().collect();
    write(&output.join("spec.toml"), &[spec(&told)])?;
    let counted = |part: &[Example]| {
        let snips = part.iter().filter(|example| example.source == Source::Snips).count();
        format!("{} ({snips} of SNIPS)", part.len())
    };
    eprintln!(
        "{} to learn from, {} lines with variations; {} to choose by; {} to measure",
        counted(&learn),
        lines.len(),
        counted(&choose),
        counted(&measure)
    );
    Ok(())
}

fn answers(path: &Path, examples: &[Example]) -> anyhow::Result<Vec<Answer>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut answers = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let value: Value =
            serde_json::from_str(line).with_context(|| format!("{}, line {}", path.display(), number + 1))?;
        let text = value.get("text").and_then(Value::as_str);
        let text = text.with_context(|| format!("{}, line {}: text: expected a string", path.display(), number + 1))?;
        let confidence = value.get("confidence").and_then(Value::as_f64).unwrap_or(1.0);
        answers.push(Answer { call: Call::parse(text).ok(), confidence });
    }
    if answers.len() != examples.len() {
        bail!("{}: expected {} answers, found {}", path.display(), examples.len(), answers.len());
    }
    Ok(answers)
}
