//! Ctrl-C: the first stops what is running, the second ends the program at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{INTERRUPTED, interrupted};

/// Set by Ctrl-C, read by what runs, cleared before the next thing starts.
#[derive(Clone, Debug)]
pub struct Interrupt {
    flag: Arc<AtomicBool>,
    /// Flags of code below, set together with ours.
    others: Vec<Arc<AtomicBool>>,
}

impl Interrupt {
    /// Takes over SIGINT. Call once.
    pub fn install() -> anyhow::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        // The order matters: handlers run in the order they were registered, so the first Ctrl-C finds the flag clear
        // and sets it, and one that comes before the flag was cleared again ends the program.
        let signal = signal_hook::consts::SIGINT;
        signal_hook::flag::register_conditional_shutdown(signal, i32::from(INTERRUPTED), Arc::clone(&flag))?;
        signal_hook::flag::register(signal, Arc::clone(&flag))?;
        Ok(Self { flag, others: Vec::new() })
    }

    /// Has Ctrl-C set another flag too.
    pub fn also(&mut self, other: Arc<AtomicBool>) -> anyhow::Result<()> {
        signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&other))?;
        other.store(self.is_set(), Ordering::Relaxed);
        self.others.push(other);
        Ok(())
    }

    /// Whether Ctrl-C was pressed since the last [`clear`](Self::clear).
    pub fn is_set(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// Forgets an earlier Ctrl-C.
    pub fn clear(&self) {
        for flag in self.others.iter().chain([&self.flag]) {
            flag.store(false, Ordering::Relaxed);
        }
    }

    /// Stops what is running, as Ctrl-C would.
    pub fn stop(&self) {
        for flag in &self.others {
            flag.store(true, Ordering::Relaxed);
        }
    }

    /// An error if Ctrl-C was pressed.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.is_set() { Err(interrupted()) } else { Ok(()) }
    }
}
