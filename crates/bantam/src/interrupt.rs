//! Ctrl-C: the first stops what is running, the second ends the program at once.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::{io, process, thread};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::failure::{INTERRUPTED, interrupted};
use crate::output::Style;
use crate::terminal;

/// Set by Ctrl-C, read by what runs, cleared before the next thing starts.
#[derive(Clone, Debug)]
pub struct Interrupt {
    flag: Arc<AtomicBool>,
    /// The flag of the model that runs, set together with ours.
    model: Arc<Mutex<Option<Arc<AtomicBool>>>>,
}

impl Interrupt {
    /// Takes over SIGINT. Call once.
    pub fn install() -> anyhow::Result<Self> {
        Self::hearing(&[SIGINT])
    }

    /// The same for work that must leave nothing half made: what asks the whole program to end stops it too. Call once.
    pub fn install_for_files() -> anyhow::Result<Self> {
        Self::hearing(&[SIGINT, SIGTERM, SIGHUP])
    }

    fn hearing(signals: &[i32]) -> anyhow::Result<Self> {
        let interrupt = Self { flag: Arc::default(), model: Arc::default() };
        let mut signals = signal_hook::iterator::Signals::new(signals)?;
        let heard = interrupt.clone();
        // A thread, and no handler: it may put the terminal right before the program ends.
        thread::Builder::new().name("signals".into()).spawn(move || {
            for _ in signals.forever() {
                if heard.flag.swap(true, Ordering::Relaxed) {
                    terminal::restore();
                    let _ = writeln!(io::stderr(), "{}", Style::stderr().reset());
                    process::exit(i32::from(INTERRUPTED));
                }
                heard.stop();
            }
        })?;
        Ok(interrupt)
    }

    /// Has Ctrl-C set the flag of a model too.
    pub fn also(&self, model: Arc<AtomicBool>) {
        *self.model.lock().unwrap_or_else(PoisonError::into_inner) = Some(model);
        if self.is_set() {
            self.stop();
        }
    }

    /// Whether Ctrl-C was pressed since the last [`clear`](Self::clear).
    pub fn is_set(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// Forgets an earlier Ctrl-C.
    pub fn clear(&self) {
        self.flag.store(false, Ordering::Relaxed);
        self.set_model(false);
    }

    /// Stops the model, as Ctrl-C would.
    pub fn stop(&self) {
        self.set_model(true);
    }

    /// An error if Ctrl-C was pressed.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.is_set() { Err(interrupted()) } else { Ok(()) }
    }

    fn set_model(&self, value: bool) {
        if let Some(model) = &*self.model.lock().unwrap_or_else(PoisonError::into_inner) {
            model.store(value, Ordering::Relaxed);
        }
    }
}
