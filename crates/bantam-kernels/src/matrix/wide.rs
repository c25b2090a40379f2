//! Blocks of a panel taken apart before they are multiplied: as a panel of a form that all formats can have
//! ([`Form::wide`]), with codes of 8 bits and f32 scales. Kernels for many rows are made for such forms alone; and many tiles
//! share the work.

use super::forms::{FORMS, Form, PanelKind, SPAN};
use super::int8_rows::{HALVES, RECORD, TILE};
use super::panels::COLUMNS;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Takes blocks of a panel apart.
pub(super) type Expand = unsafe fn(&PanelKind, *const u8, Range<usize>, *mut u8);
/// Adds the products of such blocks with a tile: blocks, records, sums of halves, results.
pub(super) type WideTile = unsafe fn(&PanelKind, *const u8, usize, *const u8, *const u8, &mut [[f32; COLUMNS]]);

/// Blocks taken apart together for one tile: they stay in the first-level cache.
pub(super) const TOGETHER: usize = 8;

const _: () = assert!(TOGETHER.is_multiple_of(SPAN), "kernels count the blocks that share a scale anew each time");
/// Bytes of the largest such block.
const LARGEST: usize = 512 + 4 * 64;

/// Room for so many.
#[repr(align(64))]
pub(super) struct Blocks([MaybeUninit<u8>; TOGETHER * LARGEST]);

impl Blocks {
    pub(super) fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; TOGETHER * LARGEST])
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }
}

/// A format whose blocks are to be taken apart.
pub(super) struct Wide<'a> {
    kind: &'a PanelKind,
    form: &'static Form,
}

impl<'a> Wide<'a> {
    pub(super) fn of(kind: &'a PanelKind) -> Self {
        Self { kind, form: &FORMS[usize::from(kind.form().wide())] }
    }

    /// Bytes of so many blocks.
    pub(super) fn bytes(&self, blocks: usize) -> usize {
        blocks * self.form.unit_bytes()
    }

    /// Adds the products of a panel with a tile, taking some blocks apart at a time.
    ///
    /// # Safety
    /// A whole panel and tile of as many blocks, and a machine that has what the functions ask for.
    pub(super) unsafe fn tile(
        self,
        (expand, multiply): (Expand, WideTile),
        panel: *const u8,
        blocks: usize,
        records: *const u8,
        sums: &mut [[f32; COLUMNS]],
    ) {
        let rows = sums.len();
        debug_assert!(rows <= TILE && self.form.unit_bytes() <= LARGEST);
        let mut space = Blocks::new();
        let space = space.as_mut_ptr();
        for first in (0..blocks).step_by(TOGETHER) {
            let count = TOGETHER.min(blocks - first);
            // SAFETY: the caller's promise; `count` blocks fit, and their records lie `first` records further on.
            unsafe {
                expand(self.kind, panel, first..first + count, space);
                let halves = records.add((blocks * RECORD + first * HALVES) * rows);
                multiply(self.kind, space, count, records.add(first * RECORD * rows), halves, sums);
            }
        }
    }
}
