//! Activations, gated or not, and the small arithmetic around them.

use super::{expect_length, spread};
use crate::buffer::Shared;
use crate::simd::{LANES, Simd, Task, dispatch};
use crate::{Isa, Pool, math};

/// A function of each number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// x / (1 + e^-x), also called swish.
    Silu,
    /// The tanh approximation of GELU (Hendrycks & Gimpel 2016).
    GeluTanh,
    /// GELU with the error function.
    GeluErf,
    /// max(x, 0).
    Relu,
    /// max(x, 0)².
    ReluSquared,
}

/// `out = activation(x)`.
///
/// # Panics
/// Where the lengths differ; likewise below.
pub fn activate(pool: &Pool, isa: Isa, activation: Activation, x: &[f32], out: &mut [f32]) {
    each(pool, isa, Op::Activate(activation), x, None, out);
}

/// `out = activation(gate) · up` (Shazeer 2020).
pub fn glu(pool: &Pool, isa: Isa, activation: Activation, gate: &[f32], up: &[f32], out: &mut [f32]) {
    each(pool, isa, Op::Glu(activation), gate, Some(up), out);
}

/// `activation(row[0]) · row[1]`, lane by lane as [`glu`] has it: one row after the other, in the place of the first rows.
pub(crate) fn gate_sums(isa: Isa, activation: Activation, rows: &mut [[[f32; LANES]; 2]]) -> &[f32] {
    let count = rows.len();
    let lanes = rows.as_flattened_mut();
    match activation {
        Activation::Silu => dispatch(isa, Pairs(Gated(Silu), lanes)),
        Activation::GeluTanh => dispatch(isa, Pairs(Gated(GeluTanh), lanes)),
        Activation::GeluErf => dispatch(isa, Pairs(Gated(GeluErf), lanes)),
        Activation::Relu => dispatch(isa, Pairs(Gated(Relu), lanes)),
        Activation::ReluSquared => dispatch(isa, Pairs(Gated(ReluSquared), lanes)),
    }
    lanes[..count].as_flattened()
}

/// `out = a + b`.
pub fn add(pool: &Pool, isa: Isa, a: &[f32], b: &[f32], out: &mut [f32]) {
    each(pool, isa, Op::Add, a, Some(b), out);
}

/// `out = x · by`.
pub fn scale(pool: &Pool, isa: Isa, by: f32, x: &[f32], out: &mut [f32]) {
    each(pool, isa, Op::Scale(by), x, None, out);
}

/// `out = cap · tanh(x / cap)` (Gemma 2's logit soft-capping).
pub fn softcap(pool: &Pool, isa: Isa, cap: f32, x: &[f32], out: &mut [f32]) {
    each(pool, isa, Op::Softcap(cap), x, None, out);
}

#[derive(Clone, Copy)]
enum Op {
    Activate(Activation),
    Glu(Activation),
    Add,
    Scale(f32),
    Softcap(f32),
}

fn each(pool: &Pool, isa: Isa, op: Op, a: &[f32], b: Option<&[f32]>, out: &mut [f32]) {
    let length = out.len();
    expect_length("first operand", a.len(), 1, length);
    if let Some(b) = b {
        expect_length("second operand", b.len(), 1, length);
    }
    let out = Shared::new(out);
    // Pieces are whole vectors, so a number's lane does not depend on how the work is cut.
    spread(pool, length.div_ceil(LANES), LANES, |range| {
        let (start, end) = (range.start * LANES, (range.end * LANES).min(length));
        // SAFETY: ranges are disjoint and inside `length`.
        let out = unsafe { out.part(start, end - start) };
        let (a, b) = (&a[start..end], b.map_or(&[][..], |b| &b[start..end]));
        match op {
            Op::Activate(Activation::Silu) => dispatch(isa, Unary(Silu, a, out)),
            Op::Activate(Activation::GeluTanh) => dispatch(isa, Unary(GeluTanh, a, out)),
            Op::Activate(Activation::GeluErf) => dispatch(isa, Unary(GeluErf, a, out)),
            Op::Activate(Activation::Relu) => dispatch(isa, Unary(Relu, a, out)),
            Op::Activate(Activation::ReluSquared) => dispatch(isa, Unary(ReluSquared, a, out)),
            Op::Glu(Activation::Silu) => dispatch(isa, Binary(Gated(Silu), a, b, out)),
            Op::Glu(Activation::GeluTanh) => dispatch(isa, Binary(Gated(GeluTanh), a, b, out)),
            Op::Glu(Activation::GeluErf) => dispatch(isa, Binary(Gated(GeluErf), a, b, out)),
            Op::Glu(Activation::Relu) => dispatch(isa, Binary(Gated(Relu), a, b, out)),
            Op::Glu(Activation::ReluSquared) => dispatch(isa, Binary(Gated(ReluSquared), a, b, out)),
            Op::Add => dispatch(isa, Binary(Sum, a, b, out)),
            Op::Scale(by) => dispatch(isa, Unary(Times(by), a, out)),
            Op::Softcap(cap) => dispatch(isa, Unary(Capped(cap), a, out)),
        }
    });
}

/// A function of one number in each lane.
pub(crate) trait Function: Copy {
    fn at<S: Simd>(self, s: S, x: S::F) -> S::F;
}

/// A function of two.
trait Function2: Copy {
    fn at<S: Simd>(self, s: S, a: S::F, b: S::F) -> S::F;
}

macro_rules! function {
    ($name:ident $(($field:ident: $type:ty))?, |$s:ident, $x:ident| $value:expr) => {
        #[derive(Clone, Copy)]
        pub(crate) struct $name $(($type))?;
        impl Function for $name {
            #[inline(always)]
            fn at<S: Simd>(self, $s: S, $x: S::F) -> S::F {
                $(let Self($field) = self;)?
                $value
            }
        }
    };
}

function!(Silu, |s, x| math::silu(s, x));
function!(GeluTanh, |s, x| math::gelu_tanh(s, x));
function!(GeluErf, |s, x| math::gelu_erf(s, x));
function!(Relu, |s, x| s.max(s.splat(0.0), x));
function!(ReluSquared, |s, x| {
    let positive = s.max(s.splat(0.0), x);
    s.mul(positive, positive)
});
function!(Times(by: f32), |s, x| s.mul(x, s.splat(by)));
function!(Capped(cap: f32), |s, x| s.mul(s.splat(cap), math::tanh(s, s.div(x, s.splat(cap)))));

#[derive(Clone, Copy)]
struct Gated<A>(A);

impl<A: Function> Function2 for Gated<A> {
    #[inline(always)]
    fn at<S: Simd>(self, s: S, a: S::F, b: S::F) -> S::F {
        s.mul(self.0.at(s, a), b)
    }
}

#[derive(Clone, Copy)]
struct Sum;

impl Function2 for Sum {
    #[inline(always)]
    fn at<S: Simd>(self, s: S, a: S::F, b: S::F) -> S::F {
        s.add(a, b)
    }
}

struct Unary<'a, A>(A, &'a [f32], &'a mut [f32]);

impl<A: Function> Task for Unary<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (from, from_rest) = self.1.as_chunks::<LANES>();
        let (to, to_rest) = self.2.as_chunks_mut::<LANES>();
        for (x, y) in from.iter().zip(to) {
            s.store(self.0.at(s, s.load(x)), y);
        }
        if !from_rest.is_empty() {
            s.store_part(self.0.at(s, s.load_part(from_rest)), to_rest);
        }
    }
}

struct Pairs<'a, A>(A, &'a mut [[f32; LANES]]);

impl<A: Function2> Task for Pairs<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for pair in 0..self.1.len() / 2 {
            let made = self.0.at(s, s.load(&self.1[2 * pair]), s.load(&self.1[2 * pair + 1]));
            s.store(made, &mut self.1[pair]);
        }
    }
}

struct Binary<'a, A>(A, &'a [f32], &'a [f32], &'a mut [f32]);

impl<A: Function2> Task for Binary<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (a, a_rest) = self.1.as_chunks::<LANES>();
        let (b, b_rest) = self.2.as_chunks::<LANES>();
        let (to, to_rest) = self.3.as_chunks_mut::<LANES>();
        for ((a, b), y) in a.iter().zip(b).zip(to) {
            s.store(self.0.at(s, s.load(a), s.load(b)), y);
        }
        if !a_rest.is_empty() {
            s.store_part(self.0.at(s, s.load_part(a_rest), s.load_part(b_rest)), to_rest);
        }
    }
}
