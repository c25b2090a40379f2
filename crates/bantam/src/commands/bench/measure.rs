//! What is timed: the same work again and again on one sequence, after one run that is not counted.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bantam_kernels::Pool;
use bantam_runtime::{Feed, Loaded, Outputs, RuntimeError};

use super::Test;
use crate::failure::interrupted;
use crate::interrupt::Interrupt;

/// Runs a test once unmeasured and then `repetitions` times; gives the nanoseconds of each.
pub fn run(loaded: &mut Loaded, test: Test, repetitions: usize, interrupt: &Interrupt) -> anyhow::Result<Vec<u64>> {
    let sequence = loaded.open_sequence()?;
    let vocabulary = loaded.vocabulary_len();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut tokens = |count: usize| -> Vec<u32> { (0..count).map(|_| random.below(vocabulary)).collect() };
    let before = tokens(test.depth);
    let work = tokens(test.tokens());
    let feed = |loaded: &mut Loaded, tokens: &[u32], outputs: Outputs| -> anyhow::Result<()> {
        match loaded.run(&[Feed { sequence, tokens, outputs }]) {
            Ok(_) => interrupt.check(),
            Err(RuntimeError::Interrupted) => Err(interrupted()),
            Err(error) => Err(error.into()),
        }
    };
    let mut samples = Vec::with_capacity(repetitions);
    if !before.is_empty() {
        feed(loaded, &before, Outputs::None)?;
    }
    for repetition in 0..=repetitions {
        let start = Instant::now();
        if test.prompt > 0 {
            feed(loaded, &work, Outputs::Last)?;
        } else {
            for token in work.chunks(1) {
                feed(loaded, token, Outputs::Last)?;
            }
        }
        let elapsed = start.elapsed();
        if repetition > 0 {
            samples.push(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX));
        }
        loaded.truncate(sequence, test.depth);
    }
    loaded.close_sequence(sequence);
    Ok(samples)
}

/// Bytes that are read to measure bandwidth: more than any cache of a small machine holds.
const READ_BYTES: usize = 256 << 20;
/// How often at most, and for how long; the best counts, since everything else only takes away from it.
const READS: usize = 8;
const READ_TIME: Duration = Duration::from_millis(500);
/// Bytes that a thread reads in a row.
const PIECE_BYTES: usize = 1 << 20;

/// Bytes a second that this many threads read from memory, all together.
pub fn bandwidth(threads: usize) -> f64 {
    let pool = Pool::new(threads);
    let memory = vec![1u64; READ_BYTES / size_of::<u64>()];
    let pieces: Vec<&[u64]> = memory.chunks(PIECE_BYTES / size_of::<u64>()).collect();
    let read = || {
        let start = Instant::now();
        pool.pieces(pieces.len(), |piece| {
            black_box(sum(pieces.get(piece).copied().unwrap_or_default()));
        });
        READ_BYTES as f64 / start.elapsed().as_secs_f64()
    };
    let begin = Instant::now();
    let reads = (0..READS).take_while(|&number| number == 0 || begin.elapsed() < READ_TIME);
    reads.map(|_| read()).fold(0.0, f64::max)
}

/// Adds in many lanes, so that the addition does not hold the reading up.
fn sum(numbers: &[u64]) -> u64 {
    let mut lanes = [0u64; 32];
    let (chunks, _) = numbers.as_chunks::<32>();
    for chunk in chunks {
        for (lane, number) in lanes.iter_mut().zip(chunk) {
            *lane = lane.wrapping_add(*number);
        }
    }
    lanes.iter().fold(0, |sum, lane| sum.wrapping_add(*lane))
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
