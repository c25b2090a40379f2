//! Sixteen lanes in four 128-bit registers.
//!
//! Conversions from and to half precision have no stable intrinsic (they speak of a type `f16`), so they are assembly.

use super::{LANES, Simd};
use std::arch::aarch64::*;
use std::arch::asm;

/// Proof that the machine has NEON, which every aarch64 with floating point has.
#[derive(Clone, Copy)]
pub(crate) struct Neon(());

impl Neon {
    /// # Safety
    /// The machine must have NEON.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }
}

/// Calls an instruction, which the token vouches for, on all quarters.
macro_rules! quarters {
    ($name:ident, $($operand:ident),+) => {
        // SAFETY: `self` exists only on a machine that has these instructions.
        unsafe {
            [$name($($operand[0]),+), $name($($operand[1]),+), $name($($operand[2]),+), $name($($operand[3]),+)]
        }
    };
}

/// Four f16 as f32.
///
/// # Safety
/// The machine must have NEON.
#[inline(always)]
pub(crate) unsafe fn widen_halves(halves: uint16x4_t) -> float32x4_t {
    let result: float32x4_t;
    // SAFETY: an instruction of the base set, registers only.
    unsafe {
        asm!("fcvtl {0:v}.4s, {1:v}.4h", out(vreg) result, in(vreg) halves, options(pure, nomem, nostack, preserves_flags));
    }
    result
}

/// Four f32 as f16, to nearest, ties to even.
///
/// # Safety
/// The machine must have NEON.
#[inline(always)]
unsafe fn narrow_to_halves(values: float32x4_t) -> uint16x4_t {
    let result: uint16x4_t;
    // SAFETY: an instruction of the base set, registers only.
    unsafe {
        asm!("fcvtn {0:v}.4h, {1:v}.4s", out(vreg) result, in(vreg) values, options(pure, nomem, nostack, preserves_flags));
    }
    result
}

/// Each lane rounded to bf16, in its upper half.
///
/// # Safety
/// The machine must have NEON.
#[inline(always)]
unsafe fn round_to_bf16(value: float32x4_t) -> uint32x4_t {
    // SAFETY: the caller vouches for the instructions.
    unsafe {
        let bits = vreinterpretq_u32_f32(value);
        let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
        let rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
        let quiet = vorrq_u32(bits, vdupq_n_u32(0x0040_0000));
        vandq_u32(vbslq_u32(vceqq_f32(value, value), rounded, quiet), vdupq_n_u32(0xffff_0000))
    }
}

impl Simd for Neon {
    type F = [float32x4_t; 4];
    type I = [int32x4_t; 4];
    const MANY_REGISTERS: bool = false;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F {
        // SAFETY: the token vouches for the instructions.
        unsafe { [vdupq_n_f32(value); 4] }
    }

    #[inline(always)]
    unsafe fn load_at(self, from: *const f32) -> Self::F {
        // SAFETY: the caller gives 64 readable bytes; as bytes they need no alignment.
        let at = |i: usize| unsafe { vreinterpretq_f32_u8(vld1q_u8(from.cast::<u8>().add(16 * i))) };
        [at(0), at(1), at(2), at(3)]
    }

    #[inline(always)]
    unsafe fn store_at(self, value: Self::F, to: *mut f32) {
        for (i, value) in value.into_iter().enumerate() {
            // SAFETY: the caller gives 64 writable bytes.
            unsafe { vst1q_u8(to.cast::<u8>().add(16 * i), vreinterpretq_u8_f32(value)) }
        }
    }

    #[inline(always)]
    unsafe fn load_f16_at(self, from: *const u8) -> Self::F {
        // SAFETY: the caller gives 32 readable bytes.
        let at = |i: usize| unsafe { widen_halves(vreinterpret_u16_u8(vld1_u8(from.add(8 * i)))) };
        [at(0), at(1), at(2), at(3)]
    }

    #[inline(always)]
    unsafe fn store_f16_at(self, value: Self::F, to: *mut u8) {
        for (i, value) in value.into_iter().enumerate() {
            // SAFETY: the caller gives 32 writable bytes.
            unsafe { vst1_u8(to.add(8 * i), vreinterpret_u8_u16(narrow_to_halves(value))) }
        }
    }

    #[inline(always)]
    unsafe fn load_bf16_at(self, from: *const u8) -> Self::F {
        // SAFETY: the caller gives 32 readable bytes.
        let at = |i: usize| unsafe {
            vreinterpretq_f32_u32(vshll_n_u16::<16>(vreinterpret_u16_u8(vld1_u8(from.add(8 * i)))))
        };
        [at(0), at(1), at(2), at(3)]
    }

    #[inline(always)]
    unsafe fn store_bf16_at(self, value: Self::F, to: *mut u8) {
        for (i, value) in value.into_iter().enumerate() {
            // SAFETY: the caller gives 32 writable bytes.
            unsafe { vst1_u8(to.add(8 * i), vreinterpret_u8_u16(vshrn_n_u32::<16>(round_to_bf16(value)))) }
        }
    }

    #[inline(always)]
    unsafe fn store_bf16_pairs_at(self, lower: Self::F, upper: Self::F, to: *mut u8) {
        for i in 0..4 {
            // SAFETY: the caller gives 64 writable bytes.
            unsafe {
                let pairs = vsriq_n_u32::<16>(round_to_bf16(upper[i]), round_to_bf16(lower[i]));
                vst1q_u8(to.add(16 * i), vreinterpretq_u8_u32(pairs));
            }
        }
    }

    #[inline(always)]
    unsafe fn load_i8_at(self, from: *const i8) -> Self::F {
        // SAFETY: the caller gives 16 readable bytes.
        unsafe {
            let bytes = vld1q_s8(from);
            let (low, high) = (vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes));
            [
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
                vcvtq_f32_s32(vmovl_high_s16(low)),
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
                vcvtq_f32_s32(vmovl_high_s16(high)),
            ]
        }
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        quarters!(vaddq_f32, a, b)
    }

    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        quarters!(vsubq_f32, a, b)
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        quarters!(vmulq_f32, a, b)
    }

    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        quarters!(vdivq_f32, a, b)
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        quarters!(vfmaq_f32, c, a, b)
    }

    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        // `fmax` would give what is not a number where either is.
        let greater = quarters!(vcgtq_f32, a, b);
        quarters!(vbslq_f32, greater, a, b)
    }

    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        let less = quarters!(vcltq_f32, a, b);
        quarters!(vbslq_f32, less, a, b)
    }

    #[inline(always)]
    fn abs(self, a: Self::F) -> Self::F {
        quarters!(vabsq_f32, a)
    }

    #[inline(always)]
    fn round(self, a: Self::F) -> Self::F {
        quarters!(vrndnq_f32, a)
    }

    #[inline(always)]
    fn select_less(self, a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F {
        let less = quarters!(vcltq_f32, a, b);
        quarters!(vbslq_f32, less, x, y)
    }

    #[inline(always)]
    fn exp2_whole(self, n: Self::F) -> Self::F {
        let power = |n: float32x4_t| {
            // SAFETY: the token vouches for the instructions.
            unsafe { vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)))) }
        };
        n.map(power)
    }

    #[inline(always)]
    fn sum(self, a: Self::F) -> f32 {
        // SAFETY: the token vouches for the instructions.
        unsafe {
            let four = vaddq_f32(vaddq_f32(a[0], a[2]), vaddq_f32(a[1], a[3]));
            let two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
            vpadds_f32(two)
        }
    }

    #[inline(always)]
    fn greatest(self, a: Self::F) -> f32 {
        let a = self.max(a, self.splat(f32::NEG_INFINITY));
        // SAFETY: the token vouches for the instructions.
        unsafe { vmaxvq_f32(vmaxq_f32(vmaxq_f32(a[0], a[1]), vmaxq_f32(a[2], a[3]))) }
    }

    #[inline(always)]
    unsafe fn load_i_at(self, from: *const u8) -> Self::I {
        // SAFETY: the caller gives 64 readable bytes.
        let at = |i: usize| unsafe { vreinterpretq_s32_u8(vld1q_u8(from.add(16 * i))) };
        [at(0), at(1), at(2), at(3)]
    }

    #[inline(always)]
    unsafe fn splat_i_at(self, from: *const u8) -> Self::I {
        // SAFETY: the caller gives 4 readable bytes.
        unsafe { [vdupq_n_s32(from.cast::<i32>().read_unaligned()); 4] }
    }

    #[inline(always)]
    fn dot_bf16(self, acc: Self::F, a: Self::I, b: Self::I) -> Self::F {
        // `bfdot` rounds otherwise, so it is not used.
        let dot = |acc: float32x4_t, a: int32x4_t, b: int32x4_t| {
            // SAFETY: the token vouches for the instructions.
            unsafe {
                let mask = vdupq_n_s32(0xffff_0000u32 as i32);
                let upper = |pairs: int32x4_t| vreinterpretq_f32_s32(vandq_s32(pairs, mask));
                let lower = |pairs: int32x4_t| vreinterpretq_f32_s32(vshlq_n_s32::<16>(pairs));
                vfmaq_f32(vfmaq_f32(acc, upper(a), upper(b)), lower(a), lower(b))
            }
        };
        [dot(acc[0], a[0], b[0]), dot(acc[1], a[1], b[1]), dot(acc[2], a[2], b[2]), dot(acc[3], a[3], b[3])]
    }

    #[inline(always)]
    fn zero_i(self) -> Self::I {
        // SAFETY: the token vouches for the instructions.
        unsafe { [vdupq_n_s32(0); 4] }
    }

    #[inline(always)]
    fn max_abs_bits(self, acc: Self::I, a: Self::F) -> Self::I {
        // `fabs` clears the sign of whatever it is.
        let magnitude = self.abs(a);
        let bits = quarters!(vreinterpretq_s32_f32, magnitude);
        quarters!(vmaxq_s32, acc, bits)
    }

    #[inline(always)]
    fn greatest_i(self, a: Self::I) -> i32 {
        // SAFETY: the token vouches for the instructions.
        unsafe { vmaxvq_s32(vmaxq_s32(vmaxq_s32(a[0], a[1]), vmaxq_s32(a[2], a[3]))) }
    }

    #[inline(always)]
    fn to_whole(self, a: Self::F) -> Self::I {
        quarters!(vcvtnq_s32_f32, a)
    }

    #[inline(always)]
    fn add_i(self, a: Self::I, b: Self::I) -> Self::I {
        quarters!(vaddq_s32, a, b)
    }

    #[inline(always)]
    fn bits_i(self, a: Self::I, right: u32, mask: u32) -> Self::I {
        let mut out = a;
        for out in &mut out {
            // SAFETY: the token vouches for the instructions.
            *out = unsafe {
                let shifted = vshlq_u32(vreinterpretq_u32_s32(*out), vdupq_n_s32(-(right as i32)));
                vreinterpretq_s32_u32(vandq_u32(shifted, vdupq_n_u32(mask)))
            };
        }
        out
    }

    #[inline(always)]
    fn or_left_i(self, a: Self::I, b: Self::I, left: u32) -> Self::I {
        let mut out = a;
        for (out, b) in out.iter_mut().zip(b) {
            // SAFETY: the token vouches for the instructions.
            *out = unsafe { vorrq_s32(*out, vshlq_s32(b, vdupq_n_s32(left as i32))) };
        }
        out
    }

    #[inline(always)]
    fn and_i(self, a: Self::I, b: Self::I) -> Self::I {
        quarters!(vandq_s32, a, b)
    }

    #[inline(always)]
    fn turn_bits_i(self, a: Self::I, mask: u32) -> Self::I {
        // SAFETY: the token vouches for the instructions.
        let mask = unsafe { [vdupq_n_s32(mask as i32); 4] };
        quarters!(veorq_s32, a, mask)
    }

    #[inline(always)]
    unsafe fn store_i_at(self, a: Self::I, to: *mut u8) {
        for (i, a) in a.into_iter().enumerate() {
            // SAFETY: the caller gives 64 writable bytes.
            unsafe { vst1q_u8(to.add(16 * i), vreinterpretq_u8_s32(a)) };
        }
    }

    #[inline(always)]
    fn words(self, a: Self::I) -> [u32; LANES] {
        // SAFETY: both are 64 bytes, and any bytes are words.
        unsafe { std::mem::transmute::<[int32x4_t; 4], [u32; LANES]>(a) }
    }

    #[inline(always)]
    fn sum_i(self, a: Self::I) -> i32 {
        // SAFETY: the token vouches for the instructions.
        unsafe { vaddvq_s32(vaddq_s32(vaddq_s32(a[0], a[1]), vaddq_s32(a[2], a[3]))) }
    }

    #[inline(always)]
    fn low_bytes(self, a: Self::I) -> [i8; LANES] {
        let mut bytes = [0; LANES];
        // SAFETY: the token vouches for the instructions; the array is 16 writable bytes.
        unsafe {
            let low = vcombine_s16(vmovn_s32(a[0]), vmovn_s32(a[1]));
            let high = vcombine_s16(vmovn_s32(a[2]), vmovn_s32(a[3]));
            vst1q_s8(bytes.as_mut_ptr(), vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
        }
        bytes
    }
}
