//! How an answer is shown while it is written.

use std::io::{self, Write};

use bantam_engine::{Event, Reasoning};

use crate::output::{Style, visible};
use crate::tools::shown;

/// What becomes of thoughts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thoughts {
    /// They are not shown.
    Hidden,
    /// They are shown faint: on a terminal.
    Faint,
    /// They are shown between the model's own markers: in a pipe, where asked for.
    Marked,
}

/// Where a printer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Start,
    Thoughts,
    Answer,
}

/// Writes events as text, each piece at once.
pub struct Printer<W> {
    writer: W,
    style: Style,
    thoughts: Thoughts,
    markers: Option<(String, String)>,
    terminal: bool,
    place: Place,
}

impl<W: Write> Printer<W> {
    /// For an answer with these markers of thoughts, if it has any.
    pub fn new(writer: W, style: Style, thoughts: Thoughts, reasoning: Option<&Reasoning>) -> Self {
        let markers = reasoning.map(|markers| (markers.start.clone(), markers.end.clone()));
        Self { writer, style, thoughts, markers, terminal: false, place: Place::Start }
    }

    /// For a terminal, which gets control characters spelt out, or for a pipe, which gets every byte as it is.
    pub fn on_terminal(mut self, terminal: bool) -> Self {
        self.terminal = terminal;
        self
    }

    /// Writes what an event brings.
    ///
    /// # Errors
    /// Where the reader went away.
    pub fn event(&mut self, event: Event<'_>) -> io::Result<()> {
        match event {
            Event::Text(text) => {
                self.end_thoughts()?;
                self.place = Place::Answer;
                self.text(text)?;
            }
            Event::Reasoning(_) if self.thoughts == Thoughts::Hidden => return Ok(()),
            Event::Reasoning(text) => {
                if self.place == Place::Start {
                    self.place = Place::Thoughts;
                    match (self.thoughts, &self.markers) {
                        (Thoughts::Marked, Some((start, _))) => writeln!(self.writer, "{}", start.trim_end())?,
                        _ => write!(self.writer, "{}", self.style.dim())?,
                    }
                }
                self.text(text)?;
            }
            Event::ToolCall(call) => {
                self.end_thoughts()?;
                if self.place == Place::Answer {
                    writeln!(self.writer)?;
                }
                self.place = Place::Answer;
                self.text(&shown(std::slice::from_ref(call)))?;
            }
            Event::Prompt { .. } | Event::Logprob(_) => return Ok(()),
        }
        self.writer.flush()
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        if self.terminal {
            self.writer.write_all(visible(text).as_bytes())
        } else {
            self.writer.write_all(text.as_bytes())
        }
    }

    /// Ends the answer with a newline, colours, and thoughts that the model did not end.
    ///
    /// # Errors
    /// Where the reader went away.
    pub fn finish(&mut self) -> io::Result<()> {
        if self.place == Place::Thoughts {
            match (self.thoughts, &self.markers) {
                (Thoughts::Marked, Some((_, end))) => write!(self.writer, "\n{end}")?,
                _ => write!(self.writer, "{}", self.style.reset())?,
            }
        }
        self.writer.write_all(b"\n")?;
        self.writer.flush()
    }

    fn end_thoughts(&mut self) -> io::Result<()> {
        if self.place != Place::Thoughts {
            return Ok(());
        }
        match (self.thoughts, &self.markers) {
            (Thoughts::Marked, Some((_, end))) => write!(self.writer, "\n{end}\n\n"),
            _ => write!(self.writer, "{}\n\n", self.style.reset()),
        }
    }
}

/// Thoughts between the model's own markers, as they stand before an answer.
pub fn marked(thoughts: &str, (start, end): (&str, &str), answer: &str) -> String {
    let gap = if answer.is_empty() { "" } else { "\n\n" };
    format!("{}\n{thoughts}\n{end}{gap}{answer}", start.trim_end())
}

/// Newlines written out, so that an answer is one line.
pub fn on_one_line(text: &str) -> String {
    text.replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(thoughts: Thoughts, events: &[Event<'_>], expected: &str) {
        let reasoning = Reasoning { start: "<think>".into(), end: "</think>".into(), opened: false };
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, Style::coloured(), thoughts, Some(&reasoning));
        for event in events {
            printer.event(*event).expect("memory takes all");
        }
        printer.finish().expect("memory takes all");
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        for (terminal, expected) in [(true, "a\\u{1b}[2J\n\tb\n"), (false, "a\u{1b}[2J\n\tb\n")] {
            let mut out = Vec::new();
            let mut printer = Printer::new(&mut out, Style::coloured(), Thoughts::Faint, None).on_terminal(terminal);
            printer.event(Event::Text("a\u{1b}[2J\n\tb")).expect("memory takes all");
            printer.finish().expect("memory takes all");
            assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
        }
    }

    #[test]
    fn whole_answers_are_marked_like_streamed_ones() {
        assert_eq!(marked("I see.", ("<a>", "</a>"), "Yes."), "<a>\nI see.\n</a>\n\nYes.");
        assert_eq!(marked("I see.", ("<a>", "</a>"), ""), "<a>\nI see.\n</a>");
    }

    #[test]
    fn thoughts_are_shown_as_asked() {
        use Event::{Reasoning, Text};
        let both = [Reasoning("I "), Reasoning("see."), Text("Yes"), Text(".")];
        check(Thoughts::Hidden, &both, "Yes.\n");
        check(Thoughts::Faint, &both, "\x1b[2mI see.\x1b[0m\n\nYes.\n");
        check(Thoughts::Marked, &both, "<think>\nI see.\n</think>\n\nYes.\n");
        check(Thoughts::Faint, &both[..2], "\x1b[2mI see.\x1b[0m\n");
        check(Thoughts::Marked, &both[..2], "<think>\nI see.\n</think>\n");
        check(Thoughts::Hidden, &both[..2], "\n");
        check(Thoughts::Faint, &both[2..], "Yes.\n");
        check(Thoughts::Faint, &[], "\n");
    }
}
