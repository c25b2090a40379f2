//! `C (+)= A · B` on one thread: the product that all gradients are made of.
//!
//! `B` lies in panels of 64 columns, row after row, the last panel filled up with zeros; `A` may be read along its rows or its
//! columns. Every number of `C` has one sum, over `k` in order, so it does not matter how rows and columns are cut.

use crate::simd::{LANES, Simd, Task};

/// Columns of a panel.
pub(super) const PANEL: usize = 64;
/// Vectors in a row of a panel.
const VECTORS: usize = PANEL / LANES;

/// Where `A [rows, k]` lies: number `(row, k)` is at `row * row_stride + k * step`.
#[derive(Clone, Copy)]
pub(super) struct Left<'a> {
    pub(super) numbers: &'a [f32],
    pub(super) row_stride: usize,
    pub(super) step: usize,
}

/// A product of `rows × depth` with `depth × columns`.
pub(super) struct Gemm<'a> {
    pub(super) a: Left<'a>,
    pub(super) rows: usize,
    pub(super) depth: usize,
    /// Panels, each `[panel_depth, 64]`; the first `depth` rows of each count.
    pub(super) b: &'a [f32],
    pub(super) panel_depth: usize,
    pub(super) columns: usize,
    /// `C` begins here; its rows are `c_stride` apart. Given as a pointer since threads write columns of their own.
    pub(super) c: *mut f32,
    pub(super) c_stride: usize,
    /// Whether `C` is added to.
    pub(super) accumulate: bool,
}

/// Panels that hold `columns` columns.
pub(super) fn panels(columns: usize) -> usize {
    columns.div_ceil(PANEL)
}

impl Gemm<'_> {
    fn check(&self) {
        let Left { numbers, row_stride, step } = self.a;
        if self.rows > 0 && self.depth > 0 {
            let last = (self.rows - 1) * row_stride + (self.depth - 1) * step;
            assert!(last < numbers.len(), "a product reads number {last} of {}", numbers.len());
        }
        assert!(self.depth <= self.panel_depth, "a product of depth {} in panels of {}", self.depth, self.panel_depth);
        let needed = (panels(self.columns).saturating_sub(1) * self.panel_depth + self.depth) * PANEL;
        assert!(self.b.len() >= needed, "panels of {} numbers where {needed} are read", self.b.len());
    }
}

/// Runs a [`Gemm`].
///
/// # Safety
/// [`Unchecked::new`] is given a product whose `c` may be written for `rows` rows of `columns` numbers, `c_stride` apart, by
/// nobody else meanwhile.
pub(super) struct Unchecked<'a>(Gemm<'a>);

impl<'a> Unchecked<'a> {
    /// # Safety
    /// See [`Unchecked`].
    #[inline(always)]
    pub(super) unsafe fn new(gemm: Gemm<'a>) -> Self {
        gemm.check();
        Self(gemm)
    }
}

impl Task for Unchecked<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let gemm = &self.0;
        for panel in 0..panels(gemm.columns) {
            let columns = (gemm.columns - panel * PANEL).min(PANEL);
            let vectors = columns.div_ceil(LANES);
            // SAFETY: `check` has held the lengths, and `new`'s caller vouches for C.
            unsafe {
                if S::MANY_REGISTERS && vectors == VECTORS {
                    strips::<S, 6, 4>(s, gemm, panel, 0, columns);
                } else {
                    for first in (0..vectors).step_by(2) {
                        let columns = (columns - first * LANES).min(2 * LANES);
                        match (S::MANY_REGISTERS, first + 1 < vectors) {
                            (true, true) => strips::<S, 6, 2>(s, gemm, panel, first, columns),
                            (true, false) => strips::<S, 12, 1>(s, gemm, panel, first, columns),
                            (false, true) => strips::<S, 2, 2>(s, gemm, panel, first, columns),
                            (false, false) => strips::<S, 4, 1>(s, gemm, panel, first, columns),
                        }
                    }
                }
            }
        }
    }
}

/// All rows times the vectors `first .. first + V` of a panel, of which `columns` columns count.
#[inline(always)]
unsafe fn strips<S: Simd, const R: usize, const V: usize>(
    s: S,
    gemm: &Gemm<'_>,
    panel: usize,
    first: usize,
    columns: usize,
) {
    let mut row = 0;
    while row + R <= gemm.rows {
        // SAFETY: the caller's promise; the rows are inside.
        unsafe { block::<S, R, V>(s, gemm, row, panel, first, columns) };
        row += R;
    }
    while row + 2 <= gemm.rows {
        // SAFETY: as above.
        unsafe { block::<S, 2, V>(s, gemm, row, panel, first, columns) };
        row += 2;
    }
    if row < gemm.rows {
        // SAFETY: as above.
        unsafe { block::<S, 1, V>(s, gemm, row, panel, first, columns) };
    }
}

#[inline(always)]
unsafe fn block<S: Simd, const R: usize, const V: usize>(
    s: S,
    gemm: &Gemm<'_>,
    row: usize,
    panel: usize,
    first: usize,
    columns: usize,
) {
    debug_assert!(first + V <= VECTORS);
    let Left { numbers, row_stride, step } = gemm.a;
    let mut sums = [[s.splat(0.0); V]; R];
    // SAFETY: `check` has held that A and the panels are long enough.
    unsafe {
        let mut a = numbers.as_ptr().add(row * row_stride);
        let mut b = gemm.b.as_ptr().add(panel * gemm.panel_depth * PANEL + first * LANES);
        for _ in 0..gemm.depth {
            let mut vectors = [s.splat(0.0); V];
            for v in 0..V {
                vectors[v] = s.load_at(b.add(v * LANES));
            }
            for r in 0..R {
                let x = s.splat(*a.add(r * row_stride));
                for v in 0..V {
                    sums[r][v] = s.mul_add(x, vectors[v], sums[r][v]);
                }
            }
            a = a.wrapping_add(step);
            b = b.wrapping_add(PANEL);
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        for (v, sum) in sums.iter().enumerate() {
            let here = columns.saturating_sub(v * LANES).min(LANES);
            let at = (row + r) * gemm.c_stride + panel * PANEL + (first + v) * LANES;
            // SAFETY: `here` columns of this row are C's, by the promise of `new`'s caller.
            unsafe {
                let c = gemm.c.add(at);
                if here == LANES {
                    let sum = if gemm.accumulate { s.add(s.load_at(c), *sum) } else { *sum };
                    s.store_at(sum, c);
                } else {
                    let mut lanes = [0f32; LANES];
                    s.store(*sum, &mut lanes);
                    for (i, lane) in lanes.iter().take(here).enumerate() {
                        *c.add(i) = if gemm.accumulate { *c.add(i) + lane } else { *lane };
                    }
                }
            }
        }
    }
}

/// Packs `B [depth, columns]`, whose rows are `stride` apart in `from`, into panels of `panel_depth` rows.
pub(super) fn pack_rows(from: &[f32], stride: usize, depth: usize, columns: usize, panel_depth: usize, to: &mut [f32]) {
    for k in 0..depth {
        pack_row(&from[k * stride..][..columns], k, panel_depth, to);
    }
}

/// Puts row `k` of `B` into its panels.
#[inline]
pub(super) fn pack_row(row: &[f32], k: usize, panel_depth: usize, to: &mut [f32]) {
    for (panel, part) in row.chunks(PANEL).enumerate() {
        let place = &mut to[(panel * panel_depth + k) * PANEL..][..PANEL];
        place[..part.len()].copy_from_slice(part);
        place[part.len()..].fill(0.0);
    }
}

/// Packs `Bᵀ`: `from` holds `columns` rows of `depth` numbers, `stride` apart, and they become the columns of `B`.
pub(super) fn pack_columns(
    from: &[f32],
    stride: usize,
    depth: usize,
    columns: usize,
    panel_depth: usize,
    to: &mut [f32],
) {
    for panel in 0..panels(columns) {
        let place = &mut to[panel * panel_depth * PANEL..][..depth * PANEL];
        let first = panel * PANEL;
        let here = (columns - first).min(PANEL);
        if here < PANEL {
            place.fill(0.0);
        }
        // In squares, so that both sides stay in the cache.
        for square in (0..depth).step_by(16) {
            let deep = (depth - square).min(16);
            for column in 0..here {
                let source = &from[(first + column) * stride + square..][..deep];
                for (k, x) in source.iter().enumerate() {
                    place[(square + k) * PANEL + column] = *x;
                }
            }
        }
    }
}
