//! One answer in the making: logits in, the next token and events out. Knows nothing of models and batches.

use std::collections::VecDeque;

use bantam_text::tool_calls::{Outcome, Piece, ToolCallParser};
use bantam_text::{Detokenizer, Tokenizer};

use crate::gate::{Gate, Passed};
use crate::logprobs::{Logprobs, TokenLogprob, logprobs};
use crate::reasoning::{Part, ReasoningSplitter};
use crate::sampling::{Candidates, Mask, Random, Sampler};
use crate::stop::StopMatcher;
use crate::{Answer, EngineError, Event, FinishReason, Request, Timings, Usage};

/// The state of an answer.
pub(crate) struct Generation<'t> {
    tokenizer: &'t Tokenizer,
    sampler: Sampler,
    detokenizer: Detokenizer<'t>,
    stops: StopMatcher,
    splitter: Option<ReasoningSplitter>,
    gate: Option<Gate<'t>>,
    /// Whether the gate holds nothing but calls: the text may still begin with thoughts that no token marks.
    tools_only: bool,
    /// Where, in bytes of text generated, an answer held to a constraint begins: all of it is its own from there.
    answer_begin: Option<usize>,
    /// Whether a stop string ended it.
    stopped: bool,
    max_tokens: Option<usize>,
    ignore_end: bool,
    spelled_tokens: Vec<u32>,
    /// Tokens that end the answer beside those of the vocabulary.
    more_ends: Vec<u32>,
    prompt_tokens: usize,
    seed: u64,
    tokens: Vec<u32>,
    /// Bytes of text generated, those held back included.
    generated: usize,
    /// Bytes of text that stop strings have let through.
    passed: usize,
    parts: Parts,
    top_logprobs: Option<usize>,
    /// Log-probabilities of tokens whose text is held back, with the place where their text begins.
    waiting: VecDeque<(usize, TokenLogprob)>,
    logprobs: Vec<TokenLogprob>,
    /// Text of one step, kept for its buffer.
    shown: String,
}

impl<'t> Generation<'t> {
    /// The start of an answer to a checked request.
    pub(crate) fn new(tokenizer: &'t Tokenizer, request: &Request, vocabulary_len: usize) -> Result<Self, EngineError> {
        if request.stop.iter().any(String::is_empty) {
            return Err(EngineError::Setting {
                name: "stop",
                expected: "a text of at least one character",
                found: "\"\"".into(),
            });
        }
        let seed = request.seed.unwrap_or_else(Random::fresh_seed);
        let mut sampler = Sampler::new(request.sampling.clone(), seed, vocabulary_len)?;
        sampler.read_prompt(&request.prompt);
        let mut spelled_tokens = request.spelled_tokens.clone();
        if let Some(markers) = &request.reasoning {
            let ids = [&markers.start, &markers.end].map(|marker| tokenizer.token_id(marker));
            spelled_tokens.extend(ids.into_iter().flatten());
        }
        let mut more_ends = Vec::new();
        let mut reasoning = request.reasoning.clone();
        if let Some(tools) = &request.tools {
            let ids = |spellings: &'static [&'static str]| {
                let special = |id: &u32| tokenizer.is_special(*id);
                spellings.iter().filter_map(|spelling| tokenizer.token_id(spelling)).filter(special)
            };
            spelled_tokens.extend(ids(tools.convention.tokens));
            more_ends.extend(ids(tools.convention.ends));
            // Such a parser tells thoughts too.
            reasoning = reasoning.filter(|_| !tools.convention.channels);
        }
        let calls = request.tools.as_ref().map(|tools| tools.parser(&request.prompt, seed));
        let for_calls = request.tools.as_ref().and_then(|tools| tools.constraint.as_ref());
        let constraint = request.constraint.as_ref().or(for_calls);
        Ok(Self {
            tokenizer,
            sampler,
            detokenizer: Detokenizer::after(tokenizer, &request.prompt).skip_special(!request.spell_special),
            stops: StopMatcher::new(request.stop.iter().map(String::as_str)),
            gate: constraint.map(|rules| Gate::new(tokenizer, rules, reasoning.as_ref())),
            splitter: reasoning.map(ReasoningSplitter::new),
            tools_only: request.constraint.is_none(),
            answer_begin: None,
            stopped: false,
            max_tokens: request.max_tokens,
            ignore_end: request.ignore_end,
            spelled_tokens,
            more_ends,
            prompt_tokens: request.prompt.len(),
            seed,
            tokens: Vec::new(),
            generated: 0,
            passed: 0,
            parts: Parts { calls, ..Parts::default() },
            top_logprobs: request.logprobs,
            waiting: VecDeque::new(),
            logprobs: Vec::new(),
            shown: String::new(),
        })
    }

    /// Whether the request asks for no token at all.
    pub(crate) fn wants_nothing(&self) -> bool {
        self.max_tokens == Some(0)
    }

    /// How many tokens were generated.
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Chooses a token from the logits of the last position; says why if the answer ends with it, else the token is to be
    /// fed to the model.
    pub(crate) fn take(
        &mut self,
        logits: &[f32],
        candidates: &mut Candidates,
        emit: &mut dyn FnMut(Event<'_>),
    ) -> Result<(u32, Option<FinishReason>), EngineError> {
        let (token, ended) = self.choose(logits, candidates)?;
        self.tokens.push(token);
        if ended {
            return Ok((token, Some(FinishReason::Stop)));
        }
        if let Some(top) = self.top_logprobs {
            self.waiting.push_back((self.generated, logprobs(self.tokenizer, logits, token, top, candidates)));
        }
        self.stopped = self.spell(token, emit)?;
        let finished = self.stopped || self.gate.as_ref().is_some_and(Gate::is_finished);
        let full = self.max_tokens.is_some_and(|most| self.tokens.len() >= most);
        let reason = if finished {
            Some(FinishReason::Stop)
        } else if full {
            Some(FinishReason::Length)
        } else {
            None
        };
        Ok((token, reason))
    }

    /// Chooses a token; whether it is one that ends the answer.
    fn choose(&mut self, logits: &[f32], candidates: &mut Candidates) -> Result<(u32, bool), EngineError> {
        let Some(gate) = &mut self.gate else {
            let token = self.sampler.sample(logits, candidates)?;
            let ends = self.tokenizer.end_of_generation().contains(&token) || self.more_ends.contains(&token);
            return Ok((token, !self.ignore_end && ends));
        };
        let at_start = self.detokenizer.drops_leading_space();
        let mask: Mask<'_> = &mut |logits| gate.mask(logits, at_start);
        let token = self.sampler.sample_under(logits, candidates, Some(mask))?;
        let passed = gate.take(token, at_start)?;
        if passed == Passed::First && !self.tools_only {
            self.answer_begin = Some(self.generated);
        }
        Ok((token, passed == Passed::End))
    }

    /// Ends the answer.
    pub(crate) fn finish(
        mut self,
        finish_reason: FinishReason,
        timings: Timings,
        emit: &mut dyn FnMut(Event<'_>),
    ) -> Answer {
        self.shown.clear();
        // What waits was no stop string and no character; after a stop string nothing waits.
        let rest = self.detokenizer.finish();
        self.generated += rest.len();
        self.stops.push(rest, &mut self.shown);
        self.stops.finish(&mut self.shown);
        self.show(emit);
        if let Some(mut splitter) = self.splitter.take() {
            splitter.finish(&mut |part, text| self.parts.put(part, text, emit));
        }
        let ended = finish_reason == FinishReason::Stop && !self.stopped;
        let Outcome { calls, error } = self.parts.finish(ended, emit);
        let finish_reason = match finish_reason {
            FinishReason::Stop if !calls.is_empty() => FinishReason::ToolCalls,
            other => other,
        };
        for (_, logprob) in std::mem::take(&mut self.waiting) {
            emit(Event::Logprob(&logprob));
            self.logprobs.push(logprob);
        }
        let confidence = self.gate.as_ref().and_then(Gate::confidence);
        let constraint_met = self.gate.as_mut().map(|gate| gate.is_met() && !self.stopped);
        Answer {
            text: self.parts.text,
            reasoning_content: (!self.parts.thoughts.is_empty()).then_some(self.parts.thoughts),
            tool_calls: calls,
            tool_call_error: error,
            finish_reason,
            usage: Usage { prompt_tokens: self.prompt_tokens, completion_tokens: self.tokens.len() },
            timings,
            logprobs: self.top_logprobs.map(|_| Logprobs { content: self.logprobs, refusal: () }),
            tokens: self.tokens,
            seed: self.seed,
            context_full: false,
            constraint_met,
            confidence,
        }
    }

    /// Puts a token's text behind what there is; true if a stop string was met.
    fn spell(&mut self, token: u32, emit: &mut dyn FnMut(Event<'_>)) -> Result<bool, EngineError> {
        self.shown.clear();
        let mut stopped = false;
        if self.tokenizer.is_special(token) && self.spelled_tokens.contains(&token) {
            let rest = self.detokenizer.finish();
            let bytes = self.tokenizer.token_bytes(token).unwrap_or_default();
            let text = format!("{rest}{}", String::from_utf8_lossy(bytes));
            self.generated += text.len();
            self.gate.iter_mut().for_each(|gate| gate.hear(&text));
            stopped |= self.stops.push(&text, &mut self.shown);
        } else if self.tokenizer.token_bytes(token).is_some() {
            let text = self.detokenizer.push(token)?;
            self.generated += text.len();
            self.gate.iter_mut().for_each(|gate| gate.hear(text));
            stopped |= self.stops.push(text, &mut self.shown);
        }
        // else: models have rows for tokens that the vocabulary does not; they spell nothing.
        self.show(emit);
        if stopped {
            // Tokens of the stop string itself are no part of the answer.
            self.waiting.clear();
        }
        Ok(stopped)
    }

    /// Hands on the text in `shown`, and the log-probabilities of the tokens it comes from.
    fn show(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        match &mut self.splitter {
            None if self.shown.is_empty() => {}
            None => self.parts.put(Part::Answer, &self.shown, emit),
            Some(splitter) => {
                let parts = &mut self.parts;
                let mut emit = |part: Part, piece: &str| parts.put(part, piece, emit);
                let end = self.passed + self.shown.len();
                match self.answer_begin {
                    Some(begin) if begin < end => {
                        let (before, answer) = self.shown.split_at(begin.saturating_sub(self.passed));
                        if !before.is_empty() {
                            splitter.push(before, &mut emit);
                        }
                        splitter.begin_answer();
                        splitter.push(answer, &mut emit);
                    }
                    _ => splitter.push(&self.shown, &mut emit),
                }
            }
        }
        self.passed += self.shown.len();
        while let Some((_, logprob)) = self.waiting.pop_front_if(|(begin, _)| *begin < self.passed) {
            emit(Event::Logprob(&logprob));
            self.logprobs.push(logprob);
        }
    }
}

/// What an answer was found to hold so far.
#[derive(Default)]
struct Parts {
    text: String,
    thoughts: String,
    calls: Option<ToolCallParser>,
}

impl Parts {
    /// Sends a piece of text and keeps it.
    fn put(&mut self, part: Part, piece: &str, emit: &mut dyn FnMut(Event<'_>)) {
        let Self { text, thoughts, calls } = self;
        match (part, calls) {
            (Part::Answer, None) => keep(text, thoughts, Piece::Text(piece), emit),
            (Part::Answer, Some(parser)) => parser.push(piece, &mut |piece| keep(text, thoughts, piece, emit)),
            (Part::Reasoning, _) => keep(text, thoughts, Piece::Reasoning(piece), emit),
        }
    }

    /// Ends the answer, or says that the model has not.
    fn finish(&mut self, ended: bool, emit: &mut dyn FnMut(Event<'_>)) -> Outcome {
        let Self { text, thoughts, calls } = self;
        let parser = calls.take();
        parser.map(|parser| parser.finish(ended, &mut |piece| keep(text, thoughts, piece, emit))).unwrap_or_default()
    }
}

fn keep(text: &mut String, thoughts: &mut String, piece: Piece<'_>, emit: &mut dyn FnMut(Event<'_>)) {
    match piece {
        Piece::Text(piece) => {
            text.push_str(piece);
            emit(Event::Text(piece));
        }
        Piece::Reasoning(piece) => {
            thoughts.push_str(piece);
            emit(Event::Reasoning(piece));
        }
        Piece::Call(call) => emit(Event::ToolCall(call)),
    }
}
