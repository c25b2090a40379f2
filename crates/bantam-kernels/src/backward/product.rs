//! Products of training: with weights that are trained, and gradients of products by what was multiplied.
//!
//! Frozen weights are decoded a tile at a time ([`multiply_through`]), so that none is ever held decoded. Everything else is one
//! blocked product in f32 whose right side is packed into panels by all threads, and then multiplied by all threads. The
//! blocks depend on the weight's shape alone, so a result is the same bits for any number of rows and threads.

use super::gemm::{self, Gemm, Left, PANEL, Unchecked, panels};
use crate::buffer::Shared;
use crate::elementwise::expect_length;
use crate::matrix::{FloatRows, Precision, multiply_through};
use crate::simd::dispatch;
use crate::{Isa, Matrix, Pool};
use bantam_tensor::TensorType;
use std::ops::Range;

/// Numbers packed at once: they stay in the second-level caches.
const PACKED: usize = 1 << 18;
/// Columns packed at once, where the right side can be cut there.
const COLUMNS: usize = 4096;
/// Inputs up to which a product with a trained weight is one sum: then adding it to what is there, in place, gives the same
/// bits as adding it afterwards.
pub const ONE_SUM: usize = PACKED / COLUMNS;
/// Rows and panels of a piece of work.
const PIECE_ROWS: usize = 96;
const PIECE_PANELS: usize = 4;

/// Working memory of products; grows to what is needed and is kept.
pub struct ProductScratch {
    packed: Vec<f32>,
    /// Rows on their way back through a frozen weight, and the numbers there is room for.
    rows: Option<(FloatRows, usize)>,
    precision: Precision,
}

impl ProductScratch {
    /// Products with frozen weights go back in this precision; those with weights of F32 and F16 in f32 always.
    pub fn new(precision: Precision) -> Self {
        Self { packed: Vec::new(), rows: None, precision }
    }

    /// Bytes it takes at most for so many rows and weights of at most so many rows and columns.
    pub fn bytes(rows: usize, outputs: usize, columns: usize) -> usize {
        4 * (PACKED + 48 * columns.next_multiple_of(PANEL) + rows * outputs.next_multiple_of(2 * 128))
    }
}

/// The precision that rows go back through a weight in.
fn precision_for(matrix: &Matrix, asked: Precision) -> Precision {
    if matches!(matrix.tensor_type(), TensorType::F32 | TensorType::F16) { Precision::F32 } else { asked }
}

/// A weight `[outputs, inputs]` on the way back.
#[derive(Clone, Copy)]
pub enum WeightRows<'a> {
    /// Frozen, in any format.
    Frozen(&'a Matrix),
    /// Trained, row after row.
    Trained(&'a [f32]),
}

/// `out = x · Wᵀ + bias` (or `out +=` the same) with a trained weight: `x` is `[rows, inputs]`, `out` `[rows, outputs]`.
///
/// # Panics
/// Where a length does not fit; likewise below.
pub fn multiply_trained(
    pool: &Pool,
    isa: Isa,
    scratch: &mut ProductScratch,
    x: &[f32],
    rows: usize,
    weight: &[f32],
    bias: Option<&[f32]>,
    out: &mut [f32],
    accumulate: bool,
) {
    let (inputs, outputs) = (x.len() / rows.max(1), out.len() / rows.max(1));
    expect_length("rows of a product", x.len(), rows, inputs);
    expect_length("results of a product", out.len(), rows, outputs);
    expect_length("a trained weight", weight.len(), outputs, inputs);
    let a = Left { numbers: x, row_stride: inputs, step: 1 };
    let pack = |deep: Range<usize>, columns: Range<usize>, panel_depth: usize, part: Part| {
        // A panel at a time.
        let first = columns.start + part.index * PANEL;
        let here = first..(first + PANEL).min(columns.end);
        let from = &weight[here.start * inputs + deep.start..];
        // SAFETY: part `index` writes panel `index` alone.
        let to = unsafe { part.to.part(part.index * panel_depth * PANEL, panel_depth * PANEL) };
        gemm::pack_columns(from, inputs, deep.len(), here.len(), panel_depth, to);
    };
    let job = Job { rows, depth: inputs, columns: outputs, cut: true, parts: |_, columns| panels(columns) };
    job.run(pool, isa, scratch, a, pack, out, accumulate);
    if let Some(bias) = bias {
        expect_length("a bias", bias.len(), 1, outputs);
        for out in out.chunks_exact_mut(outputs) {
            out.iter_mut().zip(bias).for_each(|(out, bias)| *out += bias);
        }
    }
}

/// The gradient of a product's rows: `dx = dy · W` (or `dx +=`); `dy` is `[rows, outputs]`, `dx` `[rows, inputs]`.
pub fn multiply_back(
    pool: &Pool,
    isa: Isa,
    scratch: &mut ProductScratch,
    dy: &[f32],
    rows: usize,
    weight: WeightRows<'_>,
    dx: &mut [f32],
    accumulate: bool,
) {
    let (inputs, outputs) = (dx.len() / rows.max(1), dy.len() / rows.max(1));
    expect_length("gradients of a product", dy.len(), rows, outputs);
    expect_length("gradients of a product's rows", dx.len(), rows, inputs);
    let weight = match weight {
        WeightRows::Frozen(matrix) => {
            assert_eq!((matrix.outputs(), matrix.inputs()), (outputs, inputs), "shape of a frozen weight");
            return through_frozen(pool, isa, scratch, dy, rows, matrix, dx, accumulate);
        }
        WeightRows::Trained(weight) => weight,
    };
    expect_length("a trained weight", weight.len(), outputs, inputs);
    let a = Left { numbers: dy, row_stride: outputs, step: 1 };
    let pack = |deep: Range<usize>, _: Range<usize>, panel_depth: usize, part: Part| {
        let row = deep.start + part.index;
        for (panel, numbers) in weight[row * inputs..][..inputs].chunks(PANEL).enumerate() {
            // SAFETY: part `index` writes row `index` of each panel alone.
            let to = unsafe { part.to.part((panel * panel_depth + part.index) * PANEL, PANEL) };
            to[..numbers.len()].copy_from_slice(numbers);
            to[numbers.len()..].fill(0.0);
        }
    };
    let job = Job { rows, depth: outputs, columns: inputs, cut: false, parts: |deep, _| deep };
    job.run(pool, isa, scratch, a, pack, dx, accumulate);
}

fn through_frozen(
    pool: &Pool,
    isa: Isa,
    scratch: &mut ProductScratch,
    dy: &[f32],
    rows: usize,
    matrix: &Matrix,
    dx: &mut [f32],
    accumulate: bool,
) {
    if rows == 0 {
        return;
    }
    let (precision, outputs) = (precision_for(matrix, scratch.precision), matrix.outputs());
    // Room is asked for whole words of rows, so that fewer longer rows fit where more shorter ones did.
    let numbers = rows * outputs.next_multiple_of(2 * 128);
    let fits = scratch.rows.as_ref().is_some_and(|(held, room)| held.precision() == precision && *room >= numbers);
    if !fits {
        let made = FloatRows::with_capacity(precision, rows, outputs.next_multiple_of(2 * 128));
        scratch.rows = Some((made.expect("memory for rows, as promised"), numbers));
    }
    let Some((packed, _)) = &mut scratch.rows else { return };
    packed.pack(pool, isa, dy, rows, outputs);
    multiply_through(pool, isa, packed, matrix, dx, accumulate);
}

/// Adds a product's gradient by its weight: `gradient += dyᵀ · x`; `gradient` is `[outputs, inputs]`.
pub fn add_weight_gradient(
    pool: &Pool,
    isa: Isa,
    scratch: &mut ProductScratch,
    dy: &[f32],
    x: &[f32],
    rows: usize,
    gradient: &mut [f32],
) {
    let (outputs, inputs) = (dy.len() / rows.max(1), x.len() / rows.max(1));
    expect_length("gradients of a product", dy.len(), rows, outputs);
    expect_length("rows of a product", x.len(), rows, inputs);
    if rows == 0 {
        return;
    }
    expect_length("a weight's gradient", gradient.len(), outputs, inputs);
    let a = Left { numbers: dy, row_stride: 1, step: outputs };
    let pack = |deep: Range<usize>, columns: Range<usize>, panel_depth: usize, part: Part| {
        let row = &x[(deep.start + part.index) * inputs..][..inputs];
        for (panel, numbers) in row[columns].chunks(PANEL).enumerate() {
            // SAFETY: part `index` writes row `index` of each panel alone.
            let to = unsafe { part.to.part((panel * panel_depth + part.index) * PANEL, PANEL) };
            to[..numbers.len()].copy_from_slice(numbers);
            to[numbers.len()..].fill(0.0);
        }
    };
    let job = Job { rows: outputs, depth: rows, columns: inputs, cut: true, parts: |deep, _| deep };
    job.run(pool, isa, scratch, a, pack, gradient, true);
}

/// Adds the sum of rows `[rows, width]` to `gradient [width]`, row after row: the gradient of a bias.
pub fn add_row_sums(pool: &Pool, dy: &[f32], rows: usize, gradient: &mut [f32]) {
    let width = gradient.len();
    expect_length("gradients of a bias", dy.len(), rows, width);
    let sums = Shared::new(gradient);
    pool.pieces(width.div_ceil(PANEL), |piece| {
        let first = piece * PANEL;
        let here = PANEL.min(width - first);
        // SAFETY: each piece has columns of its own.
        let sums = unsafe { sums.part(first, here) };
        for dy in dy.chunks_exact(width) {
            sums.iter_mut().zip(&dy[first..]).for_each(|(sum, dy)| *sum += dy);
        }
    });
}

/// One part of packing: which one, and where all of them write.
struct Part<'a> {
    index: usize,
    to: &'a Shared<f32>,
}

/// `[rows, columns]` results of sums over `depth`.
struct Job<P> {
    rows: usize,
    depth: usize,
    columns: usize,
    /// Whether the right side may be cut into blocks of columns.
    cut: bool,
    /// Parts that packing a block of so many rows and columns has.
    parts: P,
}

impl<P: Fn(usize, usize) -> usize> Job<P> {
    fn run(
        self,
        pool: &Pool,
        isa: Isa,
        scratch: &mut ProductScratch,
        a: Left<'_>,
        pack: impl Fn(Range<usize>, Range<usize>, usize, Part<'_>) + Sync,
        c: &mut [f32],
        accumulate: bool,
    ) {
        let Self { rows, depth, columns, cut, parts } = self;
        if rows == 0 || columns == 0 {
            return;
        }
        if depth == 0 {
            c.iter_mut().for_each(|c| *c = if accumulate { *c } else { 0.0 });
            return;
        }
        let wide = if cut { columns.min(COLUMNS) } else { columns };
        let deep = (PACKED / wide.next_multiple_of(PANEL)).clamp(32, 256).min(depth);
        let needed = deep * wide.next_multiple_of(PANEL);
        if scratch.packed.len() < needed {
            scratch.packed.resize(needed, 0.0);
        }
        let (c, full) = (Shared::new(c), columns);
        for first in (0..columns).step_by(wide) {
            let wide = first..(first + wide).min(columns);
            for start in (0..depth).step_by(deep) {
                let deep_here = start..(start + deep).min(depth);
                let to = Shared::new(&mut scratch.packed);
                pool.pieces(parts(deep_here.len(), wide.len()), |index| {
                    pack(deep_here.clone(), wide.clone(), deep, Part { index, to: &to });
                });
                let packed = &scratch.packed;
                let groups = panels(wide.len()).div_ceil(PIECE_PANELS);
                pool.pieces(groups * rows.div_ceil(PIECE_ROWS), |piece| {
                    let (group, block) = (piece % groups, piece / groups);
                    let (row, panel) = (block * PIECE_ROWS, group * PIECE_PANELS);
                    let columns = (wide.len() - panel * PANEL).min(PIECE_PANELS * PANEL);
                    let rows = PIECE_ROWS.min(rows - row);
                    let numbers = &a.numbers[row * a.row_stride + deep_here.start * a.step..];
                    let start_of_c = row * full + wide.start + panel * PANEL;
                    // SAFETY: each piece writes rows and columns of its own, inside C (whose length has been held).
                    unsafe {
                        let c = c.pointer().add(start_of_c);
                        let gemm = Gemm {
                            a: Left { numbers, ..a },
                            rows,
                            depth: deep_here.len(),
                            b: &packed[panel * deep * PANEL..],
                            panel_depth: deep,
                            columns,
                            c,
                            c_stride: full,
                            accumulate: accumulate || deep_here.start > 0,
                        };
                        dispatch(isa, Unchecked::new(gemm));
                    }
                });
            }
        }
    }
}
