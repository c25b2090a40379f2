//! `bantam completions SHELL`.

use std::io::{self, Write as _};

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::arguments::Cli;

/// Arguments of `bantam completions`.
#[derive(Args, Debug)]
pub struct CompletionsArguments {
    /// The shell to write for
    shell: Shell,
}

/// Prints the completion script.
pub fn run(arguments: &CompletionsArguments) -> anyhow::Result<()> {
    // Made in memory first: the generator panics where its writer fails, as a closed pipe does.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "bantam", &mut script);
    Ok(io::stdout().lock().write_all(&script)?)
}
