//! Rotary position embedding (Su et al. 2021).

use super::{expect_length, spread};
use crate::buffer::Shared;
use crate::simd::{LANES, Simd, Task, dispatch};
use crate::{Isa, Pool};

/// Which two columns of a head turn together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RopePairs {
    /// Columns 2i and 2i + 1.
    Interleaved,
    /// Columns i and i + rotated/2.
    Halves,
}

/// Cosines and sines of every row's angles: `position · frequency`, the product in f32 as the models were trained with,
/// times `magnitude`. `cos_out` and `sin_out` are `[positions, frequencies]`.
///
/// The functions of the f32 angle are right to half a unit in the last place (they are taken in f64).
///
/// # Panics
/// Where a length does not fit.
pub fn rope_angles(positions: &[u32], frequencies: &[f32], magnitude: f32, cos_out: &mut [f32], sin_out: &mut [f32]) {
    let pairs = frequencies.len();
    expect_length("cosines", cos_out.len(), positions.len(), pairs);
    expect_length("sines", sin_out.len(), positions.len(), pairs);
    if pairs == 0 {
        return;
    }
    let rows = cos_out.chunks_exact_mut(pairs).zip(sin_out.chunks_exact_mut(pairs));
    for (&position, (cos, sin)) in positions.iter().zip(rows) {
        for ((&frequency, cos), sin) in frequencies.iter().zip(cos).zip(sin) {
            let angle = f64::from(position as f32 * frequency);
            (*sin, *cos) = ((angle.sin() as f32) * magnitude, (angle.cos() as f32) * magnitude);
        }
    }
}

/// Turns the first `rotated_width` columns of each of the `heads` heads of each row, in place:
/// `(a, b) → (a·cos - b·sin, b·cos + a·sin)`.
///
/// `x` is `[rows, heads · head_width]`, `cos` and `sin` are `[rows, rotated_width / 2]`.
///
/// # Panics
/// Where a length does not fit, or `rotated_width` is odd or greater than `head_width`.
pub fn rope_apply(
    pool: &Pool,
    isa: Isa,
    x: &mut [f32],
    rows: usize,
    heads: usize,
    head_width: usize,
    rotated_width: usize,
    pairs: RopePairs,
    cos: &[f32],
    sin: &[f32],
) {
    let (width, half) = (heads * head_width, rotated_width / 2);
    expect_length("x of a rope", x.len(), rows, width);
    expect_length("cosines", cos.len(), rows, half);
    expect_length("sines", sin.len(), rows, half);
    assert!(
        rotated_width.is_multiple_of(2) && rotated_width <= head_width,
        "a rope cannot turn {rotated_width} columns of a head of {head_width}"
    );
    if half == 0 || width == 0 {
        return;
    }
    let x = Shared::new(x);
    spread(pool, rows, width, |range| {
        for row in range {
            // SAFETY: each row belongs to one range.
            let x = unsafe { x.part(row * width, width) };
            let (cos, sin) = (&cos[row * half..][..half], &sin[row * half..][..half]);
            match pairs {
                RopePairs::Halves => dispatch(isa, Halves { x, head_width, cos, sin }),
                RopePairs::Interleaved => dispatch(isa, Interleaved { x, head_width, cos, sin }),
            }
        }
    });
}

struct Halves<'a> {
    x: &'a mut [f32],
    head_width: usize,
    cos: &'a [f32],
    sin: &'a [f32],
}

impl Task for Halves<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let half = self.cos.len();
        for head in self.x.chunks_exact_mut(self.head_width) {
            let (a, rest) = head.split_at_mut(half);
            let b = &mut rest[..half];
            let (a_chunks, a_rest) = a.as_chunks_mut::<LANES>();
            let (b_chunks, b_rest) = b.as_chunks_mut::<LANES>();
            let (cos_chunks, cos_rest) = self.cos.as_chunks::<LANES>();
            let (sin_chunks, sin_rest) = self.sin.as_chunks::<LANES>();
            for (((a, b), cos), sin) in a_chunks.iter_mut().zip(b_chunks).zip(cos_chunks).zip(sin_chunks) {
                let (va, vb, c, n) = (s.load(a), s.load(b), s.load(cos), s.load(sin));
                s.store(s.sub(s.mul(va, c), s.mul(vb, n)), a);
                s.store(s.add(s.mul(vb, c), s.mul(va, n)), b);
            }
            turn(a_rest.iter_mut().zip(b_rest).zip(cos_rest.iter().zip(sin_rest)));
        }
    }
}

struct Interleaved<'a> {
    x: &'a mut [f32],
    head_width: usize,
    cos: &'a [f32],
    sin: &'a [f32],
}

impl Task for Interleaved<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        // Plain pairs: the compiler shuffles them with the instructions that are enabled here.
        for head in self.x.chunks_exact_mut(self.head_width) {
            let (pairs, _) = head[..self.cos.len() * 2].as_chunks_mut::<2>();
            for (([a, b], &cos), &sin) in pairs.iter_mut().zip(self.cos).zip(self.sin) {
                (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
            }
        }
    }
}

/// The same arithmetic, pair by pair (products and their sum are rounded apart, as in the lanes).
#[inline(always)]
fn turn<'a>(pairs: impl Iterator<Item = ((&'a mut f32, &'a mut f32), (&'a f32, &'a f32))>) {
    for ((a, b), (cos, sin)) in pairs {
        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
    }
}
