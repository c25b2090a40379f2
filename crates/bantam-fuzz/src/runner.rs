//! The loop: pick an input, damage it, hand it to the target, watch for panics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use bantam_testkit::mutate::Mutator;

use crate::targets::{Input, Target};

/// When a run ends: at whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Iterations to run.
    pub iterations: u64,
    /// Wall-clock time to run, looked at between iterations.
    pub time: Option<Duration>,
}

/// What a run saw.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Iterations done.
    pub iterations: u64,
    /// Inputs that the target took in spite of the damage.
    pub accepted: u64,
    /// The longest that one input took.
    pub slowest: Duration,
    /// The iteration that took it.
    pub slowest_iteration: u64,
    /// The panic that ended the run, if any.
    pub finding: Option<Finding>,
}

/// An input that made the target panic.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Its number in the run.
    pub iteration: u64,
    /// The input.
    pub input: Vec<u8>,
    /// What the panic said.
    pub message: String,
}

/// The damaged input of one iteration.
pub fn damaged(inputs: &[Input], seed: u64, iteration: u64) -> Vec<u8> {
    let mut mutator = Mutator::new(seed, iteration);
    let chosen = mutator.below(inputs.len());
    match inputs.get(chosen) {
        Some(input) if input.text && mutator.below(2) == 0 => mutator.damage_text(&input.bytes),
        Some(input) => mutator.damage(&input.bytes, &input.region),
        None => Vec::new(),
    }
}

/// Runs a target from iteration `first` on until a limit or a panic.
pub fn run(target: &Target, inputs: &[Input], seed: u64, first: u64, limits: Limits) -> Report {
    let mut report = Report::default();
    let started = Instant::now();
    for iteration in first..first.saturating_add(limits.iterations) {
        if limits.time.is_some_and(|time| started.elapsed() >= time) {
            break;
        }
        let input = damaged(inputs, seed, iteration);
        let before = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| (target.take)(&input)));
        let taken = before.elapsed();
        if taken > report.slowest {
            (report.slowest, report.slowest_iteration) = (taken, iteration);
        }
        report.iterations += 1;
        match outcome {
            Ok(accepted) => report.accepted += u64::from(accepted),
            Err(panic) => {
                let message = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
                    (Some(text), _) => (*text).to_owned(),
                    (None, Some(text)) => text.clone(),
                    (None, None) => "a panic without a message".to_owned(),
                };
                report.finding = Some(Finding { iteration, input, message });
                break;
            }
        }
    }
    report
}
