//! The bantam command: parse, dispatch, report.
//!
//! Invariants: only answers go to stdout; an error is one line on stderr that begins with `error: `; the exit code is 0
//! only if all that was asked was done (see `docs/commands.md`). What models are and how they run is not here: this
//! crate turns arguments into calls of the crates below it.
#![forbid(unsafe_code)]

mod answer;
mod arguments;
mod assistant;
mod chat;
mod commands;
mod constraints;
mod failure;
mod interrupt;
mod models;
mod output;
mod progress;
mod prompt;
mod prompter;
mod settings;
mod size;
mod terminal;
mod tokens;
mod tools;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    assistant::register();
    match commands::dispatch(arguments::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}
