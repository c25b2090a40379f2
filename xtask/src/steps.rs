//! The steps of readiness: each a command, shown before it runs and timed after.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::evidence::{self, Evidence};
use crate::tidy::{self, Weight};
use crate::tree::{Tree, TreeError};

/// Why a step did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The command could not be started.
    #[error("cannot run {command}: {source}")]
    Start {
        /// As it would be typed.
        command: String,
        /// Why.
        source: std::io::Error,
    },
    /// The command ended with an error.
    #[error("{command} failed ({status})")]
    Failed {
        /// As it would be typed.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// The tree could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Tidy found something.
    #[error("the tree is not tidy: {0} findings")]
    Untidy(usize),
    /// A test failed.
    #[error("{0} tests failed")]
    Tests(usize),
    /// The list of what tests show is not what they showed.
    #[error("{page} and what the tests showed differ in {0} lines: `cargo xtask docs --evidence` takes the last run's", page = evidence::PAGE)]
    Evidence(usize),
    /// There is no run to take evidence from.
    #[error("no evidence at {0}: `cargo xtask test` gathers it, where all tests pass")]
    NoEvidence(String),
    /// A word on the command line that means nothing.
    #[error("{0}")]
    Usage(String),
}

/// A command of cargo, with what it adds to the environment.
struct Cargo<'a> {
    arguments: &'a [&'a str],
    variables: &'a [(&'a str, &'a str)],
}

impl Cargo<'_> {
    fn shown(&self) -> String {
        let variables: String = self.variables.iter().map(|(name, value)| format!("{name}={value:?} ")).collect();
        format!("{variables}cargo {}", self.arguments.join(" "))
    }

    fn command(&self, root: &Path) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(self.arguments).current_dir(root).stdin(Stdio::null());
        command.envs(self.variables.iter().copied());
        command
    }

    fn run(&self, root: &Path) -> Result<(), StepError> {
        let (shown, start) = (self.shown(), Instant::now());
        println!("$ {shown}");
        let status =
            self.command(root).status().map_err(|source| StepError::Start { command: shown.clone(), source })?;
        finish(&shown, start, status)
    }

    /// Runs, showing each line of standard output as it comes and handing it to `read`.
    fn follow(&self, root: &Path, read: &mut dyn FnMut(&str)) -> Result<(), StepError> {
        let (shown, start) = (self.shown(), Instant::now());
        println!("$ {shown}");
        let fail = |source| StepError::Start { command: shown.clone(), source };
        let mut child = self.command(root).stdout(Stdio::piped()).spawn().map_err(fail)?;
        if let Some(output) = child.stdout.take() {
            for line in BufReader::new(output).split(b'\n') {
                let line = String::from_utf8_lossy(&line.map_err(fail)?).into_owned();
                println!("{line}");
                read(&line);
            }
        }
        let status = child.wait().map_err(fail)?;
        finish(&shown, start, status)
    }
}

fn finish(shown: &str, start: Instant, status: std::process::ExitStatus) -> Result<(), StepError> {
    let seconds = start.elapsed().as_secs_f64();
    if status.success() {
        println!("ok: {shown} ({seconds:.1} s)\n");
        return Ok(());
    }
    Err(StepError::Failed { command: shown.to_owned(), status })
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<(), StepError> {
    Cargo { arguments, variables: &[] }.run(root)
}

/// Formatting, unchanged files.
///
/// # Errors
/// Where a file is not formatted.
pub fn format(root: &Path) -> Result<(), StepError> {
    cargo(root, &["fmt", "--all", "--check"])
}

/// Clippy over everything, warnings refused.
///
/// # Errors
/// Where it warns.
pub fn lint(root: &Path) -> Result<(), StepError> {
    cargo(root, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
}

/// Rustdoc over everything, warnings refused.
///
/// # Errors
/// Where it warns.
pub fn document(root: &Path) -> Result<(), StepError> {
    let variables = &[("RUSTDOCFLAGS", "-D warnings")];
    Cargo { arguments: &["doc", "--workspace", "--no-deps"], variables }.run(root)
}

/// Asks every tidy rule and shows what it found.
///
/// # Errors
/// Where a rule refuses something.
pub fn tidy(root: &Path) -> Result<(), StepError> {
    println!("$ cargo xtask tidy");
    let start = Instant::now();
    let findings = tidy::check(&Tree::load(root)?);
    for finding in &findings {
        println!("{finding}");
    }
    let refused = findings.iter().filter(|finding| finding.weight == Weight::Refused).count();
    if refused > 0 {
        return Err(StepError::Untidy(refused));
    }
    println!("ok: tidy, {} rules ({:.1} s)\n", tidy::RULES.len(), start.elapsed().as_secs_f64());
    Ok(())
}

/// Compares the generated pages with the tables they come from, or writes them anew.
///
/// # Errors
/// Where a page differs (when comparing) or cannot be written.
pub fn generated(root: &Path, write: bool) -> Result<(), StepError> {
    let variables: &[(&str, &str)] = if write { &[("BANTAM_WRITE_GENERATED", "1")] } else { &[] };
    Cargo { arguments: &["test", "--quiet", "--package", "xtask", "--test", "main", "generated"], variables }.run(root)
}

/// How many tests there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// That passed.
    pub passed: usize,
    /// That failed.
    pub failed: usize,
    /// That were left out.
    pub ignored: usize,
    /// Binaries, or one for nextest.
    pub binaries: usize,
}

impl Tally {
    /// Reads a summary line of cargo test (`test result: ok. 3 passed; 0 failed; 1 ignored; …`); other lines count nothing.
    pub fn read(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else {
            return;
        };
        let of = |name: &str| {
            counts.split("; ").find_map(|part| part.strip_suffix(name)?.trim().parse::<usize>().ok()).unwrap_or(0)
        };
        self.passed += of("passed");
        self.failed += of("failed");
        self.ignored += of("ignored");
        self.binaries += 1;
    }
}

/// Every test of the workspace, and one line at the end that says how it went. What they have shown is compared with the
/// list that the support matrix is made from.
///
/// # Errors
/// Where a test fails or does not compile, or the list is not what was shown.
pub fn test(root: &Path) -> Result<(), StepError> {
    let start = Instant::now();
    let mut tally = Tally::default();
    let gathered = Evidence::gathering_place(root);
    let writing = |source| StepError::Tree(TreeError::Read { path: gathered.clone(), source });
    std::fs::create_dir_all(gathered.parent().unwrap_or(root)).map_err(writing)?;
    std::fs::write(&gathered, "").map_err(writing)?;
    let place = gathered.to_string_lossy();
    let result =
        Cargo { arguments: &["test", "--workspace", "--no-fail-fast"], variables: &[(evidence::VARIABLE, &place)] }
            .follow(root, &mut |line| tally.read(line));
    let result = match result {
        Ok(()) => compare_evidence(root, &gathered),
        Err(error) => {
            // What a failing run showed is not to be taken over.
            let _ = std::fs::remove_file(&gathered);
            Err(error)
        }
    };
    let Tally { passed, failed, ignored, binaries } = tally;
    let verdict = if result.is_ok() { "ok" } else { "FAILED" };
    println!(
        "test result: {verdict}. {passed} passed; {failed} failed; {ignored} ignored; in all {binaries} test binaries; finished in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    let _ = std::io::stdout().flush();
    match result {
        Err(_) if failed > 0 => Err(StepError::Tests(failed)),
        other => other,
    }
}

/// Compares what a run has shown with the committed list.
fn compare_evidence(root: &Path, gathered: &Path) -> Result<(), StepError> {
    let run =
        std::fs::read_to_string(gathered).map_err(|source| TreeError::Read { path: gathered.to_owned(), source })?;
    let differences = Evidence::committed(root)?.differences(&Evidence::parse(&run), evidence::has_shared(root));
    for line in &differences {
        println!("{}: {line}", evidence::PAGE);
    }
    if differences.is_empty() { Ok(()) } else { Err(StepError::Evidence(differences.len())) }
}

/// Takes what the last whole run has shown as the list that the support matrix is made from.
///
/// # Errors
/// Where there is none, or the list cannot be written.
pub fn take_evidence(root: &Path) -> Result<(), StepError> {
    let gathered = Evidence::gathering_place(root);
    let run = std::fs::read_to_string(&gathered)
        .map_err(|_| StepError::NoEvidence(gathered.to_string_lossy().into_owned()))?;
    let path = root.join(evidence::PAGE);
    std::fs::write(&path, Evidence::parse(&run).page()).map_err(|source| TreeError::Read { path, source })?;
    Ok(())
}

/// Runs every fuzz target for so many seconds, optimised but with overflow checks and debug assertions.
///
/// # Errors
/// Where a target panics.
pub fn fuzz(root: &Path, seconds: u64) -> Result<(), StepError> {
    let seconds = seconds.to_string();
    cargo(root, &["run", "--profile", "fuzz", "--package", "bantam-fuzz", "--", "all", "--seconds", &seconds])
}

/// A step of [`check`].
type Step = fn(&Path) -> Result<(), StepError>;

/// Everything but the tests that must hold before a change is merged, the quick questions first.
///
/// # Errors
/// The first step that does not hold.
pub fn check(root: &Path) -> Result<(), StepError> {
    let steps: &[Step] = &[format, tidy, lint, document, |root| generated(root, false)];
    steps.iter().try_for_each(|step| step(root))
}

/// [`check`], then every test.
///
/// # Errors
/// The first step that does not hold.
pub fn ready(root: &Path) -> Result<(), StepError> {
    check(root)?;
    test(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_add_up() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s",
            "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        ] {
            tally.read(line);
        }
        assert_eq!(tally, Tally { passed: 7, failed: 2, ignored: 1, binaries: 2 });
    }
}
