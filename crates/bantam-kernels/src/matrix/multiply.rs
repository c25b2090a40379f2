//! The product of activation rows with one or several matrices, in one parallel region.

use super::int8_rows::{self, Int8Rows, TILE};
use super::panels::{COLUMNS, Panels};
use super::{ActivationKind, Matrix, Store, float, int8_portable};
use crate::buffer::Shared;
use crate::{Isa, Pool};

/// Rows to multiply with.
#[derive(Clone, Copy, Debug)]
pub enum Activations<'a> {
    /// `[rows, inputs]`.
    F32(&'a [f32]),
    /// Quantized rows, for matrices that ask for them.
    Int8(&'a Int8Rows),
}

/// One of the products of a [`multiply`].
pub struct Product<'a> {
    /// The weight `[outputs, inputs]`.
    pub matrix: &'a Matrix,
    /// `[rows, outputs]`.
    pub out: &'a mut [f32],
    /// One number for each output, added to every row.
    pub bias: Option<&'a [f32]>,
    /// Whether `out` is added to (`out += x · Wᵀ + bias`) instead of overwritten.
    pub accumulate: bool,
}

/// Products handled in one region.
const AT_ONCE: usize = 8;
/// Bytes of weights in a piece of work for few rows.
const STREAM: usize = 64 * 1024;
/// Bytes of weights that stay in the second-level cache while all tiles of rows go over them.
const RESIDENT: usize = 384 * 1024;

/// `out = x · Wᵀ (+ bias)` for each product, all of the same rows.
///
/// Work is cut by bytes of weights over the pool's threads, all products in one region. Nothing is allocated.
///
/// # Panics
/// Where a length does not fit, or the activations are not what a matrix asks for ([`Matrix::activation`]).
pub fn multiply(pool: &Pool, activations: Activations<'_>, rows: usize, products: &mut [Product<'_>]) {
    for product in products.chunks_mut(AT_ONCE) {
        multiply_some(pool, activations, rows, product);
    }
}

struct Job<'a> {
    matrix: &'a Matrix,
    out: Target<'a>,
    /// Panels or outputs in a piece.
    each: usize,
    pieces: usize,
}

fn multiply_some(pool: &Pool, activations: Activations<'_>, rows: usize, products: &mut [Product<'_>]) {
    let kind = match activations {
        Activations::F32(_) => ActivationKind::F32,
        Activations::Int8(_) => ActivationKind::Int8,
    };
    let mut jobs: [Option<Job<'_>>; AT_ONCE] = [const { None }; AT_ONCE];
    let mut pieces = 0;
    for (job, product) in jobs.iter_mut().zip(products.iter_mut()) {
        let matrix = product.matrix;
        let (outputs, inputs) = (matrix.outputs, matrix.inputs);
        assert_eq!(matrix.activation(), kind, "kind of activations for {matrix:?}");
        match activations {
            Activations::F32(x) => assert_eq!(Some(x.len()), rows.checked_mul(inputs), "activations for {matrix:?}"),
            Activations::Int8(x) => assert_eq!((x.rows(), x.width()), (rows, inputs), "activations for {matrix:?}"),
        }
        assert_eq!(Some(product.out.len()), rows.checked_mul(outputs), "results of {rows} rows by {matrix:?}");
        if let Some(bias) = product.bias {
            assert_eq!(bias.len(), outputs, "bias of {matrix:?}");
        }
        let (each, count) = match &matrix.store {
            Store::Panels(panels) => {
                let bytes = if rows <= TILE { STREAM } else { RESIDENT };
                let fair = panels.count.div_ceil(4 * pool.threads());
                ((bytes / panels.panel_bytes).min(fair).max(1), panels.count)
            }
            Store::InPlace { row_bytes, .. } => {
                let tile = float::tile_outputs(inputs);
                let each = if rows == 1 { (STREAM / row_bytes).clamp(4, tile) } else { tile };
                let fair = outputs.div_ceil(4 * pool.threads()).next_multiple_of(4);
                (each.min(fair).max(1), outputs)
            }
        };
        let out = Target { out: Shared::new(product.out), outputs, bias: product.bias, accumulate: product.accumulate };
        let job = job.insert(Job { matrix, out, each, pieces: count.div_ceil(each) });
        pieces += job.pieces;
    }
    if rows == 0 {
        return;
    }
    pool.pieces_with(pieces, |worker, mut piece| {
        let Some(job) = jobs.iter().flatten().find(|job| {
            let here = piece < job.pieces;
            piece -= if here { 0 } else { job.pieces };
            here
        }) else {
            return;
        };
        let first = piece * job.each;
        match (&job.matrix.store, activations) {
            (Store::Panels(panels), Activations::Int8(x)) => {
                let last = (first + job.each).min(panels.count);
                panels_by_tiles(job.matrix.isa, panels, first..last, x, &job.out);
            }
            (Store::InPlace { .. }, Activations::F32(x)) => {
                let count = job.each.min(job.matrix.outputs - first);
                let scratch = &mut *pool.scratch(worker);
                float::Tile { matrix: job.matrix, first, count, x, rows, scratch, sink: &job.out }.run();
            }
            // Kinds have been compared above.
            _ => {}
        }
    });
}

/// Where results go, shared among threads that write columns of their own.
struct Target<'a> {
    out: Shared<f32>,
    outputs: usize,
    bias: Option<&'a [f32]>,
    accumulate: bool,
}

impl float::Sink for &Target<'_> {
    #[inline(always)]
    fn take(&self, row: usize, first: usize, results: &[f32]) {
        // SAFETY: `row` is below the rows, and the outputs from `first` belong to this piece of work alone.
        let out = unsafe { self.out.part(row * self.outputs + first, results.len()) };
        let bias = self.bias.map(|bias| &bias[first..][..results.len()]);
        for (i, (out, &result)) in out.iter_mut().zip(results).enumerate() {
            let result = bias.map_or(result, |bias| result + bias[i]);
            *out = if self.accumulate { *out + result } else { result };
        }
    }
}

/// A run of panels times all tiles: the panels stay in the cache while the tiles pass.
fn panels_by_tiles(isa: Isa, panels: &Panels, range: std::ops::Range<usize>, x: &Int8Rows, out: &Target<'_>) {
    let rows = x.rows();
    let multiply = tile_function(isa);
    for index in 0..int8_rows::tiles(rows) {
        let tile = int8_rows::tile(rows, index);
        let records = x.tile(tile).as_ptr();
        for panel in range.clone() {
            let mut sums = [[0f32; COLUMNS]; TILE];
            let sums = &mut sums[..tile.rows];
            // SAFETY: the panel and the tile's records are whole, of as many blocks (the widths have been compared), and
            // `tile_function` gives only what the machine has.
            unsafe { multiply(panels.kind, panels.panel(panel), panels.blocks, records, sums) };
            let first = panel * COLUMNS;
            let columns = COLUMNS.min(out.outputs - first);
            for (row, sums) in sums.iter().enumerate() {
                float::Sink::take(&out, tile.first + row, first, &sums[..columns]);
            }
        }
    }
}

type TileFunction = unsafe fn(&super::PanelKind, *const u8, usize, *const u8, &mut [[f32; COLUMNS]]);

fn tile_function(isa: Isa) -> TileFunction {
    match isa.usable() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => super::int8_avx512::tile,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 if crate::isa::has_avx_vnni() => super::int8_avx2::tile_vnni,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => super::int8_avx2::tile_madd,
        _ => int8_portable::tile,
    }
}
