//! What the machine can do at best, measured: the yardsticks that speeds are held against.

use crate::buffer::{Buffer, Shared};
use crate::simd::ask_for;
use crate::{Isa, Pool};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Bytes that are read to measure bandwidth: more than any cache of a small machine holds.
const READ_BYTES: usize = 256 << 20;
/// Bytes that a thread reads in a row.
const PIECE_BYTES: usize = 1 << 20;
/// How often at most, and for how long; the best counts, since everything else only takes away from it.
const TIMES: usize = 8;
const TIME: Duration = Duration::from_millis(500);

/// The best of several tries, as work a second.
fn best(work: f64, mut once: impl FnMut()) -> f64 {
    let begin = Instant::now();
    let mut best = 0f64;
    for number in 0..TIMES {
        if number > 0 && begin.elapsed() > TIME {
            break;
        }
        let start = Instant::now();
        once();
        best = best.max(work / start.elapsed().as_secs_f64().max(1e-9));
    }
    best
}

/// Bytes ahead of those being added up that are asked for.
const AHEAD: usize = 4096;

/// Bytes a second that the pool's threads read from memory, all together: memory of the kind that weights lie in, asked for
/// ahead as products of one row ask for it. Takes up to half a second and 256 MiB; 0 where there are no 256 MiB.
pub fn read_bandwidth(pool: &Pool) -> f64 {
    let Ok(mut memory) = Buffer::huge(READ_BYTES, "memory to read from") else { return 0.0 };
    let places = Shared::new(memory.as_mut());
    pool.pieces(READ_BYTES / PIECE_BYTES, |piece| {
        // SAFETY: pieces are apart and inside the memory, which is borrowed.
        unsafe { places.part(piece * PIECE_BYTES, PIECE_BYTES) }.fill(1);
    });
    let pieces: Vec<&[u8]> = memory.as_ref().chunks(PIECE_BYTES).collect();
    best(READ_BYTES as f64, || {
        pool.pieces(pieces.len(), |piece| {
            black_box(sum(pieces.get(piece).copied().unwrap_or_default()));
        });
    })
}

/// Adds in many lanes, so that the addition does not hold the reading up.
fn sum(bytes: &[u8]) -> u64 {
    let mut lanes = [0u64; 32];
    let (numbers, _) = bytes.as_chunks::<8>();
    let (chunks, _) = numbers.as_chunks::<32>();
    for chunk in chunks {
        for line in 0..size_of_val(chunk) / 64 {
            ask_for(chunk.as_ptr().cast::<u8>().wrapping_add(AHEAD + 64 * line));
        }
        for (lane, number) in lanes.iter_mut().zip(chunk) {
            *lane = lane.wrapping_add(u64::from_ne_bytes(*number));
        }
    }
    lanes.iter().fold(0, |sum, lane| sum.wrapping_add(*lane))
}

/// Rounds of twelve dot-product instructions that one try takes a thread through: a few milliseconds.
const ROUNDS: usize = 1 << 20;

/// Multiplications and additions of int8 a second that the pool's threads do in registers, all together: `vpdpbusd`, `smmla` or
/// `sdot` where there is one (64 or 32, 32, and 16 multiplications and as many additions). `None` where there is none.
pub fn int8_peak(pool: &Pool, isa: Isa) -> Option<f64> {
    let (run, bytes) = dot_products(isa)?;
    let work = (2 * bytes * CHAINS * ROUNDS * pool.threads()) as f64;
    Some(best(work, || pool.run(|_| run(ROUNDS))))
}

/// What goes through so many rounds of dot products, and how many products each of its instructions has.
#[cfg(target_arch = "x86_64")]
fn dot_products(isa: Isa) -> Option<(fn(usize), usize)> {
    match isa.usable() {
        // SAFETY: `usable` found AVX-512 F and VNNI.
        Isa::Avx512 => Some((|rounds| unsafe { vnni::rounds_512(rounds) }, 64)),
        // SAFETY: AVX-VNNI was found just now.
        Isa::Avx2 if crate::isa::has_avx_vnni() => Some((|rounds| unsafe { vnni::rounds_256(rounds) }, 32)),
        _ => None,
    }
}

#[cfg(target_arch = "aarch64")]
fn dot_products(isa: Isa) -> Option<(fn(usize), usize)> {
    match isa.usable() {
        // SAFETY: `usable` found FEAT_I8MM.
        Isa::I8mm => Some((|rounds| unsafe { products::matrices(rounds) }, 32)),
        // SAFETY: `usable` found FEAT_DotProd.
        Isa::Dotprod => Some((|rounds| unsafe { products::dots(rounds) }, 16)),
        _ => None,
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn dot_products(_: Isa) -> Option<(fn(usize), usize)> {
    None
}

/// The fastest products of floats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FloatPeak {
    /// Multiplications and additions a second.
    pub flops: f64,
    /// What is multiplied: `bf16`, added up in f32, where the processor has an instruction for that, else `f32`.
    pub of: &'static str,
}

/// Multiplications and additions of floats a second that the pool's threads do in registers, all together: `vdpbf16ps`, or fused
/// multiply-adds of f32. `None` on a processor whose instructions are not known here.
pub fn float_peak(pool: &Pool, isa: Isa) -> Option<FloatPeak> {
    Some(peak_of(pool, float_products(isa)?))
}

/// As [`float_peak`], of f32 whatever else there is.
pub fn f32_peak(pool: &Pool, isa: Isa) -> Option<FloatPeak> {
    Some(peak_of(pool, f32_products(isa)?))
}

fn peak_of(pool: &Pool, (run, products, of): FloatProducts) -> FloatPeak {
    let work = (2 * products * CHAINS * ROUNDS * pool.threads()) as f64;
    FloatPeak { flops: best(work, || pool.run(|_| run(ROUNDS))), of }
}

/// What goes through so many rounds of products, how many each of its instructions has, and of what.
type FloatProducts = (fn(usize), usize, &'static str);

/// The fastest of floats.
fn float_products(isa: Isa) -> Option<FloatProducts> {
    #[cfg(target_arch = "x86_64")]
    if isa.usable() == Isa::Avx512 && crate::isa::has_avx512_bf16() {
        // SAFETY: AVX-512 F and its BF16 were found just now.
        return Some((|rounds| unsafe { fused::bf16(rounds) }, 32, "bf16"));
    }
    f32_products(isa)
}

/// Those of f32.
#[cfg(target_arch = "x86_64")]
fn f32_products(isa: Isa) -> Option<FloatProducts> {
    match isa.usable() {
        // SAFETY: `usable` found AVX-512 F.
        Isa::Avx512 => Some((|rounds| unsafe { fused::sixteen(rounds) }, 16, "f32")),
        // SAFETY: `usable` found AVX2 and FMA.
        Isa::Avx2 => Some((|rounds| unsafe { fused::eight(rounds) }, 8, "f32")),
        _ => None,
    }
}

#[cfg(target_arch = "aarch64")]
fn f32_products(isa: Isa) -> Option<FloatProducts> {
    // SAFETY: `usable` found NEON.
    (isa.usable() != Isa::Portable).then_some((|rounds| unsafe { products::fused(rounds) }, 4, "f32"))
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn f32_products(_: Isa) -> Option<FloatProducts> {
    None
}

/// Sums that do not wait for each other: more than the instruction's latency times its throughput.
const CHAINS: usize = 12;

#[cfg(target_arch = "x86_64")]
mod vnni {
    use super::CHAINS;
    use std::arch::x86_64::*;
    use std::hint::black_box;

    /// # Safety
    /// The machine must have AVX-512 F and VNNI.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) unsafe fn rounds_512(rounds: usize) {
        let (a, b) = (black_box(_mm512_set1_epi8(3)), black_box(_mm512_set1_epi8(-5)));
        let mut sums = [_mm512_setzero_si512(); CHAINS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, a, b);
            }
        }
        black_box(sums);
    }

    /// # Safety
    /// The machine must have AVX-VNNI.
    #[target_feature(enable = "avx2,avxvnni")]
    pub(super) unsafe fn rounds_256(rounds: usize) {
        let (a, b) = (black_box(_mm256_set1_epi8(3)), black_box(_mm256_set1_epi8(-5)));
        let mut sums = [_mm256_setzero_si256(); CHAINS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_dpbusd_avx_epi32(*sum, a, b);
            }
        }
        black_box(sums);
    }
}

#[cfg(target_arch = "x86_64")]
mod fused {
    use super::CHAINS;
    use std::arch::x86_64::*;
    use std::hint::black_box;

    macro_rules! rounds {
        ($(#[$doc:meta])* $name:ident, $features:literal, $factor:expr, $zero:expr, $multiply:ident($($order:tt),*)) => {
            $(#[$doc])*
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $name(rounds: usize) {
                let (a, b) = (black_box($factor), black_box($factor));
                let mut sums = black_box([$zero; CHAINS]);
                for _ in 0..rounds {
                    for sum in &mut sums {
                        *sum = rounds!(@call $multiply, a, b, *sum, $($order),*);
                    }
                }
                black_box(sums);
            }
        };
        (@call $multiply:ident, $a:expr, $b:expr, $sum:expr, sum, a, b) => { $multiply($sum, $a, $b) };
        (@call $multiply:ident, $a:expr, $b:expr, $sum:expr, a, b, sum) => { $multiply($a, $b, $sum) };
    }

    rounds!(
        /// # Safety
        /// The machine must have AVX-512 F and BF16.
        bf16,
        "avx512f,avx512bf16",
        _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5), _mm512_set1_ps(0.5)),
        _mm512_setzero_ps(),
        _mm512_dpbf16_ps(sum, a, b)
    );
    rounds!(
        /// # Safety
        /// The machine must have AVX-512 F.
        sixteen,
        "avx512f",
        _mm512_set1_ps(0.5),
        _mm512_setzero_ps(),
        _mm512_fmadd_ps(a, b, sum)
    );
    rounds!(
        /// # Safety
        /// The machine must have AVX2 and FMA.
        eight,
        "avx2,fma",
        _mm256_set1_ps(0.5),
        _mm256_setzero_ps(),
        _mm256_fmadd_ps(a, b, sum)
    );
}

#[cfg(target_arch = "aarch64")]
mod products {
    use super::CHAINS;
    use std::arch::aarch64::*;
    use std::arch::asm;
    use std::hint::black_box;

    macro_rules! rounds {
        ($(#[$doc:meta])* $name:ident, $features:literal, $instruction:literal) => {
            $(#[$doc])*
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $name(rounds: usize) {
                let (a, b) = (black_box(vdupq_n_s8(3)), black_box(vdupq_n_s8(-5)));
                let mut sums = [vdupq_n_s32(0); CHAINS];
                for _ in 0..rounds {
                    for sum in &mut sums {
                        // SAFETY: the caller vouches for the instruction; registers only.
                        unsafe {
                            asm!(
                                concat!($instruction, " {0:v}.4s, {1:v}.16b, {2:v}.16b"),
                                inout(vreg) *sum, in(vreg) a, in(vreg) b,
                                options(pure, nomem, nostack, preserves_flags),
                            );
                        }
                    }
                }
                black_box(sums);
            }
        };
    }

    /// # Safety
    /// The machine must have NEON.
    #[target_feature(enable = "neon")]
    pub(super) unsafe fn fused(rounds: usize) {
        let (a, b) = (black_box(vdupq_n_f32(0.5)), black_box(vdupq_n_f32(0.5)));
        let mut sums = black_box([vdupq_n_f32(0.0); CHAINS]);
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = vfmaq_f32(*sum, a, b);
            }
        }
        black_box(sums);
    }

    rounds!(
        /// # Safety
        /// The machine must have FEAT_DotProd.
        dots,
        "neon,dotprod",
        "sdot"
    );
    rounds!(
        /// # Safety
        /// The machine must have FEAT_I8MM.
        matrices,
        "neon,i8mm",
        "smmla"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_numbers_where_there_are_any() {
        let pool = Pool::new(2);
        assert!(read_bandwidth(&pool) > 0.0);
        for &isa in Isa::available() {
            assert!(int8_peak(&pool, isa).is_none_or(|peak| peak > 0.0), "{}", isa.name());
        }
        for &isa in Isa::available() {
            assert!(float_peak(&pool, isa).is_none_or(|peak| peak.flops > 0.0), "{}", isa.name());
            assert!(f32_peak(&pool, isa).is_none_or(|peak| peak.flops > 0.0 && peak.of == "f32"), "{}", isa.name());
        }
        assert_eq!((int8_peak(&pool, Isa::Portable), float_peak(&pool, Isa::Portable)), (None, None));
    }
}
