//! A conversation that goes on: each answer is computed from where the last one left the model's memory.

use std::path::Path;

use bantam_constrain::Constraint;
use bantam_text::tool_calls::ToolCall;

use super::{ChatModel, ChatSettings, Message, Prompt, file};
use crate::lane::{Memory, generate_in};
use crate::sampling::Random;
use crate::{Answer, EngineError, Event, FinishReason, LanguageModel, Request};

/// Positions kept free for an answer, unless the context is small or fewer tokens are wanted.
const RESERVE: usize = 256;

/// A conversation: system prompt, messages, settings.
///
/// The model's sequence is kept from answer to answer, cut back to what the newly rendered prompt shares with it, so
/// earlier turns are not computed again. [`close`](Self::close) gives it back.
#[derive(Debug, Default)]
pub struct ChatSession {
    /// What the model is told before everything else.
    pub system: Option<String>,
    /// How answers are made.
    pub settings: ChatSettings,
    /// What each answer must be.
    pub constraint: Option<Constraint>,
    messages: Vec<Message>,
    memory: Option<Memory>,
    /// How often the last message was answered once more.
    attempts: u64,
}

impl ChatSession {
    /// An empty conversation.
    pub fn new(system: Option<String>, settings: ChatSettings) -> Self {
        Self { system, settings, ..Self::default() }
    }

    /// What was said, the system prompt left out.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// How many tokens of the conversation the model holds now.
    pub fn held_tokens(&self) -> usize {
        self.memory.as_ref().map_or(0, |memory| memory.held.len())
    }

    /// Says something and has it answered. Message and answer join the conversation only when there is an answer: one that
    /// was stopped joins as far as it got, and not at all if it had not begun.
    ///
    /// # Errors
    /// [`EngineError::ChatFull`] if the conversation has no room for an answer ([`drop_oldest`](Self::drop_oldest) makes
    /// some), and whatever the template or the model refuses.
    pub fn send(
        &mut self,
        chat: &mut ChatModel<'_>,
        text: &str,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Answer, EngineError> {
        let attempts = std::mem::take(&mut self.attempts);
        self.drop_waiting();
        let answer = self.answer(chat, Some(text), on_event);
        if !answer.as_ref().is_ok_and(has_begun) {
            self.attempts = attempts;
        }
        answer
    }

    /// The calls of the last answer whose results are still to come.
    pub fn waiting_calls(&self) -> &[ToolCall] {
        let answered = self.messages.iter().rev().take_while(|message| message.role == "tool").count();
        let calls = self.messages.iter().rev().nth(answered).map_or(&[][..], |message| &message.tool_calls);
        calls.get(answered..).unwrap_or_default()
    }

    /// Says what the first call that waits came to; false if none does.
    pub fn add_result(&mut self, text: &str) -> bool {
        let Some(call) = self.waiting_calls().first() else { return false };
        let (tool_call_id, name) = (Some(call.id.clone()), Some(call.name.clone()));
        self.messages.push(Message { tool_call_id, name, ..Message::new("tool", text) });
        true
    }

    /// Goes on after the results of calls.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn go_on(
        &mut self,
        chat: &mut ChatModel<'_>,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Answer, EngineError> {
        self.answer(chat, None, on_event)
    }

    /// Forgets calls that nobody gave the result of: templates refuse them.
    fn drop_waiting(&mut self) {
        if self.waiting_calls().is_empty() {
            return;
        }
        let answered = self.messages.iter().rev().take_while(|message| message.role == "tool").count();
        if let Some(message) = self.messages.iter_mut().rev().nth(answered) {
            message.tool_calls.truncate(answered);
            if message.tool_calls.is_empty() && message.content.is_empty() {
                // Nothing was said but the call.
                self.messages.pop();
                self.messages.pop_if(|message| message.role == "user");
            }
        }
    }

    /// Answers the last message once more. The earlier answer is kept if there is no new one.
    ///
    /// # Errors
    /// [`EngineError::NothingToRegenerate`] before the first message, and as [`send`](Self::send).
    pub fn regenerate(
        &mut self,
        chat: &mut ChatModel<'_>,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Answer, EngineError> {
        let last = self.messages.iter().rposition(|message| message.role == "user");
        let tail = self.messages.split_off(last.ok_or(EngineError::NothingToRegenerate)?);
        let text = tail.first().map(|message| message.content.clone()).unwrap_or_default();
        self.attempts += 1;
        let answer = self.answer(chat, Some(&text), on_event);
        if !answer.as_ref().is_ok_and(has_begun) {
            self.attempts -= 1;
            self.messages.extend(tail);
        }
        answer
    }

    /// Forgets what was said; the system prompt and the settings stay.
    pub fn clear(&mut self) {
        self.messages.clear();
        self.attempts = 0;
    }

    /// Drops the oldest exchanges until the conversation, with the message that is to come, takes at most half of the
    /// context or nothing is left to drop; so that the limit is not met again at once. The system prompt stays. Gives the
    /// number of exchanges dropped.
    ///
    /// # Errors
    /// [`EngineError::ChatFull`] if the system prompt and the message alone leave no room; nothing is dropped then.
    pub fn drop_oldest(&mut self, chat: &mut ChatModel<'_>, next: Option<&str>) -> Result<usize, EngineError> {
        let context = chat.model.context();
        if next.is_some() {
            let prompt = self.render(chat, self.messages.len(), next)?;
            self.check_room(&prompt, context)?;
        }
        let (mut start, mut dropped) = (0, 0);
        while start < self.messages.len() {
            let later = self.messages.iter().skip(start + 1).position(|message| message.role == "user");
            start = later.map_or(self.messages.len(), |position| start + 1 + position);
            dropped += 1;
            if start == self.messages.len() || self.render(chat, start, next)?.tokens.len() <= context / 2 {
                break;
            }
        }
        self.messages.drain(..start);
        Ok(dropped)
    }

    /// Writes the conversation to a file, whole or not at all; only its owner may read it.
    ///
    /// # Errors
    /// [`EngineError::File`] if the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), EngineError> {
        file::save(path, self.system.as_deref(), &self.settings, &self.messages)
    }

    /// Goes on with the conversation of a file in place of this one.
    ///
    /// # Errors
    /// [`EngineError::File`] if the file cannot be read, [`EngineError::NotAChat`] if it is something else; this
    /// conversation then stays as it is.
    pub fn load(&mut self, path: &Path) -> Result<(), EngineError> {
        let saved = file::load(path)?;
        (self.system, self.settings, self.messages) = (saved.system, saved.settings, saved.messages);
        self.attempts = 0;
        Ok(())
    }

    /// Gives the model's sequence back; the conversation stays.
    pub fn close(&mut self, model: &mut dyn LanguageModel) {
        if let Some(memory) = self.memory.take() {
            model.close_sequence(memory.sequence);
        }
    }

    /// Answers a message behind what was said, or what was said, and adds both if there is an answer.
    fn answer(
        &mut self,
        chat: &mut ChatModel<'_>,
        text: Option<&str>,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Answer, EngineError> {
        let prompt = self.render(chat, 0, text)?;
        self.check_room(&prompt, chat.model.context())?;
        let request = Request {
            sampling: self.settings.sampling.clone().or(chat.defaults).resolve(),
            seed: self.settings.seed.map(|seed| Random::stream(seed, self.attempts)),
            stop: self.settings.stop.iter().chain(chat.stops).cloned().collect(),
            max_tokens: self.settings.max_tokens,
            reasoning: prompt.reasoning,
            constraint: self.constraint.clone(),
            tools: prompt.tools,
            ..Request::new(prompt.tokens)
        };
        let answer = generate_in(chat.model, &mut self.memory, (chat.tokenizer, request), chat.cancel, on_event)?;
        if has_begun(&answer) {
            self.messages.extend(text.map(|text| Message::new("user", text)));
            let (reasoning_content, tool_calls) = (answer.reasoning_content.clone(), answer.tool_calls.clone());
            let said = Message::new("assistant", answer.text.clone());
            self.messages.push(Message { reasoning_content, tool_calls, ..said });
        }
        Ok(answer)
    }

    /// Renders the messages from `start` on, between the system prompt and a message to come.
    fn render(&self, chat: &mut ChatModel<'_>, start: usize, next: Option<&str>) -> Result<Prompt, EngineError> {
        let system = self.system.as_deref().map(|text| Message::new("system", text));
        let said = self.messages.iter().skip(start).cloned();
        let messages: Vec<_> =
            system.into_iter().chain(said).chain(next.map(|text| Message::new("user", text))).collect();
        (chat.render)(&messages, &self.settings)
    }

    fn check_room(&self, prompt: &Prompt, context: usize) -> Result<(), EngineError> {
        let wanted = self.settings.max_tokens.unwrap_or(usize::MAX).max(1);
        let reserve = RESERVE.min(context / 8).min(wanted);
        let tokens = prompt.tokens.len();
        match tokens.saturating_add(reserve) > context {
            true => Err(EngineError::ChatFull { tokens, reserve, context }),
            false => Ok(()),
        }
    }
}

/// Whether there is anything to keep of an answer.
fn has_begun(answer: &Answer) -> bool {
    answer.finish_reason != FinishReason::Cancelled
        || !answer.text.is_empty()
        || answer.reasoning_content.is_some()
        || !answer.tool_calls.is_empty()
}
