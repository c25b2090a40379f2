//! Lanes: sequences of a model that serve one request after the other, and the step that moves all of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bantam_text::Tokenizer;

use crate::generation::Generation;
use crate::sampling::Candidates;
use crate::{
    Answer, EngineError, Event, Feed, FinishReason, LanguageModel, ModelError, Outputs, Request, SequenceId, Timings,
};

/// Most rows in one step: lanes that generate go first, prompts share the rest. A stop is heeded between two steps.
const STEP_ROWS: usize = 512;

/// A sequence and the tokens it holds.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) sequence: SequenceId,
    pub(crate) held: Vec<u32>,
}

impl Memory {
    pub(crate) fn open(model: &mut dyn LanguageModel) -> Result<Self, EngineError> {
        Ok(Self { sequence: model.open_sequence()?, held: Vec::new() })
    }

    /// How much of a prompt is held already.
    pub(crate) fn shared(&self, prompt: &[u32]) -> usize {
        self.held.iter().zip(prompt).take_while(|(held, wanted)| held == wanted).count()
    }

    /// Keeps of what is held only what the prompt shares, less its last token, whose logits are needed.
    fn keep(&mut self, model: &mut dyn LanguageModel, prompt: &[u32]) {
        let kept = self.shared(prompt).min(prompt.len().saturating_sub(1));
        self.cut(model, kept);
    }

    /// Forgets what is held from a position on.
    pub(crate) fn cut(&mut self, model: &mut dyn LanguageModel, length: usize) {
        model.truncate(self.sequence, length);
        self.held.truncate(length);
    }

    /// After a failed run: keeps what the model says it holds.
    fn resync(&mut self, model: &dyn LanguageModel) {
        self.held.truncate(model.length(self.sequence));
    }
}

/// A request on its way.
pub(crate) struct Work<'t> {
    /// The request's number among its siblings.
    pub(crate) index: usize,
    generation: Generation<'t>,
    /// All tokens to be held: the prompt, then what was generated.
    tokens: Vec<u32>,
    prompt_len: usize,
    /// Tokens of the prompt that were held from the beginning.
    cached: usize,
    start: Instant,
    first: Option<Instant>,
}

impl<'t> Work<'t> {
    /// Takes a request up.
    pub(crate) fn new(
        index: usize,
        request: Request,
        model: &dyn LanguageModel,
        tokenizer: &'t Tokenizer,
    ) -> Result<Self, EngineError> {
        request.check(model.context(), model.vocabulary_len())?;
        let generation = Generation::new(tokenizer, &request, model.vocabulary_len())?;
        let (prompt_len, start) = (request.prompt.len(), Instant::now());
        Ok(Self { index, generation, tokens: request.prompt, prompt_len, cached: 0, start, first: None })
    }

    pub(crate) fn prompt(&self) -> &[u32] {
        &self.tokens
    }

    /// Whether there is nothing to generate.
    pub(crate) fn wants_nothing(&self) -> bool {
        self.generation.wants_nothing()
    }

    pub(crate) fn finish(self, reason: FinishReason, emit: &mut dyn FnMut(Event<'_>)) -> Answer {
        let end = Instant::now();
        let first = self.first.unwrap_or(end);
        let prompt = self.first.map_or(0, |_| self.prompt_len - self.cached);
        let predicted = self.generation.len().saturating_sub(1);
        let timings = Timings::new((prompt, first.duration_since(self.start)), (predicted, end.duration_since(first)));
        self.generation.finish(reason, timings, emit)
    }
}

/// A sequence and, if it is not idle, the request it serves.
pub(crate) struct Lane<'t> {
    pub(crate) memory: Memory,
    pub(crate) work: Option<Work<'t>>,
}

impl<'t> Lane<'t> {
    /// Puts an idle lane to work.
    pub(crate) fn begin(&mut self, model: &mut dyn LanguageModel, mut work: Work<'t>) {
        self.memory.keep(model, work.prompt());
        work.cached = self.memory.held.len();
        self.work = Some(work);
    }

    /// Tokens that must be fed before the next can be chosen.
    fn outstanding(&self) -> usize {
        self.work.as_ref().map_or(0, |work| work.tokens.len() - self.memory.held.len())
    }

    /// Ends the request early.
    pub(crate) fn cancel(&mut self, emit: &mut dyn FnMut(Event<'_>)) -> Option<Answer> {
        self.work.take().map(|work| work.finish(FinishReason::Cancelled, emit))
    }

    /// After `rows` tokens were fed: chooses the next one if all are. Gives the answer if that ends it.
    fn advance(
        &mut self,
        rows: usize,
        logits: Option<&[f32]>,
        limits: (usize, &mut Candidates),
        emit: &mut dyn FnMut(Event<'_>),
    ) -> Option<Result<Answer, EngineError>> {
        let (context, candidates) = limits;
        let work = self.work.as_mut()?;
        let held = self.memory.held.len();
        self.memory.held.extend(work.tokens.iter().skip(held).take(rows));
        let held = self.memory.held.len();
        if held <= work.prompt_len {
            emit(Event::Prompt { done: held, total: work.prompt_len });
        }
        let logits = logits?;
        if work.first.is_none() {
            work.first = Some(Instant::now());
        }
        let result = work.generation.take(logits, candidates, emit);
        let full = held >= context;
        let reason = match result {
            Ok((token, None)) if !full => {
                work.tokens.push(token);
                return None;
            }
            Ok((_, None)) => FinishReason::Length,
            Ok((_, Some(reason))) => reason,
            Err(error) => {
                self.work = None;
                return Some(Err(error));
            }
        };
        let mut answer = self.work.take()?.finish(reason, emit);
        answer.context_full = full && reason == FinishReason::Length;
        Some(Ok(answer))
    }
}

/// What a step is done with.
pub(crate) struct Stepper {
    candidates: Candidates,
    /// Rows of each lane in the step.
    rows: Vec<usize>,
}

impl Stepper {
    pub(crate) fn new(model: &dyn LanguageModel) -> Self {
        Self { candidates: Candidates::new(model.vocabulary_len()), rows: Vec::new() }
    }

    /// Runs the model once for all lanes at work. Gives `finished` every answer that is complete with its lane, or the error
    /// in its place.
    ///
    /// # Errors
    /// Only [`ModelError::Interrupted`]: the lanes stand as they were, as far as the model got.
    pub(crate) fn step(
        &mut self,
        model: &mut dyn LanguageModel,
        lanes: &mut [Lane<'_>],
        emit: &mut dyn FnMut(usize, Event<'_>),
        finished: &mut dyn FnMut(usize, usize, Result<Answer, EngineError>),
    ) -> Result<(), ModelError> {
        self.share_rows(lanes);
        let context = model.context();
        let width = model.vocabulary_len();
        let feeds: Vec<_> = lanes.iter().zip(&self.rows).filter_map(|(lane, &rows)| feed(lane, rows)).collect();
        if feeds.is_empty() {
            return Ok(());
        }
        let alone = feeds.len() == 1;
        match model.run(&feeds) {
            Ok(logits) => {
                let mut logits = logits.chunks_exact(width);
                for (number, lane) in lanes.iter_mut().enumerate() {
                    let rows = self.rows[number];
                    let row = if rows > 0 && rows == lane.outstanding() { logits.next() } else { None };
                    let limits = (context, &mut self.candidates);
                    let index = lane.work.as_ref().map_or(0, |work| work.index);
                    if rows > 0
                        && let Some(result) = lane.advance(rows, row, limits, &mut |event| emit(index, event))
                    {
                        finished(number, index, result);
                    }
                }
                Ok(())
            }
            Err(ModelError::Interrupted) => {
                lanes.iter_mut().for_each(|lane| lane.memory.resync(model));
                Err(ModelError::Interrupted)
            }
            Err(error) if alone => {
                for (number, lane) in lanes.iter_mut().enumerate() {
                    lane.memory.resync(model);
                    if self.rows[number] > 0
                        && let Some(work) = lane.work.take()
                    {
                        finished(number, work.index, Err(error.into()));
                        break;
                    }
                }
                Ok(())
            }
            Err(_) => {
                // One of them is to blame: each is run for itself, so that the others go on.
                for (number, lane) in lanes.iter_mut().enumerate() {
                    let held = lane.memory.held.len();
                    lane.memory.cut(model, held);
                    let mut only = Stepper::new(model);
                    only.step(model, std::slice::from_mut(lane), emit, &mut |_, index, result| {
                        finished(number, index, result);
                    })?;
                }
                Ok(())
            }
        }
    }

    /// One row for each lane that generates; the rest of the step for prompts, in the order of the lanes.
    fn share_rows(&mut self, lanes: &[Lane<'_>]) {
        let decoding = lanes.iter().filter(|lane| lane.outstanding() == 1).count();
        let mut left = STEP_ROWS.saturating_sub(decoding).max(1);
        self.rows.clear();
        self.rows.extend(lanes.iter().map(|lane| match lane.outstanding() {
            outstanding @ (0 | 1) => outstanding,
            outstanding => {
                let rows = outstanding.min(left);
                left -= rows;
                rows
            }
        }));
    }
}

/// The next `rows` tokens of a lane.
fn feed<'a>(lane: &'a Lane<'_>, rows: usize) -> Option<Feed<'a>> {
    let tokens = lane.work.as_ref()?.tokens.get(lane.memory.held.len()..)?;
    let outputs = if rows == tokens.len() { Outputs::Last } else { Outputs::None };
    (rows > 0).then_some(Feed { sequence: lane.memory.sequence, tokens: tokens.get(..rows)?, outputs })
}

/// Serves one request; `on_event` hears of its progress.
///
/// `cancel` is looked at between two steps; set from another thread or a signal handler it ends the answer with
/// [`FinishReason::Cancelled`] and what there is of it. Where the model has a flag of its own to stop a long run, give that.
///
/// # Errors
/// A request that cannot be served ([`EngineError::PromptTooLong`] and the like), or a model that fails.
pub fn generate(
    model: &mut dyn LanguageModel,
    tokenizer: &Tokenizer,
    request: Request,
    cancel: &AtomicBool,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Answer, EngineError> {
    let mut memory = None;
    let result = generate_in(model, &mut memory, (tokenizer, request), cancel, on_event);
    if let Some(memory) = memory {
        model.close_sequence(memory.sequence);
    }
    result
}

/// Serves one request in a sequence that is kept, or opened at the first use.
pub(crate) fn generate_in(
    model: &mut dyn LanguageModel,
    memory: &mut Option<Memory>,
    (tokenizer, request): (&Tokenizer, Request),
    cancel: &AtomicBool,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Answer, EngineError> {
    let work = Work::new(0, request, model, tokenizer)?;
    if work.wants_nothing() {
        return Ok(work.finish(FinishReason::Length, on_event));
    }
    let memory_now = match memory.take() {
        Some(memory) => memory,
        None => Memory::open(model)?,
    };
    let mut lanes = [Lane { memory: memory_now, work: None }];
    lanes[0].begin(model, work);
    let mut stepper = Stepper::new(model);
    let mut result = None;
    while result.is_none() {
        let step = if cancel.load(Ordering::Relaxed) {
            Err(ModelError::Interrupted)
        } else {
            stepper.step(model, &mut lanes, &mut |_, event| on_event(event), &mut |_, _, done| result = Some(done))
        };
        if step.is_err() && result.is_none() {
            result = lanes[0].cancel(on_event).map(Ok);
            break;
        }
    }
    let [lane] = lanes;
    *memory = Some(lane.memory);
    // A lane at work gives a result or is cancelled, so there is one.
    result.unwrap_or(Err(EngineError::Model(ModelError::Interrupted)))
}
