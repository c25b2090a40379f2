//! Work that is called off when it takes too long.
//!
//! llguidance counts most of what it does and stops at its limits. Text that a grammar forces it follows to its end, however
//! long (`a{1000000}`), looking for a request to stop as it goes; this makes that request.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use llguidance::CancellationHandle;

/// How long one token's work may take. Honest grammars take less than a thousandth of it.
pub(crate) const LIMIT: Duration = Duration::from_secs(2);
/// How often the clock is looked at.
const GLANCE: Duration = Duration::from_millis(250);

#[derive(Default)]
struct Entries {
    running: Vec<(u64, Instant, CancellationHandle)>,
    next: u64,
    /// Whether the watching thread sleeps until it is woken.
    asleep: bool,
}

#[derive(Default)]
struct Watch {
    entries: Mutex<Entries>,
    wake: Condvar,
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        // Nothing is left half done under this lock.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut idle = 0;
        let mut entries = self.lock();
        loop {
            idle = if entries.running.is_empty() { idle + 1 } else { 0 };
            if idle > 8 {
                entries.asleep = true;
                entries = self.wake.wait(entries).unwrap_or_else(PoisonError::into_inner);
                entries.asleep = false;
                idle = 0;
            }
            drop(entries);
            thread::sleep(GLANCE);
            entries = self.lock();
            let now = Instant::now();
            entries
                .running
                .iter()
                .filter(|(_, begun, _)| now - *begun > LIMIT)
                .for_each(|(_, _, handle)| handle.cancel());
        }
    }
}

/// Work under watch, until dropped.
pub(crate) struct Watched(u64);

fn watch() -> &'static Watch {
    static WATCH: OnceLock<&'static Watch> = OnceLock::new();
    WATCH.get_or_init(|| {
        let watch: &'static Watch = Box::leak(Box::default());
        // Where there are no threads nothing is called off; llguidance's own limits hold.
        let _ = thread::Builder::new().name("bantam-watch".to_owned()).spawn(move || watch.run());
        watch
    })
}

/// Puts work under watch.
pub(crate) fn begin(handle: &CancellationHandle) -> Watched {
    let watch = watch();
    let mut entries = watch.lock();
    entries.next += 1;
    let number = entries.next;
    entries.running.push((number, Instant::now(), handle.clone()));
    if entries.asleep {
        watch.wake.notify_one();
    }
    Watched(number)
}

impl Drop for Watched {
    fn drop(&mut self) {
        watch().lock().running.retain(|(number, _, _)| *number != self.0);
    }
}
