//! `bantam man [COMMAND]`.

use std::io::{self, Write as _};

use clap::{Args, CommandFactory as _};

use crate::arguments::Cli;

/// Arguments of `bantam man`.
#[derive(Args, Debug)]
pub struct ManArguments {
    /// The command whose page to print; without one, bantam's own
    command: Option<String>,
}

/// Prints a page in roff, for `man -l -`.
pub fn run(arguments: &ManArguments) -> anyhow::Result<()> {
    let mut root = Cli::command();
    root.build();
    let page = match &arguments.command {
        None => clap_mangen::Man::new(root),
        Some(name) => {
            let command = root
                .get_subcommands()
                .find(|command| command.get_name() == name && !command.is_hide_set())
                .ok_or_else(|| anyhow::anyhow!("there is no command '{name}'"))?
                .clone();
            clap_mangen::Man::new(command)
        }
    };
    let mut text = Vec::new();
    page.render(&mut text)?;
    Ok(io::stdout().lock().write_all(&text)?)
}
