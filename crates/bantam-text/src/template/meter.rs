//! The limits of one rendering. Every operation pays before it works: for its time in work units, for what it allocates
//! in bytes. Nothing is ever paid back, so neither loops nor growth can pass the limits, whatever they are made of.

use crate::error::TextError;

/// Work a template may do on an empty chat, in units of some tens of nanoseconds.
const WORK: u64 = 2_000_000;
/// Further work for each byte of the chat.
const WORK_PER_BYTE: u64 = 32;
/// Bytes a template may allocate on an empty chat.
const MEMORY: u64 = 8 << 20;
/// Further bytes for each byte of the chat: every message is copied a few times on its way into the prompt.
const MEMORY_PER_BYTE: u64 = 24;
/// Bytes of text that cost one unit of work.
const BYTES_PER_UNIT: u64 = 4;
/// How deep lists and dictionaries may hold each other.
pub(super) const DEEPEST_VALUE: u16 = 200;
/// How deep evaluation may nest, macros that call macros included.
const DEEPEST_CALL: usize = 260;

/// What is left, and where the template is.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) line: u32,
    work: u64,
    memory: u64,
    depth: usize,
}

pub(super) type Fallible<T> = Result<T, TextError>;

impl Meter {
    /// Limits for a chat of `bytes` bytes.
    pub(super) fn new(bytes: usize) -> Meter {
        let bytes = bytes as u64;
        Meter {
            line: 1,
            work: WORK.saturating_add(bytes.saturating_mul(WORK_PER_BYTE)),
            memory: MEMORY.saturating_add(bytes.saturating_mul(MEMORY_PER_BYTE)),
            depth: 0,
        }
    }

    /// Pays for `units` of work.
    pub(super) fn work(&mut self, units: usize) -> Fallible<()> {
        match self.work.checked_sub(units as u64) {
            Some(left) => {
                self.work = left;
                Ok(())
            }
            None => self.stop("it does more work than a chat of this size can need"),
        }
    }

    /// Pays for looking through `bytes` bytes.
    pub(super) fn scan(&mut self, bytes: usize) -> Fallible<()> {
        self.work(bytes / BYTES_PER_UNIT as usize + 1)
    }

    /// Pays for allocating and filling `bytes` bytes.
    pub(super) fn allocate(&mut self, bytes: usize) -> Fallible<()> {
        match self.memory.checked_sub(bytes as u64) {
            Some(left) => self.memory = left,
            None => return self.stop("it grows larger than a chat of this size can need"),
        }
        self.scan(bytes)
    }

    /// Pays for `count` values.
    pub(super) fn values(&mut self, count: usize) -> Fallible<()> {
        self.allocate(count.saturating_mul(size_of::<super::value::Value>()).saturating_add(48))?;
        self.work(count)
    }

    /// Goes one level deeper; [`Meter::leave`] comes back.
    pub(super) fn enter(&mut self) -> Fallible<()> {
        self.depth += 1;
        if self.depth > DEEPEST_CALL {
            return self.stop("its macros or loops nest too deep");
        }
        self.work(1)
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    fn stop<T>(&self, reason: &str) -> Fallible<T> {
        Err(TextError::TemplateLimit { line: self.line, reason: reason.to_owned() })
    }

    /// A failure at the current line.
    pub(super) fn fail<T>(&self, reason: impl Into<String>) -> Fallible<T> {
        Err(self.error(reason))
    }

    pub(super) fn error(&self, reason: impl Into<String>) -> TextError {
        TextError::TemplateRender { line: self.line, reason: crate::error::shorten(&reason.into(), 300) }
    }
}
