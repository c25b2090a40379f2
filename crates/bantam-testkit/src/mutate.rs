//! Seeded damage to bytes: the same seed and iteration give the same damaged file on every machine.
//!
//! A parser's interesting bytes are few beside a model's weights, so a [`Region`] says where they are and half of the
//! mutations (its weight) fall there.

use std::ops::Range;

use crate::Random;

/// A part of the input that mutations should favour, such as the header and metadata of a model file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// The bytes of the part.
    pub range: Range<usize>,
    /// Share of the mutations that fall into it, in percent; the others fall anywhere.
    pub percent: u8,
}

impl Region {
    /// Half of the mutations in the first `length` bytes.
    pub fn half_in_first(length: usize) -> Self {
        Self { range: 0..length, percent: 50 }
    }
}

/// Makes damaged copies of an input.
#[derive(Clone, Debug)]
pub struct Mutator {
    random: Random,
}

/// Numbers at the edges of integer types, where checks go wrong.
const EDGES: [u64; 22] = [
    0,
    1,
    2,
    3,
    7,
    0x20,
    0x7f,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1fff_ffff_ffff_ffff,
    0x4000_0000_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_fffe,
    0xffff_ffff_ffff_ffff,
];

/// Words at the edges of what texts' readers know: numbers and names, then signs, then strings.
const WORDS: [&[&str]; 3] = [
    &[
        "0",
        "1",
        "2",
        "7",
        "99",
        "1000",
        "65536",
        "4294967296",
        "18446744073709551616",
        "1e400",
        "1e-400",
        "true",
        "null",
        "a",
        "\u{e9}",
        "x00",
        "u0000",
    ],
    &[
        "\"",
        "'",
        "\\",
        "/",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "*",
        "+",
        "?",
        "|",
        "^",
        "$",
        ".",
        ",",
        ":",
        "\n",
        "&",
        "~",
        "-",
        " ",
        "\u{1f413}",
    ],
    &["\"\"", "\"a\"", "\"\\n\"", "\"^a*$\"", "\"\u{1f413}\"", "[]", "{}", "0.1", "-1"],
];

/// What a word is: a row of [`WORDS`].
fn kind(word: &str) -> usize {
    match word.chars().next() {
        Some('"') if word.len() > 1 => 2,
        Some(c) if c.is_alphanumeric() => 0,
        _ => 1,
    }
}

/// Runs of letters and digits, strings if they are to be whole, and every other character.
fn words(text: &str, strings: bool) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let string = || {
            let end = rest.get(1..)?.find(['"', '\n'])? + 2;
            (strings && first == '"').then_some(end)
        };
        let end = match first.is_alphanumeric() {
            true => rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len()),
            false => string().unwrap_or(first.len_utf8()),
        };
        let (word, left) = rest.split_at(end);
        words.push(word);
        rest = left;
    }
    words
}

impl Mutator {
    /// The mutator of one iteration of one run.
    pub fn new(seed: u64, iteration: u64) -> Self {
        // Stirred, so that neighbouring seeds and iterations have nothing in common.
        let stirred = Random::new(seed).bits().wrapping_add(iteration.wrapping_mul(0xd134_2543_de82_ef95));
        Self { random: Random::new(stirred) }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.random.bits()
    }

    /// A number below `bound`; 0 where that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { self.random.below(bound) }
    }

    /// A damaged copy of `input`: one to eight mutations, few being likelier.
    pub fn damage(&mut self, input: &[u8], region: &Region) -> Vec<u8> {
        let mut bytes = input.to_vec();
        let mut count = 1;
        while count < 8 && self.below(2) == 0 {
            count += 1;
        }
        for _ in 0..count {
            self.mutate(&mut bytes, region);
        }
        bytes
    }

    /// A damaged copy of a text: one to eight words taken out, doubled, exchanged or replaced, few being likelier. A word is a
    /// run of letters and digits or any other character, so that much of what comes out can still be read.
    pub fn damage_text(&mut self, input: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(input);
        let mut words = words(&text, self.below(2) == 0);
        let mut count = 1;
        while count < 8 && self.below(2) == 0 {
            count += 1;
        }
        for _ in 0..count {
            self.mutate_words(&mut words);
        }
        words.concat().into_bytes()
    }

    fn mutate_words(&mut self, words: &mut Vec<&str>) {
        if words.is_empty() {
            return;
        }
        let (at, mut other) = (self.below(words.len()), self.below(words.len()));
        // Like for like, most often: what comes out is then of the same form.
        for _ in 0..8 {
            if kind(words[at]) != kind(words[other]) {
                other = self.below(words.len());
            }
        }
        let row = if self.below(4) == 0 { self.below(WORDS.len()) } else { kind(words[at]) };
        let edge = WORDS[row][self.below(WORDS[row].len())];
        let most = if self.below(4) == 0 { 100 } else { 6 };
        let end = (at + 1 + self.below(most)).min(words.len());
        match self.below(10) {
            0 => drop(words.drain(at..end)),
            1..=2 => words.swap(at, other),
            3..=4 => words[at] = words[other],
            5..=6 => words[at] = edge,
            7 => words.insert(at, edge),
            8 => {
                let times = 1 + if self.below(8) == 0 { self.below(200) } else { self.below(3) };
                let piece = words[at..end].repeat(times);
                words.splice(end..end, piece);
            }
            _ => {
                let piece = words[at..end].to_vec();
                words.splice(other..other, piece);
            }
        }
    }

    /// One mutation in place.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>, region: &Region) {
        if bytes.is_empty() {
            bytes.push(self.bits() as u8);
            return;
        }
        let at = self.position(bytes.len(), region);
        match self.below(16) {
            0..=2 => self.flip_bit(bytes, at),
            3..=4 => self.set_byte(bytes, at),
            5..=8 => self.set_edge(bytes, at),
            9..=10 => self.step_number(bytes, at),
            11 => self.truncate(bytes, at),
            12 => self.duplicate(bytes, at),
            13 => self.splice(bytes, at),
            14 => self.insert(bytes, at),
            _ => self.remove(bytes, at),
        }
    }

    fn position(&mut self, length: usize, region: &Region) -> usize {
        let start = region.range.start.min(length);
        let end = region.range.end.min(length);
        if end > start && self.below(100) < usize::from(region.percent) {
            start + self.below(end - start)
        } else {
            self.below(length)
        }
    }

    fn flip_bit(&mut self, bytes: &mut [u8], at: usize) {
        let bit = self.below(8);
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << bit;
        }
    }

    fn set_byte(&mut self, bytes: &mut [u8], at: usize) {
        let value = self.bits() as u8;
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
    }

    /// Where a number may begin: as given, or at the four-byte boundary before it.
    fn number_place(&mut self, at: usize) -> (usize, usize) {
        let width = [1, 2, 4, 4, 8, 8][self.below(6)];
        (if self.below(2) == 0 { at } else { at & !3 }, width)
    }

    fn set_edge(&mut self, bytes: &mut [u8], at: usize) {
        let (at, width) = self.number_place(at);
        let value = EDGES[self.below(EDGES.len())].to_le_bytes();
        if let (Some(to), Some(from)) = (bytes.get_mut(at..at + width), value.get(..width)) {
            to.copy_from_slice(from);
        }
    }

    /// Adds a little to a number, or takes it away.
    fn step_number(&mut self, bytes: &mut [u8], at: usize) {
        let (at, width) = self.number_place(at);
        let step = [1i64, -1, 2, -2, 8, -8, 32, -32][self.below(8)];
        if let Some(place) = bytes.get_mut(at..at + width) {
            let mut value = [0; 8];
            value[..width].copy_from_slice(place);
            let value = u64::from_le_bytes(value).wrapping_add_signed(step).to_le_bytes();
            place.copy_from_slice(&value[..width]);
        }
    }

    fn truncate(&mut self, bytes: &mut Vec<u8>, at: usize) {
        bytes.truncate(at);
    }

    /// A short piece of the input that begins at `at`.
    fn piece(&mut self, bytes: &[u8], at: usize) -> Range<usize> {
        let length = 1 + if self.below(4) == 0 { self.below(1024) } else { self.below(32) };
        at..(at + length).min(bytes.len())
    }

    fn duplicate(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let range = self.piece(bytes, at);
        let copy = bytes[range.clone()].to_vec();
        bytes.splice(range.end..range.end, copy);
    }

    /// Copies a piece from elsewhere over what stands at `at`.
    fn splice(&mut self, bytes: &mut [u8], at: usize) {
        let from = self.below(bytes.len());
        let source = self.piece(bytes, from);
        let length = source.len().min(bytes.len() - at);
        bytes.copy_within(source.start..source.start + length, at);
    }

    fn insert(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let count = 1 + self.below(16);
        let fill = if self.below(2) == 0 { Some(self.bits() as u8) } else { None };
        let inserted: Vec<u8> = (0..count).map(|_| fill.unwrap_or_else(|| self.bits() as u8)).collect();
        bytes.splice(at..at, inserted);
    }

    fn remove(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let range = self.piece(bytes, at);
        bytes.drain(range);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_damages_alike() {
        let input: Vec<u8> = (0..=255).collect();
        let region = Region::half_in_first(64);
        let damaged = |seed, iteration| Mutator::new(seed, iteration).damage(&input, &region);
        let mut same_as_input = 0;
        for iteration in 0..1000 {
            assert_eq!(damaged(1, iteration), damaged(1, iteration));
            same_as_input += usize::from(damaged(1, iteration) == input);
        }
        assert_ne!(damaged(1, 0), damaged(2, 0));
        assert!(same_as_input < 100, "{same_as_input} of 1000 are undamaged");
    }

    #[test]
    fn half_of_the_mutations_fall_into_the_region() {
        let input = vec![0u8; 100_000];
        let region = Region::half_in_first(100);
        let mut mutator = Mutator::new(7, 0);
        let inside = (0..10_000).filter(|_| mutator.position(input.len(), &region) < 100).count();
        assert!((4_800..5_200).contains(&inside), "{inside} of 10,000");
    }

    #[test]
    fn damaged_texts_are_texts() {
        let input = "root ::= \"a\u{e9}\"{2,3} | [a-z]+ # \u{1f413}\n".as_bytes();
        let damaged = |iteration| Mutator::new(1, iteration).damage_text(input);
        let mut same_as_input = 0;
        for iteration in 0..1000 {
            assert_eq!(damaged(iteration), damaged(iteration));
            assert!(String::from_utf8(damaged(iteration)).is_ok());
            same_as_input += usize::from(damaged(iteration) == input);
        }
        assert!(same_as_input < 100, "{same_as_input} of 1000 are undamaged");
        assert!(Mutator::new(1, 1).damage_text(b"").is_empty());
    }

    #[test]
    fn any_length_can_be_damaged() {
        for length in 0..40 {
            for iteration in 0..500 {
                let input = vec![0x5a; length];
                Mutator::new(3, iteration).damage(&input, &Region { range: 10..60, percent: 90 });
            }
        }
    }
}
