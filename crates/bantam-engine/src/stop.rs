//! Stop strings over streamed text.

/// Looks for stop strings in text that comes in pieces, and lets through what can no longer be part of one.
///
/// The first stop string to be complete counts, the longest where two end together; so the result does not depend on how
/// the text is cut into pieces.
#[derive(Clone, Debug, Default)]
pub struct StopMatcher {
    patterns: Vec<Pattern>,
    held: String,
    stopped: bool,
}

/// One stop string with the table of Knuth, Morris and Pratt (1977): work grows with the text, not with its product with
/// the stop string.
#[derive(Clone, Debug)]
struct Pattern {
    bytes: Vec<u8>,
    /// For each length of a prefix, the longest proper prefix that it ends in.
    fallback: Vec<usize>,
    matched: usize,
}

impl Pattern {
    fn new(text: &str) -> Self {
        let bytes = text.as_bytes().to_vec();
        let mut fallback = vec![0; bytes.len() + 1];
        let mut length = 0;
        for index in 1..bytes.len() {
            while length > 0 && bytes[index] != bytes[length] {
                length = fallback[length];
            }
            if bytes[index] == bytes[length] {
                length += 1;
            }
            fallback[index + 1] = length;
        }
        Self { bytes, fallback, matched: 0 }
    }

    /// Takes one byte; true if the stop string is complete.
    fn push(&mut self, byte: u8) -> bool {
        while self.matched > 0 && self.bytes[self.matched] != byte {
            self.matched = self.fallback[self.matched];
        }
        if self.bytes[self.matched] == byte {
            self.matched += 1;
        }
        self.matched == self.bytes.len()
    }
}

impl StopMatcher {
    /// For these stop strings; empty ones are left out, as they would stop everything.
    pub fn new<'s>(stops: impl IntoIterator<Item = &'s str>) -> Self {
        let patterns = stops.into_iter().filter(|stop| !stop.is_empty()).map(Pattern::new).collect();
        Self { patterns, ..Self::default() }
    }

    /// Takes a piece of text, appends to `out` what may be shown now, and says whether a stop string was met. After that
    /// nothing more comes out.
    pub fn push(&mut self, text: &str, out: &mut String) -> bool {
        if self.stopped {
            return true;
        }
        if self.patterns.is_empty() {
            out.push_str(text);
            return false;
        }
        let begin = self.held.len();
        self.held.push_str(text);
        for index in begin..self.held.len() {
            let byte = self.held.as_bytes()[index];
            let complete =
                self.patterns.iter_mut().filter_map(|pattern| pattern.push(byte).then_some(pattern.bytes.len()));
            // Every pattern must see the byte, so the longest is taken, not the first.
            if let Some(length) = complete.max() {
                // A stop string is held as a whole while it is matched, so it begins inside of what is held.
                out.push_str(self.held.get(..index + 1 - length).unwrap_or_default());
                self.held.clear();
                self.stopped = true;
                return true;
            }
        }
        let kept = self.patterns.iter().map(|pattern| pattern.matched).max().unwrap_or(0);
        // A prefix of a stop string begins at a character, as the stop string does.
        let end = self.held.len() - kept;
        out.push_str(self.held.get(..end).unwrap_or_default());
        self.held.drain(..end);
        false
    }

    /// Bytes of text that are held back.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Ends the text: what was held back was no stop string.
    pub fn finish(&mut self, out: &mut String) {
        out.push_str(&self.held);
        self.held.clear();
        self.stopped = true;
    }
}

#[cfg(test)]
mod tests {
    use super::StopMatcher;

    /// Text in pieces; `|` separates them. What is shown after each, and whether it stopped.
    fn check(stops: &[&str], pieces: &str, expected: &str, stopped: bool) {
        let mut matcher = StopMatcher::new(stops.iter().copied());
        let mut shown = Vec::new();
        let mut met = false;
        for piece in pieces.split('|') {
            let mut out = String::new();
            met = matcher.push(piece, &mut out);
            shown.push(out);
        }
        let mut rest = String::new();
        matcher.finish(&mut rest);
        shown.push(rest);
        assert_eq!((shown.join("|").as_str(), met), (expected, stopped), "{stops:?} in {pieces:?}");
        // The same in one piece and byte by byte.
        let whole = pieces.replace('|', "");
        let characters = whole.chars().map(String::from).collect::<Vec<_>>();
        for pieces in [vec![whole.clone()], characters] {
            let mut matcher = StopMatcher::new(stops.iter().copied());
            let (mut out, mut met) = (String::new(), false);
            pieces.iter().for_each(|piece| met = matcher.push(piece, &mut out));
            matcher.finish(&mut out);
            assert_eq!((out, met), (expected.replace('|', ""), stopped), "{stops:?} in {pieces:?}");
        }
    }

    #[test]
    fn stop_strings_are_found() {
        check(&[], "one|two", "one|two|", false);
        check(&[""], "one|two", "one|two|", false);
        check(&["END"], "one END two", "one |", true);
        check(&["END"], "one E|N|D two|three", "one ||||", true);
        check(&["END"], "one E|NO|E", "one |ENO||E", false);
        check(&["aab"], "aaaab", "aa|", true);
        check(&["aab"], "a|a|a|a|b", "||a|a||", true);
        check(&["abcd", "bc"], "xabcd", "xa|", true);
        check(&["bc", "abc"], "xabcd", "x|", true);
        check(&["\n\n", "User:"], "Hi.|\n|User|: x", "Hi.||\n||", true);
        check(&["é"], "caf|é|!", "caf|||", true);
        check(&["ö"], "é|ö", "é||", true);
        check(&["né"], "n|è", "|nè|", false);
    }
}
