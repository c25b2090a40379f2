//! What comes back: events while an answer is written, and the answer as a whole.

use std::time::Duration;

use bantam_text::tool_calls::ToolCall;
use serde::Serialize;

use crate::logprobs::{Logprobs, TokenLogprob};

/// Something that happened while an answer was written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// This much of the prompt is in the model's memory; sent for each piece of a long prompt.
    Prompt {
        /// Tokens done.
        done: usize,
        /// Tokens of the prompt.
        total: usize,
    },
    /// The answer goes on with this text.
    Text(&'a str),
    /// The thoughts before the answer go on with this text.
    Reasoning(&'a str),
    /// A call for a tool, whole.
    ToolCall(&'a ToolCall),
    /// A token and its log-probability, where asked for; comes behind the text it belongs to.
    Logprob(&'a TokenLogprob),
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended it, or a stop string was met.
    Stop,
    /// The model ended it with calls for tools.
    ToolCalls,
    /// The most tokens allowed were generated, or the context is full.
    Length,
    /// Whoever asked stopped it.
    Cancelled,
}

/// How many tokens were read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens generated, the one that ended the answer included.
    pub completion_tokens: usize,
}

/// How long it took, with llama.cpp's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Timings {
    /// Tokens of the prompt that were computed; the rest was in memory already.
    pub prompt_n: usize,
    /// Milliseconds from the start to the first logits, waiting for neighbours in a batch included.
    pub prompt_ms: f64,
    /// Tokens of the prompt computed a second; 0 where there were none.
    pub prompt_per_second: f64,
    /// Tokens that were computed one by one, which is all generated ones but the last.
    pub predicted_n: usize,
    /// Milliseconds from the first logits to the end.
    pub predicted_ms: f64,
    /// Tokens computed a second after the prompt; 0 where there were none.
    pub predicted_per_second: f64,
}

impl Timings {
    pub(crate) fn new(prompt: (usize, Duration), predicted: (usize, Duration)) -> Self {
        let per_second = |(count, time): (usize, Duration)| {
            if count == 0 || time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
        };
        Self {
            prompt_n: prompt.0,
            prompt_ms: prompt.1.as_secs_f64() * 1e3,
            prompt_per_second: per_second(prompt),
            predicted_n: predicted.0,
            predicted_ms: predicted.1.as_secs_f64() * 1e3,
            predicted_per_second: per_second(predicted),
        }
    }
}

/// An answer. Serialised it is the object that `--json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The text, without thoughts, without calls and without the stop string.
    pub text: String,
    /// The thoughts before the answer, where the request says how to tell them and there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// The calls for tools, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// What is wrong with the first call that is: it is malformed and stands in the text, or names no tool of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_error: Option<String>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Tokens read and written.
    pub usage: Usage,
    /// How long it took.
    pub timings: Timings,
    /// Where the answer was held to a constraint: whether it is valid as it stands. It is not where it was cut short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraint_met: Option<bool>,
    /// How sure the model is of the answer, from 0 to 1, where what it was held to can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// Log-probabilities, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Logprobs>,
    /// Every generated token, the one that ended the answer included.
    #[serde(skip)]
    pub tokens: Vec<u32>,
    /// The seed that was used.
    #[serde(skip)]
    pub seed: u64,
    /// Whether it ended because the context is full.
    #[serde(skip)]
    pub context_full: bool,
}
