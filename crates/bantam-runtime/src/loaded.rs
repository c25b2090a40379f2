//! A loaded model: sequences in paged memory, and batches of their tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bantam_plan::{Batch, PAGE_CELLS, Place, Profile, Program};

use crate::RuntimeError;

/// A handle of a sequence, from [`Loaded::open_sequence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequenceId(usize);

impl SequenceId {
    /// A handle by its number, for models of another make behind the same door.
    pub fn new(number: usize) -> Self {
        Self(number)
    }

    /// Its number.
    pub fn number(self) -> usize {
        self.0
    }
}

/// Which rows of a feed give logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// None: the tokens are only remembered.
    None,
    /// The last.
    Last,
    /// All.
    All,
}

/// Tokens to append to a sequence.
#[derive(Clone, Copy, Debug)]
pub struct Feed<'a> {
    /// Which sequence.
    pub sequence: SequenceId,
    /// What follows what it holds.
    pub tokens: &'a [u32],
    /// Which rows give logits.
    pub outputs: Outputs,
}

#[derive(Debug, Default)]
struct Sequence {
    open: bool,
    length: usize,
    pages: Vec<u32>,
}

/// A model that runs. Made by [`crate::Model::load`].
pub struct Loaded {
    program: Box<dyn Program>,
    vocabulary: usize,
    /// Columns of an output row.
    width: usize,
    context: usize,
    sequences: Vec<Sequence>,
    free_pages: Vec<u32>,
    batch: Batch,
    gathered: Vec<f32>,
    interrupt: Arc<AtomicBool>,
}

impl Loaded {
    pub(crate) fn new(program: Box<dyn Program>, (vocabulary, width): (usize, usize), context: usize) -> Self {
        let options = program.options();
        let pages_each = context.div_ceil(PAGE_CELLS);
        let sequences = (0..options.sequences)
            .map(|_| Sequence { pages: Vec::with_capacity(pages_each), ..Sequence::default() })
            .collect();
        let mut batch = Batch {
            tokens: Vec::with_capacity(options.rows),
            places: Vec::with_capacity(options.rows),
            outputs: Vec::with_capacity(options.outputs),
            ..Batch::default()
        };
        batch.tables.resize_with(options.sequences, || Vec::with_capacity(pages_each));
        Self {
            program,
            vocabulary,
            width,
            context,
            sequences,
            free_pages: (0..options.pages as u32).rev().collect(),
            batch,
            gathered: Vec::new(),
            interrupt: Arc::default(),
        }
    }

    /// Most tokens one sequence may hold.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Columns of the logits.
    pub fn vocabulary_len(&self) -> usize {
        self.vocabulary
    }

    /// Columns of an output row: the vocabulary, or a hidden state's width where the model has no head.
    pub fn output_width(&self) -> usize {
        self.width
    }

    /// Sequences that can be open at once.
    pub fn most_sequences(&self) -> usize {
        self.sequences.len()
    }

    /// A flag that, once set, stops [`Loaded::run`] before its next chunk. The caller clears it.
    pub fn interrupt(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.interrupt)
    }

    /// Begins an empty sequence.
    pub fn open_sequence(&mut self) -> Result<SequenceId, RuntimeError> {
        let sequences = self.sequences.len();
        let free = self.sequences.iter().position(|sequence| !sequence.open);
        let id = free.ok_or(RuntimeError::Sequences { sequences })?;
        self.sequences[id].open = true;
        Ok(SequenceId(id))
    }

    /// Ends a sequence and frees its pages.
    pub fn close_sequence(&mut self, id: SequenceId) {
        self.truncate(id, 0);
        if let Some(sequence) = self.sequences.get_mut(id.0) {
            sequence.open = false;
        }
    }

    /// Tokens a sequence holds.
    pub fn length(&self, id: SequenceId) -> usize {
        self.sequences.get(id.0).map_or(0, |sequence| sequence.length)
    }

    /// Forgets what a sequence holds from `length` on.
    pub fn truncate(&mut self, id: SequenceId, length: usize) {
        let Some(sequence) = self.sequences.get_mut(id.0) else { return };
        sequence.length = sequence.length.min(length);
        let keep = sequence.length.div_ceil(PAGE_CELLS);
        self.free_pages.extend(sequence.pages.drain(keep.min(sequence.pages.len())..).rev());
    }

    /// Appends tokens to sequences and gives logits `[rows asked for, vocabulary]`, in the order of feeds.
    ///
    /// Sequences decode together in one batch; long feeds run in chunks. A row's logits do not depend on what shares its
    /// batch. Where an error is found beforehand, nothing has changed; after [`RuntimeError::Interrupted`] the sequences
    /// hold what was done until then ([`Loaded::length`] says how much).
    pub fn run(&mut self, feeds: &[Feed<'_>]) -> Result<&[f32], RuntimeError> {
        self.check(feeds)?;
        let options = self.program.options();
        let wanted = |feed: &Feed<'_>| match feed.outputs {
            Outputs::None => 0,
            Outputs::Last => usize::from(!feed.tokens.is_empty()),
            Outputs::All => feed.tokens.len(),
        };
        let rows: usize = feeds.iter().map(|feed| feed.tokens.len()).sum();
        let outputs: usize = feeds.iter().map(wanted).sum();
        if rows <= options.rows && outputs <= options.outputs {
            self.begin();
            for feed in feeds {
                self.append(feed, 0, feed.tokens.len());
            }
            return self.step();
        }
        self.gathered.clear();
        self.gathered.reserve(outputs * self.width);
        self.begin();
        for feed in feeds {
            let mut from = 0;
            while from < feed.tokens.len() {
                let room = options.rows - self.batch.rows();
                let output_room = options.outputs - self.batch.outputs.len();
                let take = match feed.outputs {
                    Outputs::None => room,
                    // The last row needs a place among the outputs.
                    Outputs::Last if output_room == 0 => room.min(feed.tokens.len() - from - 1),
                    Outputs::Last => room,
                    Outputs::All => room.min(output_room),
                };
                let take = take.min(feed.tokens.len() - from);
                if take == 0 {
                    self.flush()?;
                    continue;
                }
                self.append(feed, from, from + take);
                from += take;
            }
        }
        self.flush()?;
        Ok(&self.gathered)
    }

    /// Begins (or ends) to time every step, and gives what was found since it last began.
    pub fn profile(&mut self, on: bool) -> Profile {
        self.program.profile(on)
    }

    fn check(&self, feeds: &[Feed<'_>]) -> Result<(), RuntimeError> {
        for (index, feed) in feeds.iter().enumerate() {
            let sequence = self.sequences.get(feed.sequence.0).filter(|sequence| sequence.open);
            let sequence = sequence.ok_or(RuntimeError::Closed)?;
            if feeds[..index].iter().any(|other| other.sequence == feed.sequence) {
                return Err(RuntimeError::Option("a sequence was fed twice in one run".into()));
            }
            let tokens = sequence.length.saturating_add(feed.tokens.len());
            if tokens > self.context {
                return Err(RuntimeError::ContextFull { tokens, context: self.context });
            }
            if let Some(&token) = feed.tokens.iter().find(|token| **token as usize >= self.vocabulary) {
                return Err(RuntimeError::Token { token, vocabulary: self.vocabulary });
            }
        }
        Ok(())
    }

    fn begin(&mut self) {
        self.batch.clear();
    }

    /// Puts `feed.tokens[from..to]` into the batch, with pages for them.
    fn append(&mut self, feed: &Feed<'_>, from: usize, to: usize) {
        let id = feed.sequence.0;
        let sequence = &mut self.sequences[id];
        for (offset, &token) in feed.tokens[from..to].iter().enumerate() {
            let row = self.batch.tokens.len() as u32;
            let position = sequence.length + offset;
            self.batch.tokens.push(token);
            self.batch.places.push(Place { sequence: id as u32, position: position as u32 });
            let is_last = from + offset + 1 == feed.tokens.len();
            if feed.outputs == Outputs::All || (feed.outputs == Outputs::Last && is_last) {
                self.batch.outputs.push(row);
            }
        }
        sequence.length += to - from;
        while sequence.pages.len() * PAGE_CELLS < sequence.length {
            // There are pages for every sequence at full context, so one is always free.
            let Some(page) = self.free_pages.pop() else { break };
            sequence.pages.push(page);
        }
        let table = &mut self.batch.tables[id];
        table.clear();
        table.extend_from_slice(&sequence.pages);
    }

    fn step(&mut self) -> Result<&[f32], RuntimeError> {
        self.heed_interrupt()?;
        if self.batch.tokens.is_empty() {
            return Ok(&[]);
        }
        Ok(self.program.run(&self.batch)?)
    }

    /// Runs what the batch holds, gathers its logits, and empties it.
    fn flush(&mut self) -> Result<(), RuntimeError> {
        self.heed_interrupt()?;
        if !self.batch.tokens.is_empty() {
            let logits = self.program.run(&self.batch)?;
            self.gathered.extend_from_slice(logits);
        }
        self.begin();
        Ok(())
    }

    /// Stops before a batch is run, where somebody asked to.
    fn heed_interrupt(&mut self) -> Result<(), RuntimeError> {
        if self.interrupt.load(Ordering::Relaxed) {
            self.take_back();
            return Err(RuntimeError::Interrupted);
        }
        Ok(())
    }

    /// Undoes the batch that was not run.
    fn take_back(&mut self) {
        for index in 0..self.sequences.len() {
            let rows = self.batch.places.iter().filter(|place| place.sequence as usize == index).count();
            let length = self.sequences[index].length - rows;
            self.truncate(SequenceId(index), length);
        }
        self.begin();
    }
}
