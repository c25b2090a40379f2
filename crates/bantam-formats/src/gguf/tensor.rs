//! Tensors of a GGUF file: how they are stored, how large they are, where they lie.

use std::ops::Range;

use bantam_tensor::{TensorType, foreign_block_layout, known_ggml_type_name};

use super::MAX_DIMENSIONS;
use super::cursor::{Cursor, Place};
use crate::error::{FormatError, quoted};

/// How a tensor of a file is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorKind {
    /// A type that decodes here.
    Known(TensorType),
    /// A type of ggml that does not decode here, but whose size is known.
    Foreign {
        /// ggml's number.
        id: u32,
        /// ggml's name.
        name: &'static str,
    },
}

impl TensorKind {
    /// The kind with this number in files, where its layout is known.
    pub fn from_ggml_id(id: u32) -> Option<Self> {
        match TensorType::from_ggml_id(id) {
            Some(known) => Some(Self::Known(known)),
            None => {
                foreign_block_layout(id)?;
                Some(Self::Foreign { id, name: known_ggml_type_name(id)? })
            }
        }
    }

    /// ggml's number.
    pub fn ggml_id(self) -> u32 {
        match self {
            Self::Known(known) => known.ggml_id(),
            Self::Foreign { id, .. } => id,
        }
    }

    /// ggml's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Known(known) => known.name(),
            Self::Foreign { name, .. } => name,
        }
    }

    /// The type, where it decodes here.
    pub fn known(self) -> Option<TensorType> {
        match self {
            Self::Known(known) => Some(known),
            Self::Foreign { .. } => None,
        }
    }

    /// Numbers in a block and bytes it takes.
    pub fn block_layout(self) -> (usize, usize) {
        match self {
            Self::Known(known) => (known.block_len(), known.block_bytes()),
            // Kinds are made by `from_ggml_id` alone outside this crate's control; a made-up one has no bytes.
            Self::Foreign { id, .. } => foreign_block_layout(id).unwrap_or((1, 0)),
        }
    }
}

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name, not empty.
    pub name: String,
    /// Its dimensions as in the file, fastest first; at most four, none of them 0; a scalar has none.
    pub dims: Vec<u64>,
    /// How it is stored.
    pub kind: TensorKind,
    /// Where its data lies, in bytes from the start of the file.
    pub range: Range<usize>,
}

impl TensorInfo {
    /// Numbers in a row: the first dimension.
    pub fn width(&self) -> usize {
        // Fits: the parser has checked the product of all dimensions as a usize.
        self.dims.first().map_or(1, |&width| width as usize)
    }

    /// Number of rows: the product of all dimensions but the first.
    pub fn rows(&self) -> usize {
        self.dims.iter().skip(1).map(|&size| size as usize).product()
    }

    /// Number of numbers.
    pub fn elements(&self) -> usize {
        self.rows() * self.width()
    }
}

/// A tensor's description before the place of the data is known.
pub(super) struct PendingTensor {
    name: String,
    dims: Vec<u64>,
    kind: TensorKind,
    offset: u64,
    length: u64,
}

pub(super) fn read_tensor(cursor: &mut Cursor<'_>, index: u64) -> Result<PendingTensor, FormatError> {
    let name = cursor.name(Place::TensorName(index))?;
    let place = Place::Tensor(name);
    let dimensions = cursor.u32(place)?;
    if dimensions as usize > MAX_DIMENSIONS {
        return Err(FormatError::damaged(
            format!("tensor {}", quoted(name)),
            format!("has {dimensions} dimensions; at most {MAX_DIMENSIONS} are allowed"),
        ));
    }
    let mut dims = Vec::with_capacity(dimensions as usize);
    for _ in 0..dimensions {
        dims.push(cursor.length(place)?);
    }
    let id = cursor.u32(place)?;
    let offset = cursor.u64(place)?;
    let kind = TensorKind::from_ggml_id(id).ok_or_else(|| FormatError::UnknownTensorType {
        name: quoted(name),
        stored_as: match known_ggml_type_name(id) {
            Some(type_name) => type_name.to_owned(),
            None => format!("type {id}"),
        },
    })?;
    let length = tensor_bytes(name, &dims, kind)?;
    Ok(PendingTensor { name: name.to_owned(), dims, kind, offset, length })
}

/// Bytes that a tensor of this shape and type takes; its number of numbers is checked to fit `usize`.
pub(super) fn tensor_bytes(name: &str, dims: &[u64], kind: TensorKind) -> Result<u64, FormatError> {
    let damaged = |problem: String| FormatError::damaged(format!("tensor {}", quoted(name)), problem);
    let elements = dims
        .iter()
        .try_fold(1u64, |product, &size| product.checked_mul(size))
        .filter(|&elements| usize::try_from(elements).is_ok());
    let (block_length, block_bytes) = kind.block_layout();
    let (block_length, block_bytes) = (block_length as u64, block_bytes as u64);
    let bytes = elements.and_then(|elements| (elements / block_length.max(1)).checked_mul(block_bytes));
    let (Some(_), Some(bytes)) = (elements, bytes) else {
        return Err(damaged(format!("has dimensions {dims:?}, whose product overflows")));
    };
    if elements == Some(0) {
        return Err(damaged(format!("has dimensions {dims:?}; none may be 0")));
    }
    let width = dims.first().copied().unwrap_or(1);
    if !width.is_multiple_of(block_length) {
        return Err(damaged(format!(
            "has rows of {width} numbers, not a multiple of the {block_length} in a block of {}",
            kind.name()
        )));
    }
    Ok(bytes)
}

impl PendingTensor {
    /// Where the data lies in a file of `available` bytes.
    pub(super) fn place(
        self,
        available: usize,
        data_offset: usize,
        alignment: usize,
    ) -> Result<TensorInfo, FormatError> {
        if !self.offset.is_multiple_of(alignment as u64) {
            return Err(FormatError::damaged(
                format!("tensor {}", quoted(&self.name)),
                format!("has offset {}, not a multiple of the alignment {}", self.offset, alignment),
            ));
        }
        let start = (data_offset as u64).saturating_add(self.offset);
        let end = start.saturating_add(self.length);
        match (usize::try_from(start), usize::try_from(end)) {
            (Ok(start), Ok(end)) if end <= available => {
                Ok(TensorInfo { name: self.name, dims: self.dims, kind: self.kind, range: start..end })
            }
            _ => Err(FormatError::TensorBeyondFile { name: quoted(&self.name), start, end, available }),
        }
    }
}

/// Refuses two tensors that share bytes.
pub(super) fn check_overlap(tensors: &[TensorInfo]) -> Result<(), FormatError> {
    let mut by_start: Vec<&TensorInfo> = tensors.iter().collect();
    by_start.sort_unstable_by_key(|tensor| (tensor.range.start, tensor.range.end));
    for pair in by_start.windows(2) {
        if let [first, second] = pair
            && first.range.end > second.range.start
        {
            return Err(FormatError::damaged(
                format!("tensor {}", quoted(&second.name)),
                format!(
                    "begins at byte {}, inside tensor {}, which ends at byte {}",
                    second.range.start,
                    quoted(&first.name),
                    first.range.end
                ),
            ));
        }
    }
    Ok(())
}
