//! Many prompts, one a line, decoded together; one answer a line, in order.

use std::io::{self, BufRead as _, Read as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use bantam_engine::{Answer, BatchOptions, ChatSettings, EngineError, Next, Request, Requests, generate_batch};
use bantam_runtime::{Loaded, RuntimeError};
use serde_json::json;

use super::Asked;
use super::request::{self, Subject};
use crate::answer::{marked, on_one_line};
use crate::constraints::unmet;
use crate::failure::{interrupted, some_failed};
use crate::interrupt::Interrupt;
use crate::output::{emit, emit_json, error, for_stdout, note};
use crate::prompter::Extras;
use crate::tools::{ToolRequest, shown};
use crate::{prompt, settings};

/// Prompts decoded together, unless asked otherwise.
const PARALLEL: usize = 8;
/// Lines read ahead of those that are answered.
const READ_AHEAD: usize = 64;
/// Longest line: far above any context, far below what would exhaust memory.
const LONGEST_LINE: u64 = 16 << 20;
/// How often Ctrl-C is looked for while no line comes.
pub const GLANCE: Duration = Duration::from_millis(50);

/// Answers every line of stdin.
pub fn run(asked: &Asked<'_>) -> anyhow::Result<()> {
    let arguments = asked.arguments;
    let before = arguments.file.as_deref().map(prompt::read_file).transpose()?;
    let interrupt = Interrupt::install()?;
    let mut loaded = load(asked, &interrupt)?;
    let cancel = loaded.interrupt();
    let mut requests = Lines { asked, before, interrupt: &interrupt, lines: read_lines() };
    let json = arguments.json || arguments.jsonl;
    let markers = asked.prompter.markers().filter(|_| arguments.think.think);
    let mut written = Ok(());
    let options = BatchOptions { live: loaded.most_sequences() };
    let report = generate_batch(
        &mut loaded,
        asked.prompter.tokenizer(),
        &mut requests,
        options,
        &cancel,
        &mut |index, result| {
            if written.is_ok() {
                written = deliver(index, result, json, markers);
                if written.is_err() {
                    interrupt.stop();
                }
            }
        },
    )?;
    written?;
    if report.cancelled || interrupt.is_set() {
        return Err(interrupted());
    }
    if report.failed > 0 { Err(some_failed()) } else { Ok(()) }
}

/// Loads the model for as many sequences as were asked for, or else for as many as memory allows.
fn load(asked: &Asked<'_>, interrupt: &Interrupt) -> anyhow::Result<Loaded> {
    let mut sequences = asked.arguments.parallel.unwrap_or(PARALLEL);
    loop {
        match asked.load(sequences, interrupt) {
            Err(error)
                if asked.arguments.parallel.is_none()
                    && sequences > 1
                    && matches!(error.downcast_ref(), Some(RuntimeError::Memory { .. })) =>
            {
                sequences /= 2;
            }
            other => return other,
        }
    }
}

/// Writes an answer, or what stands in its place.
fn deliver(
    index: usize,
    result: Result<Answer, EngineError>,
    json: bool,
    markers: Option<(&str, &str)>,
) -> anyhow::Result<()> {
    match (result, json) {
        (Ok(answer), true) => {
            let mut object = serde_json::to_value(&answer)?;
            if let Some(fields) = object.as_object_mut() {
                fields.shift_insert(0, "index".to_owned(), index.into());
            }
            emit_json(&object)
        }
        (Ok(answer), false) => {
            unmet(&answer).iter().for_each(|reason| note(format_args!("line {index}: {reason}")));
            let mut said = answer.text;
            if !answer.tool_calls.is_empty() {
                said.push_str(if said.is_empty() { "" } else { "\n" });
                said.push_str(&shown(&answer.tool_calls));
            }
            if let Some(error) = answer.tool_call_error {
                note(format_args!("line {index}: {error}"));
            }
            let text = match (&answer.reasoning_content, markers) {
                (Some(thoughts), Some(markers)) => marked(thoughts, markers, &said),
                _ => said,
            };
            Ok(emit(&format!("{}\n", for_stdout(&on_one_line(&text))))?)
        }
        (Err(failure), true) => emit_json(&json!({ "index": index, "error": { "message": failure.to_string() } })),
        (Err(failure), false) => {
            error(format_args!("line {index}: {failure}"));
            Ok(emit("\n")?)
        }
    }
}

/// A line as it was read, without its newline.
pub type Line = Result<Vec<u8>, String>;

/// Reads stdin on a thread of its own, so that answers are written while no line comes.
pub fn read_lines() -> Receiver<Line> {
    let (sender, receiver) = sync_channel(READ_AHEAD);
    thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let line = match stdin.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
                Ok(0) => return,
                Ok(_) if line.last() == Some(&b'\n') => {
                    line.pop();
                    Ok(line)
                }
                Ok(length) if length as u64 == LONGEST_LINE => {
                    Err(format!("the line is longer than {} MiB", LONGEST_LINE >> 20))
                }
                Ok(_) => Ok(line),
                Err(failure) => Err(format!("stdin can't be read: {failure}")),
            };
            let last = line.is_err();
            // Whoever no longer listens wants no more lines. After a failure there is no telling where the next begins.
            if sender.send(line).is_err() || last {
                return;
            }
        }
    });
    receiver
}

/// The lines of stdin as requests.
struct Lines<'a> {
    asked: &'a Asked<'a>,
    before: Option<String>,
    interrupt: &'a Interrupt,
    lines: Receiver<Line>,
}

impl Requests for Lines<'_> {
    fn next(&mut self, wait: bool) -> Next {
        let line = loop {
            if self.interrupt.is_set() {
                return Next::End;
            }
            if !wait {
                break match self.lines.try_recv() {
                    Ok(line) => line,
                    Err(TryRecvError::Empty) => return Next::NotYet,
                    Err(TryRecvError::Disconnected) => return Next::End,
                };
            }
            match self.lines.recv_timeout(GLANCE) {
                Ok(line) => break line,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Next::End,
            }
        };
        Next::Request(self.request(line))
    }
}

impl Lines<'_> {
    fn request(&self, line: Line) -> Result<Request, EngineError> {
        let refuse = EngineError::Refused;
        let bytes = line.map_err(refuse)?;
        let text = String::from_utf8(bytes).map_err(|failure| {
            refuse(format!("the line is not UTF-8: byte {} begins no character", failure.utf8_error().valid_up_to()))
        })?;
        if self.asked.arguments.jsonl { self.chat(&text) } else { self.plain(&text) }
    }

    fn plain(&self, text: &str) -> Result<Request, EngineError> {
        let Asked { arguments, prompter, settings, tools, .. } = *self.asked;
        let parts = prompt::Parts { file: self.before.clone(), argument: Some(text.to_owned()), stdin: None };
        let text = parts.join(!prompter.has_template());
        let prompt = prompter.text(arguments.system.as_deref(), &text, (settings.think, tools))?;
        let mut request = prompter.request(prompt, settings, self.asked.logprobs());
        if request.tools.is_none() {
            request.constraint = self.asked.constraints.about(&text)?;
        }
        Ok(request)
    }

    fn chat(&self, line: &str) -> Result<Request, EngineError> {
        let Asked { arguments, prompter, settings: chosen, .. } = *self.asked;
        let asked = request::parse(line).map_err(EngineError::Refused)?;
        let mut settings: ChatSettings = chosen.clone();
        for (name, value) in &asked.settings {
            settings::set_json(&mut settings, name, value).map_err(EngineError::Refused)?;
        }
        settings.think = asked.think.or(settings.think);
        prompter.check_think(settings.think).map_err(EngineError::Refused)?;
        let tools = ToolRequest {
            tools: asked.tools.clone().unwrap_or_else(|| self.asked.tools.tools.clone()),
            choice: asked.tool_choice.clone().unwrap_or_else(|| self.asked.tools.choice.clone()),
            convention: self.asked.tools.convention,
            single: asked.parallel_tool_calls == Some(false),
        };
        tools.check()?;
        let mut constraint = self.asked.constraints.of(asked.form.as_ref())?;
        if asked.form.is_none() && tools.tools.is_empty() {
            constraint = self.asked.constraints.about(asked.subject.said())?;
        }
        let prompt = match asked.subject {
            Subject::Prompt(ref text) if !prompter.has_template() => match asked.needs_template() {
                Some(key) => {
                    return Err(EngineError::Refused(format!(
                        "\"{key}\" needs a chat template, and none is used here"
                    )));
                }
                None => prompter.text(None, text, (None, &ToolRequest::default()))?,
            },
            subject => {
                let system = asked.system.as_deref().or(arguments.system.as_deref());
                let extras = Extras { tools, system, think: settings.think, variables: asked.variables };
                let messages = match subject {
                    Subject::Prompt(text) => json!([{ "role": "user", "content": text }]),
                    Subject::Messages(messages) => messages,
                };
                prompter.messages(messages, &extras)?
            }
        };
        if constraint.is_some() && prompt.tools.is_some() {
            return Err(EngineError::Refused("tools don't go with a form of the whole answer".into()));
        }
        let mut request = prompter.request(prompt, &settings, self.asked.logprobs());
        request.constraint = constraint;
        Ok(request)
    }
}
