//! What the chat's commands do.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::input::{COMMANDS, Command};
use super::{Chat, Turn};
use crate::output::{Style, error, for_stdout, note};
use crate::settings::{SETTINGS, Setting};

impl Chat<'_> {
    /// Does what a command says. Only what makes going on pointless is an error; the rest is said.
    pub(super) fn obey(&mut self, command: Command, rest: &str) -> anyhow::Result<()> {
        match command {
            Command::Help => help()?,
            Command::Clear => {
                self.session.clear();
                note("the conversation is forgotten");
            }
            Command::System => self.system(rest)?,
            Command::Set => self.set(rest)?,
            Command::Regen => self.turn(Turn::Again)?,
            Command::Result => {
                if !self.session.add_result(rest) {
                    error("the model waits for no result of a tool");
                } else if self.session.waiting_calls().is_empty() {
                    self.turn(Turn::Results)?;
                } else {
                    self.note_waiting();
                }
            }
            Command::Save => match file(rest) {
                Some(path) => match self.session.save(&path) {
                    Ok(()) => note(format_args!("saved to {}", path.display())),
                    Err(failure) => error(failure),
                },
                None => error("/save needs the name of a file"),
            },
            Command::Load => match file(rest) {
                Some(path) => self.load(&path)?,
                None => error("/load needs the name of a file"),
            },
            // The loop leaves by itself.
            Command::Bye => {}
        }
        Ok(())
    }

    fn system(&mut self, rest: &str) -> io::Result<()> {
        if !self.prompter.has_template() {
            error("the model has no chat template, so it has no system prompt");
        } else if rest.is_empty() {
            match &self.session.system {
                Some(text) => writeln!(io::stdout(), "{}", for_stdout(text))?,
                None => note("there is no system prompt"),
            }
        } else if rest == "none" || rest == "\"\"" {
            self.session.system = None;
            note("the system prompt is removed");
        } else {
            self.session.system = Some(rest.trim_matches('"').trim().to_owned());
            note("the system prompt is set, from the next answer on");
        }
        Ok(())
    }

    fn set(&mut self, rest: &str) -> anyhow::Result<()> {
        let Some((name, value)) = rest.split_once(char::is_whitespace) else {
            return self.show_settings(rest);
        };
        let (name, value) = (name.replace('-', "_"), value.trim());
        let value = (value != "default").then_some(value);
        let mut settings = self.session.settings.clone();
        let result = if name == "stop" {
            settings.stop = value.map(|text| text.replace("\\n", "\n")).into_iter().collect();
            Ok(())
        } else {
            match Setting::find(&name) {
                Some(setting) => setting.set(&mut settings, value),
                None => Err(format!("there is no setting {name}; /set lists them")),
            }
        };
        let result =
            result.and_then(|()| if name == "think" { self.prompter.check_think(settings.think) } else { Ok(()) });
        match result {
            Ok(()) => {
                self.session.settings = settings;
                self.show_settings(&name)
            }
            Err(failure) => {
                error(failure);
                Ok(())
            }
        }
    }

    /// Shows one setting, or all for an empty name.
    fn show_settings(&self, name: &str) -> anyhow::Result<()> {
        let name = name.replace('-', "_");
        let style = Style::stdout();
        let chosen = &self.session.settings;
        let filled = self.prompter.with_defaults(chosen);
        let resolved = filled.sampling.resolve();
        let mut lines = Vec::new();
        for setting in SETTINGS.iter().filter(|setting| name.is_empty() || setting.name == name) {
            let value = setting.get(&filled).or_else(|| setting.get_resolved(&resolved));
            let origin = if setting.get(chosen).is_some() { "" } else { " (default)" };
            let value = format!("{}{origin}", value.as_deref().unwrap_or("none"));
            lines.push((setting.name, value, setting.help));
        }
        if name.is_empty() || name == "stop" {
            let stops = chosen.stop.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(" ");
            let value = if stops.is_empty() { "none (default)".to_owned() } else { stops };
            lines.push(("stop", value, "the answer ends before this text"));
        }
        if lines.is_empty() {
            error(format_args!("there is no setting {name}; /set lists them"));
        }
        let width = lines.iter().map(|(_, value, _)| value.chars().count()).max().unwrap_or(0);
        for (name, value, help) in lines {
            writeln!(io::stdout(), "{name:<18} {value:<width$}  {}{help}{}", style.dim(), style.reset())?;
        }
        Ok(())
    }

    fn load(&mut self, path: &Path) -> io::Result<()> {
        match self.session.load(path) {
            Ok(()) => {
                let style = Style::stdout();
                for message in self.session.messages() {
                    let mark = if message.role == "user" { super::PROMPT } else { "" };
                    writeln!(io::stdout(), "{}{mark}{}{}", style.dim(), for_stdout(&message.content), style.reset())?;
                }
                note(format_args!("{} messages from {}", self.session.messages().len(), path.display()));
            }
            Err(failure) => error(failure),
        }
        Ok(())
    }
}

fn help() -> io::Result<()> {
    let style = Style::stdout();
    let mut out = io::stdout().lock();
    for (_, names, argument, help) in &COMMANDS {
        let usage = format!("{} {argument}", names.join(" "));
        writeln!(out, "{usage:<22} {}{help}{}", style.dim(), style.reset())?;
    }
    let keys = [
        ("Alt-Enter or \\", "begins a new line; so does \"\"\" before and after a text"),
        ("Ctrl-C", "stops an answer"),
        ("Up, Down, Ctrl-R", "go through and search earlier inputs"),
    ];
    for (key, help) in keys {
        writeln!(out, "{key:<22} {}{help}{}", style.dim(), style.reset())?;
    }
    Ok(())
}

/// A file name as typed: quotes around it go, `~/` is the home folder.
fn file(text: &str) -> Option<PathBuf> {
    let text = text.trim();
    let text = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    if text.is_empty() {
        return None;
    }
    match (text.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => Some(home.join(rest)),
        _ => Some(PathBuf::from(text)),
    }
}
