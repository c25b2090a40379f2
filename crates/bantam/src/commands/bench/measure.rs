//! What is timed: the same work again and again on the same sequences, after one run that is not counted.

use std::time::Instant;

use bantam_runtime::{Feed, Loaded, Outputs, Profile, RuntimeError, SequenceId};

use super::Test;
use crate::failure::interrupted;
use crate::interrupt::Interrupt;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// What to do.
    pub test: Test,
    /// How often, beside once that does not count.
    pub repetitions: usize,
    /// Whether steps are timed too.
    pub profile: bool,
}

/// What came out.
pub struct Measured {
    /// Of each repetition.
    pub nanoseconds: Vec<u64>,
    /// Of all of them together.
    pub profile: Profile,
}

/// Runs a test once unmeasured and then as often as asked. `step` is told after each run how many of all are done.
pub fn run(
    loaded: &mut Loaded,
    Work { test, repetitions, profile }: Work,
    interrupt: &Interrupt,
    step: &mut dyn FnMut(usize),
) -> anyhow::Result<Measured> {
    let sequences = (0..test.parallel).map(|_| loaded.open_sequence()).collect::<Result<Vec<_>, _>>()?;
    let vocabulary = loaded.vocabulary_len();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut tokens = |count: usize| -> Vec<u32> { (0..count).map(|_| random.below(vocabulary)).collect() };
    let before = tokens(test.depth);
    // Of each sequence its own, one below the other.
    let work: Vec<Vec<u32>> = sequences.iter().map(|_| tokens(test.prompt + test.generate)).collect();
    let feed = |loaded: &mut Loaded, feeds: &[Feed<'_>]| -> anyhow::Result<()> {
        match loaded.run(feeds) {
            Ok(_) => interrupt.check(),
            Err(RuntimeError::Interrupted) => Err(interrupted()),
            Err(error) => Err(error.into()),
        }
    };
    let mut samples = Vec::with_capacity(repetitions);
    if !before.is_empty() {
        for &sequence in &sequences {
            feed(loaded, &[Feed { sequence, tokens: &before, outputs: Outputs::None }])?;
        }
    }
    for repetition in 0..=repetitions {
        if repetition == 1 {
            loaded.profile(profile);
        }
        let start = Instant::now();
        let piece = if test.prompt > 0 { test.prompt } else { 1 };
        for from in (0..test.prompt + test.generate).step_by(piece) {
            feed(loaded, &feeds(&sequences, &work, from, piece))?;
        }
        let elapsed = start.elapsed();
        if repetition > 0 {
            samples.push(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX));
        }
        for &sequence in &sequences {
            loaded.truncate(sequence, test.depth);
        }
        step(repetition + 1);
    }
    let profile = loaded.profile(false);
    for sequence in sequences {
        loaded.close_sequence(sequence);
    }
    Ok(Measured { nanoseconds: samples, profile })
}

/// The next `piece` tokens of every sequence.
fn feeds<'t>(sequences: &[SequenceId], work: &'t [Vec<u32>], from: usize, piece: usize) -> Vec<Feed<'t>> {
    let tokens = |work: &'t Vec<u32>| &work[from..(from + piece).min(work.len())];
    let of = |(&sequence, work)| Feed { sequence, tokens: tokens(work), outputs: Outputs::Last };
    sequences.iter().zip(work).map(of).collect()
}

/// Forgets what memory this process has held at most so far; says whether the system lets it.
pub fn forget_peak_memory() -> bool {
    // proc(5): 5 resets the peak of the resident set.
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same tokens in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((u128::from(z) * bound as u128) >> 64) as u32
    }
}
