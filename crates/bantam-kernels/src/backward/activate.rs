//! Gradients of activations, gated or not, and of the softcap.

use crate::buffer::Shared;
use crate::elementwise::{expect_length, spread};
use crate::simd::{LANES, Simd, Task, dispatch};
use crate::{Activation, Isa, Pool, math};

/// `dx = dy · activation'(x)`.
///
/// # Panics
/// Where the lengths differ; likewise below.
pub fn activate_back(pool: &Pool, isa: Isa, activation: Activation, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    expect_length("x of an activation", x.len(), 1, dx.len());
    expect_length("gradients of an activation", dy.len(), 1, dx.len());
    each(pool, dx, &mut [], |range, dx, _| {
        dispatch(isa, One { what: What::Activation(activation), x: &x[range.clone()], dy: &dy[range], dx });
    });
}

/// `dx = dy · (1 - tanh²(x / cap))`.
pub fn softcap_back(pool: &Pool, isa: Isa, cap: f32, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    expect_length("x of a softcap", x.len(), 1, dx.len());
    expect_length("gradients of a softcap", dy.len(), 1, dx.len());
    each(pool, dx, &mut [], |range, dx, _| {
        dispatch(isa, One { what: What::Softcap(cap), x: &x[range.clone()], dy: &dy[range], dx });
    });
}

/// `d_gate = dy · up · activation'(gate)`, `d_up = dy · activation(gate)`; an empty slice is one that nobody wants.
pub fn glu_back(
    pool: &Pool,
    isa: Isa,
    activation: Activation,
    gate: &[f32],
    up: &[f32],
    dy: &[f32],
    d_gate: &mut [f32],
    d_up: &mut [f32],
) {
    for (what, length) in [("gate", gate.len()), ("up", up.len())] {
        expect_length(what, length, 1, dy.len());
    }
    for (what, length) in [("gradient of the gate", d_gate.len()), ("gradient of up", d_up.len())] {
        assert!(length == dy.len() || length == 0, "{what}: expected {} numbers or none, found {length}", dy.len());
    }
    each(pool, d_gate, d_up, |range, d_gate, d_up| {
        let (gate, up, dy) = (&gate[range.clone()], &up[range.clone()], &dy[range]);
        dispatch(isa, Gated { activation, gate, up, dy, d_gate, d_up });
    });
}

/// Calls `part` with ranges and the parts of both results there.
fn each(
    pool: &Pool,
    a: &mut [f32],
    b: &mut [f32],
    part: impl Fn(std::ops::Range<usize>, &mut [f32], &mut [f32]) + Sync,
) {
    let length = a.len().max(b.len());
    let (has_a, has_b) = (!a.is_empty(), !b.is_empty());
    let (a, b) = (Shared::new(a), Shared::new(b));
    spread(pool, length.div_ceil(LANES), LANES, |range| {
        let (start, end) = (range.start * LANES, (range.end * LANES).min(length));
        let here = |there: bool| if there { (start, end - start) } else { (0, 0) };
        // SAFETY: ranges are disjoint and inside the slices, or empty.
        let (a, b) = unsafe { (a.part(here(has_a).0, here(has_a).1), b.part(here(has_b).0, here(has_b).1)) };
        part(start..end, a, b);
    });
}

/// `out += x`.
pub fn add_to(pool: &Pool, isa: Isa, x: &[f32], out: &mut [f32]) {
    expect_length("numbers to add", x.len(), 1, out.len());
    each(pool, out, &mut [], |range, out, _| dispatch(isa, AddTo { x: &x[range], out }));
}

/// Calls `part(first, numbers)` with parts of `out` and where they begin in it, on the pool where there are enough.
pub fn in_pieces(pool: &Pool, out: &mut [f32], part: impl Fn(usize, &mut [f32]) + Sync) {
    each(pool, out, &mut [], |range, out, _| part(range.start, out));
}

struct AddTo<'a> {
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Task for AddTo<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (from, rest) = self.x.as_chunks::<LANES>();
        let (to, to_rest) = self.out.as_chunks_mut::<LANES>();
        for (x, y) in from.iter().zip(to) {
            s.store(s.add(s.load(y), s.load(x)), y);
        }
        to_rest.iter_mut().zip(rest).for_each(|(y, x)| *y += x);
    }
}

#[derive(Clone, Copy)]
enum What {
    Activation(Activation),
    Softcap(f32),
}

/// An activation's value and slope, lane by lane.
#[inline(always)]
fn value_and_slope<S: Simd>(s: S, activation: Activation, x: S::F) -> (S::F, S::F) {
    let one = s.splat(1.0);
    match activation {
        Activation::Silu => {
            let sigmoid = s.div(one, s.add(one, math::exp(s, s.sub(s.splat(0.0), x))));
            // x beyond the range of exp gives 0 · -∞: hold it where the slope is 0 anyway.
            let held = s.max(x, s.splat(-100.0));
            (s.mul(held, sigmoid), s.mul(sigmoid, s.mul_add(held, s.sub(one, sigmoid), one)))
        }
        Activation::GeluTanh => {
            let square = s.mul(x, x);
            let cubic = s.mul_add(square, s.splat(0.044_715), one);
            let tanh = math::tanh(s, s.mul(s.mul(x, cubic), s.splat(0.797_884_6)));
            let inner = s.mul(s.mul_add(square, s.splat(3.0 * 0.044_715), one), s.splat(0.797_884_6));
            let half = s.mul(s.splat(0.5), s.add(one, tanh));
            let bend = s.mul(s.mul(s.mul(s.splat(0.5), x), s.sub(one, s.mul(tanh, tanh))), inner);
            (math::gelu_tanh(s, x), s.add(half, bend))
        }
        Activation::GeluErf => {
            let value = math::gelu_erf(s, x);
            // Φ(x) = gelu(x) / x; at 0 it is 1/2.
            let tiny = s.splat(1e-6);
            let share =
                s.select_less(s.abs(x), tiny, s.splat(0.5), s.div(value, s.select_less(s.abs(x), tiny, one, x)));
            let density = s.mul(math::exp(s, s.mul(s.mul(x, x), s.splat(-0.5))), s.splat(0.398_942_3));
            (value, s.mul_add(x, density, share))
        }
        Activation::Relu => {
            let zero = s.splat(0.0);
            (s.max(zero, x), s.select_less(zero, x, one, zero))
        }
        Activation::ReluSquared => {
            let positive = s.max(s.splat(0.0), x);
            (s.mul(positive, positive), s.add(positive, positive))
        }
    }
}

struct One<'a> {
    what: What,
    x: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Task for One<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for ((x, dy), dx) in self.x.chunks(LANES).zip(self.dy.chunks(LANES)).zip(self.dx.chunks_mut(LANES)) {
            let x = s.load_part(x);
            let slope = match self.what {
                What::Activation(activation) => value_and_slope(s, activation, x).1,
                What::Softcap(cap) => {
                    let tanh = math::tanh(s, s.div(x, s.splat(cap)));
                    s.sub(s.splat(1.0), s.mul(tanh, tanh))
                }
            };
            s.store_part(s.mul(s.load_part(dy), slope), dx);
        }
    }
}

struct Gated<'a> {
    activation: Activation,
    gate: &'a [f32],
    up: &'a [f32],
    dy: &'a [f32],
    d_gate: &'a mut [f32],
    d_up: &'a mut [f32],
}

impl Task for Gated<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { activation, gate, up, dy, d_gate, d_up } = self;
        for start in (0..dy.len()).step_by(LANES) {
            let range = start..(start + LANES).min(dy.len());
            let (value, slope) = value_and_slope(s, activation, s.load_part(&gate[range.clone()]));
            let g = s.load_part(&dy[range.clone()]);
            if !d_gate.is_empty() {
                let d = s.mul(s.mul(g, s.load_part(&up[range.clone()])), slope);
                s.store_part(d, &mut d_gate[range.clone()]);
            }
            if !d_up.is_empty() {
                s.store_part(s.mul(g, value), &mut d_up[range]);
            }
        }
    }
}
