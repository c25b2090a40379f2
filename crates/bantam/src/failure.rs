//! How a command fails: what is printed, and which exit code.

use std::io;
use std::process::ExitCode;

/// Exit code of an error that is not a usage error (clap uses 2 for those).
const FAILED: u8 = 1;
/// Exit code of wrong usage, as clap's.
const USAGE: u8 = 2;
/// Exit code after Ctrl-C: 128 + SIGINT.
pub const INTERRUPTED: u8 = 130;
/// Exit code when the reader of our output went away: 128 + SIGPIPE, what a program that dies of the signal gives.
const BROKEN_PIPE: u8 = 141;

/// A failure that has been reported already, or needs no words: only the exit code is left to give.
#[derive(Debug)]
pub struct Silent(pub u8);

impl std::fmt::Display for Silent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit code {}", self.0)
    }
}

impl std::error::Error for Silent {}

/// Arguments that clap accepts one by one but that make no sense together.
#[derive(Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The error for "some of what was asked failed, and was named as it did".
pub fn some_failed() -> anyhow::Error {
    Silent(FAILED).into()
}

/// The error for "stopped by Ctrl-C".
pub fn interrupted() -> anyhow::Error {
    Silent(INTERRUPTED).into()
}

/// Says what went wrong on stderr (`error: …`) and gives the exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    let broken_pipe = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe)
    };
    if let Some(Silent(code)) = error.downcast_ref::<Silent>() {
        return ExitCode::from(*code);
    }
    if error.chain().any(broken_pipe) {
        return ExitCode::from(BROKEN_PIPE);
    }
    crate::output::error(format_args!("{error:#}"));
    ExitCode::from(if error.is::<Usage>() { USAGE } else { FAILED })
}
