//! Where the results of a product go.

use super::int8_rows::Tile;
use crate::Isa;
use crate::buffer::Shared;
use crate::simd::{LANES, Simd, Task, dispatch};
use std::marker::PhantomData;

/// `[rows, outputs]` of results, shared among threads that write columns of their own.
pub(super) struct Target<'a> {
    out: Shared<f32>,
    length: usize,
    pub(super) outputs: usize,
    bias: Option<&'a [f32]>,
    accumulate: bool,
    held: PhantomData<&'a mut [f32]>,
}

impl<'a> Target<'a> {
    /// `out` of rows of so many outputs, which results (with the bias added) replace or, with `accumulate`, are added to.
    pub(super) fn new(out: &'a mut [f32], outputs: usize, bias: Option<&'a [f32]>, accumulate: bool) -> Self {
        Self { length: out.len(), out: Shared::new(out), outputs, bias, accumulate, held: PhantomData }
    }

    /// Takes a tile's sums, equally many for each of its rows, as the outputs from `first` on; what goes beyond the last output is
    /// left out. No two threads may take the same outputs of a row.
    pub(super) fn take(&self, isa: Isa, tile: Tile, first: usize, sums: &[f32]) {
        let inside = tile.rows > 0 && first < self.outputs && (tile.first + tile.rows) * self.outputs <= self.length;
        assert!(inside, "rows {tile:?} from output {first} of {} numbers in rows of {}", self.length, self.outputs);
        dispatch(isa, Take { target: self, tile, first, sums });
    }
}

struct Take<'a> {
    target: &'a Target<'a>,
    tile: Tile,
    first: usize,
    sums: &'a [f32],
}

impl Task for Take<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { target, tile, first, sums } = self;
        let each = sums.len() / tile.rows;
        let columns = each.min(target.outputs - first);
        let bias = target.bias.map(|bias| &bias[first..][..columns]);
        for (row, sums) in sums.chunks_exact(each).enumerate() {
            // SAFETY: `take` has seen that the row is below the rows and that there are outputs from `first` on, which belong to this
            // piece of work alone.
            let out = unsafe { target.out.part((tile.first + row) * target.outputs + first, columns) };
            let (lanes, rest) = out.as_chunks_mut::<LANES>();
            for (at, out) in lanes.iter_mut().enumerate() {
                let mut result = s.load(&sums.as_chunks().0[at]);
                if let Some(bias) = bias {
                    result = s.add(result, s.load(&bias.as_chunks().0[at]));
                }
                if target.accumulate {
                    result = s.add(s.load(out), result);
                }
                s.store(result, out);
            }
            if !rest.is_empty() {
                let start = columns - rest.len();
                let mut result = s.load_part(&sums[start..columns]);
                if let Some(bias) = bias {
                    result = s.add(result, s.load_part(&bias[start..]));
                }
                if target.accumulate {
                    result = s.add(s.load_part(rest), result);
                }
                s.store_part(result, rest);
            }
        }
    }
}
