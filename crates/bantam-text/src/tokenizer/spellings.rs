//! Ids by spelling: a vocabulary's hundreds of thousands of spellings stand in one buffer behind each other, so that making the
//! table takes no memory for each.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// A map from bytes to ids; seeded by chance, so no file can make it slow.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spellings {
    bytes: Vec<u8>,
    /// Where each spelling ends in the buffer, and its id.
    entries: Vec<(usize, u32)>,
    /// Numbers of entries.
    table: HashTable<u32>,
    hasher: RandomState,
}

impl Spellings {
    /// Room for as many spellings.
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(count.saturating_mul(8)),
            entries: Vec::with_capacity(count),
            table: HashTable::with_capacity(count),
            hasher: RandomState::default(),
        }
    }

    /// The id of a spelling.
    pub(crate) fn get(&self, spelling: &[u8]) -> Option<u32> {
        let found = self.table.find(self.hasher.hash_one(spelling), |&entry| self.spelling(entry) == spelling)?;
        self.entries.get(*found as usize).map(|(_, id)| *id)
    }

    /// Gives a spelling an id, in place of the one it had.
    pub(crate) fn insert(&mut self, spelling: &[u8], id: u32) {
        if let Some(entry) = self.add(spelling, id) {
            self.entries[entry].1 = id;
        }
    }

    /// Gives a spelling an id unless it has one.
    pub(crate) fn insert_first(&mut self, spelling: &[u8], id: u32) {
        self.add(spelling, id);
    }

    /// Adds a spelling, or gives the number of the entry that it has.
    fn add(&mut self, spelling: &[u8], id: u32) -> Option<usize> {
        let Self { bytes, entries, table, hasher } = self;
        let of = |&entry: &u32| spelling_of(bytes, entries, entry);
        match table.entry(hasher.hash_one(spelling), |entry| of(entry) == spelling, |entry| hasher.hash_one(of(entry)))
        {
            Entry::Occupied(entry) => Some(*entry.get() as usize),
            Entry::Vacant(place) => {
                // Ids are counted by 32 bits, so entries are.
                place.insert(u32::try_from(entries.len()).unwrap_or(u32::MAX));
                bytes.extend_from_slice(spelling);
                entries.push((bytes.len(), id));
                None
            }
        }
    }

    fn spelling(&self, entry: u32) -> &[u8] {
        spelling_of(&self.bytes, &self.entries, entry)
    }
}

fn spelling_of<'a>(bytes: &'a [u8], entries: &[(usize, u32)], entry: u32) -> &'a [u8] {
    let entry = entry as usize;
    let start = entry.checked_sub(1).map_or(0, |before| entries[before].0);
    &bytes[start..entries[entry].0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_have_the_id_they_were_given() {
        let mut spellings = Spellings::with_capacity(2);
        let texts: Vec<String> = (0..5000).map(|n| format!("{}{n}", "ab".repeat(n % 7))).collect();
        for (id, text) in texts.iter().enumerate() {
            spellings.insert_first(text.as_bytes(), id as u32);
            spellings.insert_first(text.as_bytes(), 1_000_000);
        }
        spellings.insert_first(b"", 7);
        spellings.insert(texts[40].as_bytes(), 9);
        spellings.insert(b"new", 8);
        for (id, text) in texts.iter().enumerate() {
            assert_eq!(spellings.get(text.as_bytes()), Some(if id == 40 { 9 } else { id as u32 }));
        }
        let check = |text: &[u8], expected| assert_eq!(spellings.get(text), expected);
        check(b"", Some(7));
        check(b"new", Some(8));
        check(b"ne", None);
        check(b"ab", None);
    }
}
