//! Sixteen lanes in one 512-bit register.

use super::{LANES, Simd};
use std::arch::x86_64::*;

/// Proof that the machine has AVX-512 F, BW, DQ, VL and VNNI, with AVX2, FMA and F16C, and (where `BF16` says so) BF16.
#[derive(Clone, Copy)]
pub(crate) struct Avx512<const BF16: bool>(());

/// Each lane rounded to bf16, in its upper half (the rest is not cleared).
///
/// # Safety
/// The machine must have AVX-512 F.
#[inline(always)]
unsafe fn round_to_bf16(value: __m512) -> __m512i {
    // SAFETY: the caller vouches for the feature.
    unsafe {
        let bits = _mm512_castps_si512(value);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
        let not_a_number = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(value, value);
        _mm512_mask_or_epi32(rounded, not_a_number, bits, _mm512_set1_epi32(0x0040_0000))
    }
}

impl<const BF16: bool> Avx512<BF16> {
    /// # Safety
    /// The machine must have those features.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }
}

/// Calls an instruction whose feature the token vouches for.
macro_rules! with_token {
    ($call:expr) => {
        // SAFETY: `self` exists only on a machine that has these instructions.
        unsafe { $call }
    };
}

impl<const BF16: bool> Simd for Avx512<BF16> {
    type F = __m512;
    type I = __m512i;
    const MANY_REGISTERS: bool = true;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F {
        with_token!(_mm512_set1_ps(value))
    }

    #[inline(always)]
    unsafe fn load_at(self, from: *const f32) -> Self::F {
        // SAFETY: the caller gives 64 readable bytes.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store_at(self, value: Self::F, to: *mut f32) {
        // SAFETY: the caller gives 64 writable bytes.
        unsafe { _mm512_storeu_ps(to, value) }
    }

    #[inline(always)]
    unsafe fn load_f16_at(self, from: *const u8) -> Self::F {
        // SAFETY: the caller gives 32 readable bytes.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }

    #[inline(always)]
    unsafe fn store_f16_at(self, value: Self::F, to: *mut u8) {
        // SAFETY: the caller gives 32 writable bytes.
        unsafe { _mm256_storeu_si256(to.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(value)) }
    }

    #[inline(always)]
    unsafe fn load_bf16_at(self, from: *const u8) -> Self::F {
        // SAFETY: the caller gives 32 readable bytes.
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }

    #[inline(always)]
    unsafe fn store_bf16_at(self, value: Self::F, to: *mut u8) {
        // SAFETY: the token vouches for the instructions; the caller gives 32 writable bytes.
        unsafe {
            let upper = _mm512_srli_epi32::<16>(round_to_bf16(value));
            _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(upper));
        }
    }

    #[inline(always)]
    unsafe fn turn_words(self, from: *const u8, stride: usize) -> [Self::I; 4] {
        // SAFETY: the token vouches for the instructions; the caller gives 16 readable bytes of each row.
        unsafe {
            let row = |row: usize| _mm_loadu_si128(from.add(row * stride).cast());
            // Every fourth row, from a first on.
            let four = |first: usize| {
                let low = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(row(first)), row(first + 4));
                let high = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(row(first + 8)), row(first + 12));
                _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
            };
            let (a, b, c, d) = (four(0), four(1), four(2), four(3));
            let (low, high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
            let (low_rest, high_rest) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
            [
                _mm512_unpacklo_epi64(low, high),
                _mm512_unpackhi_epi64(low, high),
                _mm512_unpacklo_epi64(low_rest, high_rest),
                _mm512_unpackhi_epi64(low_rest, high_rest),
            ]
        }
    }

    #[inline(always)]
    unsafe fn store_bf16_pairs_at(self, lower: Self::F, upper: Self::F, to: *mut u8) {
        // SAFETY: the token vouches for the instructions; the caller gives 64 writable bytes.
        unsafe {
            let lower = _mm512_srli_epi32::<16>(round_to_bf16(lower));
            let pairs = _mm512_mask_blend_epi16(0xaaaa_aaaa, lower, round_to_bf16(upper));
            _mm512_storeu_si512(to.cast(), pairs);
        }
    }

    #[inline(always)]
    unsafe fn load_i8_at(self, from: *const i8) -> Self::F {
        // SAFETY: the caller gives 16 readable bytes.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))) }
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        with_token!(_mm512_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        with_token!(_mm512_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        with_token!(_mm512_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        with_token!(_mm512_div_ps(a, b))
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        with_token!(_mm512_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        with_token!(_mm512_max_ps(a, b))
    }

    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        with_token!(_mm512_min_ps(a, b))
    }

    #[inline(always)]
    fn abs(self, a: Self::F) -> Self::F {
        with_token!(_mm512_abs_ps(a))
    }

    #[inline(always)]
    fn round(self, a: Self::F) -> Self::F {
        with_token!(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a))
    }

    #[inline(always)]
    fn select_less(self, a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F {
        with_token!(_mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y, x))
    }

    #[inline(always)]
    fn exp2_whole(self, n: Self::F) -> Self::F {
        with_token!({
            let biased = _mm512_add_epi32(_mm512_cvttps_epi32(n), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased))
        })
    }

    #[inline(always)]
    fn scale_whole(self, a: Self::F, n: Self::F) -> Self::F {
        with_token!(_mm512_scalef_ps(a, n))
    }

    #[inline(always)]
    fn transpose(self, r: [Self::F; LANES]) -> [Self::F; LANES] {
        with_token!({
            // Pairs, then fours of lanes inside each quarter, then quarters among vectors.
            let mut fours = [_mm512_setzero_pd(); LANES];
            for i in [0, 4, 8, 12] {
                let a = _mm512_castps_pd(_mm512_unpacklo_ps(r[i], r[i + 1]));
                let b = _mm512_castps_pd(_mm512_unpacklo_ps(r[i + 2], r[i + 3]));
                let c = _mm512_castps_pd(_mm512_unpackhi_ps(r[i], r[i + 1]));
                let d = _mm512_castps_pd(_mm512_unpackhi_ps(r[i + 2], r[i + 3]));
                fours[i] = _mm512_unpacklo_pd(a, b);
                fours[i + 1] = _mm512_unpackhi_pd(a, b);
                fours[i + 2] = _mm512_unpacklo_pd(c, d);
                fours[i + 3] = _mm512_unpackhi_pd(c, d);
            }
            let mut turned = [_mm512_setzero_ps(); LANES];
            for i in 0..4 {
                let (a, b) = (_mm512_castpd_ps(fours[i]), _mm512_castpd_ps(fours[i + 4]));
                let (c, d) = (_mm512_castpd_ps(fours[i + 8]), _mm512_castpd_ps(fours[i + 12]));
                let (e, f) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0x88>(c, d));
                let (g, h) = (_mm512_shuffle_f32x4::<0xdd>(a, b), _mm512_shuffle_f32x4::<0xdd>(c, d));
                turned[i] = _mm512_shuffle_f32x4::<0x88>(e, f);
                turned[i + 8] = _mm512_shuffle_f32x4::<0xdd>(e, f);
                turned[i + 4] = _mm512_shuffle_f32x4::<0x88>(g, h);
                turned[i + 12] = _mm512_shuffle_f32x4::<0xdd>(g, h);
            }
            turned
        })
    }

    #[inline(always)]
    fn sum(self, a: Self::F) -> f32 {
        with_token!({
            let eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
            super::avx2::sum_eight(eight)
        })
    }

    #[inline(always)]
    fn greatest(self, a: Self::F) -> f32 {
        let a = self.max(a, self.splat(f32::NEG_INFINITY));
        with_token!(_mm512_reduce_max_ps(a))
    }

    #[inline(always)]
    unsafe fn load_i_at(self, from: *const u8) -> Self::I {
        // SAFETY: the caller gives 64 readable bytes.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn splat_i_at(self, from: *const u8) -> Self::I {
        // SAFETY: the caller gives 4 readable bytes.
        unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    fn dot_bf16(self, acc: Self::F, a: Self::I, b: Self::I) -> Self::F {
        with_token!({
            if BF16 {
                // Sixteen pairs, whatever the name of the type.
                let pairs = |pairs: __m512i| std::mem::transmute::<__m512i, __m512bh>(pairs);
                _mm512_dpbf16_ps(acc, pairs(a), pairs(b))
            } else {
                let mask = _mm512_set1_epi32(0xffff_0000u32 as i32);
                let upper = |pairs: __m512i| _mm512_castsi512_ps(_mm512_and_si512(pairs, mask));
                let lower = |pairs: __m512i| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs));
                _mm512_fmadd_ps(lower(a), lower(b), _mm512_fmadd_ps(upper(a), upper(b), acc))
            }
        })
    }

    #[inline(always)]
    fn zero_i(self) -> Self::I {
        with_token!(_mm512_setzero_si512())
    }

    #[inline(always)]
    fn max_abs_bits(self, acc: Self::I, a: Self::F) -> Self::I {
        with_token!(_mm512_max_epi32(acc, _mm512_castps_si512(_mm512_abs_ps(a))))
    }

    #[inline(always)]
    fn greatest_i(self, a: Self::I) -> i32 {
        with_token!(_mm512_reduce_max_epi32(a))
    }

    #[inline(always)]
    fn to_whole(self, a: Self::F) -> Self::I {
        with_token!(_mm512_cvtps_epi32(a))
    }

    #[inline(always)]
    fn add_i(self, a: Self::I, b: Self::I) -> Self::I {
        with_token!(_mm512_add_epi32(a, b))
    }

    #[inline(always)]
    fn bits_i(self, a: Self::I, right: u32, mask: u32) -> Self::I {
        let right = with_token!(_mm512_srl_epi32(a, _mm_cvtsi32_si128(right as i32)));
        with_token!(_mm512_and_si512(right, _mm512_set1_epi32(mask as i32)))
    }

    #[inline(always)]
    fn or_left_i(self, a: Self::I, b: Self::I, left: u32) -> Self::I {
        with_token!(_mm512_or_si512(a, _mm512_sll_epi32(b, _mm_cvtsi32_si128(left as i32))))
    }

    #[inline(always)]
    fn and_i(self, a: Self::I, b: Self::I) -> Self::I {
        with_token!(_mm512_and_si512(a, b))
    }

    #[inline(always)]
    fn turn_bits_i(self, a: Self::I, mask: u32) -> Self::I {
        with_token!(_mm512_xor_si512(a, _mm512_set1_epi32(mask as i32)))
    }

    #[inline(always)]
    unsafe fn store_i_at(self, a: Self::I, to: *mut u8) {
        // SAFETY: the caller gives 64 writable bytes.
        unsafe { _mm512_storeu_si512(to.cast(), a) }
    }

    #[inline(always)]
    fn words(self, a: Self::I) -> [u32; LANES] {
        // SAFETY: both are 64 bytes, and any bytes are words.
        unsafe { std::mem::transmute::<__m512i, [u32; LANES]>(a) }
    }

    #[inline(always)]
    fn sum_i(self, a: Self::I) -> i32 {
        with_token!(_mm512_reduce_add_epi32(a))
    }

    #[inline(always)]
    fn low_bytes(self, a: Self::I) -> [i8; LANES] {
        let mut bytes = [0i8; LANES];
        // SAFETY: the token vouches for the instructions; the array is 16 writable bytes.
        unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(a)) }
        bytes
    }
}
