//! Which tokens run together, and where each row belongs.

use crate::PlanError;

/// Positions held by one page of the paged memory.
pub const PAGE_CELLS: usize = 64;

/// Where a row stands: the sequence (index into [`Batch::tables`]) and its position there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index into [`Batch::tables`].
    pub sequence: u32,
    /// Position in the sequence, from 0.
    pub position: u32,
}

/// What an output row should have predicted, for training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// The right token.
    pub token: u32,
    /// Weight of this row in the total loss (1/n for a mean over n rows; 0 leaves it out).
    pub weight: f32,
}

/// The rows of one run: tokens of all sequences, flattened.
///
/// Rows of one sequence are in ascending order of position and follow what its pages already hold.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Token of each row.
    pub tokens: Vec<u32>,
    /// Place of each row.
    pub places: Vec<Place>,
    /// Rows whose output is wanted, ascending.
    pub outputs: Vec<u32>,
    /// Per sequence, the page that holds positions `i * PAGE_CELLS ..`.
    pub tables: Vec<Vec<u32>>,
    /// Per output row, what it should have predicted (training only).
    pub targets: Vec<Target>,
    /// Seed of the masks of [`crate::Dropout`]; without one nothing is left out.
    pub dropout: Option<u64>,
}

impl Batch {
    /// Rows in the batch.
    pub fn rows(&self) -> usize {
        self.tokens.len()
    }

    /// Empties it, keeping its buffers.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.places.clear();
        self.outputs.clear();
        self.targets.clear();
        self.tables.iter_mut().for_each(Vec::clear);
    }

    /// Sequences given whole and packed one after the other, each on pages of its own; every row is an output.
    pub fn packed(sequences: &[&[u32]]) -> Self {
        let mut batch = Self::default();
        let mut next_page = 0u32;
        for (sequence, tokens) in sequences.iter().enumerate() {
            for (position, &token) in tokens.iter().enumerate() {
                batch.outputs.push(batch.tokens.len() as u32);
                batch.tokens.push(token);
                batch.places.push(Place { sequence: sequence as u32, position: position as u32 });
            }
            let pages = tokens.len().div_ceil(PAGE_CELLS) as u32;
            batch.tables.push((next_page..next_page + pages).collect());
            next_page += pages;
        }
        batch
    }

    /// Checks it against a vocabulary size and a number of pages.
    pub fn check(&self, vocabulary: usize, pages: usize) -> Result<(), PlanError> {
        let refuse = |message: String| Err(PlanError::Batch(message));
        if self.places.len() != self.tokens.len() {
            return refuse(format!("{} tokens but {} places", self.tokens.len(), self.places.len()));
        }
        if let Some(token) = self.tokens.iter().find(|&&token| token as usize >= vocabulary) {
            return refuse(format!("token {token} is outside the vocabulary of {vocabulary}"));
        }
        for place in &self.places {
            let Some(table) = self.tables.get(place.sequence as usize) else {
                return refuse(format!("sequence {} has no page table", place.sequence));
            };
            match table.get(place.position as usize / PAGE_CELLS) {
                Some(&page) if (page as usize) < pages => {}
                Some(page) => return refuse(format!("page {page} is outside the memory of {pages} pages")),
                None => return refuse(format!("position {} has no page", place.position)),
            }
        }
        if let Some(row) = self.outputs.iter().find(|&&row| row as usize >= self.tokens.len()) {
            return refuse(format!("output row {row} is outside the batch of {} rows", self.tokens.len()));
        }
        if self.outputs.windows(2).any(|pair| pair[0] >= pair[1]) {
            return refuse("output rows are not ascending".into());
        }
        Ok(())
    }
}
