//! Text broken into lines, as Python's `textwrap` breaks it; what Jinja's filter `wordwrap` does.

/// How lines are broken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wrap {
    /// Most characters of a line, above 0.
    pub(super) width: usize,
    /// Whether a word that is longer is broken.
    pub(super) long_words: bool,
    /// Whether a word may be broken behind a hyphen.
    pub(super) hyphens: bool,
}

/// Python's white space in `textwrap`: ASCII's.
fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\x0b' | '\x0c' | '\r' | ' ')
}

/// `str.strip() == ''`.
fn is_empty(chunk: &[char]) -> bool {
    chunk.iter().all(|&c| super::value::is_space(c))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// A word character that is no digit: `[^\d\W]`.
fn is_letter(c: char) -> bool {
    is_word(c) && !c.is_numeric()
}

fn is_part(c: char) -> bool {
    is_word(c) || matches!(c, '!' | '"' | '\'' | '&' | '.' | ',' | '?')
}

/// One paragraph as lines.
pub(super) fn wrap(text: &str, how: Wrap) -> Vec<String> {
    let text: Vec<char> = text.chars().collect();
    let mut chunks: Vec<&[char]> = split(&text, how.hyphens);
    chunks.reverse();
    let mut lines = Vec::new();
    while let Some(next) = chunks.last() {
        if is_empty(next) && !lines.is_empty() {
            chunks.pop();
        }
        let (mut line, mut length): (Vec<&[char]>, usize) = (Vec::new(), 0);
        while let Some(chunk) = chunks.last().filter(|chunk| length + chunk.len() <= how.width) {
            length += chunk.len();
            line.extend(chunks.pop());
        }
        if let Some(chunk) = chunks.pop_if(|chunk| chunk.len() > how.width) {
            if how.long_words {
                let (head, tail) = chunk.split_at(broken(chunk, how.width.saturating_sub(length), how.hyphens));
                line.push(head);
                chunks.push(tail);
            } else if line.is_empty() {
                line.push(chunk);
            } else {
                chunks.push(chunk);
            }
        }
        if line.last().is_some_and(|chunk| is_empty(chunk)) {
            line.pop();
        }
        if !line.is_empty() {
            lines.push(line.concat().into_iter().collect());
        }
    }
    lines
}

/// Where a word that is too long for a line is broken, with this much of the line left.
fn broken(chunk: &[char], left: usize, hyphens: bool) -> usize {
    let head = chunk.get(..left).unwrap_or(chunk);
    match head.iter().rposition(|&c| c == '-').filter(|_| hyphens && chunk.len() > left) {
        Some(at) if at > 0 && head.iter().take(at).any(|&c| c != '-') => at + 1,
        _ => head.len(),
    }
}

/// Words and what stands between them.
fn split(text: &[char], hyphens: bool) -> Vec<&[char]> {
    let mut chunks = Vec::new();
    let mut begin = 0;
    while begin < text.len() {
        let blank = text.iter().skip(begin).take_while(|&&c| is_blank(c)).count();
        let end = match blank {
            0 if hyphens => word_end(text, begin),
            0 => begin + text.iter().skip(begin).take_while(|&&c| !is_blank(c)).count(),
            _ => begin + blank,
        };
        chunks.extend(text.get(begin..end));
        begin = end;
    }
    chunks
}

/// Where the word, or the dash between words, ends that begins here.
fn word_end(text: &[char], begin: usize) -> usize {
    let at = |place: usize| text.get(place).copied();
    let before = |place: usize, back: usize| place.checked_sub(back).and_then(at);
    // Two hyphens or more, behind a part of a word and before a word.
    let dash = |place: usize| {
        before(place, 1).filter(|&c| is_part(c))?;
        let end = place + text.iter().skip(place).take_while(|&&c| c == '-').count();
        (end >= place + 2 && at(end).is_some_and(is_word)).then_some(end)
    };
    if let Some(end) = dash(begin) {
        return end;
    }
    for place in begin + 1..=text.len() {
        // Behind at least one character, none of them white space.
        if at(place).is_none_or(is_blank) {
            return place;
        }
        let letter = |place: Option<char>| place.is_some_and(is_letter);
        if at(place) == Some('-') {
            let two = letter(before(place, 1)) && letter(before(place, 2));
            let split = letter(before(place, 3)) && before(place, 2) == Some('-') && letter(before(place, 1));
            let behind = letter(at(place + 1))
                && (letter(at(place + 2)) || (at(place + 2) == Some('-') && letter(at(place + 3))));
            if (two || split) && behind {
                return place + 1;
            }
        }
        if dash(place).is_some() {
            return place;
        }
    }
    text.len()
}
