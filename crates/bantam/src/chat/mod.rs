//! The interactive chat: reads inputs, streams answers, obeys commands. What a conversation is, stands in the engine.

mod command;
mod editor;
mod input;

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Context as _;
use bantam_engine::{Answer, ChatModel, ChatSession, EngineError, Event, FinishReason, SamplingOptions};
use bantam_runtime::Loaded;

use crate::answer::Printer;
use crate::commands::Asked;
use crate::constraints::unmet;
use crate::interrupt::Interrupt;
use crate::output::{Style, error, for_stdout, note};
use crate::prompter::Prompter;
use crate::size;
use crate::terminal::Quiet;

use editor::{Confirmation, Line, LineEditor};
use input::Input;

/// What stands before an input.
const PROMPT: &str = ">>> ";

/// A chat that goes on.
pub struct Chat<'a> {
    asked: &'a Asked<'a>,
    prompter: &'a Prompter<'a>,
    defaults: SamplingOptions,
    loaded: Loaded,
    session: ChatSession,
    editor: LineEditor,
    interrupt: Interrupt,
    /// Set where leaving was asked for in the middle of something.
    leaving: bool,
}

/// What is to be answered.
#[derive(Clone, Copy)]
enum Turn<'t> {
    /// A new message.
    Say(&'t str),
    /// The last message once more.
    Again,
    /// The results of calls.
    Results,
}

/// Chats until the user leaves.
pub fn run(asked: &Asked<'_>) -> anyhow::Result<()> {
    let interrupt = Interrupt::install()?;
    let loaded = asked.load(1, &interrupt)?;
    let mut settings = asked.settings.clone();
    settings.max_tokens = asked.prompter.with_defaults(&settings).max_tokens;
    let mut session = ChatSession::new(asked.arguments.system.clone(), settings);
    session.constraint = asked.constraints.chosen().cloned();
    let mut chat = Chat {
        asked,
        prompter: asked.prompter,
        defaults: asked.prompter.defaults().clone(),
        loaded,
        session,
        editor: LineEditor::open()?,
        interrupt,
        leaving: false,
    };
    chat.greet()?;
    while !chat.leaving {
        chat.interrupt.clear();
        match chat.editor.read(PROMPT)? {
            Line::End => return Ok(()),
            Line::Interrupted => {}
            Line::Text(text) => match input::parse(&text) {
                Input::Nothing => {}
                Input::Unknown(name) => {
                    error(format_args!(
                        "there is no command {name}; /help lists them (a space before the / makes it text)"
                    ));
                }
                Input::Command(input::Command::Bye, _) => return Ok(()),
                Input::Command(name, rest) => chat.obey(name, &rest)?,
                Input::Message(text) => chat.turn(Turn::Say(&text))?,
            },
        }
    }
    Ok(())
}

impl Chat<'_> {
    fn greet(&self) -> io::Result<()> {
        let style = Style::stdout();
        let model = self.asked.model;
        let parameters: u64 = model
            .checkpoint()
            .tensors()
            .map(|(_, tensor)| tensor.shape.iter().map(|&length| length as u64).product::<u64>())
            .sum();
        writeln!(
            io::stdout(),
            "{}{} · {} parameters · context {} · /help lists commands{}",
            style.dim(),
            for_stdout(&model.name()),
            size::count(parameters),
            self.loaded.context(),
            style.reset()
        )
    }

    /// Has something answered. Only what makes going on pointless is an error; the rest is said.
    fn turn(&mut self, turn: Turn<'_>) -> anyhow::Result<()> {
        match self.answer(turn)? {
            Ok(answer) => self.after(&answer),
            Err(full @ EngineError::ChatFull { .. }) => {
                error(&full);
                if self.make_room(turn)?
                    && let Err(failure) = self.answer(turn)?.map(|answer| self.after(&answer))
                {
                    error(failure);
                }
            }
            Err(EngineError::PromptTooLong { tokens, context }) => {
                error(EngineError::PromptTooLong { tokens, context });
                note("/clear forgets the conversation");
            }
            Err(failure) => error(failure),
        }
        Ok(())
    }

    fn after(&self, answer: &Answer) {
        if let Some(error) = &answer.tool_call_error {
            note(error);
        }
        self.note_waiting();
        if answer.finish_reason == FinishReason::Cancelled {
            note("stopped");
        } else if answer.context_full {
            note(format_args!("the answer was cut: the context of {} tokens is full", self.loaded.context()));
        } else if answer.finish_reason == FinishReason::Length {
            note(format_args!("the answer was cut after {} tokens (max_tokens)", answer.usage.completion_tokens));
        }
        unmet(answer).iter().for_each(note);
    }

    /// Says which result is waited for.
    fn note_waiting(&self) {
        if let Some(call) = self.session.waiting_calls().first() {
            note(format_args!("/result TEXT gives the model what {} came to; a message goes on without it", call.name));
        }
    }

    /// Offers to drop the oldest exchanges; true if it was done.
    fn make_room(&mut self, turn: Turn<'_>) -> anyhow::Result<bool> {
        if self.session.messages().is_empty() {
            return Ok(false);
        }
        match self.editor.confirm("drop the oldest exchanges? [Y/n] ")? {
            Confirmation::Yes => {}
            Confirmation::No => {
                note("nothing is dropped, and nothing is answered; /clear forgets the conversation");
                return Ok(false);
            }
            Confirmation::Leave => {
                self.leaving = true;
                return Ok(false);
            }
        }
        let next = match turn {
            Turn::Say(text) => Some(text),
            Turn::Again | Turn::Results => None,
        };
        let dropped = self.with_model(|session, model| session.drop_oldest(model, next))?;
        match dropped {
            Ok(0) => {
                error("there is nothing left to drop");
                Ok(false)
            }
            Ok(dropped) => {
                let (plural, kept) = (if dropped == 1 { "" } else { "s" }, self.session.messages().len() / 2);
                note(format_args!("dropped {dropped} exchange{plural}, kept {kept}"));
                Ok(true)
            }
            Err(failure) => {
                error(failure);
                Ok(false)
            }
        }
    }

    /// Streams an answer to stdout.
    fn answer(&mut self, turn: Turn<'_>) -> anyhow::Result<Result<Answer, EngineError>> {
        self.interrupt.clear();
        let _quiet = Quiet::start();
        let mut printer = Printer::new(io::stdout(), Style::stdout(), self.asked.thoughts(), None)
            .on_terminal(io::stdout().is_terminal());
        let interrupt = self.interrupt.clone();
        let mut written = Ok(());
        let mut begun = false;
        let mut on_event = |event: Event<'_>| {
            begun |= matches!(event, Event::Text(_) | Event::Reasoning(_));
            if written.is_ok() {
                written = printer.event(event);
                if written.is_err() {
                    interrupt.stop();
                }
            }
        };
        if let Turn::Say(text) = turn
            && self.asked.tools.tools.is_empty()
        {
            self.session.constraint = self.asked.constraints.about(text)?;
        }
        let answer = self.with_model(|session, model| match turn {
            Turn::Say(text) => session.send(model, text, &mut on_event),
            Turn::Again => session.regenerate(model, &mut on_event),
            Turn::Results => session.go_on(model, &mut on_event),
        })?;
        // An answer that failed before its first word leaves no empty line.
        if begun || answer.is_ok() {
            written.and_then(|()| printer.finish()).context("the terminal can't be written")?;
        }
        self.interrupt.clear();
        Ok(answer)
    }

    /// Does something with the session that needs the model.
    fn with_model<T>(&mut self, work: impl FnOnce(&mut ChatSession, &mut ChatModel<'_>) -> T) -> anyhow::Result<T> {
        let cancel = self.loaded.interrupt();
        let (prompter, tools) = (self.prompter, self.asked.tools);
        let mut render = |messages: &[bantam_engine::Message], settings: &bantam_engine::ChatSettings| {
            prompter.conversation(messages, (settings.think, tools))
        };
        let mut model = ChatModel {
            model: &mut self.loaded,
            tokenizer: prompter.tokenizer(),
            render: &mut render,
            defaults: &self.defaults,
            stops: prompter.stops(),
            cancel: &cancel,
        };
        Ok(work(&mut self.session, &mut model))
    }
}
