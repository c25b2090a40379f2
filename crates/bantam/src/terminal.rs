//! The terminal while an answer is written: what is typed meanwhile waits for the next input instead of standing in it.

#[cfg(unix)]
mod echo {
    use std::io;
    use std::sync::{Mutex, PoisonError};

    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

    /// How the terminal was before echo went off.
    static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

    pub fn off() {
        let Ok(before) = tcgetattr(io::stdin()) else { return };
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
        if tcsetattr(io::stdin(), OptionalActions::Now, &quiet).is_ok() {
            *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        }
    }

    pub fn restore() {
        if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
        }
    }
}

#[cfg(not(unix))]
mod echo {
    pub fn off() {}
    pub fn restore() {}
}

/// Echo is off while this lives.
pub struct Quiet(());

impl Quiet {
    /// Switches echo off, where stdin is a terminal.
    pub fn start() -> Self {
        echo::off();
        Self(())
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        echo::restore();
    }
}

/// Puts the terminal back as it was, before the program ends at once.
pub fn restore() {
    echo::restore();
}
