//! One tensor after another, piece by piece, from the source's bytes to the target's.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bantam_formats::FormatError;
use bantam_kernels::Pool;
use bantam_model::Tensor;
use bantam_model::exchange::{Change, Made};
use bantam_tensor::{TensorError, TensorType};

use crate::ConvertError;
use crate::source::Files;

/// Bytes copied, and about as many numbers encoded, at a time.
const PIECE: usize = 4 << 20;
/// From here on a 16-bit float of five exponent bits is infinite.
const F16_OVERFLOW: f32 = 65_520.0;

/// What the work needs, whatever the tensor.
pub(crate) struct Work<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) files: &'a Files,
    /// Told how many more bytes of the source have been read; `false` stops the work.
    pub(crate) progress: &'a mut dyn FnMut(u64) -> bool,
    /// What is changed on the way.
    pub(crate) edit: Option<&'a dyn Edit>,
}

/// Changes weights on their way into a file.
pub trait Edit: Sync {
    /// Whether a tensor of the source is changed, by its name in GGUF.
    fn changes(&self, tensor: &str) -> bool;

    /// Changes a row of it.
    fn row(&self, tensor: &str, row: usize, values: &mut [f32]);
}

/// What became of a tensor's numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// Finite numbers that the target's format made infinite.
    pub(crate) overflowed: u64,
}

/// Lets an error of ours through a writer's callback.
pub(crate) fn through(error: ConvertError) -> io::Error {
    io::Error::other(error)
}

/// What a writer's error was before it went through a callback.
pub(crate) fn unwrapped(error: FormatError) -> ConvertError {
    match error {
        FormatError::Io { action, path, source } => match source.downcast::<ConvertError>() {
            Ok(ours) => ours,
            Err(source) => FormatError::Io { action, path, source }.into(),
        },
        other => other.into(),
    }
}

/// The format of all parts, where they share one.
pub(crate) fn stored(made: &Made) -> Result<TensorType, ConvertError> {
    let mut found = None;
    for part in &made.parts {
        let stored = part
            .tensor_type
            .clone()
            .map_err(|stored_as| ConvertError::Undecodable { name: part.file_name.clone(), stored_as })?;
        // Of parts of several formats none keeps its own.
        found = Some(if found.is_none_or(|found| found == stored) { stored } else { TensorType::F32 });
    }
    Ok(found.unwrap_or(TensorType::F32))
}

/// How many numbers there are; one extent of none is enough for none, however large others are.
pub(crate) fn numbers(shape: &[usize]) -> usize {
    if shape.contains(&0) { 0 } else { shape.iter().fold(1, |count, extent| count.saturating_mul(*extent)) }
}

/// Rows and width: a vector's numbers are rows of one.
pub(crate) fn matrix(shape: &[usize]) -> (usize, usize) {
    match shape {
        [] => (1, 1),
        [count] => (*count, 1),
        [rows @ .., width] => (numbers(rows), *width),
    }
}

/// Whether the tensor's bytes go over as they are.
fn is_copy(made: &Made, target: TensorType) -> bool {
    let same = made.parts.iter().all(|part| part.tensor_type == Ok(target));
    same && made.change == Change::None
}

impl Work<'_> {
    /// Writes a tensor in the target's format.
    pub(crate) fn write(
        &mut self,
        made: &Made,
        target: TensorType,
        out: &mut dyn Write,
    ) -> Result<Outcome, ConvertError> {
        // Bytes that are made when looked at live for this tensor alone.
        let made = &fresh(made);
        if made.shape.contains(&0) {
            return Ok(Outcome::default());
        }
        if is_copy(made, target) && self.edit_of(made).is_none() {
            for part in &made.parts {
                self.copy(&part.bytes, out)?;
            }
            return Ok(Outcome::default());
        }
        if made.change == Change::Transpose {
            return self.transposed(made, target, out);
        }
        self.rows(made, target, out)
    }

    fn edit_of(&self, made: &Made) -> Option<&dyn Edit> {
        self.edit.filter(|edit| edit.changes(&made.name))
    }

    /// Writes bytes as they are.
    pub(crate) fn copy(&mut self, bytes: &[u8], out: &mut dyn Write) -> Result<(), ConvertError> {
        for piece in bytes.chunks(PIECE) {
            out.write_all(piece).map_err(failed)?;
            self.read(piece)?;
        }
        Ok(())
    }

    /// Bytes of the source that are not needed any more.
    fn read(&mut self, bytes: &[u8]) -> Result<(), ConvertError> {
        self.files.done_with(bytes);
        if (self.progress)(bytes.len() as u64) { Ok(()) } else { Err(ConvertError::Interrupted) }
    }

    fn rows(&mut self, made: &Made, target: TensorType, out: &mut dyn Write) -> Result<Outcome, ConvertError> {
        let name = || made.parts.first().map_or_else(|| made.name.clone(), |part| part.file_name.clone());
        let wrong = |error| ConvertError::Tensor { name: name(), error };
        let (rows, width) = matrix(&made.shape);
        let row_bytes = target.row_bytes(width).map_err(wrong)?;
        let source = Rows::of(made, width)?;
        let shifts = matches!(made.change, Change::Shift(_));
        let edit = self.edit.filter(|edit| edit.changes(&made.name));
        let moves = !shifts && edit.is_none() && made.parts.iter().all(|part| part.tensor_type == Ok(target));
        let at_once = (PIECE / width.max(1)).clamp(1, rows.max(1));
        let each = at_once.div_ceil(self.pool.threads() * 4).max(1);
        let mut buffer = vec![0; at_once * row_bytes];
        let overflowed = AtomicU64::new(0);
        for first in (0..rows).step_by(at_once) {
            let count = at_once.min(rows - first);
            let into = &mut buffer[..count * row_bytes];
            let failure: Mutex<Option<TensorError>> = Mutex::new(None);
            let pieces: Vec<Mutex<&mut [u8]>> = into.chunks_mut(each * row_bytes).map(Mutex::new).collect();
            self.pool.pieces(pieces.len(), |piece| {
                let mut into = pieces[piece].lock().unwrap_or_else(PoisonError::into_inner);
                let mut values = vec![0.0; width];
                for (row, made_row) in into.chunks_exact_mut(row_bytes).enumerate() {
                    let row = first + piece * each + row;
                    // A row that only moves keeps its bytes: encoding it again could choose another scale.
                    if moves && let Some(bytes) = source.bytes(made.change.source_row(row, rows)) {
                        made_row.copy_from_slice(bytes);
                        continue;
                    }
                    let done = source.decode(made.change.source_row(row, rows), &mut values).and_then(|()| {
                        if let Change::Shift(by) = made.change {
                            values.iter_mut().for_each(|x| *x += by);
                        }
                        if let Some(edit) = edit {
                            edit.row(&made.name, row, &mut values);
                        }
                        count_overflow(&values, target, &overflowed);
                        target.encode(&values, made_row)
                    });
                    if let Err(error) = done {
                        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                        return;
                    }
                }
            });
            drop(pieces);
            if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
                return Err(wrong(error));
            }
            out.write_all(into).map_err(failed)?;
            if !(self.progress)(0) {
                return Err(ConvertError::Interrupted);
            }
        }
        for part in &made.parts {
            self.read(&part.bytes)?;
        }
        Ok(Outcome { overflowed: overflowed.into_inner() })
    }

    /// Columns for rows: the one change that needs the whole tensor at once.
    fn transposed(&mut self, made: &Made, target: TensorType, out: &mut dyn Write) -> Result<Outcome, ConvertError> {
        let wrong = |error| ConvertError::Tensor { name: made.name.clone(), error };
        // `shape` is that of the target: its columns are the source's rows.
        let (rows, columns) = matrix(&made.shape);
        let source = Rows::of(made, rows)?;
        let size = target.row_bytes(1).map_err(wrong)?;
        let mut bytes = vec![0; target.bytes(rows, columns).map_err(wrong)?];
        let (mut values, overflowed) = (vec![0.0; rows], AtomicU64::new(0));
        let mut encoded = vec![0; rows * size];
        for column in 0..columns {
            source.decode(column, &mut values).map_err(wrong)?;
            count_overflow(&values, target, &overflowed);
            target.encode(&values, &mut encoded).map_err(wrong)?;
            for (row, number) in encoded.chunks_exact(size).enumerate() {
                bytes[(row * columns + column) * size..][..size].copy_from_slice(number);
            }
        }
        out.write_all(&bytes).map_err(failed)?;
        for part in &made.parts {
            self.read(&part.bytes)?;
        }
        Ok(Outcome { overflowed: overflowed.into_inner() })
    }
}

fn fresh(made: &Made) -> Made {
    let mut made = made.clone();
    made.parts.iter_mut().for_each(|part| part.bytes = part.bytes.fresh());
    made
}

fn failed(source: io::Error) -> ConvertError {
    FormatError::Io { action: "write", path: std::path::PathBuf::new(), source }.into()
}

fn count_overflow(values: &[f32], target: TensorType, count: &AtomicU64) {
    if target == TensorType::F16 {
        let over = values.iter().filter(|x| x.is_finite() && x.abs() >= F16_OVERFLOW).count();
        count.fetch_add(over as u64, Ordering::Relaxed);
    }
}

/// The rows of a tensor's parts, one below the other.
struct Rows<'a> {
    /// Each part with its format, the bytes of one of its rows, and the number of the row after its last.
    parts: Vec<(&'a Tensor, TensorType, usize, usize)>,
}

impl<'a> Rows<'a> {
    fn of(made: &'a Made, width: usize) -> Result<Self, ConvertError> {
        let mut parts = Vec::with_capacity(made.parts.len());
        let mut end = 0;
        for part in &made.parts {
            let stored = part
                .tensor_type
                .clone()
                .map_err(|stored_as| ConvertError::Undecodable { name: part.file_name.clone(), stored_as })?;
            let wrong = |error| ConvertError::Tensor { name: part.file_name.clone(), error };
            let row_bytes = stored.row_bytes(width).map_err(wrong)?;
            end += part.bytes.len().checked_div(row_bytes).unwrap_or(0);
            parts.push((part, stored, row_bytes, end));
        }
        Ok(Self { parts })
    }

    /// A row's bytes with their format.
    fn stored(&self, row: usize) -> Option<(&[u8], TensorType)> {
        let at = self.parts.partition_point(|(_, _, _, end)| *end <= row);
        let start = at.checked_sub(1).and_then(|before| self.parts.get(before)).map_or(0, |(_, _, _, end)| *end);
        let (part, stored, row_bytes, _) = self.parts.get(at)?;
        let from = (row - start) * row_bytes;
        Some((part.bytes.get(from..from + row_bytes)?, *stored))
    }

    fn bytes(&self, row: usize) -> Option<&[u8]> {
        self.stored(row).map(|(bytes, _)| bytes)
    }

    fn decode(&self, row: usize, values: &mut [f32]) -> Result<(), TensorError> {
        let (bytes, stored) = self.stored(row).unwrap_or((&[], TensorType::F32));
        stored.decode(bytes, values)
    }
}

/// All numbers of a small tensor after its change, and how many of them the change rounded.
pub(crate) fn values(made: &Made) -> Result<(Vec<f32>, u64), ConvertError> {
    if made.shape.contains(&0) {
        return Ok((Vec::new(), 0));
    }
    let (rows, width) = matrix(&made.shape);
    let source = Rows::of(made, width)?;
    let mut all = vec![0.0; rows * width];
    for (row, into) in all.chunks_exact_mut(width.max(1)).enumerate() {
        let row = made.change.source_row(row, rows);
        source.decode(row, into).map_err(|error| ConvertError::Tensor { name: made.name.clone(), error })?;
    }
    let mut rounded = 0;
    if let Change::Shift(by) = made.change {
        for value in &mut all {
            let shifted = *value + by;
            rounded += u64::from(shifted - by != *value);
            *value = shifted;
        }
    }
    Ok((all, rounded))
}

/// Whether numbers are kept to the bit in a format of single numbers.
pub(crate) fn is_exact(values: &[f32], target: TensorType) -> bool {
    let Ok(length) = target.row_bytes(values.len()) else { return false };
    let (mut bytes, mut back) = (vec![0; length], vec![0.0; values.len()]);
    let done = target.encode(values, &mut bytes).and_then(|()| target.decode(&bytes, &mut back));
    done.is_ok() && values.iter().zip(&back).all(|(one, other)| one.to_bits() == other.to_bits())
}

/// Whether a small tensor has numbers of 64 bits that 32 do not hold.
pub(crate) fn is_narrowed(made: &Made) -> bool {
    let wide = |part: &&Tensor| part.tensor_type == Ok(TensorType::F64);
    made.parts.iter().filter(wide).any(|part| {
        let (numbers, _) = part.bytes.as_chunks::<8>();
        let number = |bytes: &[u8; 8]| f64::from_le_bytes(*bytes);
        #[allow(clippy::cast_possible_truncation)] // That is the question.
        numbers.iter().map(number).any(|x| !x.is_nan() && f64::from(x as f32) != x)
    })
}
