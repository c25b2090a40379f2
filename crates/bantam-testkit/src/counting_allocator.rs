//! An allocator that counts, for tests that hold the number of allocations of a piece of work.
//!
//! The one file of this crate with `unsafe`: the allocator's trait is an unsafe trait.
#![allow(unsafe_code, reason = "GlobalAlloc is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

static PROCESS_CALLS: AtomicU64 = AtomicU64::new(0);
static PROCESS_BYTES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    // Const and without a destructor: reading it never allocates.
    static THREAD: Cell<Allocations> = const { Cell::new(Allocations { calls: 0, bytes: 0 }) };
}

/// How often memory was asked for, and how much altogether (a reallocation counts with its new size).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocations {
    /// Requests for memory.
    pub calls: u64,
    /// Bytes asked for.
    pub bytes: u64,
}

impl Allocations {
    fn since(self, earlier: Self) -> Self {
        Self { calls: self.calls - earlier.calls, bytes: self.bytes - earlier.bytes }
    }
}

/// The system's allocator, counting. A test binary takes it with
/// `#[global_allocator] static ALLOCATOR: CountingAllocator = CountingAllocator;`; without that line the counts stay zero.
#[derive(Clone, Copy, Debug, Default)]
pub struct CountingAllocator;

impl CountingAllocator {
    /// What all threads asked for since the program began.
    pub fn process() -> Allocations {
        Allocations { calls: PROCESS_CALLS.load(Ordering::SeqCst), bytes: PROCESS_BYTES.load(Ordering::SeqCst) }
    }

    /// What this thread asked for since it began.
    pub fn thread() -> Allocations {
        THREAD.with(Cell::get)
    }

    /// Runs `work` and says what all threads asked for meanwhile: for work that uses a thread pool. Other tests of the
    /// same binary count too, so give such a test a binary of its own, or keep the others waiting.
    pub fn count_process<T>(work: impl FnOnce() -> T) -> (T, Allocations) {
        let before = Self::process();
        let result = work();
        (result, Self::process().since(before))
    }

    /// Runs `work` and says what this thread asked for meanwhile; other tests do not disturb it.
    pub fn count_thread<T>(work: impl FnOnce() -> T) -> (T, Allocations) {
        let before = Self::thread();
        let result = work();
        (result, Self::thread().since(before))
    }

    /// Whether this allocator is the program's.
    pub fn is_installed() -> bool {
        let (kept, counted) = Self::count_thread(|| std::hint::black_box(Box::new(0u8)));
        drop(kept);
        counted.calls > 0
    }
}

fn note(size: usize) {
    PROCESS_CALLS.fetch_add(1, Ordering::SeqCst);
    PROCESS_BYTES.fetch_add(size as u64, Ordering::SeqCst);
    // A thread that is ending has no storage any more; nobody asks for its count.
    let _ = THREAD.try_with(|counts| {
        let Allocations { calls, bytes } = counts.get();
        counts.set(Allocations { calls: calls + 1, bytes: bytes + size as u64 });
    });
}

// SAFETY: every method hands its arguments to `System` unchanged and returns what that returns; counting neither
// allocates nor unwinds.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promise about `layout` is the one `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promise about `layout` is the one `System` asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        note(new_size);
        // SAFETY: `pointer` came from `System` through this allocator, with `layout`; the caller vouches for `new_size`.
        unsafe { System.realloc(pointer, layout, new_size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` through this allocator, with `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: CountingAllocator = CountingAllocator;

    #[test]
    fn counts_this_thread_and_all() {
        assert!(CountingAllocator::is_installed());
        let check = |work: fn(), calls, bytes| {
            let ((), counted) = CountingAllocator::count_thread(work);
            assert_eq!(counted, Allocations { calls, bytes });
        };
        check(|| (), 0, 0);
        check(|| drop(std::hint::black_box(vec![0u8; 100])), 1, 100);
        check(
            || {
                let mut values = Vec::<u8>::with_capacity(10);
                values.reserve_exact(30);
                drop(std::hint::black_box(values));
            },
            2,
            40,
        );
        let ((), counted) = CountingAllocator::count_process(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| drop(std::hint::black_box(vec![0u8; 1 << 20])));
            });
        });
        assert!(counted.calls >= 1 && counted.bytes >= 1 << 20, "{counted:?}");
    }
}
