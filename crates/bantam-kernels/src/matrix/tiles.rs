//! Products whose second factor is made tile by tile: gradients through frozen weights, and of activations by activations.
//!
//! Training needs `dx[rows, in] = dy[rows, out] · W[out, in]` with W in any block format, and `dW = dyᵀ · x`. A weight is
//! never held decoded: a tile of it is decoded to f32, packed into panels that stay in the second-level cache, multiplied
//! with all rows, and made anew for the next.
//!
//! ```
//! use bantam_kernels::{FloatRows, Isa, Matrix, Pool, Precision, multiply_tiles};
//! # use bantam_tensor::{SharedBytes, TensorType};
//! /// The gradient of a linear's input through its frozen weight: `dx += dy · W`.
//! fn through(pool: &Pool, isa: Isa, packed: &mut FloatRows, weight: &Matrix, dy: &[f32], dx: &mut [f32]) {
//!     packed.pack(pool, isa, dy, dy.len() / weight.outputs(), weight.outputs());
//!     let decode = |outputs, inputs, tile: &mut [f32]| weight.decode_tile(outputs, inputs, tile);
//!     multiply_tiles(pool, isa, packed, weight.inputs(), &decode, dx, true);
//! }
//!
//! let (pool, isa) = (Pool::new(2), Isa::detect());
//! let mut bytes = vec![0; 2 * 34];
//! TensorType::Q8_0.encode(&[[1.0; 32], [0.5; 32]].concat(), &mut bytes)?;
//! let weight = Matrix::new(TensorType::Q8_0, 2, 32, SharedBytes::from_vec(bytes), isa, &pool)?;
//! let mut packed = FloatRows::with_capacity(Precision::Bf16, 3, 2)?;
//! let mut dx = vec![1.0; 3 * 32];
//! through(&pool, isa, &mut packed, &weight, &[1.0, 2.0, 0.0, 0.0, -1.0, 1.0], &mut dx);
//! assert!(dx.chunks(32).zip([3.0, 1.0, 0.5]).all(|(row, expected)| row.iter().all(|x| (x - expected).abs() < 1e-2)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::float_panels::FloatPanels;
use super::float_rows::{CHUNK, FloatRows, Precision};
use super::float_tile::{Element, FloatTile, PANEL};
use super::int8_rows::{TILE, tile, tiles};
use super::turn;
use crate::buffer::Shared;
use crate::elementwise::expect_length;
use crate::simd::{LANES, Simd, Task, dispatch};
use crate::{Isa, Matrix, Pool};
use std::ops::Range;

/// Columns of a tile: whole blocks of every format.
const COLUMNS: usize = 256;
/// Numbers of depth that are decoded together, to stay in the first-level cache until they are packed.
const TOGETHER: usize = 16;

/// Fills a tile of the second factor: the rows (a range of `depth`) and columns asked for, `[rows, columns]`, in f32.
pub type FillTile<'a> = dyn Fn(Range<usize>, Range<usize>, &mut [f32]) + Sync + 'a;

/// `out[rows, columns] = a[rows, depth] · b[depth, columns]`, or `out += …` where `accumulate` says so, with a `b` that
/// `fill` gives tile by tile, as often as it is asked: any number of times, from any of the pool's threads.
///
/// Both factors are multiplied as `a`'s precision says, `b`'s tiles rounded as they are packed. Tiles begin at multiples
/// of 256 columns, and end there or at the last. A result is one sum over the depth in ascending order: its bits depend
/// neither on the number of rows or threads nor on `columns`.
///
/// `fill` must not call for the pool's scratch, as products and attention of the same pool do.
///
/// # Panics
/// Where a length does not fit.
pub fn multiply_tiles(
    pool: &Pool,
    isa: Isa,
    a: &FloatRows,
    columns: usize,
    fill: &FillTile<'_>,
    out: &mut [f32],
    accumulate: bool,
) {
    run(pool, isa, a, columns, Second::Fill(fill), out, accumulate);
}

/// `out[rows, inputs] = a[rows, outputs] · W`, or `out += …`: rows through a weight the other way, as gradients go, with W's
/// tiles decoded as [`multiply_tiles`] takes them, or turned as they are where W and `a` are both pairs of bf16.
///
/// # Panics
/// Where a length does not fit.
pub fn multiply_through(pool: &Pool, isa: Isa, a: &FloatRows, matrix: &Matrix, out: &mut [f32], accumulate: bool) {
    assert_eq!(a.depth(), matrix.outputs(), "rows through a weight");
    let decode =
        |outputs: Range<usize>, inputs: Range<usize>, tile: &mut [f32]| matrix.decode_tile(outputs, inputs, tile);
    let pairs = matrix.pairs().filter(|_| a.precision() == Precision::Bf16 && turn::is_fast(isa));
    let second = pairs.map_or(Second::Fill(&decode), Second::Pairs);
    run(pool, isa, a, matrix.inputs(), second, out, accumulate);
}

/// Where the second factor comes from.
#[derive(Clone, Copy)]
enum Second<'a> {
    Fill(&'a FillTile<'a>),
    Pairs(&'a FloatPanels),
}

fn run(pool: &Pool, isa: Isa, a: &FloatRows, columns: usize, second: Second<'_>, out: &mut [f32], accumulate: bool) {
    let (rows, depth) = (a.rows(), a.depth());
    expect_length("results of tiles", out.len(), rows, columns);
    if out.is_empty() {
        return;
    }
    if depth == 0 {
        if !accumulate {
            out.fill(0.0);
        }
        return;
    }
    let groups = columns.div_ceil(COLUMNS);
    // Where columns are few, rows are shared out as well, and tiles made once for each share.
    let row_tiles = tiles(rows, TILE);
    let shares = (4 * pool.threads()).div_ceil(groups).min(row_tiles.div_ceil(4)).max(1);
    let job = Job { isa, a, columns, second, out: Shared::new(out), accumulate };
    pool.pieces_with(groups * shares, |worker, piece| {
        let (group, share) = (piece / shares, piece % shares);
        let bound = |share: usize| row_tiles * share / shares;
        let range = group * COLUMNS..((group + 1) * COLUMNS).min(columns);
        job.run(range, bound(share)..bound(share + 1), &mut pool.scratch(worker));
    });
}

struct Job<'a> {
    isa: Isa,
    a: &'a FloatRows,
    columns: usize,
    second: Second<'a>,
    out: Shared<f32>,
    accumulate: bool,
}

impl Job<'_> {
    /// Some columns of some tiles of rows.
    fn run(&self, columns: Range<usize>, row_tiles: Range<usize>, scratch: &mut Vec<f32>) {
        let Self { isa, a, second, .. } = *self;
        let precision = a.precision();
        let element = match precision {
            Precision::F32 => Element::F32,
            Precision::Bf16 => Element::Bf16Pairs,
        };
        let panels = columns.len().div_ceil(PANEL);
        let panel_length = CHUNK * PANEL;
        let line = LANES;
        let needed = panels * panel_length + TOGETHER * COLUMNS + line;
        if scratch.len() < needed {
            scratch.resize(needed, 0.0);
        }
        let aligned = scratch.as_ptr().align_offset(4 * line).min(line);
        let (packed, decoded) = scratch[aligned..].split_at_mut(panels * panel_length);
        let (view, depth) = (a.view(), a.depth());
        let each = CHUNK * precision.each();
        for first in (0..depth).step_by(each) {
            let here = first..(first + each).min(depth);
            if let Second::Pairs(panels) = second {
                turn::pairs(panels, here.clone(), columns.clone(), packed, panel_length);
            }
            for some in here.clone().step_by(TOGETHER) {
                let Second::Fill(fill) = second else { break };
                let some = some..(some + TOGETHER).min(here.end);
                let decoded = &mut decoded[..some.len() * columns.len()];
                fill(some.clone(), columns.clone(), decoded);
                let word = (some.start - first) / precision.each();
                dispatch(isa, Pack { precision, decoded, columns: columns.len(), word, packed });
            }
            let words = precision.words(here.len());
            for (panel, packed) in packed.chunks_exact(panel_length).enumerate() {
                let begin = columns.start + panel * PANEL;
                let count = PANEL.min(columns.end - begin);
                // SAFETY: an f32 is four initialised bytes.
                let panel = unsafe { std::slice::from_raw_parts(packed.as_ptr().cast::<u8>(), 4 * packed.len()) };
                for index in row_tiles.clone() {
                    let tile = tile(a.rows(), TILE, index);
                    let mut sums = [[0f32; PANEL]; TILE];
                    let sums = &mut sums[..tile.rows];
                    // SAFETY: these rows and columns belong to this piece of work alone.
                    let out = |row: usize| unsafe { self.out.part((tile.first + row) * self.columns + begin, count) };
                    if first > 0 || self.accumulate {
                        for (row, sums) in sums.iter_mut().enumerate() {
                            sums[..count].copy_from_slice(out(row));
                        }
                    }
                    let (rows, at) = (view.tile(tile), first / precision.each());
                    FloatTile { element, panel, columns: count, rows, row_words: view.words, first: at, words }
                        .add(isa, sums);
                    for (row, sums) in sums.iter().enumerate() {
                        out(row).copy_from_slice(&sums[..count]);
                    }
                }
            }
        }
    }
}

/// Puts decoded rows into panels, from a word on.
struct Pack<'a> {
    precision: Precision,
    /// `[depth, columns]`.
    decoded: &'a [f32],
    columns: usize,
    word: usize,
    packed: &'a mut [f32],
}

impl Task for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { precision, decoded, columns, word, packed } = self;
        let load = |row: &[f32], at: usize| match row[at.min(row.len())..].first_chunk::<LANES>() {
            Some(numbers) => s.load(numbers),
            None => s.load_part(&row[at.min(row.len())..]),
        };
        for (word, rows) in (word..).zip(decoded.chunks(columns * precision.each())) {
            let (lower, upper) = rows.split_at(columns);
            for at in (0..columns).step_by(LANES) {
                let to = at / PANEL * CHUNK * PANEL + word * PANEL + at % PANEL;
                let to: &mut [f32; LANES] = packed[to..].first_chunk_mut().expect("a panel has whole words");
                // SAFETY: sixteen words are there.
                unsafe {
                    match precision {
                        Precision::F32 => s.store_at(load(lower, at), to.as_mut_ptr()),
                        Precision::Bf16 => {
                            s.store_bf16_pairs_at(load(lower, at), load(upper, at), to.as_mut_ptr().cast());
                        }
                    }
                }
            }
        }
    }
}
