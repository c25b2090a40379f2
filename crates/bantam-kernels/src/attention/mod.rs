//! Attention over paged memory.
//!
//! Positions of a sequence live in pages of [`PAGE_CELLS`] cells; a page table says which. [`KvMemory`] keeps keys and
//! values, [`attend`] reads them.

mod attend;
mod memory;
mod page;
mod scratch;
mod wide;

pub use attend::{AttentionShape, attend};
pub use memory::{KvFormat, KvLayer, KvMemory};
pub use scratch::AttentionScratch;

/// Positions held by one page.
pub const PAGE_CELLS: usize = 64;

/// Where a row stands: the sequence (index into the [`PageTables`]) and its position there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowPlace {
    /// Index into the page tables.
    pub sequence: u32,
    /// Position in the sequence, from 0.
    pub position: u32,
}

/// For each sequence, the pages that hold its positions: entry i holds positions `i * PAGE_CELLS ..`.
#[derive(Clone, Copy, Debug)]
pub struct PageTables<'a> {
    tables: &'a [Vec<u32>],
}

impl<'a> PageTables<'a> {
    /// Tables as a batch keeps them.
    pub fn new(tables: &'a [Vec<u32>]) -> Self {
        Self { tables }
    }

    /// The pages of a sequence, as far as `position`, all below `pages`.
    ///
    /// # Panics
    /// Where there is no such table, it ends before the position, or it names a page outside the memory.
    #[track_caller]
    fn until(&self, sequence: u32, position: u32, pages: usize) -> &'a [u32] {
        let needed = position as usize / PAGE_CELLS + 1;
        let found = self.tables.get(sequence as usize).and_then(|table| table.get(..needed));
        let Some(table) = found else {
            panic!("position {position} of sequence {sequence} has no page");
        };
        if let Some(page) = table.iter().find(|&&page| page as usize >= pages) {
            panic!("page {page} of sequence {sequence} is outside the memory of {pages} pages");
        }
        table
    }
}
