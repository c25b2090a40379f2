//! Codes of sixteen columns together, for the formats that most files are made of: the words of a file's blocks are put side by
//! side, and what is done to a code is done to those of all columns at once.
//!
//! For a panel of fewer columns scales come from [`super::unpack`]. Layouts: the files of `bantam-tensor`, one for each format.

use super::forms::{FORMS, number};
use super::panels::{COLUMNS, STEPS};
use crate::simd::Simd;
use bantam_tensor::TensorType;

/// Whether a format is turned so: those that repack about as fast as memory is read.
pub(super) fn is_turned(tensor_type: TensorType) -> bool {
    use TensorType as T;
    matches!(
        tensor_type,
        T::Q8_0 | T::Q4_0 | T::Q4_1 | T::Q5_0 | T::Q5_1 | T::IQ4_NL | T::IQ4_XS | T::Q4_K | T::Q5_K | T::Q6_K
    )
}

/// The lowest bit of each byte.
const ONES: u32 = 0x0101_0101;

/// The words of a file's block that hold codes, each of all columns. Of the formats that are turned so, each has a form of its own.
pub(super) struct Raw<S: Simd, const FORM: u8, const WORDS: usize> {
    s: S,
    words: [S::I; WORDS],
    /// The columns there are, all bits set.
    columns: S::I,
}

/// The lower or upper halves of words, as they stand in a header.
#[inline(always)]
fn halves(words: &[u32; COLUMNS], upper: bool) -> [u8; 2 * COLUMNS] {
    let mut out = [0; 2 * COLUMNS];
    for (out, word) in out.as_chunks_mut::<2>().0.iter_mut().zip(words) {
        *out = ((word >> if upper { 16 } else { 0 }) as u16).to_le_bytes();
    }
    out
}

/// Writes the lowest bytes of words.
#[inline(always)]
fn put_low<S: Simd>(s: S, words: S::I, out: &mut [u8]) {
    for (out, byte) in out.iter_mut().zip(s.low_bytes(words)) {
        *out = byte as u8;
    }
}

/// Writes the four bytes of words as four runs of bytes.
#[inline(always)]
fn put_bytes<S: Simd>(s: S, words: S::I, out: &mut [u8]) {
    for (byte, out) in out.chunks_exact_mut(COLUMNS).enumerate().take(4) {
        put_low(s, s.bits_i(words, 8 * byte as u32, u32::MAX), out);
    }
}

impl<S: Simd, const FORM: u8, const WORDS: usize> Raw<S, FORM, WORDS> {
    /// Bytes of a block before its codes.
    const FIRST: usize = match FORM {
        number::Q8 | number::Q4 | number::TABLE4 | number::Q5 => 2,
        number::Q4_OFFSET | number::Q5_OFFSET => 4,
        number::TABLE4_SIX => 8,
        number::Q4_SIX | number::Q5_SIX => 16,
        _ => 0,
    };

    /// For so many columns, sixteen or fewer.
    #[inline(always)]
    pub(super) fn new(s: S, columns: usize) -> Self {
        let mut mask = [0; COLUMNS];
        mask[..columns].fill(u32::MAX);
        Self { s, words: [s.zero_i(); WORDS], columns: s.load_words(&mask) }
    }

    /// Takes the block that begins at `start` of every row, of fewer than sixteen.
    #[inline(always)]
    pub(super) fn take_few(&mut self, rows: &[u8], row_bytes: usize, start: usize) {
        let start = start + Self::FIRST;
        let mut words = [[0; COLUMNS]; WORDS];
        for (column, row) in rows.chunks_exact(row_bytes).enumerate().take(COLUMNS) {
            let bytes = row[start..start + 4 * WORDS].as_chunks::<4>().0;
            for (words, four) in words.iter_mut().zip(bytes) {
                words[column] = u32::from_le_bytes(*four);
            }
        }
        for (own, words) in self.words.iter_mut().zip(&words) {
            *own = self.s.load_words(words);
        }
    }

    /// Takes a block of sixteen rows, and writes their scales into the header; `at` is the number of the block in the unit.
    ///
    /// # Safety
    /// `from` must be readable for a block in each of sixteen rows that are `stride` bytes apart.
    #[inline(always)]
    pub(super) unsafe fn take(&mut self, from: *const u8, stride: usize, header: &mut [u8], at: usize) {
        let s = self.s;
        // Of five words the first is alone. A block has 16 bytes and more from each of these places on.
        let single = WORDS % 4;
        if single > 0 {
            // SAFETY: the caller gives a whole block of each row.
            self.words[0] = unsafe { s.turn_words(from.add(Self::FIRST), stride) }[0];
        }
        for first in (single..WORDS).step_by(4) {
            // SAFETY: as above.
            let four = unsafe { s.turn_words(from.add(Self::FIRST + 4 * first), stride) };
            self.words[first..first + 4].copy_from_slice(&four);
        }
        // SAFETY: as above.
        let [first, second, third, fourth] = unsafe { s.turn_words(from, stride) };
        match FORM {
            number::Q8 | number::Q4 | number::TABLE4 | number::Q5 => {
                header[32 * at..][..32].copy_from_slice(&halves(&s.words(first), false));
            }
            number::Q4_OFFSET | number::Q5_OFFSET => {
                header[..32].copy_from_slice(&halves(&s.words(first), false));
                header[32..64].copy_from_slice(&halves(&s.words(first), true));
            }
            number::TABLE4_SIX => {
                header[..32].copy_from_slice(&halves(&s.words(first), false));
                // Lower four bits of a block are a half byte here, the odd ones' the upper; there those of the last four are.
                let (even, odd) = (s.bits_i(second, 0, 15 * ONES), s.bits_i(second, 4, 15 * ONES));
                for sub in 0..4 {
                    let from = if sub % 2 == 0 { even } else { odd };
                    let right = 8 * (sub / 2);
                    let both = s.or_left_i(s.bits_i(from, right, 15), s.bits_i(from, right + 16, 15), 4);
                    put_low(s, both, &mut header[64 + 16 * sub as usize..][..16]);
                }
                // Upper two bits: of four even ones in a byte, then of four odd ones.
                for parity in 0..2 {
                    let mut four = s.zero_i();
                    for half in 0..4 {
                        four = s.or_left_i(four, s.bits_i(first, 16 + 2 * parity + 4 * half, 3), 2 * half);
                    }
                    put_low(s, four, &mut header[32 + 16 * parity as usize..][..16]);
                }
            }
            number::Q4_SIX | number::Q5_SIX => {
                let (scales, minima, rest) = (second, third, fourth);
                header[..32].copy_from_slice(&halves(&s.words(first), false));
                header[32..64].copy_from_slice(&halves(&s.words(first), true));
                // The first four have their six bits together, the last four their lower four in `rest` and their upper two above
                // those of the first.
                let low = s.or_left_i(s.bits_i(scales, 0, 15 * ONES), s.bits_i(rest, 0, 15 * ONES), 4);
                let low_minima = s.or_left_i(s.bits_i(minima, 0, 15 * ONES), s.bits_i(rest, 4, 15 * ONES), 4);
                let upper = s.or_left_i(s.bits_i(scales, 4, 3 * ONES), s.bits_i(scales, 6, 3 * ONES), 2);
                let upper = s.or_left_i(upper, s.bits_i(minima, 4, 3 * ONES), 4);
                let upper = s.or_left_i(upper, s.bits_i(minima, 6, 3 * ONES), 6);
                put_bytes(s, low, &mut header[64..128]);
                put_bytes(s, low_minima, &mut header[128..192]);
                put_bytes(s, upper, &mut header[192..256]);
            }
            _ => {
                // SAFETY: as above; the block's last bytes are 16 sub-scales and the scale.
                let (subs, last) =
                    unsafe { (s.turn_words(from.add(192), stride), s.turn_words(from.add(194), stride)) };
                for (words, out) in subs.into_iter().zip(header[64..320].chunks_exact_mut(64)) {
                    put_bytes(s, words, out);
                }
                header[..32].copy_from_slice(&halves(&s.words(last[3]), true));
            }
        }
    }

    /// Codes of one of its blocks of 32 inputs: four inputs of each column in a word.
    #[inline(always)]
    fn codes(&self, block: usize) -> [S::I; STEPS] {
        let (s, raw, mut codes) = (self.s, &self.words, [self.s.zero_i(); STEPS]);
        for (step, codes) in codes.iter_mut().enumerate() {
            // Inputs 0 .. 16 in the low and 16 .. 32 in the high four bits of sixteen bytes.
            let (quarter, upper) = (step % 4, 4 * (step / 4) as u32);
            *codes = match FORM {
                number::Q8 => s.turn_bits_i(raw[step], 128 * ONES),
                number::Q4 | number::TABLE4 | number::Q4_OFFSET => s.bits_i(raw[quarter], upper, 15 * ONES),
                number::Q5 | number::Q5_OFFSET => {
                    let low = s.bits_i(raw[1 + quarter], upper, 15 * ONES);
                    // The fifth bits of four codes behind each other, to bit 4 of each byte.
                    let four = s.bits_i(raw[0], 4 * step as u32, 15);
                    let two = s.or_left_i(four, four, 7);
                    s.or_left_i(low, s.bits_i(s.or_left_i(two, two, 14), 0, ONES), 4)
                }
                number::TABLE4_SIX => s.bits_i(raw[4 * block + quarter], upper, 15 * ONES),
                number::Q4_SIX => s.bits_i(raw[8 * (block / 2) + step], 4 * (block % 2) as u32, 15 * ONES),
                number::Q5_SIX => {
                    let low = s.bits_i(raw[8 + 8 * (block / 2) + step], 4 * (block % 2) as u32, 15 * ONES);
                    s.or_left_i(low, s.bits_i(raw[step], block as u32, ONES), 4)
                }
                _ => {
                    let (half, quarter) = (block / 4, block % 4);
                    let low = s.bits_i(raw[16 * half + 8 * (quarter % 2) + step], 4 * (quarter / 2) as u32, 15 * ONES);
                    s.or_left_i(low, s.bits_i(raw[32 + 8 * half + step], 2 * quarter as u32, 3 * ONES), 4)
                }
            };
        }
        codes
    }

    /// Writes a line, but for columns that are not there.
    #[inline(always)]
    fn put(&self, words: S::I, line: &mut [u8; 64]) {
        // SAFETY: a line is 64 bytes.
        unsafe { self.s.store_i_at(self.s.and_i(words, self.columns), line.as_mut_ptr()) };
    }

    /// Writes the lines of one of its blocks of 32 inputs.
    #[inline(always)]
    pub(super) fn put_lines(&self, block: usize, target: &mut [u8]) {
        let (s, codes) = (self.s, self.codes(block));
        let lines = target.as_chunks_mut::<64>().0;
        if FORMS[FORM as usize].bits == 8 {
            for (line, codes) in lines.iter_mut().zip(codes) {
                self.put(codes, line);
            }
            return;
        }
        for (line, two) in lines.iter_mut().zip(codes.as_chunks::<2>().0) {
            let (even, odd) = (s.bits_i(two[0], 0, 15 * ONES), s.bits_i(two[1], 0, 15 * ONES));
            self.put(s.or_left_i(even, odd, 4), line);
        }
        if FORMS[FORM as usize].bits == 5 {
            let mut all = s.zero_i();
            for (step, codes) in codes.iter().enumerate() {
                all = s.or_left_i(all, s.bits_i(*codes, 4, ONES), step as u32);
            }
            self.put(all, &mut lines[4]);
        }
        if FORMS[FORM as usize].bits == 6 {
            for (line, four) in lines[4..].iter_mut().zip(codes.as_chunks::<4>().0) {
                let mut all = s.zero_i();
                for (step, codes) in four.iter().enumerate() {
                    all = s.or_left_i(all, s.bits_i(*codes, 4, 3 * ONES), 2 * step as u32);
                }
                self.put(all, line);
            }
        }
    }
}
