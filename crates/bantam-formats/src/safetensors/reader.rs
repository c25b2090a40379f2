//! Reading a safetensors file.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use super::{Dtype, MAX_HEADER_BYTES, METADATA_KEY};
use crate::error::{FormatError, quoted};
use crate::reference::FileKind;

/// A parsed safetensors file. Owns everything but the tensors' data, which stays in the file at [`SafeTensor::range`].
#[derive(Clone, Debug)]
pub struct SafeTensors {
    metadata: Vec<(String, String)>,
    /// Sorted by name.
    tensors: Vec<SafeTensor>,
}

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SafeTensor {
    /// Its name.
    pub name: String,
    /// How its numbers are stored.
    pub dtype: Dtype,
    /// Its shape as in the file, slowest first; empty for a scalar.
    pub shape: Vec<u64>,
    /// Where its data lies, in bytes from the start of the file.
    pub range: Range<usize>,
}

impl SafeTensor {
    /// Numbers in a row: the last dimension.
    pub fn width(&self) -> usize {
        // A tensor with a 0 in its shape may have any other size, but none with data has one beyond its bytes.
        self.shape.last().map_or(1, |&width| usize::try_from(width).unwrap_or(usize::MAX))
    }

    /// Number of rows: the product of all dimensions but the last.
    pub fn rows(&self) -> usize {
        let leading = self.shape.split_last().map_or(&[][..], |(_, leading)| leading);
        leading
            .iter()
            .fold(1usize, |product, &size| product.saturating_mul(usize::try_from(size).unwrap_or(usize::MAX)))
    }
}

/// The header as it stands, entries in order and doubles kept so that they can be refused.
struct Header(Vec<(String, Entry)>);

enum Entry {
    Tensor(RawTensor),
    Metadata(Vec<(String, String)>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object of dtype, shape and data_offsets")]
struct RawTensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    let entry = if name == METADATA_KEY {
                        Entry::Metadata(map.next_value::<Pairs>()?.0)
                    } else {
                        let named = |error| A::Error::custom(format_args!("tensor {}: {error}", quoted(&name)));
                        Entry::Tensor(map.next_value().map_err(named)?)
                    };
                    entries.push((name, entry));
                }
                Ok(Header(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// An object of strings, in order.
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Strings;
        impl<'de> Visitor<'de> for Strings {
            type Value = Pairs;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Strings)
    }
}

impl SafeTensors {
    /// Reads and checks a whole file, given as bytes. The data of tensors is not looked at.
    ///
    /// # Errors
    ///
    /// One sentence for the first thing found wrong: a header longer than the file or than 100 MB, JSON of another shape,
    /// an unknown element type, a duplicate name, offsets that do not fit the shape, the file or each other.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let (header, data_start) = split_header(bytes)?;
        let Header(entries) = serde_json::from_slice(header).map_err(|error| {
            FormatError::damaged("the safetensors header", format!("is not as the format asks: {error}"))
        })?;
        let mut metadata = None;
        let mut tensors = Vec::with_capacity(entries.len());
        for (name, entry) in entries {
            match entry {
                Entry::Tensor(raw) => tensors.push(place(name, raw, data_start, bytes.len())?),
                Entry::Metadata(pairs) => {
                    if metadata.replace(pairs).is_some() {
                        return Err(FormatError::Duplicate { what: "header entry", name: quoted(METADATA_KEY) });
                    }
                }
            }
        }
        check_cover(&mut tensors, data_start, bytes.len())?;
        tensors.sort_by(|first, second| first.name.cmp(&second.name));
        for pair in tensors.windows(2) {
            if let [first, second] = pair
                && first.name == second.name
            {
                return Err(FormatError::Duplicate { what: "tensor", name: quoted(&first.name) });
            }
        }
        Ok(Self { metadata: metadata.unwrap_or_default(), tensors })
    }

    /// All tensors, sorted by name.
    pub fn tensors(&self) -> &[SafeTensor] {
        &self.tensors
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&SafeTensor> {
        let index = self.tensors.binary_search_by(|tensor| tensor.name.as_str().cmp(name)).ok()?;
        self.tensors.get(index)
    }

    /// The strings of `__metadata__`, in the order of the file.
    pub fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }
}

/// The header's bytes and where the data begins.
fn split_header(bytes: &[u8]) -> Result<(&[u8], usize), FormatError> {
    match FileKind::of(bytes) {
        FileKind::Safetensors | FileKind::Unknown(..) => {}
        kind => return Err(kind.refused_as("safetensors")),
    }
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(FormatError::Truncated {
            place: "the length of the safetensors header".to_owned(),
            offset: 0,
            needed: 8,
            available: bytes.len(),
        });
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES {
        return Err(FormatError::damaged(
            "the safetensors header",
            format!("claims {length} bytes; at most {MAX_HEADER_BYTES} are allowed"),
        ));
    }
    match rest.get(..length as usize) {
        Some(header) => Ok((header, 8 + header.len())),
        None => Err(FormatError::Truncated {
            place: "the safetensors header".to_owned(),
            offset: 8,
            needed: length,
            available: rest.len(),
        }),
    }
}

fn place(name: String, raw: RawTensor, data_start: usize, available: usize) -> Result<SafeTensor, FormatError> {
    let damaged = |problem: String| FormatError::damaged(format!("tensor {}", quoted(&name)), problem);
    let Some(dtype) = Dtype::from_name(&raw.dtype) else {
        return Err(FormatError::UnknownTensorType { name: quoted(&name), stored_as: quoted(&raw.dtype) });
    };
    let (begin, end) = raw.data_offsets;
    let shape = &raw.shape;
    let Some(needed) = dtype.bytes(shape) else {
        return Err(damaged(format!("has shape {shape:?} of {}, which is no number of bytes", dtype.name())));
    };
    if end.checked_sub(begin) != Some(needed) {
        return Err(damaged(format!(
            "has shape {shape:?} of {}, {needed} bytes, but offsets {begin} to {end}",
            dtype.name()
        )));
    }
    let start_in_file = (data_start as u64).saturating_add(begin);
    let end_in_file = (data_start as u64).saturating_add(end);
    match (usize::try_from(start_in_file), usize::try_from(end_in_file)) {
        (Ok(start), Ok(end)) if end <= available => Ok(SafeTensor { name, dtype, shape: raw.shape, range: start..end }),
        _ => Err(FormatError::TensorBeyondFile {
            name: quoted(&name),
            start: start_in_file,
            end: end_in_file,
            available,
        }),
    }
}

/// The format asks that the tensors cover the data exactly: no gap, no overlap, nothing after.
fn check_cover(tensors: &mut [SafeTensor], data_start: usize, available: usize) -> Result<(), FormatError> {
    tensors.sort_by_key(|tensor| (tensor.range.start, tensor.range.end));
    let mut covered = data_start;
    for tensor in tensors.iter() {
        if tensor.range.start != covered {
            let relation = if tensor.range.start < covered { "inside the tensor before it" } else { "after a gap" };
            return Err(FormatError::damaged(
                format!("tensor {}", quoted(&tensor.name)),
                format!("begins at byte {} of the file, {relation}, expected {covered}", tensor.range.start),
            ));
        }
        covered = tensor.range.end;
    }
    if covered != available {
        return Err(FormatError::damaged(
            "the safetensors file",
            format!("has {available} bytes, but its tensors end at byte {covered}"),
        ));
    }
    Ok(())
}
