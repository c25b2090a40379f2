//! Just enough of Thrift's compact protocol to look through a Parquet file's headers before the library reads them.
//! Source: <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.

/// Kinds of a field that are read here.
pub(super) const BYTE: u8 = 3;
pub(super) const I32: u8 = 5;
pub(super) const BINARY: u8 = 8;
pub(super) const LIST: u8 = 9;
pub(super) const STRUCT: u8 = 12;

/// How deep structures may stand in each other.
const DEPTH: usize = 32;

type Read<T> = Result<T, String>;

/// Reads on from a place in `bytes`, never past their end.
pub(super) struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Thrift<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next bytes as they stand.
    pub(super) fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end)).ok_or("a header ends too early")?;
        self.at += count;
        Ok(taken)
    }

    fn byte(&mut self) -> Read<u8> {
        self.take(1).map(|byte| byte.iter().fold(0, |_, &byte| byte))
    }

    /// A number of seven bits a byte, lowest first.
    pub(super) fn varint(&mut self) -> Read<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a header has a number of more than 64 bits".into())
    }

    /// A signed number: 0, -1, 1, -2, … .
    pub(super) fn signed(&mut self) -> Read<i64> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// A length or count that a header gives as a signed number of 32 bits.
    pub(super) fn count(&mut self) -> Read<usize> {
        let value = self.signed()?;
        let value = i32::try_from(value).ok().and_then(|value| usize::try_from(value).ok());
        value.ok_or_else(|| "a header has a count below 0 or beyond 31 bits".into())
    }

    /// Bytes with their length before them.
    pub(super) fn binary(&mut self) -> Read<&'a [u8]> {
        let length = self.varint()?;
        self.take(usize::try_from(length).map_err(|_| "a header ends too early")?)
    }

    /// The kind and the number of a list's elements.
    pub(super) fn list(&mut self) -> Read<(u8, usize)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.varint()?,
            count => u64::from(count),
        };
        // The least element takes a byte.
        match usize::try_from(count) {
            Ok(count) if count <= self.bytes.len() - self.at => Ok((head & 15, count)),
            _ => Err(format!("a header has a list of {count} elements and {} bytes", self.bytes.len() - self.at)),
        }
    }

    /// Hands `field` each field's number and kind; it says whether it read the field, which else is passed over.
    /// The numbers must rise, as every writer has them: so none comes twice.
    pub(super) fn fields(&mut self, field: &mut dyn FnMut(&mut Self, i64, u8) -> Read<bool>) -> Read<()> {
        self.fields_within(DEPTH, field)
    }

    fn fields_within(&mut self, depth: usize, field: &mut dyn FnMut(&mut Self, i64, u8) -> Read<bool>) -> Read<()> {
        let mut last = 0;
        loop {
            let head = self.byte()?;
            let kind = head & 15;
            if kind == 0 {
                return Ok(());
            }
            let number = match head >> 4 {
                0 => self.signed()?,
                step => last + i64::from(step),
            };
            if number <= last || number > i64::from(i16::MAX) {
                return Err(format!("a header has field {number} after field {last}"));
            }
            last = number;
            if !field(self, number, kind)? {
                self.skip(kind, depth)?;
            }
        }
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Read<()> {
        let Some(depth) = depth.checked_sub(1) else { return Err(format!("a header is nested over {DEPTH} deep")) };
        match kind {
            1 | 2 => Ok(()),
            3 => self.take(1).map(drop),
            4..=6 => self.varint().map(drop),
            7 => self.take(8).map(drop),
            8 => self.binary().map(drop),
            9 | 10 => {
                let (kind, count) = self.list()?;
                (0..count).try_for_each(|_| self.skip_element(kind, depth))
            }
            11 => {
                let count = self.varint()?;
                let kinds = if count == 0 { 0 } else { self.byte()? };
                (0..count).try_for_each(|_| {
                    self.skip_element(kinds >> 4, depth)?;
                    self.skip_element(kinds & 15, depth)
                })
            }
            12 => self.fields_within(depth, &mut |_, _, _| Ok(false)),
            13 => self.take(16).map(drop),
            _ => Err(format!("a header has a field of the unknown kind {kind}")),
        }
    }

    /// In lists and maps a truth value takes a byte.
    fn skip_element(&mut self, kind: u8, depth: usize) -> Read<()> {
        match kind {
            1 | 2 => self.take(1).map(drop),
            kind => self.skip(kind, depth),
        }
    }
}
