//! Sixteen lanes of f32 under one trait, so that every kernel is written once and compiled for each instruction set.
//!
//! A kernel is a [`Task`]; [`dispatch`] compiles it inside a function that has the instructions enabled. The value of a
//! type that implements [`Simd`] is the proof that the machine has them. Lanes, their order and fused multiply-adds are
//! the same in AVX2, AVX-512 and NEON, so those agree bit for bit; `Portable` multiplies and adds apart where the target
//! has no fused instruction, and so agrees within rounding.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
mod portable;
pub(crate) mod read;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use portable::Portable;

use crate::Isa;

/// Lanes of a vector.
pub(crate) const LANES: usize = 16;

/// Asks for the cache line of `place`, which need not be readable.
#[inline(always)]
pub(crate) fn ask_for(place: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching reads nothing.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(place.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: prefetching reads nothing, and its intrinsic is not stable.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = place;
}

/// Sixteen lanes of f32 (`F`) or i32 (`I`).
///
/// Every method must be `#[inline(always)]`, and so must whatever lies between it and the [`Task`].
pub(crate) trait Simd: Copy {
    /// Sixteen f32.
    type F: Copy;
    /// Sixteen i32.
    type I: Copy;
    /// Whether there are 32 vector registers of 16 lanes (else about 8).
    const MANY_REGISTERS: bool;

    fn splat(self, value: f32) -> Self::F;
    /// Reads sixteen f32 at any alignment.
    ///
    /// # Safety
    /// `from` must be readable for 64 bytes.
    unsafe fn load_at(self, from: *const f32) -> Self::F;
    /// # Safety
    /// `to` must be writable for 64 bytes.
    unsafe fn store_at(self, value: Self::F, to: *mut f32);
    /// # Safety
    /// `from` must be readable for 32 bytes.
    unsafe fn load_f16_at(self, from: *const u8) -> Self::F;
    /// Rounds to nearest, ties to even.
    ///
    /// # Safety
    /// `to` must be writable for 32 bytes.
    unsafe fn store_f16_at(self, value: Self::F, to: *mut u8);
    /// # Safety
    /// `from` must be readable for 32 bytes.
    unsafe fn load_bf16_at(self, from: *const u8) -> Self::F;
    /// Rounds to nearest, ties to even; what is not a number stays so.
    ///
    /// # Safety
    /// `to` must be writable for 32 bytes.
    unsafe fn store_bf16_at(self, value: Self::F, to: *mut u8);
    /// As [`Simd::store_bf16_at`], lane by lane the lower and then the upper one.
    ///
    /// # Safety
    /// `to` must be writable for 64 bytes.
    unsafe fn store_bf16_pairs_at(self, lower: Self::F, upper: Self::F, to: *mut u8);
    /// # Safety
    /// `from` must be readable for 16 bytes.
    unsafe fn load_i8_at(self, from: *const i8) -> Self::F;

    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once where the instructions allow.
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `a > b ? a : b` (b where either is not a number).
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a < b ? a : b` (b where either is not a number).
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    fn abs(self, a: Self::F) -> Self::F;
    /// Nearest whole number, ties to even.
    fn round(self, a: Self::F) -> Self::F;
    /// `a < b ? x : y`, lane by lane.
    fn select_less(self, a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F;
    /// 2 to the power `n`, a whole number in -126 ..= 127.
    fn exp2_whole(self, n: Self::F) -> Self::F;
    /// `a` times 2 to the power `n`, as [`Simd::exp2_whole`] takes it.
    #[inline(always)]
    fn scale_whole(self, a: Self::F, n: Self::F) -> Self::F {
        self.mul(a, self.exp2_whole(n))
    }
    /// Lane i of vector j becomes lane j of vector i.
    #[inline(always)]
    fn transpose(self, rows: [Self::F; LANES]) -> [Self::F; LANES] {
        let mut numbers = [[0f32; LANES]; LANES];
        for (row, numbers) in rows.into_iter().zip(&mut numbers) {
            self.store(row, numbers);
        }
        std::array::from_fn(|i| self.load(&std::array::from_fn(|j| numbers[j][i])))
    }
    /// Four little-endian words of each of sixteen rows that begin `stride` bytes apart: word `w` of row `i` is lane `i` of `w`.
    ///
    /// # Safety
    /// Each row must be readable for 16 bytes.
    #[inline(always)]
    unsafe fn turn_words(self, from: *const u8, stride: usize) -> [Self::I; 4] {
        let mut words = [[0u32; LANES]; 4];
        for row in 0..LANES {
            // SAFETY: the caller gives so many rows of 16 bytes.
            let four = unsafe { from.add(row * stride).cast::<[u32; 4]>().read_unaligned() };
            for (words, word) in words.iter_mut().zip(four) {
                words[row] = u32::from_le(word);
            }
        }
        let [a, b, c, d] = words;
        [self.load_words(&a), self.load_words(&b), self.load_words(&c), self.load_words(&d)]
    }
    /// Sixteen words.
    #[inline(always)]
    fn load_words(self, words: &[u32; LANES]) -> Self::I {
        // SAFETY: the array is 64 readable bytes.
        unsafe { self.load_i_at(words.as_ptr().cast()) }
    }
    /// Sum of the lanes: i + (i+8), then +4, +2, +1.
    fn sum(self, a: Self::F) -> f32;
    /// The greatest lane, not looking at what is not a number.
    fn greatest(self, a: Self::F) -> f32;

    fn zero_i(self) -> Self::I;
    /// Reads sixteen i32 at any alignment.
    ///
    /// # Safety
    /// `from` must be readable for 64 bytes.
    unsafe fn load_i_at(self, from: *const u8) -> Self::I;
    /// The i32 at `from`, in every lane.
    ///
    /// # Safety
    /// `from` must be readable for 4 bytes.
    unsafe fn splat_i_at(self, from: *const u8) -> Self::I;
    /// Adds the products of pairs of bf16 to `acc`: a lane's upper ones and then its lower ones, each rounded once, as
    /// `vdpbf16ps` does. All paths give the same bits as long as nothing is below 2^-126, which the instruction takes for
    /// zero.
    fn dot_bf16(self, acc: Self::F, a: Self::I, b: Self::I) -> Self::F;
    /// Maximum of `acc` and the bits of `|a|`, as integers: orders finite < infinite < not a number.
    fn max_abs_bits(self, acc: Self::I, a: Self::F) -> Self::I;
    fn greatest_i(self, a: Self::I) -> i32;
    /// To whole numbers, nearest, ties to even.
    fn to_whole(self, a: Self::F) -> Self::I;
    fn add_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn sum_i(self, a: Self::I) -> i32;
    /// `(a >> right) & mask`, lanes without a sign, `right` below 32.
    fn bits_i(self, a: Self::I, right: u32, mask: u32) -> Self::I;
    /// `a | b << left`, `left` below 32.
    fn or_left_i(self, a: Self::I, b: Self::I, left: u32) -> Self::I;
    fn and_i(self, a: Self::I, b: Self::I) -> Self::I;
    /// Every lane with the bits of `mask` turned.
    fn turn_bits_i(self, a: Self::I, mask: u32) -> Self::I;
    /// Writes the lanes as little-endian words.
    ///
    /// # Safety
    /// `to` must be writable for 64 bytes.
    unsafe fn store_i_at(self, a: Self::I, to: *mut u8);
    /// The lanes as they are.
    fn words(self, a: Self::I) -> [u32; LANES];
    /// The low bytes of the lanes.
    fn low_bytes(self, a: Self::I) -> [i8; LANES];

    /// Reads sixteen f32.
    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Self::F {
        // SAFETY: the array is 64 readable bytes.
        unsafe { self.load_at(from.as_ptr()) }
    }

    /// Writes sixteen f32.
    #[inline(always)]
    fn store(self, value: Self::F, to: &mut [f32; LANES]) {
        // SAFETY: the array is 64 writable bytes.
        unsafe { self.store_at(value, to.as_mut_ptr()) }
    }

    /// Reads up to sixteen f32, the rest zero.
    #[inline(always)]
    fn load_part(self, from: &[f32]) -> Self::F {
        let mut padded = [0f32; LANES];
        let length = from.len().min(LANES);
        padded[..length].copy_from_slice(&from[..length]);
        self.load(&padded)
    }

    /// Writes as many lanes as there is room for.
    #[inline(always)]
    fn store_part(self, value: Self::F, to: &mut [f32]) {
        let mut padded = [0f32; LANES];
        self.store(value, &mut padded);
        let length = to.len().min(LANES);
        to[..length].copy_from_slice(&padded[..length]);
    }
}

/// Work written once for every instruction set. `run` must be `#[inline(always)]`.
pub(crate) trait Task {
    /// What it gives back.
    type Output;
    /// Does it.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Runs a task with the instructions of `isa`, or the best that the machine has.
#[inline]
pub(crate) fn dispatch<T: Task>(isa: Isa, task: T) -> T::Output {
    match isa.usable() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `usable` gives Avx512 only where the machine has every feature that the function enables.
        Isa::Avx512 => unsafe { with_avx512(task) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above, for AVX2, FMA and F16C.
        Isa::Avx2 => unsafe { with_avx2(task) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: `usable` gives these only where the machine has NEON, which the target's base set has as well.
        Isa::Neon | Isa::Dotprod | Isa::I8mm => task.run(unsafe { Neon::new() }),
        _ => task.run(Portable),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn with_avx512<T: Task>(task: T) -> T::Output {
    // SAFETY: the caller vouches for the features.
    task.run(unsafe { Avx512::<false>::new() })
}

/// As [`dispatch`], for tasks that multiply bf16: with AVX-512 BF16 where it is there.
#[inline]
pub(crate) fn dispatch_bf16<T: Task>(isa: Isa, task: T) -> T::Output {
    #[cfg(target_arch = "x86_64")]
    if isa.usable() == Isa::Avx512 && crate::isa::has_avx512_bf16() {
        // SAFETY: the machine has every feature that the function enables.
        return unsafe { with_avx512_bf16(task) };
    }
    dispatch(isa, task)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,avx2,fma,f16c")]
unsafe fn with_avx512_bf16<T: Task>(task: T) -> T::Output {
    // SAFETY: the caller vouches for the features.
    task.run(unsafe { Avx512::<true>::new() })
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn with_avx2<T: Task>(task: T) -> T::Output {
    // SAFETY: the caller vouches for the features.
    task.run(unsafe { Avx2::new() })
}

/// Nearest number of the upper half of single precision, ties to even, in the upper half; what is not a number stays so.
#[inline(always)]
pub(crate) fn round_to_bf16(value: f32) -> u32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000;
    if value.is_nan() { bits & 0xffff_0000 | 0x0040_0000 } else { rounded }
}

/// Exact value of a half-precision number.
#[inline(always)]
pub(crate) fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let exponent = u32::from(bits >> 10) & 0x1f;
    let mantissa = u32::from(bits & 0x3ff);
    // All three are made and one is taken, so that loops over halves vectorise.
    // Zero and subnormal: mantissa * 2^-24, exact in f32.
    let subnormal = (mantissa as i32 as f32 * f32::from_bits((127 - 24) << 23)).to_bits();
    // Infinite, or not a number (made quiet, as the instructions do).
    let special = 0x7f80_0000 | (mantissa << 13) | if mantissa == 0 { 0 } else { 0x0040_0000 };
    let normal = ((exponent + 127 - 15) << 23) | (mantissa << 13);
    let finite = if exponent == 0 { subnormal } else { normal };
    let magnitude = if exponent == 31 { special } else { finite };
    f32::from_bits(sign | magnitude)
}

/// Nearest half-precision number, ties to even; too great becomes infinite.
pub(crate) fn f32_to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    let half = if magnitude > 0x7f80_0000 {
        0x7e00 | ((magnitude >> 13) as u16 & 0x3ff)
    } else if magnitude >= 0x4780_0000 {
        0x7c00
    } else if magnitude < 0x3880_0000 {
        // Below 2^-14: adding 0.5 leaves the subnormal's mantissa, rounded, in the low bits.
        (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits()) as u16
    } else {
        let rounded = magnitude + 0x0fff + ((magnitude >> 13) & 1);
        ((rounded - ((127 - 15) << 23)) >> 13) as u16
    };
    sign | half
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lanes of one operation applied to two inputs.
    struct Every<'a>(&'a [f32; 16], &'a [f32; 16]);

    impl Task for Every<'_> {
        type Output = Vec<u32>;

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Vec<u32> {
            let (a, b) = (s.load(self.0), s.load(self.1));
            let whole = s.round(s.min(s.max(a, s.splat(-100.0)), s.splat(100.0)));
            let mut results = Vec::new();
            let mut note = |value| {
                let mut lanes = [0f32; 16];
                s.store(value, &mut lanes);
                results.extend(lanes.map(f32::to_bits));
            };
            for value in [s.add(a, b), s.sub(a, b), s.mul(a, b), s.div(a, b), s.max(a, b), s.min(a, b), s.abs(a)] {
                note(value);
            }
            note(s.round(a));
            note(s.select_less(a, b, a, s.splat(1.0)));
            note(s.exp2_whole(whole));
            note(s.scale_whole(a, whole));
            for row in s.transpose(std::array::from_fn(|i| s.mul(a, s.splat(self.1[i])))) {
                note(row);
            }
            let (mut halves, mut pairs) = ([0u8; 32], [0u8; 64]);
            // SAFETY: 32 bytes each way; sixteen bytes of i8.
            unsafe {
                s.store_f16_at(a, halves.as_mut_ptr());
                note(s.load_f16_at(halves.as_ptr()));
                note(s.load_bf16_at(halves.as_ptr()));
                s.store_bf16_at(a, halves.as_mut_ptr());
                note(s.load_i8_at(halves.as_ptr().cast()));
                s.store_bf16_pairs_at(a, b, pairs.as_mut_ptr());
                note(s.dot_bf16(a, s.load_i_at(pairs.as_ptr()), s.splat_i_at(pairs.as_ptr().add(8))));
            }
            for stride in [16, 3] {
                let bytes: Vec<u8> = self.0.iter().chain(self.1).flat_map(|x| x.to_le_bytes()).collect();
                let bytes = [&bytes[..], &bytes].concat();
                // SAFETY: there are 256 bytes, enough for sixteen rows 16 apart.
                let [a, b, c, d] = unsafe { s.turn_words(bytes.as_ptr(), stride) };
                results.extend(
                    [a, b, c, d, s.bits_i(a, 5, 0x0707_ff07), s.or_left_i(c, d, 9)].map(|a| s.words(a)).concat(),
                );
            }
            results.extend(halves.map(u32::from));
            results.extend(pairs.map(u32::from));
            results.push(s.sum(a).to_bits());
            results.push(s.greatest(a).to_bits());
            results.push(s.greatest_i(s.max_abs_bits(s.zero_i(), a)) as u32);
            let codes = s.to_whole(whole);
            results.push(s.sum_i(s.add_i(codes, codes)) as u32);
            results.extend(s.low_bytes(codes).map(|byte| byte as u32));
            results
        }
    }

    fn check(a: &[f32; 16], b: &[f32; 16]) {
        let expected = dispatch(Isa::Portable, Every(a, b));
        for &isa in Isa::available() {
            assert_eq!(dispatch(isa, Every(a, b)), expected, "{} on {a:?} and {b:?}", isa.name());
        }
    }

    #[test]
    fn every_instruction_set_agrees_with_the_portable_lanes() {
        let mut state = 7u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from_bits(((state >> 9) & 0x807f_ffff) | ((100 + (state >> 3) % 40) << 23))
                * if state & 64 == 0 { 1.0 } else { -1.0 }
        };
        for _ in 0..200 {
            check(&std::array::from_fn(|_| next()), &std::array::from_fn(|_| next()));
        }
        let odd =
            [0.0, -0.0, 0.5, 1.5, -2.5, 65504.0, 65520.0, 1e-8, -6e-8, 3e-5, 127.0, -127.49, 88.5, -1e9, 1e9, 2.0];
        check(&odd, &[1.0; 16]);
    }

    struct Dot<'a>(&'a [f32; 16], &'a [u32; 16], &'a [u32; 16]);

    impl Task for Dot<'_> {
        type Output = [f32; 16];

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> [f32; 16] {
            let mut out = [0f32; 16];
            // SAFETY: 64 bytes each.
            let (a, b) = unsafe { (s.load_i_at(self.1.as_ptr().cast()), s.load_i_at(self.2.as_ptr().cast())) };
            s.store(s.dot_bf16(s.load(self.0), a, b), &mut out);
            out
        }
    }

    /// What `vdpbf16ps` does to a lane.
    fn twin(acc: f32, a: u32, b: u32) -> f32 {
        let flush = |x: f32| if x.abs() < f32::MIN_POSITIVE { 0f32.copysign(x) } else { x };
        let number = |bits: u32| flush(f32::from_bits(bits & 0xffff_0000));
        let sum = flush(number(a).mul_add(number(b), flush(acc)));
        flush(number(a << 16).mul_add(number(b << 16), sum))
    }

    #[test]
    fn the_instruction_on_bf16_has_a_scalar_twin() {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 32) as u32
        };
        // Exponents near each other, over a wide range, near the smallest, and all of them with what is not finite.
        for (least, span) in [(123, 8), (107, 40), (0, 80), (0, 256)] {
            let mut half = |wide: bool| {
                let (bits, exponent) = (next(), least + next() % span);
                bits & 0x8000_0000 | exponent << 23 | bits & if wide { 0x007f_ffff } else { 0x007f_0000 }
            };
            for _ in 0..2000 {
                let acc: [f32; 16] = std::array::from_fn(|_| f32::from_bits(half(true)));
                let mut pairs = || std::array::from_fn(|_| half(false) | half(false) >> 16);
                let (a, b): ([u32; 16], [u32; 16]) = (pairs(), pairs());
                let check = |found: [f32; 16], what: &str| {
                    for lane in 0..16 {
                        let (found, expected) = (found[lane], twin(acc[lane], a[lane], b[lane]));
                        let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
                        let operands = (acc[lane], a[lane], b[lane]);
                        assert!(same, "{found} for {expected} of {operands:x?} on {what}");
                    }
                };
                #[cfg(target_arch = "x86_64")]
                if crate::isa::has_avx512_bf16() {
                    check(dispatch_bf16(Isa::Avx512, Dot(&acc, &a, &b)), "avx512bf16");
                }
                if least > 0 {
                    for &isa in Isa::available() {
                        check(dispatch(isa, Dot(&acc, &a, &b)), isa.name());
                    }
                }
            }
        }
    }

    #[test]
    fn halves_round_to_even_and_back() {
        for bits in 0..=u16::MAX {
            let value = f16_to_f32(bits);
            if !value.is_nan() {
                assert_eq!(f32_to_f16(value), bits);
            }
        }
        for (value, expected) in [
            (65519.9, 0x7bff),
            (65520.0, 0x7c00),
            (f32::INFINITY, 0x7c00),
            (2f32.powi(-25), 0),
            (2f32.powi(-25) * 1.01, 1),
        ] {
            assert_eq!(f32_to_f16(value), expected, "{value}");
        }
        assert!(f16_to_f32(f32_to_f16(f32::NAN)).is_nan());
    }
}
