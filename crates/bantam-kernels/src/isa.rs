//! Which instructions the kernels may use, found out once at run time.

use std::sync::OnceLock;

/// An instruction set that the kernels have a path for, from the least to the most able.
///
/// Asking for more than the machine has is safe: every kernel lowers the request to what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Plain Rust, vectorised by the compiler for the target's base instructions.
    Portable,
    /// x86-64 with AVX2, FMA and F16C (AVX-VNNI is used where it is there).
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ, VL and VNNI.
    Avx512,
}

impl Isa {
    /// The best set of this machine, lowered by the environment variable `BANTAM_ISA` (`portable`, `avx2`, `avx512`).
    pub fn detect() -> Self {
        static DETECTED: OnceLock<Isa> = OnceLock::new();
        *DETECTED.get_or_init(|| {
            let asked = std::env::var("BANTAM_ISA").ok().and_then(|name| Self::from_name(&name));
            asked.unwrap_or(Self::Avx512).usable()
        })
    }

    /// Every set that this machine has, ascending, whatever the environment says.
    pub fn available() -> &'static [Self] {
        match machine() {
            Self::Portable => &[Self::Portable],
            Self::Avx2 => &[Self::Portable, Self::Avx2],
            Self::Avx512 => &[Self::Portable, Self::Avx2, Self::Avx512],
        }
    }

    /// This set, or the best that the machine has where that is less.
    pub fn usable(self) -> Self {
        self.min(machine())
    }

    /// Name as `BANTAM_ISA` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// The set of that name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Portable, Self::Avx2, Self::Avx512].into_iter().find(|isa| isa.name().eq_ignore_ascii_case(name))
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

fn machine() -> Isa {
    static MACHINE: OnceLock<Isa> = OnceLock::new();
    *MACHINE.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 =
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni");
            match (avx2, avx512) {
                (true, true) => Isa::Avx512,
                (true, false) => Isa::Avx2,
                (false, _) => Isa::Portable,
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            Isa::Portable
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for isa in [Isa::Portable, Isa::Avx2, Isa::Avx512] {
            assert_eq!(Isa::from_name(&isa.name().to_uppercase()), Some(isa));
        }
        assert_eq!(Isa::from_name("sse9"), None);
    }

    #[test]
    fn no_request_exceeds_the_machine() {
        let best = *Isa::available().last().expect("portable is always there");
        assert_eq!(Isa::Avx512.usable(), best);
        assert!(Isa::detect() <= best);
    }
}
