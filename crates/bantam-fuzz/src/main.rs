//! `bantam-fuzz TARGET|all [--seconds N] [--iterations N] [--seed S] [--first I] [--corpus DIR] [--save DIR]`
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bantam_fuzz::targets::Input;
use bantam_fuzz::{Limits, TARGETS, Target, run};

const USAGE: &str =
    "usage: bantam-fuzz TARGET|all [--seconds N] [--iterations N] [--seed S] [--first I] [--corpus DIR] [--save DIR]
  --seconds N      stop each target after N seconds (default 10, none where --iterations is given)
  --iterations N   stop each target after N inputs
  --seed S         which run (default 1); the same seed gives the same inputs
  --first I        begin at iteration I, to see one again
  --corpus DIR     also damage the files of DIR (those under 4 MiB)
  --save DIR       where an input that causes a panic is written (default: the current directory)
targets:";

/// Largest file of a corpus that is used, in bytes: each iteration copies one.
const LARGEST_INPUT: u64 = 4 << 20;

struct Options {
    targets: Vec<&'static Target>,
    seed: u64,
    first: u64,
    limits: Limits,
    corpus: Option<PathBuf>,
    save: PathBuf,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("error: {problem}\n\n{USAGE}");
            for target in TARGETS {
                eprintln!("  {:<14} {}", target.name, target.about);
            }
            return ExitCode::from(2);
        }
    };
    let mut panics = 0;
    for target in &options.targets {
        match fuzz(target, &options) {
            Ok(clean) => panics += u32::from(!clean),
            Err(problem) => {
                eprintln!("error: {problem}");
                return ExitCode::from(2);
            }
        }
    }
    if panics == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut targets = None;
    let (mut seed, mut first, mut seconds, mut iterations) = (1, 0, None, None);
    let (mut corpus, mut save) = (None, PathBuf::from("."));
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        let number =
            |text: String| text.parse::<u64>().map_err(|_| format!("{argument} needs a whole number, not {text:?}"));
        match argument.as_str() {
            "--seconds" => seconds = Some(number(value()?)?),
            "--iterations" => iterations = Some(number(value()?)?),
            "--seed" => seed = number(value()?)?,
            "--first" => first = number(value()?)?,
            "--corpus" => corpus = Some(PathBuf::from(value()?)),
            "--save" => save = PathBuf::from(value()?),
            "all" if targets.is_none() => targets = Some(TARGETS.iter().collect()),
            name if targets.is_none() && !name.starts_with('-') => {
                targets = Some(vec![Target::named(name).ok_or_else(|| format!("there is no target {name}"))?]);
            }
            other => return Err(format!("{other} is not understood")),
        }
    }
    let targets = targets.ok_or_else(|| "no target given".to_owned())?;
    let time = match (seconds, iterations) {
        (Some(seconds), _) => Some(Duration::from_secs(seconds)),
        (None, Some(_)) => None,
        (None, None) => Some(Duration::from_secs(10)),
    };
    let limits = Limits { iterations: iterations.unwrap_or(u64::MAX), time };
    Ok(Options { targets, seed, first, limits, corpus, save })
}

/// Runs one target; whether it did not panic.
fn fuzz(target: &'static Target, options: &Options) -> Result<bool, String> {
    let mut inputs = target.inputs();
    if let Some(corpus) = &options.corpus {
        add_corpus(&mut inputs, target, corpus)?;
    }
    let report = run(target, &inputs, options.seed, options.first, options.limits);
    println!(
        "{}: {} damaged inputs from {} whole ones, {} accepted, {} panics, slowest {:.1} ms (iteration {}), seed {}",
        target.name,
        report.iterations,
        inputs.len(),
        report.accepted,
        u8::from(report.finding.is_some()),
        report.slowest.as_secs_f64() * 1e3,
        report.slowest_iteration,
        options.seed
    );
    let Some(finding) = report.finding else { return Ok(true) };
    let path = options.save.join(format!("panic-{}-{}-{}.bin", target.name, options.seed, finding.iteration));
    std::fs::write(&path, &finding.input).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    println!(
        "{}: PANIC at seed {} iteration {}: {}\n  input saved as {}",
        target.name,
        options.seed,
        finding.iteration,
        finding.message,
        path.display()
    );
    Ok(false)
}

fn add_corpus(inputs: &mut Vec<Input>, target: &Target, corpus: &Path) -> Result<(), String> {
    let failed = |error| format!("cannot read {}: {error}", corpus.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(corpus).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() <= LARGEST_INPUT) {
            paths.push(entry.path());
        }
    }
    // The order of a directory is not the same everywhere; the run should be.
    paths.sort();
    for path in paths {
        let bytes = std::fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        inputs.push(target.input(bytes));
    }
    Ok(())
}
