//! Runs of huge pages that several buffers share.
//!
//! A weight begins and ends anywhere, and most are no longer than a few huge pages: alone, its ends (or all of it) would lie in
//! small ones. So weights are put behind each other in regions that begin on a huge page. Linux alone is asked for such pages and
//! told which are over; elsewhere weights are allocated one by one.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A huge page, where the system has them.
const HUGE: usize = 2 << 20;
/// What buffers begin on.
const LINE: usize = 64;
/// Bytes of a region: addresses only, behind which there is no memory before they are written. Large, because the end of each
/// costs up to a huge page.
const REGION: usize = 256 << 20;
/// The alignment asked for: the allocator's own, because only then does it give fresh pages that are zero already.
const ASKED: usize = 16;

/// The region that has room left. It lives as long as a buffer in it does.
static CURRENT: Mutex<Weak<Region>> = Mutex::new(Weak::new());

/// Zero bytes from a huge page's beginning on, given away line by line.
struct Region {
    memory: NonNull<u8>,
    layout: Layout,
    start: NonNull<u8>,
    length: usize,
    taken: AtomicUsize,
}

// SAFETY: it owns its bytes; which of them are whose, `taken` says.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

/// Bytes of a region, nobody else's.
pub(crate) struct Part {
    region: Arc<Region>,
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: its bytes are its own.
unsafe impl Send for Part {}
// SAFETY: it gives no access to them; whoever has its pointer keeps to Rust's rules.
unsafe impl Sync for Part {}

/// The most that ends of regions take beside so many bytes of parts: a huge page for each region, all of which but the last are
/// more than half full together with their neighbour.
pub(crate) fn ends(bytes: u64) -> u64 {
    (bytes / (REGION as u64 / 2) + 1).saturating_mul(HUGE as u64)
}

impl Region {
    fn new(length: usize) -> Option<Self> {
        let length = length.checked_next_multiple_of(HUGE)?;
        let layout = Layout::from_size_align(length.checked_add(HUGE)?, ASKED).ok()?;
        // SAFETY: the layout has a size above zero.
        let memory = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let offset = memory.as_ptr().align_offset(HUGE);
        // SAFETY: the offset is less than HUGE, and HUGE bytes more than `length` were given.
        let start = unsafe { memory.add(offset) };
        let region = Self { memory, layout, start, length, taken: AtomicUsize::new(0) };
        // SAFETY: these bytes are ours, and their contents stay as they are. An error leaves all as it was.
        unsafe {
            libc::madvise(region.start.as_ptr().cast(), length, libc::MADV_HUGEPAGE);
        }
        Some(region)
    }

    fn take(self: &Arc<Self>, length: usize) -> Option<Part> {
        let step = length.checked_next_multiple_of(LINE)?;
        let fits = |taken: usize| taken.checked_add(step).filter(|end| *end <= self.length);
        let first = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        // SAFETY: `first` and `length` bytes after it lie in the region.
        Some(Part { region: Arc::clone(self), start: unsafe { self.start.add(first) }, length })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, freed once, after the last of its parts.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) }
    }
}

impl Part {
    /// `length` zero bytes that begin on a line; `None` where the system has no such memory.
    pub(crate) fn new(length: usize) -> Option<Self> {
        let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(part) = current.upgrade().and_then(|region| region.take(length)) {
            return Some(part);
        }
        let region = Arc::new(Region::new(REGION.max(length))?);
        *current = Arc::downgrade(&region);
        region.take(length)
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }
}

impl Drop for Part {
    /// Others may keep the region for long, so the pages that were this part's alone are given back at once.
    fn drop(&mut self) {
        if Arc::strong_count(&self.region) > 1 {
            // SAFETY: it only reads a number.
            let Ok(page) = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }) else { return };
            let inside = self.start.as_ptr().align_offset(page);
            let whole = self.length.saturating_sub(inside) / page * page;
            if whole > 0 {
                // SAFETY: these pages hold nothing but this part's bytes, which nobody reads again.
                unsafe { libc::madvise(self.start.as_ptr().add(inside).cast(), whole, libc::MADV_DONTNEED) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_zero_apart_and_on_lines() {
        let lengths = [1, 64, 65, 4096, HUGE - 1, HUGE + 1];
        let parts: Vec<Part> = lengths.iter().map(|length| Part::new(*length).expect("memory")).collect();
        for (number, part) in parts.iter().enumerate() {
            assert!((part.start().as_ptr() as usize).is_multiple_of(LINE));
            // SAFETY: the part's bytes are initialised and its own.
            let bytes = unsafe { std::slice::from_raw_parts_mut(part.start().as_ptr(), part.length) };
            assert!(bytes.iter().all(|byte| *byte == 0), "part {number}");
            bytes.fill(number as u8 + 1);
        }
        for (number, part) in parts.iter().enumerate() {
            // SAFETY: as above.
            let bytes = unsafe { std::slice::from_raw_parts(part.start().as_ptr(), part.length) };
            assert!(bytes.iter().all(|byte| *byte == number as u8 + 1), "part {number}");
        }
    }

    #[test]
    fn what_is_given_back_leaves_its_neighbours_alone() {
        let region = Arc::new(Region::new(HUGE).expect("memory"));
        let [before, middle, after] = [5000, 70_000, 5000].map(|length| region.take(length).expect("room"));
        for part in [&before, &after] {
            // SAFETY: the part's bytes are its own.
            unsafe { part.start().as_ptr().write_bytes(7, part.length) };
        }
        drop(middle);
        for part in [&before, &after] {
            // SAFETY: the part's bytes are initialised and its own.
            let bytes = unsafe { std::slice::from_raw_parts(part.start().as_ptr(), part.length) };
            assert!(bytes.iter().all(|byte| *byte == 7));
        }
        assert!(region.take(HUGE).is_none());
    }
}
