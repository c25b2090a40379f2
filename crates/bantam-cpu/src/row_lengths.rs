//! Lengths of a weight's rows, as DoRA has them.

use std::sync::Mutex;

use bantam_kernels::Pool;
use bantam_plan::{PlanError, WeightView};

/// Rows of a piece of work.
const PIECE: usize = 64;

/// What an adapter adds to a weight: `scale * b · a`.
#[derive(Clone, Copy, Debug)]
pub struct LowRank<'a> {
    /// Inner width.
    pub rank: usize,
    /// Its factor.
    pub scale: f32,
    /// `[rank, inputs]`.
    pub a: &'a [f32],
    /// `[outputs, rank]`.
    pub b: &'a [f32],
}

impl LowRank<'_> {
    /// Adds what belongs to a row.
    pub fn add_to_row(&self, row: usize, values: &mut [f32]) {
        let of_row = self.b.get(row * self.rank..(row + 1) * self.rank).unwrap_or_default();
        for (b, a) in of_row.iter().zip(self.a.chunks_exact(values.len().max(1))) {
            let by = self.scale * b;
            values.iter_mut().zip(a).for_each(|(value, a)| *value += by * a);
        }
    }
}

/// The root of the sum of squares, in f64 and in order.
pub fn length(row: &[f32]) -> f64 {
    row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}

/// What a row of `length` is multiplied by to have the length `magnitude`; a row of no length stays so.
pub fn row_factor(magnitude: f64, length: f64) -> f64 {
    if length > 0.0 { magnitude / length } else { 0.0 }
}

/// The length of each row of the weight called `name`, in any format, with what an adapter adds to it: one number a row.
/// Rows are decoded one at a time, by all threads; a mapped file's pages are given back where nothing is added.
///
/// # Errors
/// Where the weight's bytes cannot be decoded, or a row's numbers have no sum.
pub fn row_lengths(
    pool: &Pool,
    name: &str,
    weight: &WeightView,
    added: Option<LowRank<'_>>,
) -> Result<Vec<f32>, PlanError> {
    let wrong = |problem: String| PlanError::WeightBytes { name: name.to_owned(), problem };
    let stride = weight.tensor_type.bytes(1, weight.width).map_err(|error| wrong(error.to_string()))?;
    let bytes = weight.bytes.fresh();
    let mut lengths = vec![0.0; weight.rows];
    let pieces: Vec<_> = lengths.chunks_mut(PIECE).map(Mutex::new).collect();
    pool.pieces(pieces.len(), |piece| {
        let mut values = vec![0.0; weight.width];
        let Ok(mut lengths) = pieces[piece].lock() else { return };
        for (row, out) in (piece * PIECE..).zip(lengths.iter_mut()) {
            let bytes = bytes.get(row * stride..(row + 1) * stride).unwrap_or_default();
            // What cannot be decoded has no length, and is told below.
            *out = f32::NAN;
            if weight.tensor_type.decode(bytes, &mut values).is_ok() {
                if let Some(added) = &added {
                    added.add_to_row(row, &mut values);
                }
                *out = length(&values) as f32;
            }
        }
    });
    drop(pieces);
    drop(bytes);
    // What is trained is kept in another form, whose maker has given the file's pages back already.
    if added.is_none() {
        weight.bytes.done_with(0..weight.bytes.len());
    }
    match lengths.iter().position(|length| !length.is_finite()) {
        Some(row) => Err(wrong(format!("row {row} has no length"))),
        None => Ok(lengths),
    }
}
