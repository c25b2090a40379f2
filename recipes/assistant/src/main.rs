//! The recipe's steps, one command each.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use assistant_recipe::augment::{Augmentation, Values, vary};
use assistant_recipe::judge::{Answer, judge, threshold};
use assistant_recipe::split::{Split, split};
use assistant_recipe::{Call, Chance, Example, Source, read};
use clap::Parser;
use serde_json::{Value, json};

/// Makes the assistant's data and measures its answers.
#[derive(Debug, Parser)]
enum Step {
    /// Write the lines to learn from, to choose by and to measure
    Prepare {
        /// The directory with snips/ and clinc150/
        #[arg(long, default_value = "../shared/data/assistant")]
        data: PathBuf,
        /// Where learn.jsonl, choose.jsonl, measure.jsonl and corpus.txt go
        #[arg(short, long)]
        output: PathBuf,
        /// Variations of each utterance to learn from, beside itself
        #[arg(long, default_value_t = 3)]
        variations: u64,
        /// Where chance begins
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Count what is right among answers: lines of {"text": CALL, "confidence": …}, one for each line of a part
    Judge {
        /// The directory with snips/ and clinc150/
        #[arg(long, default_value = "../shared/data/assistant")]
        data: PathBuf,
        /// Answers to choose.jsonl, from which the threshold for what is out of scope is chosen
        #[arg(long)]
        choose: PathBuf,
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
        Step::Prepare { data, output, variations, seed } => prepare(&data, &output, variations, seed),
        Step::Judge { data, choose, measure, in_scope } => {
            let parts = split(read(&data)?);
            let (choices, answers) = (answers(&choose, &parts.choose)?, answers(&measure, &parts.measure)?);
            let threshold = threshold(&parts.choose, &choices, in_scope);
            let figures = judge(&parts.measure, &answers, threshold);
            let share = |share: assistant_recipe::judge::Share| json!({ "right": share.right, "of": share.of, "percent": share.percent() });
            let report = json!({
                "threshold": threshold, "snips_intent": share(figures.snips_intent), "snips_call": share(figures.snips_call),
                "slot_f1": figures.slot_f1(), "in_scope": share(figures.in_scope),
                "out_of_scope": share(figures.out_of_scope), "invalid": figures.invalid,
            });
            println!("{}", serde_json::to_string_pretty(&report)?);
            Ok(())
        }
    }
}

fn prepare(data: &Path, output: &Path, variations: u64, seed: u64) -> anyhow::Result<()> {
    let Split { learn, choose, measure } = split(read(data)?);
    std::fs::create_dir_all(output).with_context(|| output.display().to_string())?;
    let values = Values::of(&learn);
    let mut lines = Vec::new();
    // Where the slots of an utterance are not marked, a call would say that there are none.
    for example in learn.iter().filter(|example| example.marked) {
        lines.push(line(example));
        for number in 0..variations {
            let mut chance = Chance::of(&format!("{seed} {number} {}", example.text()));
            lines.push(line(&vary(example, &values, Augmentation::default(), &mut chance)));
        }
    }
    Chance::new(seed).shuffle(&mut lines);
    write(&output.join("learn.jsonl"), &lines)?;
    for (name, part) in [("choose.jsonl", &choose), ("measure.jsonl", &measure)] {
        write(&output.join(name), &part.iter().map(line).collect::<Vec<_>>())?;
    }
    let texts: Vec<String> = learn.iter().map(Example::text).collect();
    write(&output.join("corpus.txt"), &texts)?;
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

fn line(example: &Example) -> String {
    json!({ "messages": [
        { "role": "user", "content": example.text() },
        { "role": "assistant", "content": example.call().json() },
    ] })
    .to_string()
}

/// Writes to a temporary file beside it, then takes its place.
fn write(path: &Path, lines: &[String]) -> anyhow::Result<()> {
    let part = path.with_extension("part");
    let result = (|| {
        let mut file = std::io::BufWriter::new(std::fs::File::create(&part)?);
        for line in lines {
            writeln!(file, "{line}")?;
        }
        file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&part, path)
    })();
    result.with_context(|| path.display().to_string())
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
