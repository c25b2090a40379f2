//! Prompts that no message can forge.
//!
//! A user who types `<|im_end|>` must not end their turn. Once the template has run, the characters of a message cannot
//! be told from the template's own, so they are marked before: behind every character of a message or tool that could
//! begin a special token stands a mark, a private character that occurs nowhere in the chat. Special tokens are then
//! looked for in the marked text, where only the template's own spellings are whole, and the marks are taken out of what
//! lies between. Nothing a template cuts out of a message can bring the halves of a spelling together across a mark.
//!
//! Some templates look into messages (`'</think>' in content`), and a mark inside the words they look for would change
//! the prompt. If the marked prompt without its marks is not the plain prompt, only whole spellings and those cut off at
//! an end are marked; and if that makes more special tokens than the fully marked one, the fully marked one is used.

use serde_json::Value as Json;

use super::{ChatInput, ChatTemplate};
use crate::error::TextError;
use crate::tokenizer::Tokenizer;

/// A rendered chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The prompt as text, exactly as the template writes it.
    pub text: String,
    /// Its token ids, in which every special token comes from the template. BOS and EOS are there only if the template
    /// writes them.
    pub ids: Vec<u32>,
}

/// Strings of a message that are the protocol's own words and never shown to the model as text.
const NAMES: &[&str] = &["role", "type"];

impl ChatTemplate {
    /// Renders a chat to token ids in such a way that nothing in its messages or tools becomes a special token.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`] and [`Tokenizer::encode`].
    pub fn render_guarded(&self, input: &ChatInput, tokenizer: &Tokenizer) -> Result<Prompt, TextError> {
        self.render_guarded_with(input, tokenizer, "")
    }

    /// The same with text behind the chat that is as trusted as the template: the beginning of the answer, whose special
    /// tokens are such. It is encoded as a part of the prompt, not as a text that begins.
    ///
    /// # Errors
    /// As [`ChatTemplate::render_guarded`].
    pub fn render_guarded_with(
        &self,
        input: &ChatInput,
        tokenizer: &Tokenizer,
        behind: &str,
    ) -> Result<Prompt, TextError> {
        let render = |input: &ChatInput| Ok::<_, TextError>(self.render(input)? + behind);
        let text = render(input)?;
        let firsts = tokenizer.special_first_characters();
        let suspicious = |text: &str| text.contains(firsts.as_slice());
        let mut all = Vec::new();
        collect(&input.messages, &mut all);
        if let Some(tools) = &input.tools {
            collect(tools, &mut all);
        }
        if !all.iter().any(|text| suspicious(text)) {
            let ids = tokenizer.encode(&text, crate::Special::Parse)?;
            return Ok(Prompt { text, ids });
        }
        let mark = self.unused_character(&all);
        let full = |text: &str| {
            let mut out = String::with_capacity(text.len() + 8);
            for c in text.chars() {
                out.push(c);
                if firsts.contains(&c) {
                    out.push(mark);
                }
            }
            out
        };
        let marked = render(&mapped(input, &full))?;
        if marked.replace(mark, "") == text {
            let ids = tokenizer.encode_marked(&marked, mark)?.0;
            return Ok(Prompt { text, ids });
        }
        let sparing = |text: &str| {
            let mut out = text.to_owned();
            for at in tokenizer.special_starts(text).into_iter().rev() {
                out.insert(at, mark);
            }
            out
        };
        let spared = render(&mapped(input, &sparing))?;
        let (full_ids, full_counts) = tokenizer.encode_marked(&marked, mark)?;
        let (spared_ids, spared_counts) = tokenizer.encode_marked(&spared, mark)?;
        let forged = spared_counts.iter().any(|(id, count)| full_counts.get(id).is_none_or(|found| count > found));
        let ids = if forged { full_ids } else { spared_ids };
        Ok(Prompt { text, ids })
    }

    fn unused_character(&self, texts: &[&str]) -> char {
        ('\u{100000}'..='\u{10fffd}')
            .find(|&c| !self.source.contains(c) && !texts.iter().any(|text| text.contains(c)))
            .unwrap_or('\u{10fffd}')
    }
}

/// Every string of a chat that a stranger may have written.
fn collect<'j>(value: &'j Json, out: &mut Vec<&'j str>) {
    match value {
        Json::String(text) => out.push(text),
        Json::Array(items) => items.iter().for_each(|item| collect(item, out)),
        Json::Object(entries) => {
            for (key, value) in entries {
                out.push(key);
                if !(NAMES.contains(&key.as_str()) && value.is_string()) {
                    collect(value, out);
                }
            }
        }
        _ => {}
    }
}

/// The chat with every such string passed through `change`. Keys that no template can know are changed too.
fn mapped(input: &ChatInput, change: &dyn Fn(&str) -> String) -> ChatInput {
    fn walk(value: &Json, change: &dyn Fn(&str) -> String) -> Json {
        match value {
            Json::String(text) => Json::String(change(text)),
            Json::Array(items) => items.iter().map(|item| walk(item, change)).collect(),
            Json::Object(entries) => entries
                .iter()
                .map(|(key, value)| {
                    let kept = NAMES.contains(&key.as_str()) && value.is_string();
                    (change(key), if kept { value.clone() } else { walk(value, change) })
                })
                .collect::<serde_json::Map<_, _>>()
                .into(),
            other => other.clone(),
        }
    }
    ChatInput {
        messages: walk(&input.messages, change),
        tools: input.tools.as_ref().map(|tools| walk(tools, change)),
        ..input.clone()
    }
}
