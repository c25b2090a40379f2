//! Many rows with AVX-512: panels two at a time.
//!
//! Where blocks share scales of activations, very many rows go over blocks that have been taken apart once for all of them,
//! some at a time so that these stay in the first-level cache: unpacking codes and sub-scales competes with the products for the
//! same units. Other formats have too little to unpack for that to pay.

use super::forms::{FORMS, PanelKind, SPAN};
use super::int8_avx512::{OF_MANY, PAIR, expand_units, pair, wide_pair};
use super::int8_rows::{HALVES, Int8Rows, RECORD, Tile};
use super::multiply::LINE;
use super::panels::{COLUMNS, ReadyPanels};
use super::target::Target;
use crate::Isa;
use std::ops::Range;

/// Rows from which on blocks are taken apart beforehand.
const VERY_MANY: usize = 64;
/// Tiles whose sums are kept at the same time: those of 512 rows, which are 103.
const TOGETHER: usize = 512usize.div_ceil(OF_MANY);
/// Bytes of blocks taken apart: most of a first-level cache of 48 KiB.
const APART: usize = 32 * 1024;
/// f32 of scratch.
pub(super) const SCRATCH: usize = APART / 4 + TOGETHER * OF_MANY * PAIR * COLUMNS + LINE;

/// Panels that are multiplied two at a time, and where what comes of it goes.
pub(super) trait Pairs {
    /// The format of all of them.
    fn kind(&self) -> &'static PanelKind;
    /// Blocks of each.
    fn blocks(&self) -> usize;
    /// How many pairs.
    fn count(&self) -> usize;
    /// The first bytes of a pair's panels.
    fn panels(&self, pair: usize) -> [*const u8; PAIR];
    /// Takes a tile's sums with a pair, `sums[row][panel][column]`.
    fn take(&self, pair: usize, tile: Tile, sums: &mut [Sums]);
}

/// Of a row with a pair.
pub(super) type Sums = [[f32; COLUMNS]; PAIR];

/// Neighbours of one matrix. A last one alone is multiplied twice.
pub(super) struct Neighbours<'a> {
    pub(super) isa: Isa,
    pub(super) panels: ReadyPanels<'a>,
    pub(super) range: Range<usize>,
    pub(super) out: &'a Target<'a>,
}

impl Pairs for Neighbours<'_> {
    fn kind(&self) -> &'static PanelKind {
        self.panels.kind
    }

    fn blocks(&self) -> usize {
        self.panels.blocks
    }

    fn count(&self) -> usize {
        self.range.len().div_ceil(PAIR)
    }

    fn panels(&self, pair: usize) -> [*const u8; PAIR] {
        let first = self.range.start + pair * PAIR;
        [first, (first + 1).min(self.range.end - 1)].map(|panel| self.panels.panel(panel))
    }

    fn take(&self, pair: usize, tile: Tile, sums: &mut [Sums]) {
        let panel = self.range.start + pair * PAIR;
        let first = panel * COLUMNS;
        if panel + 1 < self.range.end {
            return self.out.take(self.isa, tile, first, sums.as_flattened().as_flattened());
        }
        for (row, [sums, _]) in sums.iter().enumerate() {
            self.out.take(self.isa, Tile { first: tile.first + row, rows: 1 }, first, sums);
        }
    }
}

/// All pairs times all rows.
pub(super) fn multiply(pairs: &impl Pairs, x: &Int8Rows, scratch: &mut Vec<f32>) {
    if x.rows() < VERY_MANY || pairs.kind().form().span() == 1 {
        x.tiles().for_each(|tile| by_pairs(pairs, x, tile));
        return;
    }
    if scratch.len() < SCRATCH {
        // Only for a pool that the matrix was not made with.
        scratch.resize(SCRATCH, 0.0);
    }
    let tiles = x.tiles().len();
    for first in (0..tiles).step_by(TOGETHER) {
        let some = first..(first + TOGETHER).min(tiles);
        for number in 0..pairs.count() {
            by_units(pairs, number, x, some.clone(), scratch);
        }
    }
}

/// All pairs times one tile.
fn by_pairs(pairs: &impl Pairs, x: &Int8Rows, tile: Tile) {
    let records = x.tile(tile).as_ptr();
    for number in 0..pairs.count() {
        let mut sums = [[[0f32; COLUMNS]; PAIR]; OF_MANY];
        let sums = &mut sums[..tile.rows];
        // SAFETY: both panels and the tile's records are whole, of as many blocks, and the machine has AVX-512, since the
        // instruction set in use is that.
        unsafe { pair(pairs.kind(), pairs.panels(number), pairs.blocks(), records, sums) };
        pairs.take(number, tile, sums);
    }
}

/// A pair times some tiles.
fn by_units(pairs: &impl Pairs, number: usize, x: &Int8Rows, tiles: Range<usize>, scratch: &mut [f32]) {
    let (kind, blocks, panels) = (pairs.kind(), pairs.blocks(), pairs.panels(number));
    let wide = &FORMS[usize::from(kind.form().wide_unit())];
    // Whole units of a panel, as it is and taken apart.
    let each = APART / PAIR * wide.unit_blocks() / wide.unit_bytes() / SPAN * SPAN;
    let aligned = scratch.as_ptr().align_offset(LINE * 4).min(LINE);
    let (apart, sums) = scratch[aligned..].split_at_mut(APART / 4);
    let apart = apart.as_mut_ptr().cast::<u8>();
    let apart = [apart, apart.wrapping_add(APART / PAIR)];
    let sums = sums.as_chunks_mut::<COLUMNS>().0.as_chunks_mut::<PAIR>().0;
    let tiles = x.tiles().skip(tiles.start).take(tiles.len());
    let begin = tiles.clone().next().map_or(0, |tile| tile.first);
    let rows: usize = tiles.clone().map(|tile| tile.rows).sum();
    sums[..rows].as_flattened_mut().as_flattened_mut().fill(0.0);
    for first in (0..blocks).step_by(each) {
        let count = each.min(blocks - first);
        for (panel, apart) in panels.into_iter().zip(apart) {
            // SAFETY: there is room for so many blocks twice, the panel is whole, and the machine has AVX-512.
            unsafe { expand_units(kind, panel, first..first + count, apart) };
        }
        for tile in tiles.clone() {
            let all = x.tile(tile).as_ptr();
            let sums = &mut sums[tile.first - begin..][..tile.rows];
            // SAFETY: the tile has records of all blocks, then their halves.
            unsafe {
                let records = all.add(first * RECORD * tile.rows);
                let halves = all.add((blocks * RECORD + first * HALVES) * tile.rows);
                wide_pair(kind, apart.map(<*mut u8>::cast_const), count, (records, halves), sums);
            }
        }
    }
    for tile in tiles {
        pairs.take(number, tile, &mut sums[tile.first - begin..][..tile.rows]);
    }
}
