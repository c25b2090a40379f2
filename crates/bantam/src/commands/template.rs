//! `bantam template MODEL CHAT.json`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use bantam_runtime::open_text;
use bantam_text::tool_calls::Tools;
use bantam_text::{ChatInput, ChatTemplate, Moment, with_fitting_arguments};
use clap::Args;
use serde_json::Value;

use crate::arguments::ThinkArguments;
use crate::output::{emit, for_stdout};
use crate::prompt::read_text;
use crate::prompter::{now, think_variable};

/// Arguments of `bantam template`.
#[derive(Args, Debug)]
pub struct TemplateArguments {
    /// A model, or a bare .jinja file
    #[arg(value_hint = clap::ValueHint::AnyPath)]
    model: PathBuf,
    /// OpenAI's chat messages as a JSON array, or an object with "messages" and "tools"; - is stdin
    #[arg(value_name = "CHAT.json", value_hint = clap::ValueHint::FilePath)]
    chat: PathBuf,
    /// Descriptions of tools: a JSON file as `run --tools` takes it
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    tools: Option<PathBuf>,
    #[command(flatten)]
    think: ThinkArguments,
    /// End with the chat, not where the answer is to begin
    #[arg(long)]
    no_generation_prompt: bool,
    /// Set a variable of the template; may be given more than once
    #[arg(long, value_name = "KEY=JSON", value_parser = variable)]
    set: Vec<(String, Value)>,
    /// The date that strftime_now tells, as 2024-07-26 or 2024-07-26T12:30:00; by default the present, in UTC
    #[arg(long, value_name = "DATE", value_parser = moment)]
    date: Option<Moment>,
    /// How the beginning of a text is spelled, for a bare template
    #[arg(long, value_name = "TEXT")]
    bos: Option<String>,
    /// How the end of a text is spelled, for a bare template
    #[arg(long, value_name = "TEXT")]
    eos: Option<String>,
}

/// Prints the prompt.
pub fn run(arguments: &TemplateArguments) -> anyhow::Result<()> {
    let bare = is_template(&arguments.model);
    if !bare && (arguments.bos.is_some() || arguments.eos.is_some()) {
        bail!("--bos and --eos go with a bare .jinja file; a model brings its own");
    }
    // Looked at before stdin is read, so that a model that is none is named at once.
    let source = if bare { Some(read(&arguments.model)?) } else { None };
    let text = if bare { None } else { Some(open_text(&arguments.model)?) };
    if text.as_ref().is_some_and(|text| text.template_names().next().is_none()) {
        bail!("{} has no chat template", arguments.model.display());
    }
    let (messages, tools_beside) =
        chat(json(&arguments.chat)?).with_context(|| format!("{} is no chat", name(&arguments.chat)))?;
    let tools = match &arguments.tools {
        Some(path) => Some(json(path)?),
        None => tools_beside,
    };
    let tools = tools.map(Tools::from_json).transpose()?.filter(|tools| !tools.is_empty());
    let template = match (source, text) {
        (Some(source), _) => {
            let spelled = |text: &Option<String>| text.clone().unwrap_or_default();
            let (bos, eos) = (spelled(&arguments.bos), spelled(&arguments.eos));
            ChatTemplate::new(&source, &bos, &eos, &name(&arguments.model))?
        }
        (None, Some(text)) => {
            let template = text.chat_template(&arguments.model, tools.is_some())?;
            template.with_context(|| format!("{} has no chat template", arguments.model.display()))?
        }
        (None, None) => bail!("there is no template"),
    };
    let mut variables: serde_json::Map<String, Value> = arguments.set.iter().cloned().collect();
    if let Some(think) = arguments.think.choice() {
        variables.extend(think_variable(&template, think).map_err(anyhow::Error::msg)?);
    }
    let mut input = ChatInput {
        messages,
        tools: tools.as_ref().map(Tools::to_json),
        add_generation_prompt: !arguments.no_generation_prompt,
        variables,
        now: arguments.date.unwrap_or_else(now),
    };
    let prompt = with_fitting_arguments(&mut input, &|input| template.render(input))?;
    Ok(emit(&for_stdout(&prompt))?)
}

/// Whether the path names a file that is a template and nothing else.
fn is_template(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "jinja" || end == "jinja2" || end == "j2")
}

fn name(path: &Path) -> String {
    if path.as_os_str() == "-" { "stdin".to_owned() } else { path.display().to_string() }
}

fn read(path: &Path) -> anyhow::Result<String> {
    if path.as_os_str() == "-" {
        return read_text(io::stdin().lock(), "stdin");
    }
    let file = File::open(path).with_context(|| format!("{} can't be opened", path.display()))?;
    read_text(file, &name(path))
}

fn json(path: &Path) -> anyhow::Result<Value> {
    serde_json::from_str(&read(path)?).map_err(|error| anyhow::anyhow!("{} is no JSON: {error}", name(path)))
}

/// Messages, and tools where they stand beside them.
fn chat(value: Value) -> anyhow::Result<(Value, Option<Value>)> {
    match value {
        messages @ Value::Array(_) => Ok((messages, None)),
        Value::Object(mut object) => {
            let tools = object.shift_remove("tools").filter(|tools| !tools.is_null());
            match object.shift_remove("messages") {
                Some(messages @ Value::Array(_)) => Ok((messages, tools)),
                _ => bail!("it has no \"messages\" that are an array"),
            }
        }
        _ => bail!("expected an array of messages"),
    }
}

fn variable(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("'{text}' is not KEY=JSON"))?;
    let value = serde_json::from_str(value)
        .map_err(|error| format!("'{value}' is no JSON ({error}); a text needs quotes: {key}='\"…\"'"))?;
    Ok((key.to_owned(), value))
}

/// Reads `2024-07-26`, with `T` or a space and a time behind it where wanted.
pub fn moment(text: &str) -> Result<Moment, String> {
    let refuse = || format!("'{text}' is no date such as 2024-07-26 or 2024-07-26T12:30:00");
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00:00"));
    let numbers = |text: &str, mark: char| -> Option<Vec<u32>> {
        let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        text.split(mark).map(|part| if all_digits(part) { part.parse().ok() } else { None }).collect()
    };
    let (date, time) = (numbers(date, '-').ok_or_else(refuse)?, numbers(time, ':').ok_or_else(refuse)?);
    let (&[year, month, day], &[hour, minute, second]) = (date.as_slice(), time.as_slice()) else {
        return Err(refuse());
    };
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let right = (1..=9999).contains(&year) && (1..=12).contains(&month) && (1..=days).contains(&day);
    if !right || hour > 23 || minute > 59 || second > 60 {
        return Err(refuse());
    }
    Ok(Moment { year: i32::try_from(year).unwrap_or(0), month, day, hour, minute, second })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read() {
        let check = |text: &str, expected: Option<Moment>| assert_eq!(moment(text).ok(), expected, "{text}");
        check("2024-07-26", Some(Moment::date(2024, 7, 26)));
        let time = Moment { hour: 12, minute: 30, second: 5, ..Moment::date(2024, 2, 29) };
        check("2024-02-29T12:30:05", Some(time));
        check("2024-02-29 12:30:05", Some(time));
        for wrong in ["", "2023-02-29", "2024-13-01", "2024-7", "2024-07-26T25:00:00", "26 Jul 2024", "2024-07-+6"] {
            check(wrong, None);
        }
    }
}
