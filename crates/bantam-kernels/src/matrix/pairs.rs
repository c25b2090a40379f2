//! Many rows with AVX-512: panels two at a time.
//!
//! Where blocks share scales of activations, very many rows go over blocks that have been taken apart once for all of them,
//! some at a time so that these stay in the first-level cache: unpacking codes and sub-scales competes with the products for the
//! same units. Other formats have too little to unpack for that to pay.

use super::forms::{FORMS, SPAN};
use super::int8_avx512::{OF_MANY, PAIR, expand_units, pair, wide_pair};
use super::int8_rows::{HALVES, Int8Rows, RECORD, Tile};
use super::multiply::{LINE, Target};
use super::panels::{COLUMNS, Panels};
use std::ops::Range;

/// Rows from which on blocks are taken apart beforehand.
const VERY_MANY: usize = 64;
/// Tiles whose sums are kept at the same time: those of 512 rows, which are 103.
const TOGETHER: usize = 512usize.div_ceil(OF_MANY);
/// Bytes of blocks taken apart: most of a first-level cache of 48 KiB.
const APART: usize = 32 * 1024;
/// f32 of scratch.
pub(super) const SCRATCH: usize = APART / 4 + TOGETHER * OF_MANY * PAIR * COLUMNS + LINE;

/// A run of panels times all rows.
pub(super) fn multiply(panels: &Panels, range: Range<usize>, x: &Int8Rows, out: &Target<'_>, scratch: &mut Vec<f32>) {
    if x.rows() < VERY_MANY || panels.kind.form().span() == 1 {
        x.tiles().for_each(|tile| by_pairs(panels, range.clone(), x, tile, out));
        return;
    }
    if scratch.len() < SCRATCH {
        // Only for a pool that the matrix was not made with.
        scratch.resize(SCRATCH, 0.0);
    }
    let tiles = x.tiles().len();
    for first in (0..tiles).step_by(TOGETHER) {
        let some = first..(first + TOGETHER).min(tiles);
        for panel in range.clone().step_by(PAIR) {
            by_units(panels, panel..(panel + PAIR).min(range.end), x, some.clone(), out, scratch);
        }
    }
}

/// A run of panels times one tile.
fn by_pairs(panels: &Panels, range: Range<usize>, x: &Int8Rows, tile: Tile, out: &Target<'_>) {
    let records = x.tile(tile).as_ptr();
    for panel in range.clone().step_by(PAIR) {
        let mut sums = [[[0f32; COLUMNS]; PAIR]; OF_MANY];
        let sums = &mut sums[..tile.rows];
        // A last one alone is multiplied twice.
        let stride = if panel + 1 < range.end { panels.panel_bytes } else { 0 };
        // SAFETY: both panels and the tile's records are whole, of as many blocks, and the machine has AVX-512, since the
        // instruction set in use is that.
        unsafe { pair(panels.kind, panels.panel(panel), stride, panels.blocks, records, sums) };
        put(out, tile, panel, stride > 0, sums);
    }
}

/// Two panels times some tiles.
fn by_units(
    panels: &Panels,
    pair: Range<usize>,
    x: &Int8Rows,
    tiles: Range<usize>,
    out: &Target<'_>,
    scratch: &mut [f32],
) {
    let (kind, blocks) = (panels.kind, panels.blocks);
    let wide = &FORMS[usize::from(kind.form().wide_unit())];
    // Whole units of a panel, as it is and taken apart.
    let each = APART / PAIR * wide.unit_blocks() / wide.unit_bytes() / SPAN * SPAN;
    let aligned = scratch.as_ptr().align_offset(LINE * 4).min(LINE);
    let (apart, sums) = scratch[aligned..].split_at_mut(APART / 4);
    let apart = apart.as_mut_ptr().cast::<u8>();
    let sums = sums.as_chunks_mut::<COLUMNS>().0.as_chunks_mut::<PAIR>().0;
    let tiles = x.tiles().skip(tiles.start).take(tiles.len());
    let begin = tiles.clone().next().map_or(0, |tile| tile.first);
    let rows: usize = tiles.clone().map(|tile| tile.rows).sum();
    sums[..rows].as_flattened_mut().as_flattened_mut().fill(0.0);
    let stride = if pair.len() == PAIR { APART / PAIR } else { 0 };
    for first in (0..blocks).step_by(each) {
        let count = each.min(blocks - first);
        for (number, panel) in pair.clone().enumerate() {
            // SAFETY: there is room for so many blocks twice, the panel is whole, and the machine has AVX-512.
            unsafe { expand_units(kind, panels.panel(panel), first..first + count, apart.add(number * stride)) };
        }
        for tile in tiles.clone() {
            let all = x.tile(tile).as_ptr();
            let sums = &mut sums[tile.first - begin..][..tile.rows];
            // SAFETY: the tile has records of all blocks, then their halves.
            unsafe {
                let records = all.add(first * RECORD * tile.rows);
                let halves = all.add((blocks * RECORD + first * HALVES) * tile.rows);
                wide_pair(kind, apart, stride, count, (records, halves), sums);
            }
        }
    }
    for tile in tiles {
        put(out, tile, pair.start, stride > 0, &sums[tile.first - begin..][..tile.rows]);
    }
}

/// Gives a tile's sums with one or two panels to where results go.
fn put(out: &Target<'_>, tile: Tile, panel: usize, both: bool, sums: &[[[f32; COLUMNS]; PAIR]]) {
    let first = panel * COLUMNS;
    let columns = if both { PAIR * COLUMNS } else { COLUMNS }.min(out.outputs - first);
    for (row, sums) in sums.iter().enumerate() {
        out.take(tile.first + row, first, &sums.as_flattened()[..columns]);
    }
}
