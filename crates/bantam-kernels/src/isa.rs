//! Which instructions the kernels may use, found out once at run time.

use std::sync::OnceLock;

/// An instruction set that the kernels have a path for; those of one architecture from the least to the most able.
///
/// Asking for more than the machine has is safe: every kernel lowers the request to what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Plain Rust, vectorised by the compiler for the target's base instructions. (In WebAssembly with simd128, products of block
    /// formats by its instructions, with the bits of plain Rust.)
    Portable,
    /// x86-64 with AVX2, FMA and F16C (AVX-VNNI is used where it is there).
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ, VL and VNNI.
    Avx512,
    /// aarch64 with NEON.
    Neon,
    /// aarch64 with sums of four products of bytes (`sdot`, FEAT_DotProd).
    Dotprod,
    /// aarch64 with those and products of matrices of bytes (`smmla`, FEAT_I8MM).
    I8mm,
}

/// All of them, ascending.
const ALL: [Isa; 6] = [Isa::Portable, Isa::Avx2, Isa::Avx512, Isa::Neon, Isa::Dotprod, Isa::I8mm];

impl Isa {
    /// The best set of this machine, lowered by the environment variable `BANTAM_ISA` ([`Isa::name`]).
    pub fn detect() -> Self {
        static DETECTED: OnceLock<Isa> = OnceLock::new();
        *DETECTED.get_or_init(|| {
            let asked = std::env::var("BANTAM_ISA").ok().and_then(|name| Self::from_name(&name));
            asked.unwrap_or(Self::I8mm).usable()
        })
    }

    /// Every set that this machine has, ascending, whatever the environment says.
    pub fn available() -> &'static [Self] {
        static AVAILABLE: OnceLock<&'static [Isa]> = OnceLock::new();
        AVAILABLE.get_or_init(machine)
    }

    /// This set, or the best that the machine has where that is less; plain Rust for one of another architecture, unless it
    /// comes after all that this machine has.
    pub fn usable(self) -> Self {
        Self::available().iter().copied().rfind(|isa| *isa <= self).unwrap_or(Self::Portable)
    }

    /// Name as `BANTAM_ISA` spells it: `portable`, `avx2`, `avx512`, `neon`, `dotprod`, `i8mm`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
            Self::Dotprod => "dotprod",
            Self::I8mm => "i8mm",
        }
    }

    /// The set of that name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        ALL.into_iter().find(|isa| isa.name().eq_ignore_ascii_case(name))
    }
}

/// Whether 256-bit `vpdpbusd` (AVX-VNNI) is there.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx_vnni() -> bool {
    is_x86_feature_detected!("avxvnni")
}

/// Whether `vdpbf16ps` (AVX-512 BF16) is there.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx512_bf16() -> bool {
    is_x86_feature_detected!("avx512bf16")
}

#[cfg(target_arch = "x86_64")]
fn machine() -> &'static [Isa] {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni");
    match (avx2, avx512) {
        (true, true) => &[Isa::Portable, Isa::Avx2, Isa::Avx512],
        (true, false) => &[Isa::Portable, Isa::Avx2],
        (false, _) => &[Isa::Portable],
    }
}

#[cfg(target_arch = "aarch64")]
fn machine() -> &'static [Isa] {
    use std::arch::is_aarch64_feature_detected as detected;
    match (detected!("neon"), detected!("dotprod"), detected!("i8mm")) {
        (true, true, true) => &[Isa::Portable, Isa::Neon, Isa::Dotprod, Isa::I8mm],
        (true, true, false) => &[Isa::Portable, Isa::Neon, Isa::Dotprod],
        (true, false, _) => &[Isa::Portable, Isa::Neon],
        (false, ..) => &[Isa::Portable],
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn machine() -> &'static [Isa] {
    &[Isa::Portable]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for isa in ALL {
            assert_eq!(Isa::from_name(&isa.name().to_uppercase()), Some(isa));
        }
        assert_eq!(Isa::from_name("sse9"), None);
    }

    #[test]
    fn no_request_exceeds_the_machine() {
        let best = *Isa::available().last().expect("portable is always there");
        assert_eq!(Isa::I8mm.usable(), best);
        assert_eq!(Isa::Portable.usable(), Isa::Portable);
        assert!(Isa::detect() <= best);
        for isa in ALL {
            assert!(Isa::available().contains(&isa.usable()), "{}", isa.name());
        }
    }
}
