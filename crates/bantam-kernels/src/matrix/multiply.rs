//! The product of activation rows with one or several matrices, in one parallel region.

use super::float_panels::FloatPanels;
use super::float_rows::{self, CHUNK, Precision, Source, View};
use super::float_tile::{Element, FloatTile, PANEL, Sums};
use super::forms::{PanelKind, number};
use super::int8_rows::{self, Int8Rows, RECORD, TILE};
use super::panels::{BLOCK, COLUMNS, ReadyPanels};
use super::target::Target;
use super::wide::{Expand, Wide, WideTile};
use super::{ActivationKind, Matrix, Store, int8_portable};

#[cfg(target_arch = "x86_64")]
use super::{int8_avx2, int8_avx512, pairs};
#[cfg(target_arch = "aarch64")]
use super::{int8_i8mm, int8_neon};
use crate::{Isa, Pool};
use std::ops::Range;

/// Rows to multiply with.
#[derive(Clone, Copy, Debug)]
pub enum Activations<'a> {
    /// `[rows, inputs]`, for matrices that ask for [`ActivationKind::F32`] or [`ActivationKind::Bf16`].
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
pub(super) const STREAM: usize = 64 * 1024;
/// Bytes of weights that stay in the second-level cache while all tiles of rows go over them.
pub(super) const RESIDENT: usize = 384 * 1024;
/// Pieces of a product that each thread should have: the last one of a region is waited for.
pub(super) const SHARES: usize = 8;

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
    let kind = products.first().map_or(ActivationKind::F32, |product| product.matrix.activation());
    match activations {
        Activations::F32(_) => assert!(!kind.is_int8(), "kind of activations: {kind:?} asked for"),
        Activations::Int8(x) => assert_eq!(x.kind(), kind, "kind of activations"),
    }
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
                let fair = panels.count.div_ceil(SHARES * pool.threads());
                // Of pairs, where kernels take two at a time.
                ((bytes / panels.panel_bytes).min(fair).max(1).next_multiple_of(2), panels.count)
            }
            Store::Float(panels) => {
                let bytes = if rows <= TILE { STREAM } else { RESIDENT };
                let fair = panels.count.div_ceil(SHARES * pool.threads());
                ((bytes / panels.panel_bytes).min(fair).max(1), panels.count)
            }
        };
        let out = Target::new(product.out, outputs, product.bias, product.accumulate);
        let job = job.insert(Job { matrix, out, each, pieces: count.div_ceil(each) });
        pieces += job.pieces;
    }
    if rows == 0 {
        return;
    }
    // Rows of plain numbers are packed once for all products.
    let (mut kept, mut own) = (pool.rows(), Vec::new());
    let room = kept.as_deref_mut().unwrap_or(&mut own);
    let view = match (activations, jobs.iter().flatten().next()) {
        (Activations::F32(x), Some(job)) => Some(packed(pool, job.matrix, kind, x, rows, room)),
        _ => None,
    };
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
                let range = first..(first + job.each).min(panels.count);
                let isa = job.matrix.isa;
                let (mut rooms, mut none) = (panels.is_waiting().then(|| pool.rooms(worker)), Vec::new());
                let room = rooms.as_deref_mut().map_or(&mut none, |[room, _]| room);
                let panels = panels.view(isa, range.clone(), room);
                #[cfg(target_arch = "x86_64")]
                if isa.usable() == Isa::Avx512 && rows > TILE {
                    let neighbours = pairs::Neighbours { isa, panels, range, out: &job.out };
                    return pairs::multiply(&neighbours, x, &mut pool.scratch(worker));
                }
                let work = Work { panels, range, x, out: &job.out };
                match wide_functions(isa, panels.kind) {
                    Some(functions) if rows > TILE => work.by_wide(isa, functions, &mut pool.scratch(worker)),
                    _ => work.by_tiles(isa),
                }
            }
            (Store::Float(panels), Activations::F32(_)) => {
                let range = first..(first + job.each).min(panels.count);
                if let Some(view) = view {
                    by_float_tiles(job.matrix.isa, panels, range, view, rows, &job.out);
                }
            }
            // Kinds have been compared above.
            _ => {}
        }
    });
}

/// f32 of room in which few rows are packed for such panels.
pub(super) fn rows_length(element: Element, inputs: usize) -> usize {
    float_rows::scratch_length(element.precision(), TILE, inputs)
}

/// Rows as float kernels read them: packed into `room`, or where they are if that is the same.
fn packed<'a>(
    pool: &Pool,
    matrix: &Matrix,
    kind: ActivationKind,
    x: &'a [f32],
    rows: usize,
    room: &'a mut Vec<f32>,
) -> View<'a> {
    let inputs = matrix.inputs;
    let precision = if kind == ActivationKind::Bf16 { Precision::Bf16 } else { Precision::F32 };
    let words = precision.words(inputs);
    // SAFETY: an f32 is four initialised bytes.
    let bytes = |x: &'a [f32]| unsafe { std::slice::from_raw_parts(x.as_ptr().cast::<u8>(), size_of_val(x)) };
    if rows == 1 && precision == Precision::F32 {
        return View { packed: bytes(x), words };
    }
    let needed = float_rows::scratch_length(precision, rows, inputs);
    if room.len() < needed {
        room.resize(needed, 0.0);
    }
    let room = &mut room[..needed];
    // SAFETY: as above, and any four bytes are an f32.
    let target = unsafe { std::slice::from_raw_parts_mut(room.as_mut_ptr().cast::<u8>(), size_of_val(room)) };
    float_rows::pack(pool, matrix.isa, precision, Source::Rows(x), (rows, inputs), target);
    View { packed: target, words }
}

/// Tiles of rows that go over a chunk of a panel one after the other, while it stays in the first-level cache and they in
/// the second.
const PASSING: usize = 8;

/// A run of panels of plain numbers times all rows.
fn by_float_tiles(isa: Isa, panels: &FloatPanels, range: Range<usize>, view: View<'_>, rows: usize, out: &Target<'_>) {
    let (element, row_words) = (panels.element, view.words);
    let line = element.bytes() * PANEL;
    let mut sums: [Sums; PASSING] = [[[0f32; PANEL]; TILE]; PASSING];
    let tiles = int8_rows::tiles(rows, TILE);
    for some in (0..tiles).step_by(PASSING) {
        let some = some..(some + PASSING).min(tiles);
        // A single tile goes over a panel from one end to the other.
        let words = if some.len() == 1 { row_words } else { CHUNK };
        for panel in range.clone() {
            let begin = panel * PANEL;
            let columns = PANEL.min(out.outputs - begin);
            let panel = panels.panel(panel);
            sums[..some.len()].as_flattened_mut().as_flattened_mut().fill(0.0);
            for first in (0..row_words).step_by(words) {
                let words = words.min(row_words - first);
                let panel = &panel[first * line..][..words * line];
                for (index, sums) in some.clone().zip(&mut sums) {
                    let tile = int8_rows::tile(rows, TILE, index);
                    let (rows, sums) = (view.tile(tile), &mut sums[..tile.rows]);
                    FloatTile { element, panel, columns, rows, row_words, first, words }.add(isa, sums);
                }
            }
            for (index, sums) in some.clone().zip(&sums) {
                let tile = int8_rows::tile(rows, TILE, index);
                out.take(isa, tile, begin, sums[..tile.rows].as_flattened());
            }
        }
    }
}

/// A run of panels times all rows.
struct Work<'a> {
    panels: ReadyPanels<'a>,
    range: Range<usize>,
    x: &'a Int8Rows,
    out: &'a Target<'a>,
}

impl Work<'_> {
    /// The panels stay in the cache while the tiles pass.
    fn by_tiles(self, isa: Isa) {
        let Self { panels, range, x, out } = self;
        let multiply = tile_function(isa);
        for tile in x.tiles() {
            let records = x.tile(tile).as_ptr();
            for panel in range.clone() {
                let mut sums = [[0f32; COLUMNS]; TILE];
                let sums = &mut sums[..tile.rows];
                // SAFETY: the panel and the tile's records are whole, of as many blocks (the widths have been compared),
                // and `tile_function` gives only what the machine has.
                unsafe { multiply(panels.kind, panels.panel(panel), panels.blocks, records, sums) };
                out.take(isa, tile, panel * COLUMNS, sums.as_flattened());
            }
        }
    }

    /// As [`Work::by_tiles`], with the panels' codes taken apart once for all tiles.
    fn by_wide(self, isa: Isa, (expand, multiply): (Expand, WideTile), scratch: &mut Vec<f32>) {
        let Self { panels, range, x, out } = self;
        let (kind, blocks) = (panels.kind, panels.blocks);
        let each = Wide::of(kind).bytes(blocks);
        let together = wide_together(each).min(range.len());
        let needed = together * each / 4 + LINE;
        if scratch.len() < needed {
            // Only for a pool that the matrix was not made with.
            scratch.resize(needed, 0.0);
        }
        let aligned = scratch.as_ptr().align_offset(LINE * 4).min(LINE);
        let wide = scratch[aligned..][..together * each / 4].as_mut_ptr().cast::<u8>();
        for first in range.clone().step_by(together) {
            let some = first..(first + together).min(range.end);
            for (number, panel) in some.clone().enumerate() {
                // SAFETY: the scratch has room for `together` panels, the panel is whole, and `wide_functions` gives only
                // what the machine has.
                unsafe { expand(kind, panels.panel(panel), 0..blocks, wide.add(number * each)) };
            }
            for tile in x.tiles() {
                let records = x.tile(tile);
                let halves = &records[tile.rows * blocks * RECORD..];
                for (number, panel) in some.clone().enumerate() {
                    let mut sums = [[0f32; COLUMNS]; TILE];
                    let sums = &mut sums[..tile.rows];
                    // SAFETY: as above, and the tile's records and sums are whole. Of more than TILE rows a tile has at
                    // least half as many.
                    unsafe {
                        multiply(kind, wide.add(number * each), blocks, records.as_ptr(), halves.as_ptr(), sums);
                    }
                    out.take(isa, tile, panel * COLUMNS, sums.as_flattened());
                }
            }
        }
    }
}

/// f32 in a cache line.
pub(super) const LINE: usize = 16;

/// Panels that are taken apart together: as many as stay in the second-level cache.
fn wide_together(each: usize) -> usize {
    (RESIDENT / each).max(1)
}

/// f32 of scratch that products with such panels need.
pub(super) fn scratch_length(isa: Isa, kind: &PanelKind, inputs: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    if isa.usable() == Isa::Avx512 {
        return if kind.form().span() > 1 { pairs::SCRATCH } else { 0 };
    }
    if wide_functions(isa, kind).is_none() {
        return 0;
    }
    let each = Wide::of(kind).bytes(inputs / BLOCK);
    wide_together(each) * each / 4 + LINE
}

/// What takes blocks of any panel apart, where there is something better than plain code.
pub(super) fn expand_function(isa: Isa) -> Option<Expand> {
    match isa.usable() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => Some(int8_avx512::expand),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => Some(int8_avx2::expand),
        _ => None,
    }
}

/// What multiplies many rows with panels taken apart beforehand, where there is nothing better.
fn wide_functions(isa: Isa, kind: &PanelKind) -> Option<(Expand, WideTile)> {
    match isa.usable() {
        #[cfg(target_arch = "aarch64")]
        Isa::I8mm => Some((int8_neon::expand_by_eight, int8_i8mm::wide_tile)),
        #[cfg(target_arch = "aarch64")]
        Isa::Dotprod if int8_neon::has_own(kind) => None,
        #[cfg(target_arch = "aarch64")]
        Isa::Dotprod => Some((int8_neon::expand, int8_neon::wide_tile_dotprod)),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => Some((int8_neon::expand, int8_neon::wide_tile_base)),
        _ if matches!(kind.number, number::Q8 | number::Q4) => None,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => None,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 if crate::isa::has_avx_vnni() => Some((int8_avx2::expand, int8_avx2::wide_tile_vnni)),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => Some((int8_avx2::expand, int8_avx2::wide_tile_madd)),
        _ => None,
    }
}

pub(super) type TileFunction = unsafe fn(&PanelKind, *const u8, usize, *const u8, &mut [[f32; COLUMNS]]);

pub(super) fn tile_function(isa: Isa) -> TileFunction {
    match isa.usable() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => int8_avx512::tile,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 if crate::isa::has_avx_vnni() => int8_avx2::tile_vnni,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => int8_avx2::tile_madd,
        #[cfg(target_arch = "aarch64")]
        Isa::Dotprod | Isa::I8mm => int8_neon::tile_dotprod,
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => int8_neon::tile_base,
        _ => int8_portable::tile,
    }
}
