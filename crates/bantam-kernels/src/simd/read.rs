//! How stored numbers are read into lanes of f32; all of it is exact.

use super::Simd;

/// A way to read.
pub(crate) trait Read: Copy {
    /// Bytes of one number.
    const BYTES: usize;
    /// Sixteen numbers.
    ///
    /// # Safety
    /// Sixteen numbers must be readable.
    unsafe fn load<S: Simd>(self, s: S, from: *const u8) -> S::F;
}

macro_rules! read {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, |$s:ident, $from:ident| $load:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name;
        impl Read for $name {
            const BYTES: usize = $bytes;
            #[inline(always)]
            unsafe fn load<S: Simd>(self, $s: S, $from: *const u8) -> S::F {
                // SAFETY: the caller's promise.
                unsafe { $load }
            }
        }
    };
}

read!(
    /// Single precision.
    F32, 4, |s, from| s.load_at(from.cast())
);
read!(
    /// Half precision.
    F16, 2, |s, from| s.load_f16_at(from)
);
