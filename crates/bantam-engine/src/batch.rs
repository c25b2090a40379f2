//! Many requests decoded together.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};

use bantam_text::Tokenizer;

use crate::lane::{Lane, Memory, Stepper, Work};
use crate::{Answer, EngineError, FinishReason, LanguageModel, Request};

/// What a source of requests has to offer.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "handed over once a request and never kept")]
pub enum Next {
    /// A request, or why there is none at this place; the error is delivered in its place.
    Request(Result<Request, EngineError>),
    /// Nothing yet; there may be more later.
    NotYet,
    /// There will be no more.
    End,
}

/// A source of requests.
///
/// It is asked not to wait while answers are being written, so that whoever writes a line and waits for its answer gets it.
pub trait Requests {
    /// The next request. With `wait` it does not say [`Next::NotYet`].
    fn next(&mut self, wait: bool) -> Next;
}

/// Requests that are all there, or whose source may block while answers wait.
#[derive(Debug)]
pub struct FromIterator<I>(pub I);

impl<I: Iterator<Item = Result<Request, EngineError>>> Requests for FromIterator<I> {
    fn next(&mut self, _: bool) -> Next {
        self.0.next().map_or(Next::End, Next::Request)
    }
}

/// Requests that another thread reads.
impl Requests for Receiver<Result<Request, EngineError>> {
    fn next(&mut self, wait: bool) -> Next {
        if wait {
            return self.recv().map_or(Next::End, Next::Request);
        }
        match self.try_recv() {
            Ok(request) => Next::Request(request),
            Err(TryRecvError::Empty) => Next::NotYet,
            Err(TryRecvError::Disconnected) => Next::End,
        }
    }
}

/// How many requests are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchOptions {
    /// Most sequences decoded together, at least 1. Fewer if the model has no room for them.
    pub live: usize,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self { live: 8 }
    }
}

/// How a batch went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchReport {
    /// Answers delivered.
    pub answered: usize,
    /// Errors delivered in the place of an answer.
    pub failed: usize,
    /// Whether it was stopped before all were served.
    pub cancelled: bool,
}

/// Serves requests together, as many as `options` says; a finished one makes room for the next.
///
/// `deliver` gets the answers in the order of the requests, each as soon as those before it are delivered, with its index
/// from 0. An answer is the same, bit for bit, as from [`generate`](crate::generate). A request that fails is delivered as
/// its error and the others go on. Where prompts begin alike, a sequence that is free goes on with what it holds.
/// `cancel` stops the batch; requests not finished then are not delivered.
///
/// # Errors
/// Only if the model has no room for a single sequence.
pub fn generate_batch(
    model: &mut dyn LanguageModel,
    tokenizer: &Tokenizer,
    requests: &mut dyn Requests,
    options: BatchOptions,
    cancel: &AtomicBool,
    deliver: &mut dyn FnMut(usize, Result<Answer, EngineError>),
) -> Result<BatchReport, EngineError> {
    let mut batch = Batch {
        lanes: vec![Lane { memory: Memory::open(model)?, work: None }],
        live: options.live.max(1),
        asked: 0,
        ended: false,
        queue: VecDeque::new(),
        delivered: 0,
        report: BatchReport::default(),
    };
    let mut stepper = Stepper::new(model);
    loop {
        if cancel.load(Ordering::Relaxed) {
            batch.report.cancelled = true;
            break;
        }
        batch.admit(model, tokenizer, requests, deliver);
        if batch.lanes.iter().all(|lane| lane.work.is_none()) {
            if batch.ended {
                break;
            }
            continue;
        }
        let (queue, delivered) = (&mut batch.queue, batch.delivered);
        let step = stepper.step(model, &mut batch.lanes, &mut |_, _| {}, &mut |_, index, result| {
            put(queue, delivered, index, result);
        });
        batch.deliver(deliver);
        if step.is_err() {
            batch.report.cancelled = true;
            break;
        }
    }
    for lane in batch.lanes {
        model.close_sequence(lane.memory.sequence);
    }
    Ok(batch.report)
}

struct Batch<'t> {
    lanes: Vec<Lane<'t>>,
    live: usize,
    /// Requests taken from the source.
    asked: usize,
    /// Whether the source has no more.
    ended: bool,
    /// Results that wait for those before them; the first is of request `delivered`.
    queue: VecDeque<Option<Result<Answer, EngineError>>>,
    delivered: usize,
    report: BatchReport,
}

impl<'t> Batch<'t> {
    /// Takes requests from the source while there is room.
    fn admit(
        &mut self,
        model: &mut dyn LanguageModel,
        tokenizer: &'t Tokenizer,
        requests: &mut dyn Requests,
        deliver: &mut dyn FnMut(usize, Result<Answer, EngineError>),
    ) {
        loop {
            let working = self.lanes.iter().filter(|lane| lane.work.is_some()).count();
            if self.ended || working >= self.live {
                return;
            }
            if working == self.lanes.len() {
                match Memory::open(model) {
                    Ok(memory) => self.lanes.push(Lane { memory, work: None }),
                    Err(_) => {
                        self.live = self.lanes.len();
                        return;
                    }
                }
            }
            let request = match requests.next(working == 0) {
                Next::Request(request) => request,
                Next::NotYet => return,
                Next::End => {
                    self.ended = true;
                    return;
                }
            };
            let index = self.asked;
            self.asked += 1;
            match request.and_then(|request| Work::new(index, request, model, tokenizer)) {
                Ok(work) if work.wants_nothing() => {
                    put(&mut self.queue, self.delivered, index, Ok(work.finish(FinishReason::Length, &mut |_| {})));
                }
                Ok(work) => self.place(model, work),
                Err(error) => put(&mut self.queue, self.delivered, index, Err(error)),
            }
            self.deliver(deliver);
        }
    }

    /// Gives the work to the idle lane that holds most of its prompt.
    fn place(&mut self, model: &mut dyn LanguageModel, work: Work<'t>) {
        let idle = self.lanes.iter_mut().filter(|lane| lane.work.is_none());
        if let Some(lane) = idle.max_by_key(|lane| lane.memory.shared(work.prompt())) {
            lane.begin(model, work);
        }
    }

    /// Delivers what is next in order.
    fn deliver(&mut self, deliver: &mut dyn FnMut(usize, Result<Answer, EngineError>)) {
        while let Some(Some(_)) = self.queue.front()
            && let Some(Some(result)) = self.queue.pop_front()
        {
            match &result {
                Ok(_) => self.report.answered += 1,
                Err(_) => self.report.failed += 1,
            }
            deliver(self.delivered, result);
            self.delivered += 1;
        }
    }
}

/// Puts a result in its place in the queue.
fn put(
    queue: &mut VecDeque<Option<Result<Answer, EngineError>>>,
    delivered: usize,
    index: usize,
    result: Result<Answer, EngineError>,
) {
    let place = index.saturating_sub(delivered);
    while queue.len() <= place {
        queue.push_back(None);
    }
    if let Some(slot) = queue.get_mut(place) {
        *slot = Some(result);
    }
}
