//! What goes to the terminal beside answers: errors, notes, colours.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

/// Colours of one stream; all empty where it is no terminal, where `NO_COLOR` is set, or where the terminal is dumb.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    enabled: bool,
}

impl Style {
    /// The style of stdout.
    pub fn stdout() -> Self {
        Self { enabled: io::stdout().is_terminal() && colours_wanted() }
    }

    /// The style of stderr.
    pub fn stderr() -> Self {
        Self { enabled: io::stderr().is_terminal() && colours_wanted() }
    }

    /// Colours whatever the stream is.
    #[cfg(test)]
    pub fn coloured() -> Self {
        Self { enabled: true }
    }

    fn code(self, code: &'static str) -> &'static str {
        if self.enabled { code } else { "" }
    }

    /// Begins faint text.
    pub fn dim(self) -> &'static str {
        self.code("\x1b[2m")
    }

    /// Begins bold text.
    pub fn bold(self) -> &'static str {
        self.code("\x1b[1m")
    }

    /// Begins the text of an error's head.
    pub fn red(self) -> &'static str {
        self.code("\x1b[1;31m")
    }

    /// Ends any of them.
    pub fn reset(self) -> &'static str {
        self.code("\x1b[0m")
    }
}

/// <https://no-color.org>: set and not empty, whatever the value.
fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|terminal| terminal != "dumb")
}

/// Prints `error: …` on stderr. A stderr that is closed is no reason to fail otherwise.
pub fn error(message: impl Display) {
    let style = Style::stderr();
    let _ = writeln!(io::stderr(), "{}error:{} {message}", style.red(), style.reset());
}

/// Prints `note: …` on stderr, faint: something the user should know that is no failure.
pub fn note(message: impl Display) {
    let style = Style::stderr();
    let _ = writeln!(io::stderr(), "{}note: {message}{}", style.dim(), style.reset());
}

/// Writes to stdout and flushes, so that a reader sees each piece of an answer as it comes.
pub fn emit(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Writes one JSON value and a newline to stdout.
pub fn emit_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_string(value)?;
    line.push('\n');
    Ok(emit(&line)?)
}

/// Writes one JSON value over several lines, for people to read as well.
pub fn emit_json_pretty(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(emit(&text)?)
}
