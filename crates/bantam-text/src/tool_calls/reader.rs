//! Text that is still coming, read from left to right.

use super::json;

/// Longest name of a tool.
const LONGEST_NAME: usize = 256;

/// Why reading stopped before its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The text so far does not tell.
    More,
    /// It is a call gone wrong, and how.
    Bad(String),
    /// It is no call, and never pretended to be one.
    NoCall,
}

/// A call as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: String,
    /// The text of a JSON object.
    pub(super) arguments: String,
    /// The identifier the model gave.
    pub(super) id: Option<String>,
}

impl Found {
    pub(super) fn new(name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self { name: name.into(), arguments: arguments.into(), id: None }
    }
}

/// Reads text that may go on. A decision is taken only where no continuation could change it, so reading again with more
/// text gives the same; where the text is known to be whole, what is missing is an error.
#[derive(Debug)]
pub(super) struct Reader<'t> {
    text: &'t str,
    at: usize,
    whole: bool,
}

impl<'t> Reader<'t> {
    /// For text that is whole, or may go on.
    pub(super) fn new(text: &'t str, whole: bool) -> Self {
        Self { text, at: 0, whole }
    }

    /// Whether no more text comes.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Bytes read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// What is not read yet.
    pub(super) fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn skip(&mut self, length: usize) {
        self.at = self.text.len().min(self.at + length);
    }

    /// Whether the text is whole and read to its end; undecided where more may come.
    pub(super) fn ended(&self) -> Result<bool, Stop> {
        match (self.rest().is_empty(), self.whole) {
            (false, _) => Ok(false),
            (true, true) => Ok(true),
            (true, false) => Err(Stop::More),
        }
    }

    /// What to say where the text is too short to tell.
    pub(super) fn more(&self) -> Stop {
        if self.whole { Stop::Bad("the answer ends inside of a call".into()) } else { Stop::More }
    }

    /// Skips white space.
    pub(super) fn white(&mut self) {
        let rest = self.rest();
        self.skip(rest.len() - rest.trim_start().len());
    }

    /// Reads this text if it is what comes.
    pub(super) fn maybe(&mut self, expected: &str) -> Result<bool, Stop> {
        let rest = self.rest();
        if rest.starts_with(expected) {
            self.skip(expected.len());
            return Ok(true);
        }
        if !self.whole && expected.starts_with(rest) { Err(Stop::More) } else { Ok(false) }
    }

    /// Reads this text.
    pub(super) fn literal(&mut self, expected: &str) -> Result<(), Stop> {
        if self.maybe(expected)? {
            return Ok(());
        }
        match self.rest().is_empty() {
            true => Err(self.more()),
            false => Err(self.unexpected(&format!("{expected:?}"))),
        }
    }

    /// An error that names what is there instead: one character, as the text may be cut behind any.
    pub(super) fn unexpected(&self, expected: &str) -> Stop {
        let found: String = self.rest().chars().take(1).collect();
        Stop::Bad(format!("a call has {found:?} where {expected} was expected"))
    }

    /// Reads to this text and over it.
    pub(super) fn until(&mut self, mark: &str) -> Result<&'t str, Stop> {
        match self.rest().find(mark) {
            Some(length) => {
                let found = self.rest().get(..length).unwrap_or_default();
                self.skip(length + mark.len());
                Ok(found)
            }
            None => Err(self.more()),
        }
    }

    /// The next character, which stays unread.
    pub(super) fn peek(&self) -> Result<char, Stop> {
        self.rest().chars().next().ok_or_else(|| self.more())
    }

    /// Reads a JSON value.
    pub(super) fn json(&mut self) -> Result<&'t str, Stop> {
        match json::scan(self.rest()) {
            json::Scan::Whole(length) => {
                let value = self.rest().get(..length).unwrap_or_default();
                self.skip(length);
                Ok(value)
            }
            json::Scan::Short => Err(self.more()),
            json::Scan::Wrong(at, reason) => {
                let near: String = self.rest().get(at..).unwrap_or_default().chars().take(1).collect();
                Err(Stop::Bad(format!("a call's JSON is wrong at {near:?}: {reason}")))
            }
        }
    }

    /// Reads the arguments of this tool: a JSON object, or a text that spells one.
    pub(super) fn arguments(&mut self, name: &str) -> Result<String, Stop> {
        json::arguments(name, Some(self.json()?))
    }
}

/// A tool's name, if this can be one.
pub(super) fn name(text: &str) -> Result<&str, Stop> {
    let text = text.trim();
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/');
    if text.is_empty() || text.len() > LONGEST_NAME || !text.chars().all(fits) {
        let found: String = text.chars().take(40).collect();
        return Err(Stop::Bad(format!("a call names {found:?}, which is no name of a tool")));
    }
    Ok(text)
}
