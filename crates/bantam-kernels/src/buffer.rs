//! Zeroed memory that starts on a cache line and is touched by the system only when it is first used.

use crate::KernelError;
#[cfg(target_os = "linux")]
use crate::region::Part;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

/// Start of a buffer: a multiple of the cache line.
const LINE: usize = 64;
/// The alignment asked for is the allocator's own, because only then does it give fresh pages that are zero already;
/// for a greater one Rust's allocator writes the zeros itself, which touches every page.
const ASKED: usize = 16;

/// Bytes below which huge pages are not worth sharing.
#[cfg(target_os = "linux")]
const SMALL: usize = 16 << 10;

/// Owned bytes on a cache-line boundary.
pub(crate) struct Buffer {
    memory: Memory,
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: a buffer owns its bytes, like a Vec.
unsafe impl Send for Buffer {}
// SAFETY: shared access only reads.
unsafe impl Sync for Buffer {}

/// Whose memory it is.
enum Memory {
    /// Nobody's: there are no bytes.
    Nothing,
    Own(NonNull<u8>, Layout),
    /// Some of a region's, which is held until the buffer goes.
    #[cfg(target_os = "linux")]
    Shared(#[allow(dead_code, reason = "held, not read")] Part),
}

impl Buffer {
    /// `length` zero bytes.
    pub(crate) fn zeroed(length: usize, what: &'static str) -> Result<Self, KernelError> {
        if length == 0 {
            return Ok(Self { memory: Memory::Nothing, start: NonNull::dangling(), length });
        }
        let whole = length.checked_add(LINE).ok_or(KernelError::TooLarge(what))?;
        let layout = Layout::from_size_align(whole, ASKED).map_err(|_| KernelError::TooLarge(what))?;
        // SAFETY: the layout has a size above zero.
        let memory =
            NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(KernelError::OutOfMemory { what, bytes: length })?;
        let offset = memory.as_ptr().align_offset(LINE);
        // SAFETY: the offset is at most LINE - 1, and LINE bytes more than `length` were given.
        let start = unsafe { memory.add(offset) };
        Ok(Self { memory: Memory::Own(memory, layout), start, length })
    }

    /// `length` zero bytes that are all going to be written, and then read from end to end for each token: in huge pages, where
    /// the system has them. Products of one row read them 5 to 10% faster than pages of 4 KiB, whose addresses the processor has
    /// to look up in memory as well, and their page faults take a sixth of the time.
    pub(crate) fn huge(length: usize, what: &'static str) -> Result<Self, KernelError> {
        #[cfg(target_os = "linux")]
        if length >= SMALL
            && let Some(part) = Part::new(length)
        {
            return Ok(Self { start: part.start(), memory: Memory::Shared(part), length });
        }
        Self::zeroed(length, what)
    }

    /// The most that buffers of so many bytes in all, made by [`Buffer::huge`], take beside their own bytes.
    pub(crate) fn beside_huge(bytes: u64) -> u64 {
        #[cfg(target_os = "linux")]
        return crate::region::ends(bytes);
        #[cfg(not(target_os = "linux"))]
        {
            let _ = bytes;
            0
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Memory::Own(memory, layout) = self.memory {
            // SAFETY: allocated in `zeroed` with this layout, freed once.
            unsafe { dealloc(memory.as_ptr(), layout) }
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `length` initialised bytes from `start` are ours (dangling only where the length is zero).
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

/// A pointer that threads share out among themselves, each writing places of its own.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(*mut T);

// SAFETY: whoever uses it keeps the places that threads write apart.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) fn new(slice: &mut [T]) -> Self {
        Self(slice.as_mut_ptr())
    }

    /// Where the slice begins, for writers whose places are not next to each other.
    pub(crate) fn pointer(&self) -> *mut T {
        self.0
    }

    /// The places `start .. start + length`.
    ///
    /// # Safety
    /// They must lie inside the slice given to `new`, which must still be borrowed, and nobody else may use them while
    /// the result lives.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn part(&self, start: usize, length: usize) -> &mut [T] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_zero_and_start_on_a_line() {
        for length in [0, 1, 63, 64, 1 << 20] {
            let mut buffer = Buffer::zeroed(length, "a test").expect("small");
            assert_eq!(buffer.as_ref().len(), length);
            assert!(buffer.as_ref().iter().all(|&byte| byte == 0));
            assert!(length == 0 || (buffer.as_ref().as_ptr() as usize).is_multiple_of(LINE));
            buffer.as_mut().fill(1);
        }
        for length in [16_383, 16_384, 4_198_401] {
            let mut buffer = Buffer::huge(length, "a test").expect("small");
            assert!(buffer.as_ref().len() == length && buffer.as_ref().iter().all(|&byte| byte == 0));
            buffer.as_mut().fill(1);
        }
        assert!(Buffer::zeroed(usize::MAX - 8, "a test").is_err());
        assert!(Buffer::zeroed(isize::MAX as usize - 100, "a test").is_err());
    }
}
