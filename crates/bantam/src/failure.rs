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

/// An error and its causes in one sentence. Causes that an error's own words end with already are not said again.
fn sentence(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |mut said, cause| {
        if said.is_empty() {
            return cause;
        }
        if !said.ends_with(&cause) {
            said.push_str(": ");
            said.push_str(&cause);
        }
        said
    })
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
    crate::output::error(sentence(error));
    ExitCode::from(if error.is::<Usage>() { USAGE } else { FAILED })
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn each_cause_is_said_once() {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "no such file");
        let cases = [
            (anyhow::Error::new(missing()), "no such file"),
            (Err::<(), _>(missing()).context("a.txt can't be read").unwrap_err(), "a.txt can't be read: no such file"),
            (Err::<(), _>(missing()).context("can't read: no such file").unwrap_err(), "can't read: no such file"),
        ];
        for (error, expected) in cases {
            assert_eq!(sentence(&error), expected);
        }
    }
}
