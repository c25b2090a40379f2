//! Sixteen lanes in two 256-bit registers.

use super::{LANES, Simd};
use std::arch::x86_64::*;

/// Proof that the machine has AVX2, FMA and F16C.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The machine must have those features.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }
}

/// Lanes i + (i+4), then +2, +1.
///
/// # Safety
/// The machine must have AVX2.
#[inline(always)]
pub(super) unsafe fn sum_eight(a: __m256) -> f32 {
    // SAFETY: the caller vouches for the feature.
    unsafe {
        let four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
    }
}

/// Each lane rounded to bf16, in its upper half.
///
/// # Safety
/// The machine must have AVX2.
#[inline(always)]
unsafe fn round_to_bf16(value: __m256) -> __m256i {
    // SAFETY: the caller vouches for the feature.
    unsafe {
        let bits = _mm256_castps_si256(value);
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
        let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
        let not_a_number = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(value, value));
        let all = _mm256_blendv_epi8(rounded, quiet, not_a_number);
        _mm256_and_si256(all, _mm256_set1_epi32(0xffff_0000u32 as i32))
    }
}

/// Calls an instruction, whose feature the token vouches for, on both halves.
macro_rules! both {
    ($name:ident, $($operand:ident),+) => {
        // SAFETY: `self` exists only on a machine that has these instructions.
        unsafe { [$name($($operand[0]),+), $name($($operand[1]),+)] }
    };
}

impl Simd for Avx2 {
    type F = [__m256; 2];
    type I = [__m256i; 2];
    const MANY_REGISTERS: bool = false;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F {
        // SAFETY: the token vouches for the instructions.
        unsafe { [_mm256_set1_ps(value); 2] }
    }

    #[inline(always)]
    unsafe fn load_at(self, from: *const f32) -> Self::F {
        // SAFETY: the caller gives 64 readable bytes.
        unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] }
    }

    #[inline(always)]
    unsafe fn store_at(self, value: Self::F, to: *mut f32) {
        // SAFETY: the caller gives 64 writable bytes.
        unsafe {
            _mm256_storeu_ps(to, value[0]);
            _mm256_storeu_ps(to.add(8), value[1]);
        }
    }

    #[inline(always)]
    unsafe fn load_f16_at(self, from: *const u8) -> Self::F {
        // SAFETY: the caller gives 32 readable bytes.
        unsafe {
            [_mm256_cvtph_ps(_mm_loadu_si128(from.cast())), _mm256_cvtph_ps(_mm_loadu_si128(from.add(16).cast()))]
        }
    }

    #[inline(always)]
    unsafe fn store_f16_at(self, value: Self::F, to: *mut u8) {
        // SAFETY: the caller gives 32 writable bytes.
        unsafe {
            _mm_storeu_si128(to.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(value[0]));
            _mm_storeu_si128(to.add(16).cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(value[1]));
        }
    }

    #[inline(always)]
    unsafe fn load_bf16_at(self, from: *const u8) -> Self::F {
        // SAFETY: the caller gives 32 readable bytes.
        unsafe {
            let low = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            let high = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.add(16).cast()));
            [_mm256_castsi256_ps(_mm256_slli_epi32::<16>(low)), _mm256_castsi256_ps(_mm256_slli_epi32::<16>(high))]
        }
    }

    #[inline(always)]
    unsafe fn store_bf16_at(self, value: Self::F, to: *mut u8) {
        // SAFETY: the token vouches for the instructions; the caller gives 32 writable bytes.
        unsafe {
            let low = _mm256_srli_epi32::<16>(round_to_bf16(value[0]));
            let high = _mm256_srli_epi32::<16>(round_to_bf16(value[1]));
            let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(low, high));
            _mm256_storeu_si256(to.cast(), packed);
        }
    }

    #[inline(always)]
    unsafe fn turn_words(self, from: *const u8, stride: usize) -> [Self::I; 4] {
        // SAFETY: the token vouches for the instructions; the caller gives 16 readable bytes of each row.
        unsafe {
            let row = |row: usize| _mm_loadu_si128(from.add(row * stride).cast());
            let two = |first: usize| _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(row(first)), row(first + 4));
            let eight = |first: usize| {
                let (a, b, c, d) = (two(first), two(first + 1), two(first + 2), two(first + 3));
                let (low, high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
                let (low_rest, high_rest) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
                [
                    _mm256_unpacklo_epi64(low, high),
                    _mm256_unpackhi_epi64(low, high),
                    _mm256_unpacklo_epi64(low_rest, high_rest),
                    _mm256_unpackhi_epi64(low_rest, high_rest),
                ]
            };
            let (lower, upper) = (eight(0), eight(8));
            [[lower[0], upper[0]], [lower[1], upper[1]], [lower[2], upper[2]], [lower[3], upper[3]]]
        }
    }

    #[inline(always)]
    unsafe fn store_bf16_pairs_at(self, lower: Self::F, upper: Self::F, to: *mut u8) {
        // SAFETY: the token vouches for the instructions; the caller gives 64 writable bytes.
        unsafe {
            for half in 0..2 {
                let low = _mm256_srli_epi32::<16>(round_to_bf16(lower[half]));
                let pairs = _mm256_or_si256(low, round_to_bf16(upper[half]));
                _mm256_storeu_si256(to.add(32 * half).cast(), pairs);
            }
        }
    }

    #[inline(always)]
    unsafe fn load_i8_at(self, from: *const i8) -> Self::F {
        // SAFETY: the caller gives 16 readable bytes.
        unsafe {
            let bytes = _mm_loadu_si128(from.cast());
            let high = _mm_srli_si128::<8>(bytes);
            [_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(high))]
        }
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_add_ps, a, b)
    }

    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_sub_ps, a, b)
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_mul_ps, a, b)
    }

    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_div_ps, a, b)
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        both!(_mm256_fmadd_ps, a, b, c)
    }

    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_max_ps, a, b)
    }

    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_min_ps, a, b)
    }

    #[inline(always)]
    fn abs(self, a: Self::F) -> Self::F {
        // SAFETY: the token vouches for the instructions.
        let signs = unsafe { [_mm256_set1_ps(-0.0); 2] };
        both!(_mm256_andnot_ps, signs, a)
    }

    #[inline(always)]
    fn round(self, a: Self::F) -> Self::F {
        // SAFETY: the token vouches for the instructions.
        unsafe {
            [
                _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a[0]),
                _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a[1]),
            ]
        }
    }

    #[inline(always)]
    fn select_less(self, a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F {
        // SAFETY: the token vouches for the instructions.
        let less = unsafe { [_mm256_cmp_ps::<_CMP_LT_OQ>(a[0], b[0]), _mm256_cmp_ps::<_CMP_LT_OQ>(a[1], b[1])] };
        both!(_mm256_blendv_ps, y, x, less)
    }

    #[inline(always)]
    fn exp2_whole(self, n: Self::F) -> Self::F {
        // SAFETY: the token vouches for the instructions.
        unsafe {
            let bias = _mm256_set1_epi32(127);
            [
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_cvttps_epi32(n[0]), bias))),
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_cvttps_epi32(n[1]), bias))),
            ]
        }
    }

    #[inline(always)]
    fn sum(self, a: Self::F) -> f32 {
        // SAFETY: the token vouches for the instructions.
        unsafe { sum_eight(_mm256_add_ps(a[0], a[1])) }
    }

    #[inline(always)]
    fn greatest(self, a: Self::F) -> f32 {
        let a = self.max(a, self.splat(f32::NEG_INFINITY));
        // SAFETY: the token vouches for the instructions.
        unsafe {
            let eight = _mm256_max_ps(a[0], a[1]);
            let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        }
    }

    #[inline(always)]
    unsafe fn load_i_at(self, from: *const u8) -> Self::I {
        // SAFETY: the caller gives 64 readable bytes.
        unsafe { [_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(32).cast())] }
    }

    #[inline(always)]
    unsafe fn splat_i_at(self, from: *const u8) -> Self::I {
        // SAFETY: the caller gives 4 readable bytes.
        unsafe { [_mm256_set1_epi32(from.cast::<i32>().read_unaligned()); 2] }
    }

    #[inline(always)]
    fn dot_bf16(self, acc: Self::F, a: Self::I, b: Self::I) -> Self::F {
        // SAFETY: the token vouches for the instructions.
        unsafe {
            let mask = _mm256_set1_epi32(0xffff_0000u32 as i32);
            let upper = |pairs: __m256i| _mm256_castsi256_ps(_mm256_and_si256(pairs, mask));
            let lower = |pairs: __m256i| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs));
            let dot = |acc: __m256, a: __m256i, b: __m256i| {
                _mm256_fmadd_ps(lower(a), lower(b), _mm256_fmadd_ps(upper(a), upper(b), acc))
            };
            [dot(acc[0], a[0], b[0]), dot(acc[1], a[1], b[1])]
        }
    }

    #[inline(always)]
    fn zero_i(self) -> Self::I {
        // SAFETY: the token vouches for the instructions.
        unsafe { [_mm256_setzero_si256(); 2] }
    }

    #[inline(always)]
    fn max_abs_bits(self, acc: Self::I, a: Self::F) -> Self::I {
        let bits = both!(_mm256_castps_si256, a);
        // SAFETY: the token vouches for the instructions.
        let mask = unsafe { [_mm256_set1_epi32(0x7fff_ffff); 2] };
        let magnitude = both!(_mm256_and_si256, bits, mask);
        both!(_mm256_max_epi32, acc, magnitude)
    }

    #[inline(always)]
    fn greatest_i(self, a: Self::I) -> i32 {
        // SAFETY: the token vouches for the instructions.
        unsafe {
            let eight = _mm256_max_epi32(a[0], a[1]);
            let four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256::<1>(eight));
            let two = _mm_max_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
            _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two)))
        }
    }

    #[inline(always)]
    fn to_whole(self, a: Self::F) -> Self::I {
        both!(_mm256_cvtps_epi32, a)
    }

    #[inline(always)]
    fn add_i(self, a: Self::I, b: Self::I) -> Self::I {
        both!(_mm256_add_epi32, a, b)
    }

    #[inline(always)]
    fn bits_i(self, a: Self::I, right: u32, mask: u32) -> Self::I {
        // SAFETY: the token vouches for the instructions.
        let (right, mask) = unsafe { (_mm_cvtsi32_si128(right as i32), _mm256_set1_epi32(mask as i32)) };
        // SAFETY: as above.
        unsafe {
            [
                _mm256_and_si256(_mm256_srl_epi32(a[0], right), mask),
                _mm256_and_si256(_mm256_srl_epi32(a[1], right), mask),
            ]
        }
    }

    #[inline(always)]
    fn or_left_i(self, a: Self::I, b: Self::I, left: u32) -> Self::I {
        // SAFETY: the token vouches for the instructions.
        unsafe {
            let left = _mm_cvtsi32_si128(left as i32);
            [_mm256_or_si256(a[0], _mm256_sll_epi32(b[0], left)), _mm256_or_si256(a[1], _mm256_sll_epi32(b[1], left))]
        }
    }

    #[inline(always)]
    fn and_i(self, a: Self::I, b: Self::I) -> Self::I {
        both!(_mm256_and_si256, a, b)
    }

    #[inline(always)]
    fn turn_bits_i(self, a: Self::I, mask: u32) -> Self::I {
        // SAFETY: the token vouches for the instructions.
        let mask = unsafe { [_mm256_set1_epi32(mask as i32); 2] };
        both!(_mm256_xor_si256, a, mask)
    }

    #[inline(always)]
    unsafe fn store_i_at(self, a: Self::I, to: *mut u8) {
        // SAFETY: the caller gives 64 writable bytes.
        unsafe {
            _mm256_storeu_si256(to.cast(), a[0]);
            _mm256_storeu_si256(to.add(32).cast(), a[1]);
        }
    }

    #[inline(always)]
    fn words(self, a: Self::I) -> [u32; LANES] {
        // SAFETY: both are 64 bytes, and any bytes are words.
        unsafe { std::mem::transmute::<[__m256i; 2], [u32; LANES]>(a) }
    }

    #[inline(always)]
    fn sum_i(self, a: Self::I) -> i32 {
        // SAFETY: the token vouches for the instructions.
        unsafe {
            let eight = _mm256_add_epi32(a[0], a[1]);
            let four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256::<1>(eight));
            let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
            _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two)))
        }
    }

    #[inline(always)]
    fn low_bytes(self, a: Self::I) -> [i8; LANES] {
        let mut lanes = [0i32; LANES];
        // SAFETY: the token vouches for the instructions; the array is 64 writable bytes.
        unsafe {
            _mm256_storeu_si256(lanes.as_mut_ptr().cast(), a[0]);
            _mm256_storeu_si256(lanes.as_mut_ptr().add(8).cast(), a[1]);
        }
        lanes.map(|lane| lane as i8)
    }
}
