//! The line editor of the chat: several lines, history kept between sessions, completion of commands.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Cmd, Config, Editor, EventHandler, Helper, KeyCode, KeyEvent, Modifiers};

use super::input;
use crate::output::Style;
use crate::settings;

/// Inputs kept from earlier sessions.
const HISTORY_LENGTH: usize = 1000;

/// What reading a line can give.
pub enum Line {
    /// An input, of one or more lines.
    Text(String),
    /// Ctrl-C: the line is dropped.
    Interrupted,
    /// Ctrl-D.
    End,
}

/// What was said to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// Yes.
    Yes,
    /// No, or something else altogether: what was asked about is not done.
    No,
    /// The chat is to end.
    Leave,
}

/// Reads what was typed; Enter alone is yes.
fn confirmation(text: &str) -> Confirmation {
    match text.trim().to_lowercase().as_str() {
        "" | "y" | "yes" => Confirmation::Yes,
        _ => match input::parse(text) {
            input::Input::Command(input::Command::Bye, _) => Confirmation::Leave,
            _ => Confirmation::No,
        },
    }
}

/// The editor with its history file.
pub struct LineEditor {
    editor: Editor<ChatHelper, FileHistory>,
    history: Option<PathBuf>,
}

impl LineEditor {
    /// Sets up the terminal and reads the history. A history that can't be read or written is done without.
    pub fn open() -> anyhow::Result<Self> {
        let config = Config::builder()
            .max_history_size(HISTORY_LENGTH)?
            .history_ignore_dups(true)?
            .history_ignore_space(false)
            .completion_type(rustyline::CompletionType::List)
            .build();
        let mut editor = Editor::with_config(config).context("the terminal can't be used for editing")?;
        editor.set_helper(Some(ChatHelper));
        // Alt-Enter begins a new line, in whichever way the terminal names that key.
        for key in [KeyEvent(KeyCode::Enter, Modifiers::ALT), KeyEvent(KeyCode::Char('\r'), Modifiers::ALT)] {
            editor.bind_sequence(key, EventHandler::Simple(Cmd::Newline));
        }
        let history = history_path();
        if let Some(path) = &history {
            let _ = editor.load_history(path);
        }
        Ok(Self { editor, history })
    }

    /// Reads one input, and adds it to the history.
    pub fn read(&mut self, prompt: &str) -> anyhow::Result<Line> {
        let style = Style::stdout();
        match self.editor.readline(&(prompt, format!("{}{prompt}{}", style.bold(), style.reset()))) {
            Ok(text) => {
                if !text.trim().is_empty() {
                    let _ = self.editor.add_history_entry(text.as_str());
                    if let Some(path) = &self.history {
                        let _ = self.editor.append_history(path);
                    }
                }
                Ok(Line::Text(text))
            }
            Err(ReadlineError::Interrupted) => Ok(Line::Interrupted),
            Err(ReadlineError::Eof) => Ok(Line::End),
            Err(error) => Err(error).context("the terminal can't be read"),
        }
    }

    /// Asks a question that is answered with yes or no, once; Ctrl-C is no, Ctrl-D leaves the chat as everywhere.
    pub fn confirm(&mut self, question: &str) -> anyhow::Result<Confirmation> {
        match self.editor.readline(question) {
            Ok(text) => Ok(confirmation(&text)),
            Err(ReadlineError::Interrupted) => Ok(Confirmation::No),
            Err(ReadlineError::Eof) => Ok(Confirmation::Leave),
            Err(error) => Err(error).context("the terminal can't be read"),
        }
    }
}

/// `$XDG_STATE_HOME/bantam/history`, its folder made where missing; only its owner may read it.
fn history_path() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = match state {
        Some(path) => path,
        None => std::env::home_dir()?.join(".local").join("state"),
    }
    .join("bantam");
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&folder).ok()?;
    let path = folder.join("history");
    // Made here with its mode, so that there is no moment in which others can read it.
    let mut options = fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&path).ok()?;
    Some(path)
}

/// What the editor asks while a line is typed.
struct ChatHelper;

impl Helper for ChatHelper {}
impl Highlighter for ChatHelper {}

impl Hinter for ChatHelper {
    type Hint = String;
}

impl Validator for ChatHelper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match input::is_incomplete(context.input()) {
            true => ValidationResult::Incomplete,
            false => ValidationResult::Valid(None),
        })
    }
}

impl Completer for ChatHelper {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = line.get(..position).unwrap_or(line);
        Ok(complete(typed))
    }
}

/// Where the word that is typed begins, and what it could become.
fn complete(typed: &str) -> (usize, Vec<String>) {
    let beginning_with = |names: &mut dyn Iterator<Item = &'static str>, start: &str| -> Vec<String> {
        names.filter(|name| name.starts_with(start)).map(str::to_owned).collect()
    };
    if let Some(name) = typed.strip_prefix("/set ") {
        if !name.contains(char::is_whitespace) {
            return ("/set ".len(), beginning_with(&mut settings::SETTINGS.iter().map(|setting| setting.name), name));
        }
    } else if typed.starts_with('/') && !typed.contains(char::is_whitespace) {
        let mut names = input::COMMANDS.iter().filter_map(|(_, names, _, _)| names.first().copied());
        return (0, beginning_with(&mut names, typed));
    }
    (typed.len(), Vec::new())
}

#[cfg(test)]
mod tests {
    fn check(typed: &str, expected: (usize, &[&str])) {
        let (start, names) = super::complete(typed);
        assert_eq!((start, names.iter().map(String::as_str).collect::<Vec<_>>().as_slice()), expected, "{typed:?}");
    }

    #[test]
    fn a_question_is_asked_once() {
        use super::Confirmation::{Leave, No, Yes};
        let cases = [("", Yes), (" Y ", Yes), ("yes", Yes), ("n", No), ("No", No), ("maybe", No), ("/help", No)];
        for (text, expected) in cases.into_iter().chain([("/bye", Leave), ("/quit", Leave), ("/exit ", Leave)]) {
            assert_eq!(super::confirmation(text), expected, "{text:?}");
        }
    }

    #[test]
    fn commands_are_completed() {
        check("/s", (0, &["/system", "/set", "/save"]));
        check("/set temp", (5, &["temperature"]));
        check("/set temperature 0", (18, &[]));
        check("hello", (5, &[]));
    }
}
