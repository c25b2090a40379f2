//! What goes to the terminal beside answers: errors, notes, colours.

use std::borrow::Cow;
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
    let message = message.to_string();
    let message = if io::stderr().is_terminal() { visible(&message) } else { message.into() };
    let _ = writeln!(io::stderr(), "{}error:{} {message}", style.red(), style.reset());
}

/// Prints `note: …` on stderr, faint: something the user should know that is no failure.
pub fn note(message: impl Display) {
    let style = Style::stderr();
    let message = message.to_string();
    let message = if io::stderr().is_terminal() { visible(&message) } else { message.into() };
    let _ = writeln!(io::stderr(), "{}note: {message}{}", style.dim(), style.reset());
}

/// A stranger's text as a terminal may have it: control characters but newline and tab are spelt out (`\u{1b}`), so that
/// no text can move the cursor, change colours or send the terminal commands.
pub fn visible(text: &str) -> Cow<'_, str> {
    let harmless = |c: char| !c.is_control() || c == '\n' || c == '\t';
    if text.chars().all(harmless) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if harmless(c) { shown.push(c) } else { shown.extend(c.escape_default()) }
    }
    shown.into()
}

/// [`visible`] where stdout is a terminal; a pipe or file gets the text as it is.
pub fn for_stdout(text: &str) -> Cow<'_, str> {
    if io::stdout().is_terminal() { visible(text) } else { text.into() }
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

#[cfg(test)]
mod tests {
    fn check(text: &str, expected: &str) {
        assert_eq!(super::visible(text), expected, "{text:?}");
    }

    #[test]
    fn control_characters_are_spelt_out() {
        check("", "");
        check("one\n\ttwo \u{1f413} é", "one\n\ttwo \u{1f413} é");
        check("\u{1b}[2J", "\\u{1b}[2J");
        check("a\rb\u{8}\0\u{7f}", "a\\rb\\u{8}\\u{0}\\u{7f}");
        check("\u{9b}31m", "\\u{9b}31m");
    }
}
