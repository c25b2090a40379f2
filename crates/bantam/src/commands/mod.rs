//! One command a file; this table is the list of them.

mod bench;
mod completions;
mod convert;
mod data;
mod embed;
mod logits;
mod man;
mod merge;
mod optimise;
mod run;
mod show;
mod template;
mod tokenize;
mod tune;

pub use run::Asked;

use crate::arguments::Cli;

/// Every command with its arguments.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Answer a prompt, many prompts, or chat
    Run(Box<run::RunArguments>),
    /// Say what a model is, and what it needs
    Show(show::ShowArguments),
    /// Split a text into tokens, or join tokens into a text
    Tokenize(tokenize::TokenizeArguments),
    /// Print the exact prompt a chat becomes
    Template(template::TemplateArguments),
    /// Make vectors of texts
    Embed(embed::EmbedArguments),
    /// Write the logits of a text as a NumPy file
    Logits(logits::LogitsArguments),
    /// Convert a model: to GGUF or back, to another type, in one file or several
    Convert(convert::ConvertArguments),
    /// Keep a model's weights as this processor reads them, so that it loads at once
    Optimise(optimise::OptimiseArguments),
    /// Look through examples before anything is learned from them
    Data(data::DataArguments),
    /// Learn an adapter from examples
    Tune(Box<tune::TuneArguments>),
    /// Make adapters part of a model, or write one in GGUF's form
    Merge(merge::MergeArguments),
    /// Measure the speed of prompts and of generation
    Bench(bench::BenchArguments),
    /// Print a shell's completion script
    Completions(completions::CompletionsArguments),
    /// Print the man page
    Man(man::ManArguments),
}

/// Runs the command that was asked for.
///
/// # Errors
/// Whatever kept it from doing all that was asked; `failure::report` turns that into words and an exit code.
pub fn dispatch(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Run(arguments) => run::run(*arguments),
        Command::Show(arguments) => show::run(&arguments),
        Command::Tokenize(arguments) => tokenize::run(&arguments),
        Command::Template(arguments) => template::run(&arguments),
        Command::Embed(arguments) => embed::run(&arguments),
        Command::Logits(arguments) => logits::run(&arguments),
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Optimise(arguments) => optimise::run(&arguments),
        Command::Data(arguments) => data::run(&arguments),
        Command::Tune(arguments) => tune::run(&arguments),
        Command::Merge(arguments) => merge::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
    }
}
