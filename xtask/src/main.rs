//! `cargo xtask`: the house's own chores.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use xtask::steps::{self, StepError};
use xtask::tree::Tree;
use xtask::{loc, tidy};

/// One chore.
struct Chore {
    name: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<(), StepError>,
}

const CHORES: &[Chore] = &[
    Chore {
        name: "ready",
        about: "check, then test: run it before a change is merged",
        run: |_| steps::ready(&Tree::root()),
    },
    Chore {
        name: "check",
        about: "format, tidy, lint, documentation, generated pages",
        run: |_| steps::check(&Tree::root()),
    },
    Chore { name: "test", about: "every test, one line at the end", run: |_| steps::test(&Tree::root()) },
    Chore { name: "tidy", about: "the rules of the house (--rules lists them)", run: run_tidy },
    Chore {
        name: "docs",
        about: "write the generated pages anew (--check only compares; --evidence takes the last test run's)",
        run: run_docs,
    },
    Chore { name: "fuzz", about: "feed every parser damaged input (--seconds N for each, 10)", run: run_fuzz },
    Chore { name: "loc", about: "lines of code by crate", run: run_loc },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(chore) = arguments.first().and_then(|name| CHORES.iter().find(|chore| chore.name == name)) else {
        println!("usage: cargo xtask CHORE\n");
        for chore in CHORES {
            println!("  {:<8}{}", chore.name, chore.about);
        }
        let asked = arguments.first().is_none_or(|word| word == "--help" || word == "help");
        return if asked { ExitCode::SUCCESS } else { ExitCode::from(2) };
    };
    match (chore.run)(&arguments[1..]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_tidy(arguments: &[String]) -> Result<(), StepError> {
    match arguments {
        [] => steps::tidy(&Tree::root()),
        [flag] if flag == "--rules" => {
            for rule in tidy::RULES {
                println!("{:<15}{}", rule.name, rule.about);
            }
            Ok(())
        }
        _ => Err(StepError::Usage("expected cargo xtask tidy [--rules]".to_owned())),
    }
}

fn run_docs(arguments: &[String]) -> Result<(), StepError> {
    match arguments {
        [] => steps::generated(&Tree::root(), true),
        [flag] if flag == "--check" => steps::generated(&Tree::root(), false),
        [flag] if flag == "--evidence" => {
            steps::take_evidence(&Tree::root())?;
            steps::generated(&Tree::root(), true)
        }
        _ => Err(StepError::Usage("expected cargo xtask docs [--check | --evidence]".to_owned())),
    }
}

fn run_fuzz(arguments: &[String]) -> Result<(), StepError> {
    let seconds = match arguments {
        [] => Some(10),
        [flag, seconds] if flag == "--seconds" => seconds.parse().ok(),
        _ => None,
    };
    match seconds {
        Some(seconds) => steps::fuzz(&Tree::root(), seconds),
        None => Err(StepError::Usage("expected cargo xtask fuzz [--seconds N]".to_owned())),
    }
}

fn run_loc(_: &[String]) -> Result<(), StepError> {
    println!("{:<18}{:>7}{:>8}{:>8}{:>10}", "crate", "files", "code", "tests", "comments");
    for row in loc::count(&Tree::load(&Tree::root())?) {
        println!("{:<18}{:>7}{:>8}{:>8}{:>10}", row.name, row.files, row.code, row.tests, row.comments);
    }
    Ok(())
}
