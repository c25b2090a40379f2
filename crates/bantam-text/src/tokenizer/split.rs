//! Cutting text with a regular expression, in linear time wherever the pattern allows.
//!
//! Nearly every byte-level pre-tokenizer ends in `\s+(?!\S)|\s+`: a run of white space leaves its last character to the
//! word behind it. That look-ahead is the only thing in them a finite automaton cannot do, so it is done by hand here;
//! patterns with other look-around go to a backtracking engine with a step limit.

use std::ops::Range;

use regex_automata::meta;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};

use crate::error::{TextError, shorten};

/// The longest pattern accepted, in bytes; real ones stay below 2 KiB.
const LONGEST_PATTERN: usize = 64 * 1024;
/// A replacement may make a text so many times as long; real ones stay below four.
const MOST_GROWTH: usize = 64;
const SPACE_TAIL: &str = r"|\s+(?!\S)|\s+";

#[derive(Debug, Clone)]
enum Engine {
    Literal(String),
    Linear(meta::Regex),
    /// Pattern 0 is the expression without its tail, pattern 1 is `\s+`, shortened by hand.
    LinearWithSpaceTail(meta::Regex),
    Backtracking(fancy_regex::Regex),
}

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(crate) struct Splitter {
    engine: Engine,
    source: String,
}

impl Splitter {
    /// A pattern that is a plain string.
    pub(crate) fn literal(text: &str) -> Splitter {
        Splitter { engine: Engine::Literal(text.to_owned()), source: text.to_owned() }
    }

    /// Compiles a regular expression in the syntax shared by Oniguruma and Rust.
    pub(crate) fn regex(pattern: &str) -> Result<Splitter, TextError> {
        if pattern.len() > LONGEST_PATTERN {
            return Err(TextError::Pattern {
                pattern: shorten(pattern, 60),
                reason: format!("{} bytes long, at most {LONGEST_PATTERN} are accepted", pattern.len()),
            });
        }
        let engine = if has_possessive(pattern) {
            // To the linear engine `?+` is a repetition of `?`.
            None
        } else if let Some(head) = pattern.strip_suffix(SPACE_TAIL) {
            let linear = linear(&[head, r"\s+"]);
            linear.map(Engine::LinearWithSpaceTail)
        } else {
            linear(&[pattern]).map(Engine::Linear)
        };
        let engine = match engine {
            Some(engine) => engine,
            None => Engine::Backtracking(
                fancy_regex::RegexBuilder::new(pattern)
                    .multi_line(true)
                    .delegate_size_limit(SIZE_LIMIT)
                    .backtrack_limit(10_000_000)
                    .build()
                    .map_err(|error| TextError::Pattern { pattern: shorten(pattern, 60), reason: error.to_string() })?,
            ),
        };
        Ok(Splitter { engine, source: pattern.to_owned() })
    }

    /// Calls `each` with every match in `text`, left to right; empty matches are skipped.
    pub(crate) fn matches(&self, text: &str, mut each: impl FnMut(Range<usize>)) -> Result<(), TextError> {
        match &self.engine {
            Engine::Literal(literal) => {
                if !literal.is_empty() {
                    for (start, found) in text.match_indices(literal.as_str()) {
                        each(start..start + found.len());
                    }
                }
            }
            Engine::Linear(regex) => {
                for found in regex.find_iter(text) {
                    if !found.is_empty() {
                        each(found.range());
                    }
                }
            }
            Engine::LinearWithSpaceTail(regex) => {
                let mut at = 0;
                while at < text.len() {
                    let input = Input::new(text).range(at..).anchored(Anchored::No);
                    let Some(found) = regex.search(&input) else { break };
                    let mut end = found.end();
                    if found.is_empty() {
                        at = next_boundary(text, end);
                        continue;
                    }
                    if found.pattern().as_usize() == 1 && end < text.len() {
                        // What follows a whole run of white space is no white space: give the last one back to it.
                        let last = text[found.start()..end].chars().next_back().map_or(0, char::len_utf8);
                        if end - last > found.start() {
                            end -= last;
                        }
                    }
                    each(found.start()..end);
                    at = end;
                }
            }
            Engine::Backtracking(regex) => {
                for found in regex.find_iter(text) {
                    let found = found.map_err(|error| TextError::Pattern {
                        pattern: shorten(&self.source, 60),
                        reason: error.to_string(),
                    })?;
                    if found.start() < found.end() {
                        each(found.start()..found.end());
                    }
                }
            }
        }
        Ok(())
    }

    /// Replaces every match in `text` with `with`, taken literally.
    pub(crate) fn replace(&self, text: &str, with: &str) -> Result<String, TextError> {
        let mut out = String::with_capacity(text.len());
        let mut done = 0;
        let most = text.len().saturating_mul(MOST_GROWTH).saturating_add(LONGEST_PATTERN);
        let mut too_long = false;
        self.matches(text, |range| {
            too_long |= out.len() + with.len() > most;
            if !too_long {
                out.push_str(&text[done..range.start]);
                out.push_str(with);
                done = range.end;
            }
        })?;
        if too_long {
            let pattern = shorten(&self.source, 60);
            return Err(TextError::Pattern {
                pattern,
                reason: format!("its replacements are longer than {most} bytes"),
            });
        }
        out.push_str(&text[done..]);
        Ok(out)
    }
}

/// Whether a pattern has a possessive quantifier (`?+`, `*+`, `++`), which gives nothing back once it has matched.
fn has_possessive(pattern: &str) -> bool {
    let mut classes = 0usize;
    let mut quantified = false;
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        let after = std::mem::take(&mut quantified);
        match character {
            '\\' => drop(characters.next()),
            '[' => classes += 1,
            ']' => classes = classes.saturating_sub(1),
            '+' if classes == 0 && after => return true,
            '?' | '*' | '+' => quantified = classes == 0,
            _ => {}
        }
    }
    false
}

/// Memory a compiled pattern may take, in bytes.
const SIZE_LIMIT: usize = 16 << 20;

fn linear(patterns: &[&str]) -> Option<meta::Regex> {
    let config = meta::Config::new().nfa_size_limit(Some(SIZE_LIMIT));
    // As in Oniguruma's default syntax, `^` and `$` stand at line ends.
    let syntax = syntax::Config::new().nest_limit(64).multi_line(true);
    meta::Builder::new().configure(config).syntax(syntax).build_many(patterns).ok()
}

fn next_boundary(text: &str, at: usize) -> usize {
    text.get(at..).and_then(|rest| rest.chars().next()).map_or(text.len(), |c| at + c.len_utf8())
}

/// What becomes of the matches of a split, in the words of the `tokenizers` library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behavior {
    Removed,
    Isolated,
    MergedWithPrevious,
    MergedWithNext,
    Contiguous,
}

impl Behavior {
    pub(crate) fn from_name(name: &str) -> Result<Behavior, TextError> {
        Ok(match name {
            "Removed" => Behavior::Removed,
            "Isolated" => Behavior::Isolated,
            "MergedWithPrevious" => Behavior::MergedWithPrevious,
            "MergedWithNext" => Behavior::MergedWithNext,
            "Contiguous" => Behavior::Contiguous,
            other => return Err(TextError::Unsupported { what: "split behaviour", name: shorten(other, 60) }),
        })
    }
}

/// Cuts `text` (which starts at `offset` of something longer) by alternating gaps and matches; pushes the pieces.
pub(crate) fn cut(
    text: &str,
    offset: usize,
    matches: &[Range<usize>],
    behavior: Behavior,
    invert: bool,
    out: &mut Vec<Range<usize>>,
) {
    let mut segments: Vec<(Range<usize>, bool)> = Vec::with_capacity(matches.len() * 2 + 1);
    let mut done = 0;
    for found in matches {
        if found.start > done {
            segments.push((done..found.start, invert));
        }
        segments.push((found.clone(), !invert));
        done = found.end;
    }
    if done < text.len() {
        segments.push((done..text.len(), invert));
    }
    let first = out.len();
    let mut previous_matched = false;
    for (range, matched) in segments {
        let range = range.start + offset..range.end + offset;
        let joins = match behavior {
            Behavior::Removed | Behavior::Isolated => false,
            Behavior::Contiguous => matched == previous_matched,
            Behavior::MergedWithPrevious => matched && !previous_matched,
            Behavior::MergedWithNext => previous_matched && !matched,
        };
        let has_open_piece = out.len() > first;
        match out.last_mut() {
            _ if behavior == Behavior::Removed && matched => {}
            Some(last) if joins && has_open_piece => last.end = range.end,
            _ => out.push(range),
        }
        previous_matched = matched;
    }
}
