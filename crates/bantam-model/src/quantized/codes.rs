//! Small whole numbers packed into words, whichever way round.

use std::ops::Range;

use bantam_tensor::SharedBytes;

/// Which column each place of a word holds in AWQ's files: the even ones first.
/// Source: `AWQ_ORDER` of AutoAWQ's packing utilities, here inverted: the place that a column of eight stands in.
const EVENS_FIRST: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

/// Lines of codes of 1 to 8 bits each, packed from the lowest bit of 32-bit little-endian words on; a code may lie across
/// two words. Words of a line, and lines, may lie any distance apart, so a matrix can be read by rows or by columns.
pub(super) struct Codes {
    bytes: SharedBytes,
    bits: usize,
    /// Bytes from a line to the next, and from a word of a line to the next.
    strides: (usize, usize),
    evens_first: bool,
    signed: bool,
}

impl Codes {
    /// Lines that lie one after the other, `line_bytes` each. `None` where the bytes are fewer.
    pub(super) fn lines(bytes: SharedBytes, bits: usize, lines: usize, line_bytes: usize) -> Option<Self> {
        let enough = lines.checked_mul(line_bytes)? <= bytes.len() && (1..=8).contains(&bits);
        let (evens_first, signed) = (false, false);
        enough.then_some(Self { bytes, bits, strides: (line_bytes, 4), evens_first, signed })
    }

    /// Lines that lie side by side, one word of each after the other: columns of a matrix of words.
    pub(super) fn columns(bytes: SharedBytes, bits: usize, lines: usize, words: usize) -> Option<Self> {
        let enough = lines.checked_mul(words)?.checked_mul(4)? <= bytes.len() && (1..=8).contains(&bits);
        let strides = (4, lines.checked_mul(4)?);
        enough.then_some(Self { bytes, bits, strides, evens_first: false, signed: false })
    }

    /// The same with AWQ's order inside each word.
    pub(super) fn evens_first(self) -> Self {
        Self { evens_first: self.bits == 4, ..self }
    }

    /// The same with codes in two's complement.
    pub(super) fn signed(self) -> Self {
        Self { signed: true, ..self }
    }

    /// Whether codes are in two's complement.
    pub(super) fn is_signed(&self) -> bool {
        self.signed
    }

    /// Bits of a code.
    pub(super) fn bits(&self) -> usize {
        self.bits
    }

    /// One code; nothing (0) outside.
    #[inline]
    pub(super) fn get(&self, line: usize, index: usize) -> i32 {
        self.code(&self.bytes, line, index)
    }

    /// Codes `from..` of a line, one for each place of `out`.
    pub(super) fn fill(&self, line: usize, from: usize, out: &mut [i32]) {
        let bytes: &[u8] = &self.bytes;
        out.iter_mut().enumerate().for_each(|(n, code)| *code = self.code(bytes, line, from + n));
    }

    /// One code of each line.
    pub(super) fn fill_across(&self, lines: Range<usize>, index: usize, out: &mut [i32]) {
        let bytes: &[u8] = &self.bytes;
        lines.zip(out).for_each(|(line, code)| *code = self.code(bytes, line, index));
    }

    #[inline(always)]
    fn code(&self, bytes: &[u8], line: usize, index: usize) -> i32 {
        let place = if self.evens_first { (index & !7) + EVENS_FIRST[index & 7] } else { index };
        let bit = place * self.bits;
        let (word, shift) = (bit / 32, bit % 32);
        let at = line * self.strides.0 + word * self.strides.1;
        let mut value = u64::from(word_at(bytes, at));
        if shift + self.bits > 32 {
            value |= u64::from(word_at(bytes, at + self.strides.1)) << 32;
        }
        let code = (value >> shift) as u32 & ((1 << self.bits) - 1);
        let half = 1u32 << (self.bits - 1);
        if self.signed && code & half != 0 { code as i32 - (1 << self.bits) } else { code as i32 }
    }
}

/// The word at a place, of which the last may be short.
#[inline(always)]
fn word_at(bytes: &[u8], at: usize) -> u32 {
    match bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
        Some(word) => u32::from_le_bytes(*word),
        None => (0..4).fold(0, |word, n| word | u32::from(bytes.get(at + n).copied().unwrap_or(0)) << (8 * n)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_whichever_way_they_lie() {
        let check = |codes: Option<Codes>, line, expected: &[i32]| {
            let codes = codes.unwrap();
            let mut found = vec![0; expected.len()];
            codes.fill(line, 0, &mut found);
            assert_eq!(found, expected);
            let each: Vec<i32> = (0..expected.len()).map(|index| codes.get(line, index)).collect();
            assert_eq!(each, expected);
        };
        let words = |words: &[u32]| SharedBytes::from_vec(words.iter().flat_map(|word| word.to_le_bytes()).collect());
        check(Codes::lines(words(&[0x7654_3210, 0xfedc_ba98]), 4, 1, 8), 0, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        check(Codes::lines(words(&[0, 0x7654_3210]), 4, 2, 4), 1, &[0, 1, 2, 3, 4, 5, 6, 7]);
        check(Codes::columns(words(&[1, 0x7654_3210, 2, 0xfedc_ba98]), 4, 2, 2), 1, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        // The eleventh code of three bits lies across two words.
        let eleventh = Codes::lines(words(&[0b11 << 30, 0b1]), 3, 1, 8);
        check(eleventh, 0, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0]);
        let awq = Codes::lines(words(&[0x7531_6420]), 4, 1, 4).map(Codes::evens_first);
        check(awq, 0, &[0, 1, 2, 3, 4, 5, 6, 7]);
        check(Codes::lines(words(&[0x80ff_7f01]), 8, 1, 4).map(Codes::signed), 0, &[1, 127, -1, -128]);
        check(Codes::lines(SharedBytes::from_vec(vec![0x21, 0x43, 0x65]), 4, 1, 3), 0, &[1, 2, 3, 4, 5, 6, 0]);
        assert!(Codes::lines(words(&[0]), 4, 2, 4).is_none());
        assert!(Codes::columns(words(&[0]), 4, usize::MAX, 2).is_none());
    }
}
