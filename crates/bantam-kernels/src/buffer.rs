//! Zeroed memory that starts on a cache line and is touched by the system only when it is first used.

use crate::KernelError;
use memmap2::MmapMut;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

/// Start of a buffer: a multiple of the cache line.
const LINE: usize = 64;
/// The alignment asked for is the allocator's own, because only then does it give fresh pages that are zero already;
/// for a greater one Rust's allocator writes the zeros itself, which touches every page.
const ASKED: usize = 16;

/// Bytes from which on it pays to ask the system for a map of its own, in large pages: fewer faults while it is filled,
/// fewer looks into the page table while it is read.
const LARGE: usize = 4 << 20;

/// Owned bytes on a cache-line boundary.
pub(crate) struct Buffer {
    memory: Memory,
    start: NonNull<u8>,
    length: usize,
}

enum Memory {
    None,
    Heap(NonNull<u8>, Layout),
    Map(#[expect(dead_code, reason = "it is held so that the map lives as long")] MmapMut),
}

// SAFETY: a buffer owns its bytes, like a Vec.
unsafe impl Send for Buffer {}
// SAFETY: shared access only reads.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// `length` zero bytes.
    pub(crate) fn zeroed(length: usize, what: &'static str) -> Result<Self, KernelError> {
        if length == 0 {
            return Ok(Self { memory: Memory::None, start: NonNull::dangling(), length });
        }
        let whole = length.checked_add(LINE).ok_or(KernelError::TooLarge(what))?;
        let layout = Layout::from_size_align(whole, ASKED).map_err(|_| KernelError::TooLarge(what))?;
        // SAFETY: the layout has a size above zero.
        let memory =
            NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(KernelError::OutOfMemory { what, bytes: length })?;
        let offset = memory.as_ptr().align_offset(LINE);
        // SAFETY: the offset is at most LINE - 1, and LINE bytes more than `length` were given.
        let start = unsafe { memory.add(offset) };
        Ok(Self { memory: Memory::Heap(memory, layout), start, length })
    }

    /// As [`Buffer::zeroed`], for bytes that will all be used: in large pages where the system has them.
    pub(crate) fn filled(length: usize, what: &'static str) -> Result<Self, KernelError> {
        if length < LARGE {
            return Self::zeroed(length, what);
        }
        let Ok(mut map) = MmapMut::map_anon(length) else { return Self::zeroed(length, what) };
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        let start = NonNull::new(map.as_mut_ptr()).unwrap_or(NonNull::dangling());
        Ok(Self { memory: Memory::Map(map), start, length })
    }

    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.start.as_ptr()
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        match &self.memory {
            // SAFETY: allocated in `zeroed` with this layout, freed once.
            Memory::Heap(memory, layout) => unsafe { dealloc(memory.as_ptr(), *layout) },
            // A map frees itself.
            Memory::None | Memory::Map(_) => {}
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
        for (length, filled) in [(0, false), (1, false), (63, true), (64, false), (1 << 20, true), (5 << 20, true)] {
            let made = if filled { Buffer::filled(length, "a test") } else { Buffer::zeroed(length, "a test") };
            let mut buffer = made.expect("small");
            assert_eq!(buffer.as_ref().len(), length);
            assert!(buffer.as_ref().iter().all(|&byte| byte == 0));
            assert!(length == 0 || (buffer.as_ptr() as usize).is_multiple_of(LINE));
            buffer.as_mut().fill(1);
        }
        assert!(Buffer::zeroed(usize::MAX - 8, "a test").is_err());
        assert!(Buffer::zeroed(isize::MAX as usize - 100, "a test").is_err());
    }
}
