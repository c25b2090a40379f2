//! Sixteen lanes as an array: the scalar twin of every vector path, and the path of machines without one.

use super::{LANES, Simd, f16_to_f32, f32_to_f16, round_to_bf16};

/// Lanes in plain Rust.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

#[inline(always)]
fn zip(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    let mut result = [0f32; LANES];
    for lane in 0..LANES {
        result[lane] = f(a[lane], b[lane]);
    }
    result
}

/// `f32::round_ties_even`, in additions that vectorise where the target has no instruction for it.
#[inline(always)]
fn round(a: f32) -> f32 {
    const WHOLE: f32 = 8_388_608.0;
    let rounded = ((a.abs() + WHOLE) - WHOLE).copysign(a);
    if a.abs() < WHOLE { rounded } else { a }
}

impl Simd for Portable {
    type F = [f32; LANES];
    type I = [i32; LANES];
    const MANY_REGISTERS: bool = false;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F {
        [value; LANES]
    }

    #[inline(always)]
    unsafe fn load_at(self, from: *const f32) -> Self::F {
        // SAFETY: the caller gives 64 readable bytes.
        let bytes = unsafe { from.cast::<[[u8; 4]; LANES]>().read_unaligned() };
        bytes.map(f32::from_le_bytes)
    }

    #[inline(always)]
    unsafe fn store_at(self, value: Self::F, to: *mut f32) {
        // SAFETY: the caller gives 64 writable bytes.
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(value) }
    }

    #[inline(always)]
    unsafe fn load_f16_at(self, from: *const u8) -> Self::F {
        // SAFETY: the caller gives 32 readable bytes.
        let bytes = unsafe { from.cast::<[[u8; 2]; LANES]>().read_unaligned() };
        let mut result = [0f32; LANES];
        // A loop: the closure of `map` may be left a function of its own, for one lane.
        for lane in 0..LANES {
            result[lane] = f16_to_f32(u16::from_le_bytes(bytes[lane]));
        }
        result
    }

    #[inline(always)]
    unsafe fn store_f16_at(self, value: Self::F, to: *mut u8) {
        // SAFETY: the caller gives 32 writable bytes.
        unsafe { to.cast::<[[u8; 2]; LANES]>().write_unaligned(value.map(|v| f32_to_f16(v).to_le_bytes())) }
    }

    #[inline(always)]
    unsafe fn load_bf16_at(self, from: *const u8) -> Self::F {
        // SAFETY: the caller gives 32 readable bytes.
        let bytes = unsafe { from.cast::<[[u8; 2]; LANES]>().read_unaligned() };
        bytes.map(|half| f32::from_bits(u32::from(u16::from_le_bytes(half)) << 16))
    }

    #[inline(always)]
    unsafe fn store_bf16_at(self, value: Self::F, to: *mut u8) {
        // SAFETY: the caller gives 32 writable bytes.
        unsafe { to.cast::<[u16; LANES]>().write_unaligned(value.map(|v| (round_to_bf16(v) >> 16) as u16)) }
    }

    #[inline(always)]
    unsafe fn store_bf16_pairs_at(self, lower: Self::F, upper: Self::F, to: *mut u8) {
        let mut pairs = [0u32; LANES];
        for lane in 0..LANES {
            pairs[lane] = round_to_bf16(lower[lane]) >> 16 | round_to_bf16(upper[lane]);
        }
        // SAFETY: the caller gives 64 writable bytes.
        unsafe { to.cast::<[u32; LANES]>().write_unaligned(pairs) }
    }

    #[inline(always)]
    unsafe fn load_i8_at(self, from: *const i8) -> Self::F {
        // SAFETY: the caller gives 16 readable bytes.
        let bytes = unsafe { from.cast::<[i8; LANES]>().read_unaligned() };
        bytes.map(f32::from)
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a / b)
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        let mut result = c;
        for lane in 0..LANES {
            // Without a fused instruction `f32::mul_add` is a library call, a hundred times slower.
            result[lane] = if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
                a[lane].mul_add(b[lane], c[lane])
            } else {
                a[lane] * b[lane] + c[lane]
            };
        }
        result
    }

    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn abs(self, a: Self::F) -> Self::F {
        a.map(f32::abs)
    }

    #[inline(always)]
    fn round(self, a: Self::F) -> Self::F {
        a.map(round)
    }

    #[inline(always)]
    fn select_less(self, a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F {
        let mut result = y;
        for lane in 0..LANES {
            result[lane] = if a[lane] < b[lane] { x[lane] } else { y[lane] };
        }
        result
    }

    #[inline(always)]
    fn exp2_whole(self, n: Self::F) -> Self::F {
        n.map(|n| f32::from_bits(((n as i32).wrapping_add(127) << 23) as u32))
    }

    #[inline(always)]
    fn sum(self, mut a: Self::F) -> f32 {
        let mut half = LANES / 2;
        while half > 0 {
            for lane in 0..half {
                a[lane] += a[lane + half];
            }
            half /= 2;
        }
        a[0]
    }

    #[inline(always)]
    fn greatest(self, a: Self::F) -> f32 {
        a.into_iter().fold(f32::NEG_INFINITY, |greatest, a| if a > greatest { a } else { greatest })
    }

    #[inline(always)]
    unsafe fn load_i_at(self, from: *const u8) -> Self::I {
        // SAFETY: the caller gives 64 readable bytes.
        unsafe { from.cast::<[i32; LANES]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn splat_i_at(self, from: *const u8) -> Self::I {
        // SAFETY: the caller gives 4 readable bytes.
        [unsafe { from.cast::<i32>().read_unaligned() }; LANES]
    }

    #[inline(always)]
    fn dot_bf16(self, acc: Self::F, a: Self::I, b: Self::I) -> Self::F {
        // Products of two bf16 are exact in f32, so multiplying and adding apart is as good as a fused instruction.
        let upper = |pair: i32| f32::from_bits(pair as u32 & 0xffff_0000);
        let lower = |pair: i32| f32::from_bits((pair as u32) << 16);
        let mut result = acc;
        for lane in 0..LANES {
            let sum = upper(a[lane]) * upper(b[lane]) + acc[lane];
            result[lane] = lower(a[lane]) * lower(b[lane]) + sum;
        }
        result
    }

    #[inline(always)]
    fn zero_i(self) -> Self::I {
        [0; LANES]
    }

    #[inline(always)]
    fn max_abs_bits(self, acc: Self::I, a: Self::F) -> Self::I {
        let mut result = acc;
        for lane in 0..LANES {
            result[lane] = acc[lane].max((a[lane].to_bits() & 0x7fff_ffff) as i32);
        }
        result
    }

    #[inline(always)]
    fn greatest_i(self, a: Self::I) -> i32 {
        a.into_iter().fold(i32::MIN, i32::max)
    }

    #[inline(always)]
    fn to_whole(self, a: Self::F) -> Self::I {
        a.map(|a| round(a) as i32)
    }

    #[inline(always)]
    fn add_i(self, a: Self::I, b: Self::I) -> Self::I {
        let mut result = a;
        for lane in 0..LANES {
            result[lane] = a[lane].wrapping_add(b[lane]);
        }
        result
    }

    #[inline(always)]
    fn bits_i(self, a: Self::I, right: u32, mask: u32) -> Self::I {
        let mut result = a;
        for lane in 0..LANES {
            result[lane] = (a[lane] as u32 >> right & mask) as i32;
        }
        result
    }

    #[inline(always)]
    fn or_left_i(self, a: Self::I, b: Self::I, left: u32) -> Self::I {
        let mut result = a;
        for lane in 0..LANES {
            result[lane] |= b[lane] << left;
        }
        result
    }

    #[inline(always)]
    fn and_i(self, a: Self::I, b: Self::I) -> Self::I {
        let mut result = a;
        for lane in 0..LANES {
            result[lane] &= b[lane];
        }
        result
    }

    #[inline(always)]
    fn turn_bits_i(self, a: Self::I, mask: u32) -> Self::I {
        let mut result = a;
        for lane in &mut result {
            *lane ^= mask as i32;
        }
        result
    }

    #[inline(always)]
    unsafe fn store_i_at(self, a: Self::I, to: *mut u8) {
        let mut words = a;
        for word in &mut words {
            *word = word.to_le();
        }
        // SAFETY: the caller gives 64 writable bytes.
        unsafe { to.cast::<[i32; LANES]>().write_unaligned(words) }
    }

    #[inline(always)]
    fn words(self, a: Self::I) -> [u32; LANES] {
        let mut words = [0; LANES];
        for lane in 0..LANES {
            words[lane] = a[lane] as u32;
        }
        words
    }

    #[inline(always)]
    fn sum_i(self, a: Self::I) -> i32 {
        a.into_iter().fold(0, i32::wrapping_add)
    }

    #[inline(always)]
    fn low_bytes(self, a: Self::I) -> [i8; LANES] {
        a.map(|a| a as i8)
    }
}
