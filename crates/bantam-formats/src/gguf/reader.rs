//! Reading a GGUF file: bytes to checked structs.

use super::array::{Array, Strings};
use super::cursor::{Cursor, Place};
use super::tensor::{PendingTensor, TensorInfo, check_overlap, read_tensor};
use super::value::{Value, ValueType};
use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAX_ARRAY_DEPTH};
use crate::error::{FormatError, quoted};
use crate::reference::FileKind;

/// Most bytes before the tensors' data. The largest vocabularies take some ten million; the limit keeps a damaged header of
/// a large file from asking for as much memory as the whole file has.
const MAX_HEADER_BYTES: usize = 1 << 30;
/// Most items that memory is reserved for on the word of a count alone; more grow as they are read.
const RESERVED_ITEMS: usize = 1 << 16;

/// A parsed GGUF file. Owns everything but the tensors' data, which stays in the file at [`TensorInfo::range`].
#[derive(Clone, Debug)]
pub struct Gguf {
    /// Version of the format: 1, 2 or 3.
    pub version: u32,
    /// Alignment of tensor data, in bytes: a power of two.
    pub alignment: usize,
    /// Where tensor data begins, in bytes from the start of the file. May lie beyond a file that has no tensors.
    pub data_offset: usize,
    metadata: Vec<(String, Value)>,
    /// Indices into `metadata`, sorted by key.
    metadata_order: Vec<usize>,
    tensors: Vec<TensorInfo>,
    /// Indices into `tensors`, sorted by name.
    tensor_order: Vec<usize>,
}

impl Gguf {
    /// Reads and checks a whole file, given as bytes. The data of tensors is not looked at.
    ///
    /// # Errors
    ///
    /// One sentence for the first thing found wrong: another kind of file, an unsupported version, a file cut short, a count
    /// beyond the bytes left, a duplicate or empty name, an unusable alignment, an unknown value or tensor type, a tensor
    /// that overlaps another or leaves the file.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        Self::parse_within(bytes, MAX_HEADER_BYTES)
    }

    /// [`Gguf::parse`] with at most `most` bytes before the tensors' data.
    fn parse_within(bytes: &[u8], most: usize) -> Result<Self, FormatError> {
        let kind = FileKind::of(bytes);
        if kind != FileKind::Gguf {
            return Err(kind.refused_as("GGUF"));
        }
        let mut cursor = Cursor::new(bytes.get(..most).unwrap_or(bytes));
        let (mut gguf, pending) = read_header(&mut cursor).map_err(|error| match error {
            // What is cut off here is not the file.
            FormatError::Truncated { .. } | FormatError::AbsurdCount { .. } if bytes.len() > most => {
                FormatError::damaged("the header", format!("is longer than the {most} bytes allowed for it"))
            }
            other => other,
        })?;
        gguf.alignment = read_alignment(&gguf)?;
        gguf.data_offset = cursor.position().checked_next_multiple_of(gguf.alignment).ok_or_else(|| {
            FormatError::damaged("the alignment", format!("{} is larger than any file", gguf.alignment))
        })?;
        let mut tensors = Vec::with_capacity(pending.len());
        for tensor in pending {
            tensors.push(tensor.place(bytes.len(), gguf.data_offset, gguf.alignment)?);
        }
        gguf.tensor_order = sorted_order(&tensors, |tensor| &tensor.name, "tensor")?;
        check_overlap(&tensors)?;
        gguf.tensors = tensors;
        Ok(gguf)
    }

    /// All metadata, in the order of the file.
    pub fn metadata(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.metadata.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let found = self.metadata_order.binary_search_by(|&index| {
            self.metadata.get(index).map_or(std::cmp::Ordering::Greater, |(other, _)| other.as_str().cmp(key))
        });
        self.metadata_order.get(found.ok()?).and_then(|&index| self.metadata.get(index)).map(|(_, value)| value)
    }

    /// All tensors, in the order of the file.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        let found = self.tensor_order.binary_search_by(|&index| {
            self.tensors.get(index).map_or(std::cmp::Ordering::Greater, |tensor| tensor.name.as_str().cmp(name))
        });
        self.tensor_order.get(found.ok()?).and_then(|&index| self.tensors.get(index))
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, FormatError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match convert(value) {
            Some(converted) => Ok(Some(converted)),
            None => Err(FormatError::WrongValueType { key: quoted(key), expected, found: value.describe() }),
        }
    }

    /// The text under a key, `None` where the key is absent.
    ///
    /// # Errors
    ///
    /// Where the value is not a string or not UTF-8; the sentence names the key. The same holds for the accessors below.
    pub fn str(&self, key: &str) -> Result<Option<&str>, FormatError> {
        self.typed(key, "a UTF-8 string", Value::as_str)
    }

    /// The whole number under a key, of whatever integer type.
    pub fn u32(&self, key: &str) -> Result<Option<u32>, FormatError> {
        self.typed(key, "a whole number that fits 32 bits", Value::as_u32)
    }

    /// The whole number under a key, of whatever integer type.
    pub fn u64(&self, key: &str) -> Result<Option<u64>, FormatError> {
        self.typed(key, "a whole number, not negative", Value::as_u64)
    }

    /// The whole number under a key, of whatever integer type, as a size.
    pub fn usize(&self, key: &str) -> Result<Option<usize>, FormatError> {
        self.typed(key, "a whole number, not negative", Value::as_usize)
    }

    /// The number under a key.
    pub fn f32(&self, key: &str) -> Result<Option<f32>, FormatError> {
        self.typed(key, "a number", Value::as_f32)
    }

    /// The bool under a key.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, FormatError> {
        self.typed(key, "a bool", Value::as_bool)
    }

    /// The array under a key.
    pub fn array(&self, key: &str) -> Result<Option<&Array>, FormatError> {
        self.typed(key, "an array", Value::as_array)
    }

    /// The array of strings under a key.
    pub fn strings(&self, key: &str) -> Result<Option<&Strings>, FormatError> {
        self.typed(key, "an array of strings", |value| value.as_array().and_then(Array::as_strings))
    }
}

/// Indices of `items` sorted by name; a name that appears twice is refused.
pub(super) fn sorted_order<T>(
    items: &[T],
    name: impl Fn(&T) -> &String,
    what: &'static str,
) -> Result<Vec<usize>, FormatError> {
    let mut order: Vec<(&String, usize)> = items.iter().enumerate().map(|(index, item)| (name(item), index)).collect();
    order.sort_unstable();
    for pair in order.windows(2) {
        if let [(first, _), (second, _)] = pair
            && first == second
        {
            return Err(FormatError::Duplicate { what, name: quoted(first) });
        }
    }
    Ok(order.into_iter().map(|(_, index)| index).collect())
}

/// Everything before the tensors' data; what depends on the alignment is still to be filled in.
fn read_header(cursor: &mut Cursor<'_>) -> Result<(Gguf, Vec<PendingTensor>), FormatError> {
    cursor.take(4, Place::Header)?;
    let version = cursor.u32(Place::Header)?;
    match version {
        1 => cursor.wide = false,
        2 | 3 => {}
        // A small number with its bytes in the other order.
        _ if version & 0xffff == 0 && version != 0 => {
            return Err(FormatError::BigEndian { version: version.swap_bytes() });
        }
        _ => return Err(FormatError::UnsupportedVersion { version }),
    }
    let tensor_count = cursor.length(Place::Header)?;
    // The least a metadata entry takes: a key of one byte, its type, one byte of value.
    let entry_count = cursor.count(Place::Header, "metadata entries", cursor.length_bytes() + 1 + 4 + 1)?;
    // The least a tensor's description takes: a name of one byte, no dimensions, type and offset.
    let least_tensor_bytes = cursor.length_bytes() + 1 + 4 + 4 + 8;
    let tensor_count = cursor.check_count(tensor_count, Place::Header, "tensors", least_tensor_bytes)?;

    let mut metadata = Vec::with_capacity(entry_count.min(RESERVED_ITEMS));
    for index in 0..entry_count {
        let key = cursor.name(Place::MetadataKey(index as u64))?;
        let value = read_value(cursor, Place::MetadataValue(key))?;
        metadata.push((key.to_owned(), value));
    }
    let metadata_order = sorted_order(&metadata, |(key, _)| key, "metadata key")?;
    let mut pending = Vec::with_capacity(tensor_count.min(RESERVED_ITEMS));
    for index in 0..tensor_count {
        pending.push(read_tensor(cursor, index as u64)?);
    }
    let (tensors, tensor_order) = (Vec::new(), Vec::new());
    let gguf =
        Gguf { version, alignment: DEFAULT_ALIGNMENT, data_offset: 0, metadata, metadata_order, tensors, tensor_order };
    Ok((gguf, pending))
}

fn read_type(cursor: &mut Cursor<'_>, place: Place<'_>) -> Result<ValueType, FormatError> {
    let id = cursor.u32(place)?;
    ValueType::from_id(id).ok_or_else(|| place.damaged(format!("has type {id}; the types of GGUF are 0 to 12")))
}

fn read_bool(byte: u8, place: Place<'_>) -> Result<bool, FormatError> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(place.damaged(format!("is a bool with byte {other}, expected 0 or 1"))),
    }
}

fn read_value(cursor: &mut Cursor<'_>, place: Place<'_>) -> Result<Value, FormatError> {
    Ok(match read_type(cursor, place)? {
        ValueType::U8 => Value::U8(u8::from_le_bytes(cursor.array(place)?)),
        ValueType::I8 => Value::I8(i8::from_le_bytes(cursor.array(place)?)),
        ValueType::U16 => Value::U16(u16::from_le_bytes(cursor.array(place)?)),
        ValueType::I16 => Value::I16(i16::from_le_bytes(cursor.array(place)?)),
        ValueType::U32 => Value::U32(u32::from_le_bytes(cursor.array(place)?)),
        ValueType::I32 => Value::I32(i32::from_le_bytes(cursor.array(place)?)),
        ValueType::F32 => Value::F32(f32::from_le_bytes(cursor.array(place)?)),
        ValueType::Bool => {
            let [byte] = cursor.array(place)?;
            Value::Bool(read_bool(byte, place)?)
        }
        ValueType::String => Value::String(cursor.string(place)?.to_vec()),
        ValueType::Array => Value::Array(read_array(cursor, place, 1)?),
        ValueType::U64 => Value::U64(u64::from_le_bytes(cursor.array(place)?)),
        ValueType::I64 => Value::I64(i64::from_le_bytes(cursor.array(place)?)),
        ValueType::F64 => Value::F64(f64::from_le_bytes(cursor.array(place)?)),
    })
}

/// Little-endian numbers of `N` bytes each.
fn read_numbers<const N: usize, T>(
    cursor: &mut Cursor<'_>,
    place: Place<'_>,
    convert: fn([u8; N]) -> T,
) -> Result<Vec<T>, FormatError> {
    let count = cursor.count(place, "array elements", N)?;
    let bytes = cursor.take((count * N) as u64, place)?;
    let (chunks, _) = bytes.as_chunks::<N>();
    Ok(chunks.iter().map(|chunk| convert(*chunk)).collect())
}

fn read_array(cursor: &mut Cursor<'_>, place: Place<'_>, depth: usize) -> Result<Array, FormatError> {
    if depth > MAX_ARRAY_DEPTH {
        return Err(place.damaged(format!("nests arrays deeper than {MAX_ARRAY_DEPTH}")));
    }
    Ok(match read_type(cursor, place)? {
        ValueType::U8 => Array::U8(read_numbers(cursor, place, u8::from_le_bytes)?),
        ValueType::I8 => Array::I8(read_numbers(cursor, place, i8::from_le_bytes)?),
        ValueType::U16 => Array::U16(read_numbers(cursor, place, u16::from_le_bytes)?),
        ValueType::I16 => Array::I16(read_numbers(cursor, place, i16::from_le_bytes)?),
        ValueType::U32 => Array::U32(read_numbers(cursor, place, u32::from_le_bytes)?),
        ValueType::I32 => Array::I32(read_numbers(cursor, place, i32::from_le_bytes)?),
        ValueType::F32 => Array::F32(read_numbers(cursor, place, f32::from_le_bytes)?),
        ValueType::U64 => Array::U64(read_numbers(cursor, place, u64::from_le_bytes)?),
        ValueType::I64 => Array::I64(read_numbers(cursor, place, i64::from_le_bytes)?),
        ValueType::F64 => Array::F64(read_numbers(cursor, place, f64::from_le_bytes)?),
        ValueType::Bool => {
            let bytes = read_numbers(cursor, place, |[byte]| byte)?;
            Array::Bool(bytes.into_iter().map(|byte| read_bool(byte, place)).collect::<Result<_, _>>()?)
        }
        ValueType::String => {
            let count = cursor.count(place, "strings", cursor.length_bytes())?;
            let mut strings = Strings::with_capacity(count.min(RESERVED_ITEMS));
            for _ in 0..count {
                strings.push(cursor.string(place)?);
            }
            Array::Strings(strings)
        }
        ValueType::Array => {
            // Each inner array takes at least its type and its count.
            let count = cursor.count(place, "arrays", 4 + cursor.length_bytes())?;
            let mut arrays = Vec::with_capacity(count.min(RESERVED_ITEMS));
            for _ in 0..count {
                arrays.push(read_array(cursor, place, depth + 1)?);
            }
            Array::Arrays(arrays)
        }
    })
}

fn read_alignment(gguf: &Gguf) -> Result<usize, FormatError> {
    let alignment = gguf.usize(ALIGNMENT_KEY)?.unwrap_or(DEFAULT_ALIGNMENT);
    if !alignment.is_power_of_two() {
        return Err(FormatError::damaged("the alignment", format!("is {alignment}, expected a power of two")));
    }
    Ok(alignment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::GgufWriter;

    #[test]
    fn headers_longer_than_allowed() {
        let mut writer = GgufWriter::new();
        writer.set("text", "x".repeat(1000).as_str());
        let bytes = writer.to_bytes(|_, _| Ok(())).unwrap();
        assert!(Gguf::parse_within(&bytes, bytes.len()).is_ok());
        let error = Gguf::parse_within(&bytes, 500).unwrap_err();
        assert_eq!(error.to_string(), "the header is longer than the 500 bytes allowed for it");
    }
}
