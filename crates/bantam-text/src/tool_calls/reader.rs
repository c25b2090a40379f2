//! Text that is still coming, read from left to right.

use super::json;

/// Longest name of a tool.
const LONGEST_NAME: usize = 256;
/// What is wrong with a call that an answer's limit ended.
const CUT: &str = "the answer was cut inside of a call";

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
#[derive(Debug, Clone, PartialEq, Eq)]
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
    end: End,
    fault: Option<String>,
    /// Calls of a frame that are whole, and where the last of them ends.
    whole: Vec<Found>,
    whole_at: usize,
}

/// Whether text may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// More may come.
    Open,
    /// Nothing more comes, because the answer was cut short.
    Cut,
    /// The model ended it.
    Ended,
}

impl<'t> Reader<'t> {
    /// For text that goes on, or not.
    pub(super) fn new(text: &'t str, end: End) -> Self {
        Self { text, at: 0, end, fault: None, whole: Vec::new(), whole_at: 0 }
    }

    /// Whether more text may come.
    pub(super) fn end(&self) -> End {
        self.end
    }

    /// Whether no more text comes.
    pub(super) fn is_whole(&self) -> bool {
        self.end != End::Open
    }

    /// What was read.
    pub(super) fn read(&self) -> &'t str {
        self.text.get(..self.at).unwrap_or_default()
    }

    /// Goes back to this byte, with what went wrong behind it, where what was read before is to be kept.
    pub(super) fn keep(&mut self, at: usize, reason: String) {
        self.at = self.at.min(at);
        self.fault.get_or_insert(reason);
    }

    /// Takes a call that is whole among those of a frame: it is kept even if the answer is cut behind it.
    pub(super) fn call(&mut self, found: &mut Vec<Found>, call: Found) {
        // Only then; while text may go on this is read again and again.
        if self.end == End::Cut {
            self.whole.push(call.clone());
            self.whole_at = self.at;
        }
        found.push(call);
    }

    /// The whole calls before the place where the answer was cut, and where they end.
    pub(super) fn take_whole(&mut self, stop: &Stop) -> Option<(Vec<Found>, usize)> {
        let cut = matches!(stop, Stop::Bad(reason) if reason == CUT);
        (cut && !self.whole.is_empty()).then(|| (std::mem::take(&mut self.whole), self.whole_at))
    }

    /// What went wrong behind what was read.
    pub(super) fn take_fault(&mut self) -> Option<String> {
        self.fault.take()
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

    /// Whether the text is whole and read to its end; undecided where more may come. What was read before has marks of its
    /// own to show that it is whole, so an answer that was cut here lacks nothing but what closes a frame.
    pub(super) fn ended(&self) -> Result<bool, Stop> {
        match (self.rest().is_empty(), self.is_whole()) {
            (false, _) => Ok(false),
            (true, true) => Ok(true),
            (true, false) => Err(Stop::More),
        }
    }

    /// What to say where the text is too short to tell.
    pub(super) fn more(&self) -> Stop {
        match self.end {
            End::Open => Stop::More,
            End::Cut => Stop::Bad(CUT.into()),
            End::Ended => Stop::Bad("the answer ends inside of a call".into()),
        }
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
        match self.end {
            End::Open if expected.starts_with(rest) => Err(Stop::More),
            End::Cut if !rest.is_empty() && expected.starts_with(rest) => Err(self.more()),
            _ => Ok(false),
        }
    }

    /// Reads this text.
    pub(super) fn literal(&mut self, expected: &str) -> Result<(), Stop> {
        if self.maybe(expected)? {
            return Ok(());
        }
        match expected.starts_with(self.rest()) {
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
            json::Scan::Short => {
                if self.is_whole() {
                    self.skip(self.rest().len());
                }
                Err(self.more())
            }
            json::Scan::Wrong(at, reason) => {
                self.skip(at);
                let near: String = self.rest().chars().take(1).collect();
                Err(Stop::Bad(format!("a call's JSON is wrong at {near:?}: {reason}")))
            }
        }
    }

    /// Reads a JSON value and the calls that it describes: one, or an array of them.
    pub(super) fn json_calls(&mut self) -> Result<Vec<Found>, Stop> {
        self.json_list(|call, found| {
            found.push(json::call(call)?);
            Ok(())
        })
    }

    /// Reads a JSON value, or an array of them, with what reads each.
    pub(super) fn json_list(
        &mut self,
        mut read: impl FnMut(&'t str, &mut Vec<Found>) -> Result<(), Stop>,
    ) -> Result<Vec<Found>, Stop> {
        let (rest, begin) = (self.rest(), self.at);
        let mut found = Vec::new();
        let value = match self.json() {
            Err(stop) if self.end == End::Cut && rest.starts_with('[') => {
                for (element, end) in json::elements(rest) {
                    let mut calls = Vec::new();
                    read(element, &mut calls)?;
                    self.at = begin + end;
                    calls.into_iter().for_each(|call| self.call(&mut found, call));
                }
                return Err(stop);
            }
            value => value?,
        };
        if value.starts_with('[') {
            json::elements(value).into_iter().try_for_each(|(element, _)| read(element, &mut found))?;
        } else {
            read(value, &mut found)?;
        }
        Ok(found)
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
