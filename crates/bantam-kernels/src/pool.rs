//! A persistent thread pool for short parallel regions.
//!
//! A decode step has a few hundred regions of tens of microseconds, so starting one must cost about a microsecond: workers
//! spin for a moment after a region before they park, and the caller takes part as worker 0. Work is handed out as
//! contiguous ranges of pieces, one range a worker; a worker that is done takes pieces from the end of another's range.
//!
//! Where other programs want the processors too, a worker may be away for a whole time slice, as long as a hundred regions take.
//! So nobody waits for a worker that has not come: it finds the region closed, its pieces done by others. Only one that is
//! at a piece is waited for, at first without giving the processor away (that would cost a slice of its own).

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

/// How long a worker looks for the next region before it parks.
const SPIN: Duration = Duration::from_micros(50);
/// How long of that it does so without offering its processor.
const POLITE: Duration = Duration::from_micros(10);
/// How long the caller of a region waits for a worker at work before it offers its processor.
const PATIENCE: Duration = Duration::from_micros(200);
/// Looks between two glances at the clock.
const SPINS_PER_GLANCE: u32 = 128;

/// Processors that this process may use: its affinity and its container's limit, at least 1.
pub fn available_threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

type Region = dyn Fn(usize) + Sync;

/// In the gate: nobody may enter any more.
const CLOSED: u64 = 1 << 16;
/// In the gate: one region further.
const EPOCH: u64 = 1 << 17;

/// On a cache line of its own, so that one worker's writes do not slow another's reads.
#[repr(align(128))]
struct Apart<T>(T);

struct Shared {
    /// Which region it is ([`EPOCH`] and above), whether it is closed ([`CLOSED`]), and how many workers are in it.
    gate: Apart<AtomicU64>,
    /// Workers that have run the current region, or before the first one, that have started.
    ran: Apart<AtomicUsize>,
    region: UnsafeCell<Option<*const Region>>,
    stop: AtomicBool,
    parked: Vec<Apart<AtomicBool>>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `region` is written by the caller of a region only while the gate is closed and nobody is inside, and read by
// workers only after they have entered the gate that the caller opened after the write; everything else is Sync.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `region` is only followed while the caller of the region keeps its closure alive.
unsafe impl Send for Shared {}

/// Threads that run regions together.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    handles: Vec<Thread>,
    /// Held for the length of a region: one region at a time.
    busy: Mutex<()>,
    /// Per worker, the pieces it still has: start in the low half, end in the high half.
    ranges: Vec<Apart<AtomicU64>>,
    scratch: Vec<Mutex<Vec<f32>>>,
    rooms: Vec<Mutex<[Vec<f32>; 2]>>,
    rows: Mutex<Vec<f32>>,
    /// Regions run, the clock of waiting, and whether it is looked at.
    regions: AtomicU64,
    waited: AtomicU64,
    watched: AtomicBool,
}

/// What a pool has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounts {
    /// Parallel regions; each ends with a barrier.
    pub regions: u64,
    /// Nanoseconds that callers waited for other workers at the end of a region, while the pool was watched.
    pub waited: u64,
}

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

impl Pool {
    /// A pool of `threads` workers, the caller of a region being one of them (0 counts as 1).
    ///
    /// Where the system refuses a thread, the pool is smaller: see [`Pool::threads`].
    pub fn new(threads: usize) -> Self {
        let wanted = threads.clamp(1, 1024);
        let shared = Arc::new(Shared {
            gate: Apart(AtomicU64::new(CLOSED)),
            ran: Apart(AtomicUsize::new(0)),
            region: UnsafeCell::new(None),
            stop: AtomicBool::new(false),
            parked: (1..wanted).map(|_| Apart(AtomicBool::new(false))).collect(),
            panic: Mutex::new(None),
        });
        let mut workers = Vec::new();
        for worker in 1..wanted {
            let shared = Arc::clone(&shared);
            match thread::Builder::new().name(format!("bantam-{worker}")).spawn(move || work(&shared, worker)) {
                Ok(handle) => workers.push(handle),
                Err(_) => break,
            }
        }
        let threads = workers.len() + 1;
        // What a thread needs memory for when it starts is over before the first region, which does not wait for it.
        wait_until(|| shared.ran.0.load(Ordering::Acquire) == workers.len());
        shared.ran.0.store(0, Ordering::Relaxed);
        Self {
            handles: workers.iter().map(|worker| worker.thread().clone()).collect(),
            workers,
            shared,
            busy: Mutex::new(()),
            ranges: (0..threads).map(|_| Apart(AtomicU64::new(0))).collect(),
            scratch: (0..threads).map(|_| Mutex::new(Vec::new())).collect(),
            rooms: (0..threads).map(|_| Mutex::default()).collect(),
            rows: Mutex::new(Vec::new()),
            regions: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            watched: AtomicBool::new(false),
        }
    }

    /// Regions that were run on several threads, and how long callers waited at their ends.
    pub fn counts(&self) -> PoolCounts {
        PoolCounts { regions: self.regions.load(Ordering::Relaxed), waited: self.waited.load(Ordering::Relaxed) }
    }

    /// Whether to measure how long callers wait (two looks at the clock a region).
    pub fn watch(&self, on: bool) {
        self.watched.store(on, Ordering::Relaxed);
    }

    /// Workers, the caller of a region among them.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `region(worker)` once for each worker, all at the same time, and returns when all are done.
    ///
    /// A panic in one of them is raised again here, after all have finished. Called from inside a region, the workers'
    /// parts run one after the other on the calling thread.
    pub fn run(&self, region: impl Fn(usize) + Sync) {
        if self.workers.is_empty() || INSIDE.get() {
            (0..self.threads()).for_each(region);
            return;
        }
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        self.run_locked(&region, true, &busy);
    }

    /// Runs `piece(i)` for every `i < pieces`, each once, spread over the workers.
    pub fn pieces(&self, pieces: usize, piece: impl Fn(usize) + Sync) {
        self.pieces_with(pieces, |_, i| piece(i));
    }

    /// As [`Pool::pieces`], telling `piece(worker, i)` the worker it runs on. A worker runs one piece at a time.
    ///
    /// Each worker goes upwards through a contiguous range; one that is done takes the last piece of another's.
    pub fn pieces_with(&self, pieces: usize, piece: impl Fn(usize, usize) + Sync) {
        let threads = self.threads();
        if pieces <= 1 || threads == 1 || INSIDE.get() || pieces > u32::MAX as usize {
            (0..pieces).for_each(|i| piece(0, i));
            return;
        }
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        for (worker, range) in self.ranges.iter().enumerate() {
            let bound = |worker: usize| (pieces as u64 * worker as u64) / threads as u64;
            range.0.store(bound(worker) | (bound(worker + 1) << 32), Ordering::Relaxed);
        }
        let region = |worker: usize| {
            while let Some(i) = take(&self.ranges[worker].0, true) {
                piece(worker, i);
            }
            for step in 1..threads {
                let victim = &self.ranges[(worker + step) % threads].0;
                while let Some(i) = take(victim, false) {
                    piece(worker, i);
                }
            }
        };
        self.run_locked(&region, false, &busy);
    }

    /// Scratch of a worker, kept between regions. To be held only by that worker, inside a region.
    pub(crate) fn scratch(&self, worker: usize) -> MutexGuard<'_, Vec<f32>> {
        self.scratch[worker].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes every worker's scratch at least `length` long, so that no later region has to.
    pub(crate) fn reserve_scratch(&self, length: usize) {
        for worker in 0..self.threads() {
            let mut scratch = self.scratch(worker);
            if scratch.len() < length {
                scratch.resize(length, 0.0);
            }
        }
    }

    /// Rooms of a worker for weights that are repacked within a product, as [`Pool::scratch`].
    pub(crate) fn rooms(&self, worker: usize) -> MutexGuard<'_, [Vec<f32>; 2]> {
        self.rooms[worker].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives back the memory in which products repacked weights for themselves ([`Matrix::room_bytes`](crate::Matrix::room_bytes)).
    /// Not to be called inside a region.
    pub fn drop_rooms(&self) {
        for worker in 0..self.threads() {
            *self.rooms(worker) = [Vec::new(), Vec::new()];
        }
    }

    /// Memory for what a caller of regions prepares for all workers, kept between its calls. `None` while another has it:
    /// waiting could be for one who waits for us.
    pub(crate) fn rows(&self) -> Option<MutexGuard<'_, Vec<f32>>> {
        match self.rows.try_lock() {
            Ok(rows) => Some(rows),
            Err(TryLockError::Poisoned(rows)) => Some(rows.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Makes [`Pool::rows`] at least `length` long.
    pub(crate) fn reserve_rows(&self, length: usize) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.len() < length {
            rows.resize(length, 0.0);
        }
    }

    /// Runs a region; where `all`, not before every worker has run it.
    fn run_locked(&self, region: &(dyn Fn(usize) + Sync), all: bool, _busy: &MutexGuard<'_, ()>) {
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes. The pointer is followed by workers inside the gate only, and this function does not
        // return or unwind before the gate is closed and nobody is inside.
        let erased = unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const Region>(region) };
        // SAFETY: `busy` is held, the gate is closed and nobody is inside, so nobody reads the cell now.
        unsafe { *shared.region.get() = Some(erased) };
        shared.ran.0.store(0, Ordering::Relaxed);
        // Nobody else writes a closed gate. SeqCst pairs with the worker's: either it sees the new region before parking, or we
        // see that it parked.
        let open = (shared.gate.0.load(Ordering::Relaxed) & !(EPOCH - 1)) + EPOCH;
        shared.gate.0.store(open, Ordering::SeqCst);
        for (parked, handle) in shared.parked.iter().zip(&self.handles) {
            if parked.0.swap(false, Ordering::SeqCst) {
                handle.unpark();
            }
        }
        self.regions.fetch_add(1, Ordering::Relaxed);
        INSIDE.set(true);
        let own = catch_unwind(AssertUnwindSafe(|| region(0)));
        INSIDE.set(false);
        let done = self.watched.load(Ordering::Relaxed).then(Instant::now);
        if all {
            wait_until(|| shared.ran.0.load(Ordering::Acquire) == self.workers.len());
        }
        shared.gate.0.fetch_or(CLOSED, Ordering::AcqRel);
        wait_until(|| shared.gate.0.load(Ordering::Acquire) == open | CLOSED);
        if let Some(done) = done {
            self.waited.fetch_add(u64::try_from(done.elapsed().as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        let other = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Err(payload) = own {
            resume_unwind(payload);
        }
        if let Some(payload) = other {
            resume_unwind(payload);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.gate.0.fetch_add(EPOCH, Ordering::SeqCst);
        for handle in &self.handles {
            handle.unpark();
        }
        for worker in self.workers.drain(..) {
            // A worker catches every panic of a region, so there is nothing to hear of here.
            let _ = worker.join();
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Pool({} threads)", self.threads())
    }
}

/// Takes the first or the last piece of a range.
fn take(range: &AtomicU64, first: bool) -> Option<usize> {
    let mut now = range.load(Ordering::Relaxed);
    loop {
        let (start, end) = (now & 0xffff_ffff, now >> 32);
        if start >= end {
            return None;
        }
        let (left, taken) =
            if first { ((start + 1) | (end << 32), start) } else { (start | ((end - 1) << 32), end - 1) };
        match range.compare_exchange_weak(now, left, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return Some(taken as usize),
            Err(other) => now = other,
        }
    }
}

fn work(shared: &Shared, worker: usize) {
    INSIDE.set(true);
    shared.ran.0.fetch_add(1, Ordering::Release);
    let mut seen = 0;
    loop {
        seen = wait(shared, worker, seen);
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        if !enter(&shared.gate.0, seen) {
            continue;
        }
        // SAFETY: inside the gate: the caller has written the region before it opened, and waits for us before it writes again or
        // lets the closure go.
        let region = unsafe { (*shared.region.get()).map(|region| &*region) };
        let result = catch_unwind(AssertUnwindSafe(|| region.into_iter().for_each(|region| region(worker))));
        if let Err(payload) = result {
            shared.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(payload);
        }
        shared.ran.0.fetch_add(1, Ordering::Release);
        shared.gate.0.fetch_sub(1, Ordering::Release);
    }
}

/// Enters region `epoch`, unless it is closed or over.
fn enter(gate: &AtomicU64, epoch: u64) -> bool {
    let mut now = gate.load(Ordering::Relaxed);
    while now / EPOCH == epoch && now & CLOSED == 0 {
        match gate.compare_exchange_weak(now, now + 1, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => return true,
            Err(other) => now = other,
        }
    }
    false
}

/// Waits for what a worker is about to do: it may wait for the very processor that we spin on, so that is offered, after longer
/// than a piece of work takes.
fn wait_until(so: impl Fn() -> bool) {
    if spin(&so) {
        return;
    }
    let started = Instant::now();
    while !spin(&so) {
        if started.elapsed() > PATIENCE {
            thread::yield_now();
        }
    }
}

/// Looks for a moment (about 2 µs) whether something is so.
fn spin(so: impl Fn() -> bool) -> bool {
    (0..SPINS_PER_GLANCE).any(|_| {
        let now = so();
        if !now {
            std::hint::spin_loop();
        }
        now
    })
}

/// Waits for another region than `seen`, and says which.
fn wait(shared: &Shared, worker: usize, seen: u64) -> u64 {
    let other = |order: Ordering| Some(shared.gate.0.load(order) / EPOCH).filter(|epoch| *epoch != seen);
    let started = Instant::now();
    while started.elapsed() < SPIN {
        if spin(|| other(Ordering::Relaxed).is_some()) {
            break;
        }
        // Costs little where nobody else wants the processor, and lets the caller go on where it does.
        if started.elapsed() > POLITE {
            thread::yield_now();
        }
    }
    let parked = &shared.parked[worker - 1].0;
    loop {
        if let Some(epoch) = other(Ordering::SeqCst) {
            parked.store(false, Ordering::SeqCst);
            return epoch;
        }
        // Said anew before every look: the caller of the last region may take it back late, when we wait already.
        parked.store(true, Ordering::SeqCst);
        if other(Ordering::SeqCst).is_none() {
            thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_runs_once_on_any_number_of_threads() {
        for threads in [1, 2, 3, 7] {
            let pool = Pool::new(threads);
            for pieces in [0, 1, 2, 5, 64, 1000] {
                let counts: Vec<AtomicUsize> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
                pool.pieces(pieces, |i| {
                    counts[i].fetch_add(1, Ordering::Relaxed);
                });
                assert!(
                    counts.iter().all(|count| count.load(Ordering::Relaxed) == 1),
                    "{threads} threads, {pieces} pieces"
                );
            }
        }
    }

    #[test]
    fn a_region_runs_once_on_each_worker_over_and_over() {
        let pool = Pool::new(4);
        let counts: [AtomicUsize; 4] = Default::default();
        for _ in 0..2000 {
            pool.run(|worker| {
                counts[worker].fetch_add(1, Ordering::Relaxed);
            });
        }
        assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 2000));
    }

    #[test]
    fn nobody_enters_a_region_that_is_closed_or_over() {
        let gate = AtomicU64::new(3 * EPOCH);
        assert!(enter(&gate, 3) && enter(&gate, 3));
        assert_eq!(gate.load(Ordering::Relaxed), 3 * EPOCH + 2);
        assert!(!enter(&gate, 2));
        gate.fetch_or(CLOSED, Ordering::Relaxed);
        assert!(!enter(&gate, 3));
        assert_eq!(gate.into_inner(), 3 * EPOCH + CLOSED + 2);
    }

    #[test]
    fn pieces_are_done_whether_workers_come_or_not() {
        // More threads than pieces, and on most machines than processors: many find regions closed.
        let pool = Pool::new(16);
        let total = AtomicUsize::new(0);
        for _ in 0..300 {
            pool.pieces(3, |i| {
                total.fetch_add(i + 1, Ordering::Relaxed);
            });
        }
        assert_eq!(total.into_inner(), 1800);
    }

    #[test]
    fn a_worker_that_has_begun_is_waited_for() {
        let pool = Pool::new(2);
        let mut came = 0;
        // A worker may come too late for a region, so there are regions until it has come to some.
        while came < 3 {
            let done = [const { AtomicUsize::new(0) }; 2];
            pool.pieces_with(2, |worker, piece| {
                let begun = Instant::now();
                // The caller leaves work over, and the worker takes longer than the caller.
                while begun.elapsed() < Duration::from_micros(if worker == 0 { 200 } else { 1000 }) {
                    std::hint::spin_loop();
                }
                done[piece].store(worker + 1, Ordering::Relaxed);
            });
            let done = done.map(AtomicUsize::into_inner);
            assert!(done.iter().all(|by| *by > 0), "{done:?}");
            came += usize::from(done.contains(&2));
        }
    }

    #[test]
    fn a_region_inside_a_region_runs_on_the_caller() {
        let pool = Pool::new(3);
        let total = AtomicUsize::new(0);
        pool.run(|_| {
            pool.pieces(10, |_| {
                total.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(total.into_inner(), 30);
    }

    #[test]
    fn regions_from_several_threads_take_turns() {
        let pool = Pool::new(2);
        let total = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        pool.pieces(8, |_| {
                            total.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(total.into_inner(), 3200);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(3);
        for culprit in 0..3 {
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.run(|worker| assert_ne!(worker, culprit, "this panic is part of the test"));
            }));
            assert!(result.is_err(), "worker {culprit}");
        }
        let sum = AtomicUsize::new(0);
        pool.pieces(100, |i| {
            sum.fetch_add(i, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 4950);
    }
}
