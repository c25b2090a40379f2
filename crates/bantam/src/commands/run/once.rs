//! One prompt, one answer.

use std::io::{self, IsTerminal as _};

use bantam_engine::{Answer, EngineError, FinishReason, generate};

use super::Asked;
use crate::answer::Printer;
use crate::constraints::unmet;
use crate::failure::{Usage, interrupted};
use crate::interrupt::Interrupt;
use crate::output::{Style, emit_json, note};
use crate::prompt::{self, Parts};

/// Answers the prompt of the arguments and stdin.
pub fn run(asked: &Asked<'_>) -> anyhow::Result<()> {
    let arguments = asked.arguments;
    let parts = Parts {
        file: arguments.file.as_deref().map(prompt::read_file).transpose()?,
        argument: arguments.prompt.clone(),
        stdin: if io::stdin().is_terminal() && (arguments.prompt.is_some() || arguments.file.is_some()) {
            None
        } else {
            Some(prompt::read_stdin()?)
        },
    };
    let text = parts.join(!asked.prompter.has_template());
    if arguments.model.is_none() && text.trim().is_empty() {
        let nothing =
            "nothing was said: bantam run \"PROMPT\" asks @assistant, bantam run <MODEL> \"PROMPT\" another model";
        return Err(Usage(nothing.into()).into());
    }
    let prompt = asked.prompter.text(arguments.system.as_deref(), &text, (asked.settings.think, asked.tools))?;
    let reasoning = prompt.reasoning.clone();
    let mut request = asked.prompter.request(prompt, asked.settings, asked.logprobs());
    if request.tools.is_none() {
        request.constraint = asked.constraints.about(&text).map_err(EngineError::from)?;
    }
    // Before the weights are loaded, which may take long.
    let (tokens, context) = (request.prompt.len(), asked.context());
    if tokens > context {
        return Err(EngineError::PromptTooLong { tokens, context }.into());
    }
    if tokens == 0 {
        return Err(EngineError::EmptyPrompt.into());
    }
    let interrupt = Interrupt::install()?;
    let mut loaded = asked.load(1, &interrupt)?;
    let tokenizer = asked.prompter.tokenizer();
    let cancel = loaded.interrupt();
    let answer = if arguments.json {
        generate(&mut loaded, tokenizer, request, &cancel, &mut |_| {})?
    } else {
        let mut printer = Printer::new(io::stdout().lock(), Style::stdout(), asked.thoughts(), reasoning.as_ref())
            .on_terminal(io::stdout().is_terminal());
        let mut written = Ok(());
        let answer = generate(&mut loaded, tokenizer, request, &cancel, &mut |event| {
            if written.is_ok() {
                written = printer.event(event);
                if written.is_err() {
                    interrupt.stop();
                }
            }
        })?;
        written.and_then(|()| printer.finish())?;
        answer
    };
    if answer.finish_reason == FinishReason::Cancelled {
        return Err(interrupted());
    }
    if arguments.json {
        emit_json(&answer)?;
    }
    if let Some(error) = answer.tool_call_error.as_ref().filter(|_| !arguments.json) {
        note(error);
    }
    note_full_context(&answer, asked, loaded.context());
    unmet(&answer).iter().for_each(note);
    Ok(())
}

/// Says that an answer ended early because there was no more room.
fn note_full_context(answer: &Answer, asked: &Asked<'_>, context: usize) {
    if answer.context_full {
        let trained = asked.model.context_length();
        let more = if context < trained { format!("; up to --context {trained} is possible") } else { String::new() };
        note(format_args!("the answer was cut: the context of {context} tokens is full{more}"));
    }
}
