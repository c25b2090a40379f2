//! `bantam data check FILE`: the data doctor.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use bantam_formats::atomic::AtomicFile;
use bantam_text::Moment;
use bantam_train::data::Encoder;
use bantam_train::doctor::{Against, Kind, Lengths, Removed, Report, Severity, check, mend};
use clap::{Args, Subcommand};
use serde_json::json;

use super::template::moment;
use super::tune::DEFAULT_LENGTH;
use crate::arguments::positive;
use crate::failure::some_failed;
use crate::models;
use crate::output::{Style, emit, emit_json, for_stdout};
use crate::prompter::now;
use crate::size;

/// Arguments of `bantam data`.
#[derive(Args, Debug)]
pub struct DataArguments {
    #[command(subcommand)]
    command: DataCommand,
}

/// What is done with data.
#[derive(Debug, Subcommand)]
enum DataCommand {
    /// Say what is wrong with a file of examples, and what it lacks
    Check(CheckArguments),
}

/// Arguments of `bantam data check`.
#[derive(Args, Debug)]
struct CheckArguments {
    /// Examples: JSON lines, a JSON list, CSV, TSV or Parquet
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
    /// The examples kept apart to measure on: none of them may be in FILE
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    validation: Option<PathBuf>,
    /// The model to be tuned: counts lengths in its tokens, and tries its chat template
    #[arg(long, value_name = "MODEL", value_hint = clap::ValueHint::AnyPath)]
    model: Option<PathBuf>,
    /// Most tokens of an example [default: the model's context, up to 2048]
    #[arg(long, value_name = "N", requires = "model", value_parser = positive())]
    max_length: Option<usize>,
    /// Use no chat template, as tune --raw
    #[arg(long, requires = "model")]
    raw: bool,
    /// The date that chat templates are told, as 2024-07-26; by default today, in UTC
    #[arg(long, value_name = "DATE", requires = "model", value_parser = moment)]
    date: Option<Moment>,
    /// Write the rows that nothing speaks against to a new file of JSON lines
    #[arg(long)]
    fix: bool,
    /// The new file of --fix [default: FILE's name with .fixed.jsonl]
    #[arg(short = 'o', long = "output", value_name = "FILE", requires = "fix")]
    output: Option<PathBuf>,
    /// Name every line, not only the first few of each kind
    #[arg(long, conflicts_with = "json")]
    all: bool,
    /// Print all of it as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs what was asked for.
pub fn run(arguments: &DataArguments) -> anyhow::Result<()> {
    match &arguments.command {
        DataCommand::Check(arguments) => check_file(arguments),
    }
}

fn check_file(arguments: &CheckArguments) -> anyhow::Result<()> {
    let target = arguments.fix.then(|| target(arguments)).transpose()?;
    let model = arguments.model.as_deref().map(|path| models::open_decoder(path, None)).transpose()?;
    let encoder = match &model {
        None => None,
        Some(model) => {
            let template = |tools| if arguments.raw { Ok(None) } else { model.chat_template(tools) };
            let encoder = Encoder::new(model.tokenizer()?, template(false)?, template(true)?);
            let limit = arguments.max_length.unwrap_or(DEFAULT_LENGTH.min(model.context_length()));
            if limit > model.context_length() {
                bail!("--max-length {limit} is more than the model's context of {}", model.context_length());
            }
            Some((encoder.with_date(arguments.date.unwrap_or_else(now)), limit))
        }
    };
    let against = Against {
        model: encoder.as_ref().map(|(encoder, limit)| (encoder, *limit)),
        validation: arguments.validation.as_deref(),
    };
    let report = check(&arguments.file, &against)?;
    let removed = target.as_deref().map(|target| write_fixed(&report, target)).transpose()?;
    if arguments.json {
        let mut object = serde_json::to_value(&report)?;
        if let (Some(fields), Some(removed)) = (object.as_object_mut(), &removed) {
            fields.insert("fixed".into(), json!(target));
            fields.insert("removed".into(), json!(removed));
        }
        emit_json(&object)?;
    } else {
        emit(&for_stdout(&words(&report, arguments.all, Style::stdout())))?;
        if let (Some(target), Some(removed)) = (&target, &removed) {
            emit(&for_stdout(&fixed(&report, removed, target)))?;
        }
    }
    let left = |kind: Kind| removed.is_none() || !kind.is_removed();
    let sound =
        report.findings.iter().all(|finding| finding.kind.severity() == Severity::Advice || !left(finding.kind));
    if sound { Ok(()) } else { Err(some_failed()) }
}

/// Where the mended file goes: never where there is one already.
fn target(arguments: &CheckArguments) -> anyhow::Result<PathBuf> {
    let target = arguments.output.clone().unwrap_or_else(|| {
        let mut name = arguments.file.file_stem().unwrap_or_default().to_owned();
        name.push(".fixed.jsonl");
        arguments.file.with_file_name(name)
    });
    if target.exists() {
        bail!("{} is there already; --fix writes a new file (-o names another)", target.display());
    }
    Ok(target)
}

fn write_fixed(report: &Report, target: &Path) -> anyhow::Result<Vec<Removed>> {
    let mut file = AtomicFile::create(target).with_context(|| format!("{} can't be written", target.display()))?;
    let mut out = std::io::BufWriter::new(&mut file);
    let removed = mend(report, &mut out)?;
    out.flush()?;
    drop(out);
    file.commit()?;
    Ok(removed)
}

fn fixed(report: &Report, removed: &[Removed], target: &Path) -> String {
    let mut text = format!("\nfixed     {}: {} rows\n", target.display(), report.rows.saturating_sub(removed.len()));
    for Removed { line, text: why, .. } in removed {
        let _ = writeln!(text, "          left out {} {line}: {why}", report.place);
    }
    text
}

/// Lines of each kind that are named where not all are.
const NAMED: usize = 5;
/// Labels that are named.
const LABELS: usize = 12;

fn words(report: &Report, all: bool, style: Style) -> String {
    let mut text = String::new();
    let shapes: Vec<String> =
        report.shapes.iter().map(|(shape, rows)| format!("{} {shape}", size::count(*rows as u64))).collect();
    let _ = writeln!(
        text,
        "{}{}{}: {} rows as {}{}{}",
        style.bold(),
        report.path.display(),
        style.reset(),
        size::count(report.rows as u64),
        report.form,
        if shapes.is_empty() { "" } else { ": " },
        shapes.join(", ")
    );
    let lengths = |name: &str, unit: &str, lengths: &Lengths| {
        let limit = lengths.limit.map_or(String::new(), |limit| format!("; {limit} are the most"));
        format!(
            "{name:<10}{} {unit} in the middle, {} at 95 of 100, {} the longest{limit}\n",
            lengths.median, lengths.most, lengths.longest
        )
    };
    match &report.tokens {
        Some(tokens) => text.push_str(&lengths("lengths", "tokens", tokens)),
        None => text.push_str(&lengths("lengths", "characters", &report.characters)),
    }
    if !report.labels.is_empty() {
        let named = report.labels.iter().take(LABELS);
        let named: Vec<String> =
            named.map(|label| format!("{} {}", label.label.chars().take(40).collect::<String>(), label.rows)).collect();
        let more = report.labels.len().saturating_sub(LABELS);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = writeln!(text, "labels    {}: {}{more}", report.labels.len(), named.join(", "));
    }
    for kind in Kind::ALL {
        let count = report.of(kind).count();
        if count == 0 {
            continue;
        }
        let head = match kind.severity() {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Advice => "advice",
        };
        let colour = if kind.severity() == Severity::Error { style.red() } else { style.bold() };
        let _ = writeln!(text, "{colour}{head:<10}{}{}", kind.words(count), style.reset());
        let shown = if all { count } else { NAMED };
        for finding in report.of(kind).take(shown) {
            let line = finding.line.map_or(String::new(), |line| format!("{} {line}: ", report.place));
            let _ = writeln!(text, "          {line}{}", finding.text);
        }
        if count > shown {
            let _ = writeln!(text, "          and {} more (--all)", count - shown);
        }
    }
    for advice in &report.advice {
        let _ = writeln!(text, "advice    {advice}");
    }
    if report.is_sound() {
        let _ = writeln!(text, "sound     nothing speaks against learning from it");
    }
    text
}
