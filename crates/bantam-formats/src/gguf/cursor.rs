//! A reading position in bytes that never leaves them.

use std::fmt;

use crate::error::{FormatError, quoted};

/// What is being read, for the error that says it is not there.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    Header,
    MetadataKey(u64),
    MetadataValue(&'a str),
    TensorName(u64),
    Tensor(&'a str),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => write!(formatter, "the header"),
            Self::MetadataKey(index) => write!(formatter, "the key of metadata entry {index}"),
            Self::MetadataValue(key) => write!(formatter, "the value of metadata key {}", quoted(key)),
            Self::TensorName(index) => write!(formatter, "the name of tensor entry {index}"),
            Self::Tensor(name) => write!(formatter, "the description of tensor {}", quoted(name)),
        }
    }
}

impl Place<'_> {
    pub(super) fn damaged(self, problem: impl Into<String>) -> FormatError {
        FormatError::damaged(self.to_string(), problem)
    }
}

pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
    /// Whether lengths, counts and dimensions have 64 bits (all versions but the first).
    pub(super) wide: bool,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0, wide: true }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// The next `length` bytes, or an error that says what they should have been.
    pub(super) fn take(&mut self, length: u64, place: Place<'_>) -> Result<&'a [u8], FormatError> {
        let taken = usize::try_from(length).ok().and_then(|length| {
            let end = self.position.checked_add(length)?;
            self.bytes.get(self.position..end)
        });
        match taken {
            Some(bytes) => {
                self.position += bytes.len();
                Ok(bytes)
            }
            None => Err(FormatError::Truncated {
                place: place.to_string(),
                offset: self.position,
                needed: length,
                available: self.remaining(),
            }),
        }
    }

    pub(super) fn array<const N: usize>(&mut self, place: Place<'_>) -> Result<[u8; N], FormatError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64, place)?);
        Ok(array)
    }

    pub(super) fn u32(&mut self, place: Place<'_>) -> Result<u32, FormatError> {
        self.array(place).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, place: Place<'_>) -> Result<u64, FormatError> {
        self.array(place).map(u64::from_le_bytes)
    }

    /// A length, count or dimension: as wide as the version has it.
    pub(super) fn length(&mut self, place: Place<'_>) -> Result<u64, FormatError> {
        if self.wide { self.u64(place) } else { self.u32(place).map(u64::from) }
    }

    /// Bytes of a length field in this version.
    pub(super) fn length_bytes(&self) -> usize {
        if self.wide { 8 } else { 4 }
    }

    /// A count of `items` that take at least `least` bytes each, refused where the bytes left cannot hold them.
    pub(super) fn count(&mut self, place: Place<'_>, items: &'static str, least: usize) -> Result<usize, FormatError> {
        let count = self.length(place)?;
        self.check_count(count, place, items, least)
    }

    /// The check of [`Cursor::count`] for a number already read.
    pub(super) fn check_count(
        &self,
        count: u64,
        place: Place<'_>,
        items: &'static str,
        least: usize,
    ) -> Result<usize, FormatError> {
        let most = self.remaining() / least.max(1);
        match usize::try_from(count) {
            Ok(count) if count <= most => Ok(count),
            _ => Err(FormatError::AbsurdCount { place: place.to_string(), count, items, available: self.remaining() }),
        }
    }

    /// A length and that many bytes.
    pub(super) fn string(&mut self, place: Place<'_>) -> Result<&'a [u8], FormatError> {
        let length = self.length(place)?;
        self.take(length, place)
    }

    /// A string that names something: UTF-8 and not empty.
    pub(super) fn name(&mut self, place: Place<'_>) -> Result<&'a str, FormatError> {
        let bytes = self.string(place)?;
        match std::str::from_utf8(bytes) {
            Ok("") => Err(place.damaged("is empty")),
            Ok(name) => Ok(name),
            Err(_) => Err(place.damaged(format!("is not UTF-8: {}", crate::error::quoted_bytes(bytes)))),
        }
    }
}
