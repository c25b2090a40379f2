//! Answers of the base model and of the tuned one to prompts that were held out.

use bantam_engine::{BatchOptions, FromIterator, Request, SamplingSettings, generate_batch};
use bantam_runtime::{LoadOptions, Model};
use bantam_text::Tokenizer;
use bantam_train::data::Example;

use super::TuneArguments;
use super::page::Sample;
use crate::interrupt::Interrupt;

/// Most tokens of an answer, and how many are always allowed.
const MOST: usize = 256;
const LEAST: usize = 32;
/// Answers written together.
const TOGETHER: usize = 4;

/// A prompt and what the data answer to it, as tokens.
pub struct Asked {
    prompt: Vec<u32>,
    expected: Vec<u32>,
}

/// Prompts of `count` examples, from the first to the last. An answer is asked for; of a text, its second half.
pub fn choose(examples: &[Example], count: usize) -> Vec<Asked> {
    let each = examples.len().div_ceil(count.max(1)).max(1);
    let ask = |example: &Example| {
        let begins = |at: &usize| example.said[*at] && (*at == 0 || !example.said[*at - 1]);
        let answer = (0..example.tokens.len()).rev().find(begins)?;
        let begin = if answer > 1 { answer } else { example.tokens.len() / 2 };
        let (prompt, expected) = example.tokens.split_at(begin);
        let (prompt, expected) = (prompt.to_vec(), expected.to_vec());
        (!prompt.is_empty() && !expected.is_empty()).then_some(Asked { prompt, expected })
    };
    examples.iter().step_by(each).take(count).filter_map(ask).collect()
}

/// The likeliest answer to each prompt; none where someone asked to stop.
///
/// # Errors
/// Where the model does not fit beside what is there, or a prompt cannot be run.
fn answers(
    model: &Model,
    asked: &[Asked],
    threads: Option<usize>,
    memory_limit: Option<u64>,
    interrupt: &Interrupt,
) -> anyhow::Result<Option<Vec<String>>> {
    let tokenizer = model.tokenizer()?;
    let most = |asked: &Asked| (2 * asked.expected.len()).clamp(LEAST, MOST);
    let context = asked.iter().map(|asked| asked.prompt.len() + most(asked)).max().unwrap_or(1);
    let context = Some(context.min(model.context_length()));
    let options = LoadOptions { threads, memory_limit, context, sequences: TOGETHER, ..LoadOptions::default() };
    let mut loaded = model.load(&options, &mut |_| !interrupt.is_set())?;
    interrupt.also(loaded.interrupt());
    let cancel = loaded.interrupt();
    let mut requests = FromIterator(asked.iter().map(|asked| {
        let mut request = Request::new(asked.prompt.clone());
        request.sampling = SamplingSettings::greedy();
        request.max_tokens = Some(most(asked));
        Ok(request)
    }));
    let mut texts = Vec::with_capacity(asked.len());
    let report = generate_batch(
        &mut loaded,
        tokenizer,
        &mut requests,
        BatchOptions { live: TOGETHER },
        &cancel,
        &mut |_, answer| texts.push(answer.map_or_else(|error| format!("({error})"), |answer| answer.text)),
    )?;
    Ok((!report.cancelled && !interrupt.is_set()).then_some(texts))
}

/// The answers of the base model and of the tuned one, side by side; none where someone asked to stop.
///
/// # Errors
/// As [`answers`].
pub fn both(
    base: &Model,
    tuned: impl FnOnce() -> anyhow::Result<Model>,
    asked: &[Asked],
    arguments: &TuneArguments,
    interrupt: &Interrupt,
) -> anyhow::Result<Vec<Sample>> {
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let answers = |model: &Model| answers(model, asked, arguments.threads, arguments.memory, interrupt);
    let Some(before) = answers(base)? else { return Ok(Vec::new()) };
    let Some(after) = answers(&tuned()?)? else { return Ok(Vec::new()) };
    side_by_side(base.tokenizer()?, asked, before, after)
}

/// Prompts and answers side by side.
fn side_by_side(
    tokenizer: &Tokenizer,
    asked: &[Asked],
    base: Vec<String>,
    tuned: Vec<String>,
) -> anyhow::Result<Vec<Sample>> {
    let one = |((asked, base), tuned): ((&Asked, String), String)| {
        let (prompt, expected) = (tokenizer.decode(&asked.prompt, false)?, tokenizer.decode(&asked.expected, true)?);
        Ok(Sample { prompt, expected, base, tuned })
    };
    asked.iter().zip(base).zip(tuned).map(one).collect()
}
