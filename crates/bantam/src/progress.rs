//! How far loading is, on stderr, where that is a terminal and it takes longer than a moment.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::size;

/// How long nothing is shown.
const PATIENCE: Duration = Duration::from_millis(300);
/// How often what is shown changes.
const INTERVAL: Duration = Duration::from_millis(50);
/// Cells of the bar.
const WIDTH: u64 = 30;

/// A line that is drawn over and over, and removed when this is dropped.
pub struct Progress {
    on_terminal: bool,
    next: Instant,
    shown: bool,
}

impl Progress {
    /// Begins to wait.
    pub fn start() -> Self {
        Self { on_terminal: io::stderr().is_terminal(), next: Instant::now() + PATIENCE, shown: false }
    }

    /// Takes note of how many bytes of the work are done.
    pub fn update(&mut self, what: &str, done: u64, total: u64) {
        self.draw(|| format!("{} of {}", draw(what, done, total), size::format(total)));
    }

    /// Takes note of how many pieces of the work are done.
    pub fn update_count(&mut self, what: &str, done: usize, total: usize) {
        self.draw(|| format!("{} of {total}", draw(what, done as u64, total as u64)));
    }

    /// Shows a line that the caller has made.
    pub fn say(&mut self, line: impl FnOnce() -> String) {
        self.draw(line);
    }

    fn draw(&mut self, line: impl FnOnce() -> String) {
        if !self.on_terminal || Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + INTERVAL;
        self.shown = true;
        let line = line();
        // Back to the line's begin, the line, then clear what an earlier, longer one left.
        let _ = write!(io::stderr(), "\r{line}\x1b[K");
    }
}

fn draw(what: &str, done: u64, total: u64) -> String {
    let total = total.max(1);
    let done = done.min(total);
    let filled = (u128::from(done) * u128::from(WIDTH) / u128::from(total)) as usize;
    let percent = u128::from(done) * 100 / u128::from(total);
    let empty = WIDTH as usize - filled;
    format!("{what} {}{} {percent:3}%", "█".repeat(filled), "░".repeat(empty))
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_bar_is_as_full_as_the_work_is_done() {
        for (done, total, filled) in
            [(0, 0, 0), (0, 10, 0), (5, 10, 15), (10, 10, 30), (u64::MAX, 10, 30), (u64::MAX, u64::MAX, 30)]
        {
            let line = super::draw("loading", done, total);
            assert_eq!(line.chars().filter(|&c| c == '█').count(), filled, "{line}");
            assert_eq!(line.chars().filter(|&c| c == '█' || c == '░').count(), 30, "{line}");
        }
    }
}
