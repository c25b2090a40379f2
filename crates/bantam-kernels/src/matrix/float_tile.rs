//! Panel × tile in floating point.
//!
//! A panel has the words of [`PANEL`] output columns next to each other, word after word; what a word is, an [`Element`]
//! says. A result is one sum over the words in ascending order, each product (of bf16: the later, then the earlier of a
//! pair) added with one rounding. So rows, tiles, chunks and threads leave its bits alone; AVX-512 and AVX2 agree.

use super::float_rows::{CHUNK, Precision, WORD};
use super::int8_rows::TILE;
use crate::Isa;
use crate::simd::{LANES, Simd, Task, ask_for, dispatch, dispatch_bf16};

/// Output columns of a panel.
pub(super) const PANEL: usize = 2 * LANES;
/// Vectors of a panel.
const VECTORS: usize = PANEL / LANES;
/// Bytes ahead of the word in use that are asked for (see the int8 kernels).
const AHEAD: usize = 4096;

/// Sums of a tile with a panel.
pub(super) type Sums = [[f32; PANEL]; TILE];

/// What a panel holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// A word is an f32 of each column.
    F32,
    /// A word is an f16 of each column, multiplied by an f32.
    F16,
    /// A word is a bf16 of each column, multiplied by an f32.
    Bf16,
    /// A word is two bf16 of each column, multiplied by two bf16.
    Bf16Pairs,
}

impl Element {
    /// Bytes of a word of one column.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::F32 | Self::Bf16Pairs => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// What rows are multiplied as.
    pub(super) fn precision(self) -> Precision {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => Precision::F32,
            Self::Bf16Pairs => Precision::Bf16,
        }
    }
}

/// One panel times one tile of packed rows.
pub(super) struct FloatTile<'a> {
    pub(super) element: Element,
    /// As many words as a row has.
    pub(super) panel: &'a [u8],
    /// Columns that count: the rest of the panel may be left out.
    pub(super) columns: usize,
    /// The packed rows of a tile.
    pub(super) rows: &'a [u8],
    /// Of those rows.
    pub(super) row_words: usize,
    /// Where in the rows the panel begins, a multiple of [`CHUNK`].
    pub(super) first: usize,
    /// Words of the panel.
    pub(super) words: usize,
}

impl FloatTile<'_> {
    /// Adds to `sums`, one for each row of the tile.
    pub(super) fn add(&self, isa: Isa, sums: &mut [[f32; PANEL]]) {
        let stride = sums.len() * CHUNK * WORD;
        let chunks = self.row_words.div_ceil(CHUNK);
        assert!(sums.len() <= TILE && self.first.is_multiple_of(CHUNK) && self.first + self.words <= self.row_words);
        // A single row may end with its last word.
        let needed = if sums.len() == 1 { self.row_words * WORD } else { chunks * stride };
        assert!(self.rows.len() >= needed && self.panel.len() >= self.words * self.element.bytes() * PANEL);
        let job = Job {
            rows: self.rows.as_ptr().wrapping_add(self.first / CHUNK * stride),
            stride,
            panel: self.panel.as_ptr(),
            words: self.words,
            narrow: self.columns <= LANES,
            sums,
        };
        match self.element {
            Element::F32 => dispatch(isa, Add(job, F32)),
            Element::F16 => dispatch(isa, Add(job, F16)),
            Element::Bf16 => dispatch(isa, Add(job, Bf16)),
            Element::Bf16Pairs => dispatch_bf16(isa, Add(job, Bf16Pairs)),
        }
    }
}

struct Job<'a> {
    rows: *const u8,
    /// Bytes from one chunk of the tile to the next.
    stride: usize,
    panel: *const u8,
    words: usize,
    narrow: bool,
    sums: &'a mut [[f32; PANEL]],
}

/// How a word is read and multiplied.
trait Word: Copy {
    /// Bytes of sixteen columns of a word.
    const LINE: usize;
    type Weights<S: Simd>: Copy;
    type Row<S: Simd>: Copy;
    /// # Safety
    /// `LINE` bytes must be readable.
    unsafe fn weights<S: Simd>(self, s: S, from: *const u8) -> Self::Weights<S>;
    /// # Safety
    /// A word must be readable.
    unsafe fn row<S: Simd>(self, s: S, from: *const u8) -> Self::Row<S>;
    fn add<S: Simd>(self, s: S, row: Self::Row<S>, weights: Self::Weights<S>, sum: S::F) -> S::F;
}

macro_rules! word {
    ($name:ident, $line:literal, $kind:ident, |$s:ident, $from:ident| $weights:expr, $row:expr, |$x:ident, $w:ident, $sum:ident| $add:expr) => {
        #[derive(Clone, Copy)]
        struct $name;
        impl Word for $name {
            const LINE: usize = $line;
            type Weights<S: Simd> = S::$kind;
            type Row<S: Simd> = S::$kind;
            #[inline(always)]
            unsafe fn weights<S: Simd>(self, $s: S, $from: *const u8) -> S::$kind {
                // SAFETY: the caller's promise.
                unsafe { $weights }
            }
            #[inline(always)]
            unsafe fn row<S: Simd>(self, $s: S, $from: *const u8) -> S::$kind {
                // SAFETY: the caller's promise.
                unsafe { $row }
            }
            #[inline(always)]
            fn add<S: Simd>(self, $s: S, $x: S::$kind, $w: S::$kind, $sum: S::F) -> S::F {
                $add
            }
        }
    };
}

word!(F32, 64, F, |s, from| s.load_at(from.cast()), splat(s, from), |x, w, sum| s.mul_add(x, w, sum));
word!(F16, 32, F, |s, from| s.load_f16_at(from), splat(s, from), |x, w, sum| s.mul_add(x, w, sum));
word!(Bf16, 32, F, |s, from| s.load_bf16_at(from), splat(s, from), |x, w, sum| s.mul_add(x, w, sum));
word!(Bf16Pairs, 64, I, |s, from| s.load_i_at(from), s.splat_i_at(from), |x, w, sum| s.dot_bf16(sum, w, x));

/// An f32 in every lane.
///
/// # Safety
/// It must be readable.
#[inline(always)]
unsafe fn splat<S: Simd>(s: S, from: *const u8) -> S::F {
    // SAFETY: the caller's promise.
    s.splat(unsafe { from.cast::<f32>().read_unaligned() })
}

struct Add<'a, W>(Job<'a>, W);

impl<W: Word> Task for Add<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(mut job, w) = self;
        // SAFETY: lengths have been compared when the job was made; `group` takes rows of the tile.
        unsafe {
            if job.narrow || !S::MANY_REGISTERS && job.sums.len() > 1 {
                for vector in 0..if job.narrow { 1 } else { VECTORS } {
                    let mut row = 0;
                    while row < job.sums.len() {
                        row += match job.sums.len() - row {
                            1 => group::<S, W, 1, 1>(s, w, &mut job, row, vector),
                            2 | 3 => group::<S, W, 2, 1>(s, w, &mut job, row, vector),
                            4 | 5 => group::<S, W, 4, 1>(s, w, &mut job, row, vector),
                            _ => group::<S, W, 6, 1>(s, w, &mut job, row, vector),
                        };
                    }
                }
                return;
            }
            // Numbers of rows without a kernel go through the panel twice, the second time in a cache.
            let mut row = 0;
            while row < job.sums.len() {
                row += match job.sums.len() - row {
                    1 => group::<S, W, 1, VECTORS>(s, w, &mut job, row, 0),
                    2 => group::<S, W, 2, VECTORS>(s, w, &mut job, row, 0),
                    3 => group::<S, W, 3, VECTORS>(s, w, &mut job, row, 0),
                    4 | 5 => group::<S, W, 4, VECTORS>(s, w, &mut job, row, 0),
                    6 | 7 => group::<S, W, 6, VECTORS>(s, w, &mut job, row, 0),
                    8..12 => group::<S, W, 8, VECTORS>(s, w, &mut job, row, 0),
                    _ => group::<S, W, 12, VECTORS>(s, w, &mut job, row, 0),
                };
            }
        }
    }
}

/// `ROWS` rows from `first` times `COUNT` vectors of columns from `vector`. Gives `ROWS` back.
///
/// # Safety
/// They must be in the tile and in the panel.
#[inline(always)]
unsafe fn group<S: Simd, W: Word, const ROWS: usize, const COUNT: usize>(
    s: S,
    w: W,
    job: &mut Job<'_>,
    first: usize,
    vector: usize,
) -> usize {
    let sums = &mut job.sums[first..first + ROWS];
    let mut totals = [[s.splat(0.0); COUNT]; ROWS];
    // SAFETY: the sums are PANEL long; words lie in the rows and in the panel, whose lengths have been compared.
    unsafe {
        for r in 0..ROWS {
            for v in 0..COUNT {
                totals[r][v] = s.load_at(sums[r].as_ptr().add((vector + v) * LANES));
            }
        }
        let mut panel = job.panel.add(vector * W::LINE);
        let mut rows = job.rows.wrapping_add(first * CHUNK * WORD);
        let mut left = job.words;
        while left > 0 {
            let words = left.min(CHUNK);
            let mut x = rows;
            for _ in 0..words {
                for line in 0..COUNT * W::LINE / 32 {
                    if (line * 32) % 64 == 0 {
                        ask_for(panel.wrapping_add(AHEAD + 32 * line));
                    }
                }
                let mut weights = [w.weights(s, panel); COUNT];
                for v in 1..COUNT {
                    weights[v] = w.weights(s, panel.add(v * W::LINE));
                }
                for r in 0..ROWS {
                    let x = w.row(s, x.add(r * CHUNK * WORD));
                    for v in 0..COUNT {
                        totals[r][v] = w.add(s, x, weights[v], totals[r][v]);
                    }
                }
                panel = panel.add(VECTORS * W::LINE);
                x = x.add(WORD);
            }
            rows = rows.wrapping_add(job.stride);
            left -= words;
        }
        for r in 0..ROWS {
            for v in 0..COUNT {
                s.store_at(totals[r][v], sums[r].as_mut_ptr().add((vector + v) * LANES));
            }
        }
    }
    ROWS
}
