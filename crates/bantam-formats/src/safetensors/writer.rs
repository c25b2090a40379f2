//! Writing a safetensors file.

use std::io::{self, Write};
use std::path::Path;

use super::{Dtype, METADATA_KEY};
use crate::atomic::AtomicFile;
use crate::error::{FormatError, quoted};

/// A tensor about to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SafeTensorHeader {
    /// Its name.
    pub name: String,
    /// How its numbers are stored.
    pub dtype: Dtype,
    /// Its shape, slowest first.
    pub shape: Vec<u64>,
    /// Bytes of its data.
    pub byte_length: u64,
}

/// A safetensors file being put together.
#[derive(Clone, Debug, Default)]
pub struct SafeTensorsWriter {
    metadata: Vec<(String, String)>,
    tensors: Vec<SafeTensorHeader>,
}

impl SafeTensorsWriter {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a string of `__metadata__` (Hugging Face's loaders want `format` to be `pt`).
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) -> &mut Self {
        let (key, value) = (key.into(), value.into());
        match self.metadata.iter_mut().find(|(other, _)| *other == key) {
            Some((_, old)) => *old = value,
            None => self.metadata.push((key, value)),
        }
        self
    }

    /// Appends a tensor; `shape` slowest first.
    ///
    /// # Errors
    ///
    /// Where the shape overflows or is no whole number of bytes.
    pub fn add_tensor(
        &mut self,
        name: impl Into<String>,
        dtype: Dtype,
        shape: &[u64],
    ) -> Result<&mut Self, FormatError> {
        let name = name.into();
        let byte_length = dtype.bytes(shape).ok_or_else(|| {
            FormatError::unwritable(
                format!("tensor {}", quoted(&name)),
                format!("shape {shape:?} of {} is no number of bytes", dtype.name()),
            )
        })?;
        self.tensors.push(SafeTensorHeader { name, dtype, shape: shape.to_vec(), byte_length });
        Ok(self)
    }

    /// The tensors so far, in the order given.
    pub fn tensors(&self) -> &[SafeTensorHeader] {
        &self.tensors
    }

    /// The order of the file: wide numbers first, so that each tensor is aligned to its own numbers.
    fn file_order(&self) -> Vec<&SafeTensorHeader> {
        let mut order: Vec<&SafeTensorHeader> = self.tensors.iter().collect();
        order.sort_by_key(|tensor| std::cmp::Reverse(tensor.dtype.bits()));
        order
    }

    /// Length and header, padded with spaces to eight bytes.
    fn header(&self, order: &[&SafeTensorHeader]) -> Result<Vec<u8>, FormatError> {
        let mut object = serde_json::Map::new();
        if !self.metadata.is_empty() {
            let pairs = self.metadata.iter().map(|(key, value)| (key.clone(), value.clone().into()));
            object.insert(METADATA_KEY.to_owned(), serde_json::Value::Object(pairs.collect()));
        }
        let mut offset = 0u64;
        for tensor in order {
            let refused = |problem: &str| FormatError::unwritable(format!("tensor {}", quoted(&tensor.name)), problem);
            if tensor.name == METADATA_KEY {
                return Err(refused("the format keeps this name for itself"));
            }
            let end = offset.checked_add(tensor.byte_length).ok_or_else(|| refused("the file would be too large"))?;
            let entry = serde_json::json!({
                "dtype": tensor.dtype.name(),
                "shape": tensor.shape,
                "data_offsets": [offset, end],
            });
            if object.insert(tensor.name.clone(), entry).is_some() {
                return Err(FormatError::Duplicate { what: "tensor", name: quoted(&tensor.name) });
            }
            offset = end;
        }
        let mut json = serde_json::Value::Object(object).to_string().into_bytes();
        json.resize(json.len().next_multiple_of(8), b' ');
        let mut header = (json.len() as u64).to_le_bytes().to_vec();
        header.extend_from_slice(&json);
        Ok(header)
    }

    /// Writes the file to `path`, atomically. `data` is called once per tensor, widest element type first and else in the
    /// order given, and writes exactly [`SafeTensorHeader::byte_length`] bytes.
    ///
    /// # Errors
    ///
    /// Duplicate names, data of another length than announced, and what the file system says; nothing is left then.
    pub fn write(
        &self,
        path: &Path,
        data: impl FnMut(&SafeTensorHeader, &mut dyn Write) -> io::Result<()>,
    ) -> Result<(), FormatError> {
        self.sealed(path, data)?.commit()
    }

    /// As [`SafeTensorsWriter::write`], but the file gets its name only with [`AtomicFile::commit`]: for files that appear
    /// together.
    ///
    /// # Errors
    ///
    /// As those of [`SafeTensorsWriter::write`].
    pub fn sealed(
        &self,
        path: &Path,
        mut data: impl FnMut(&SafeTensorHeader, &mut dyn Write) -> io::Result<()>,
    ) -> Result<AtomicFile, FormatError> {
        let mut file = AtomicFile::create(path)?;
        let failed = |error| FormatError::io("write", path, error);
        let order = self.file_order();
        let header = self.header(&order).map_err(|error| error.in_file(path))?;
        file.write_all(&header).map_err(failed)?;
        for tensor in order {
            let mut exact = crate::atomic::ExactWriter::new(&mut file, tensor.byte_length);
            data(tensor, &mut exact).map_err(failed)?;
            exact.finish(&tensor.name).map_err(|error| error.in_file(path))?;
        }
        file.seal()?;
        Ok(file)
    }
}
