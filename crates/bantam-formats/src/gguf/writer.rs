//! Writing a GGUF file, version 3: metadata and descriptions first, then the data, tensor by tensor.

use std::io::{self, Write};
use std::path::Path;

use super::array::Array;
use super::reader::sorted_order;
use super::tensor::{TensorKind, tensor_bytes};
use super::value::Value;
use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAX_DIMENSIONS};
use crate::atomic::{AtomicFile, ExactWriter};
use crate::error::{FormatError, quoted};

/// Longest tensor name that ggml reads, in bytes.
const MAX_TENSOR_NAME_BYTES: usize = 63;
/// Longest key the format allows, in bytes.
const MAX_KEY_BYTES: usize = 65_535;

/// A tensor about to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorHeader {
    /// Its name, at most 63 bytes.
    pub name: String,
    /// Its dimensions, fastest first, at most four.
    pub dims: Vec<u64>,
    /// How it is stored.
    pub kind: TensorKind,
    /// Bytes of its data.
    pub byte_length: u64,
}

/// A GGUF file being put together.
#[derive(Clone, Debug, Default)]
pub struct GgufWriter {
    metadata: Vec<(String, Value)>,
    tensors: Vec<TensorHeader>,
}

impl GgufWriter {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a metadata value; a key that is there already keeps its place and gets the new value.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<Value>) -> &mut Self {
        let (key, value) = (key.into(), value.into());
        match self.metadata.iter_mut().find(|(other, _)| *other == key) {
            Some((_, old)) => *old = value,
            None => self.metadata.push((key, value)),
        }
        self
    }

    /// Removes a metadata value.
    pub fn remove(&mut self, key: &str) -> &mut Self {
        self.metadata.retain(|(other, _)| other != key);
        self
    }

    /// The metadata so far.
    pub fn metadata(&self) -> &[(String, Value)] {
        &self.metadata
    }

    /// Appends a tensor; `dims` fastest first. Its data is asked for when the file is written, in this order.
    ///
    /// # Errors
    ///
    /// Where the shape overflows, has a 0 or rows that are no multiple of the type's block.
    pub fn add_tensor(
        &mut self,
        name: impl Into<String>,
        dims: &[u64],
        kind: TensorKind,
    ) -> Result<&mut Self, FormatError> {
        let name = name.into();
        let byte_length = tensor_bytes(&name, dims, kind)?;
        self.tensors.push(TensorHeader { name, dims: dims.to_vec(), kind, byte_length });
        Ok(self)
    }

    /// The tensors so far.
    pub fn tensors(&self) -> &[TensorHeader] {
        &self.tensors
    }

    /// Alignment of the data: `general.alignment` where set.
    fn alignment(&self) -> Result<u64, FormatError> {
        let set = self.metadata.iter().find(|(key, _)| key == ALIGNMENT_KEY).map(|(_, value)| value);
        let Some(value) = set else { return Ok(DEFAULT_ALIGNMENT as u64) };
        match value {
            Value::U32(alignment) if alignment.is_power_of_two() => Ok(u64::from(*alignment)),
            other => Err(FormatError::unwritable(
                format!("metadata key {}", quoted(ALIGNMENT_KEY)),
                format!("it should be a uint32 power of two but is {}", other.describe()),
            )),
        }
    }

    /// Everything before the data, padded to the alignment.
    fn header(&self, alignment: u64) -> Result<Vec<u8>, FormatError> {
        sorted_order(&self.metadata, |(key, _)| key, "metadata key")?;
        sorted_order(&self.tensors, |tensor| &tensor.name, "tensor")?;
        let mut header = b"GGUF".to_vec();
        header.extend(3u32.to_le_bytes());
        header.extend((self.tensors.len() as u64).to_le_bytes());
        header.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            if key.is_empty() || key.len() > MAX_KEY_BYTES {
                return Err(FormatError::unwritable(
                    format!("metadata key {}", quoted(key)),
                    format!("keys have 1 to {MAX_KEY_BYTES} bytes, this one {}", key.len()),
                ));
            }
            put_string(&mut header, key.as_bytes());
            header.extend((value.value_type() as u32).to_le_bytes());
            put_value(&mut header, value);
        }
        let mut offset = 0u64;
        for tensor in &self.tensors {
            let refused = |problem| FormatError::unwritable(format!("tensor {}", quoted(&tensor.name)), problem);
            if tensor.name.is_empty() || tensor.name.len() > MAX_TENSOR_NAME_BYTES {
                return Err(refused(format!(
                    "names have 1 to {MAX_TENSOR_NAME_BYTES} bytes, this one {}",
                    tensor.name.len()
                )));
            }
            if tensor.dims.len() > MAX_DIMENSIONS {
                return Err(refused(format!("it has {} dimensions, at most {MAX_DIMENSIONS} fit", tensor.dims.len())));
            }
            put_string(&mut header, tensor.name.as_bytes());
            header.extend((tensor.dims.len() as u32).to_le_bytes());
            for size in &tensor.dims {
                header.extend(size.to_le_bytes());
            }
            header.extend(tensor.kind.ggml_id().to_le_bytes());
            header.extend(offset.to_le_bytes());
            offset = tensor
                .byte_length
                .checked_next_multiple_of(alignment)
                .and_then(|padded| offset.checked_add(padded))
                .ok_or_else(|| refused("the file would be larger than any file can be".to_owned()))?;
        }
        let padding = padding(header.len() as u64, alignment);
        header.resize(header.len() + padding as usize, 0);
        Ok(header)
    }

    /// Bytes the whole file will have.
    ///
    /// # Errors
    ///
    /// As for [`GgufWriter::write`].
    pub fn file_length(&self) -> Result<u64, FormatError> {
        let alignment = self.alignment()?;
        let header = self.header(alignment)?.len() as u64;
        Ok(self
            .tensors
            .iter()
            .fold(header, |length, tensor| length + tensor.byte_length + padding(tensor.byte_length, alignment)))
    }

    /// Writes the file to `path`, atomically. `data` is called once per tensor, in order, and writes exactly
    /// [`TensorHeader::byte_length`] bytes, in as many pieces as it likes.
    ///
    /// # Errors
    ///
    /// Duplicate or overlong names, an unusable alignment, data of another length than announced, and what the file system
    /// says; nothing is left under `path` or beside it then.
    pub fn write(
        &self,
        path: &Path,
        data: impl FnMut(&TensorHeader, &mut dyn Write) -> io::Result<()>,
    ) -> Result<(), FormatError> {
        let mut file = AtomicFile::create(path)?;
        self.write_into(&mut file, data).map_err(|error| match error {
            FormatError::Io { source, .. } => FormatError::io("write", path, source),
            other => other.in_file(path),
        })?;
        file.commit()
    }

    /// Writes the file to `path`, atomically, with nothing but zeros as data: a hole, where the file system knows them.
    ///
    /// # Errors
    ///
    /// As for [`GgufWriter::write`].
    pub fn write_outline(&self, path: &Path) -> Result<(), FormatError> {
        let failed = |error| FormatError::io("write", path, error);
        let header = self.header(self.alignment()?).map_err(|error| error.in_file(path))?;
        let mut file = AtomicFile::create(path)?;
        file.write_all(&header).map_err(failed)?;
        file.extend_to(self.file_length()?).map_err(failed)?;
        file.commit()
    }

    /// The bytes of the whole file, for small ones.
    ///
    /// # Errors
    ///
    /// As for [`GgufWriter::write`].
    pub fn to_bytes(
        &self,
        data: impl FnMut(&TensorHeader, &mut dyn Write) -> io::Result<()>,
    ) -> Result<Vec<u8>, FormatError> {
        let mut bytes = Vec::new();
        self.write_into(&mut bytes, data)?;
        Ok(bytes)
    }

    /// Writes the file into any writer; see [`GgufWriter::write`].
    ///
    /// # Errors
    ///
    /// As for [`GgufWriter::write`], with an empty path.
    pub fn write_into(
        &self,
        into: &mut dyn Write,
        mut data: impl FnMut(&TensorHeader, &mut dyn Write) -> io::Result<()>,
    ) -> Result<(), FormatError> {
        let failed = |error| FormatError::io("write", Path::new(""), error);
        let alignment = self.alignment()?;
        into.write_all(&self.header(alignment)?).map_err(failed)?;
        for tensor in &self.tensors {
            let mut exact = ExactWriter::new(into, tensor.byte_length);
            data(tensor, &mut exact).map_err(failed)?;
            exact.finish(&tensor.name)?;
            write_zeros(into, padding(tensor.byte_length, alignment)).map_err(failed)?;
        }
        Ok(())
    }
}

/// Zeros from `length` to the next multiple of `alignment`.
fn padding(length: u64, alignment: u64) -> u64 {
    length.wrapping_neg() & (alignment - 1)
}

fn write_zeros(into: &mut dyn Write, count: u64) -> io::Result<()> {
    io::copy(&mut io::Read::take(io::repeat(0), count), into).map(|_| ())
}

fn put_string(out: &mut Vec<u8>, string: &[u8]) {
    out.extend((string.len() as u64).to_le_bytes());
    out.extend_from_slice(string);
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(value) => out.push(*value),
        Value::I8(value) => out.extend(value.to_le_bytes()),
        Value::U16(value) => out.extend(value.to_le_bytes()),
        Value::I16(value) => out.extend(value.to_le_bytes()),
        Value::U32(value) => out.extend(value.to_le_bytes()),
        Value::I32(value) => out.extend(value.to_le_bytes()),
        Value::F32(value) => out.extend(value.to_le_bytes()),
        Value::Bool(value) => out.push(u8::from(*value)),
        Value::String(bytes) => put_string(out, bytes),
        Value::Array(array) => put_array(out, array),
        Value::U64(value) => out.extend(value.to_le_bytes()),
        Value::I64(value) => out.extend(value.to_le_bytes()),
        Value::F64(value) => out.extend(value.to_le_bytes()),
    }
}

fn put_array(out: &mut Vec<u8>, array: &Array) {
    out.extend((array.element_type() as u32).to_le_bytes());
    out.extend((array.len() as u64).to_le_bytes());
    match array {
        Array::U8(values) => out.extend_from_slice(values),
        Array::I8(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Array::U16(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Array::I16(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Array::U32(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Array::I32(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Array::F32(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Array::U64(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Array::I64(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Array::F64(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Array::Bool(values) => out.extend(values.iter().map(|&value| u8::from(value))),
        Array::Strings(strings) => strings.iter().for_each(|string| put_string(out, string)),
        Array::Arrays(arrays) => arrays.iter().for_each(|inner| put_array(out, inner)),
    }
}
