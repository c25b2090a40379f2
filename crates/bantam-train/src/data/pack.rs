//! Examples to batches: in an order of chance, several packed into one batch, each a sequence of its own.

use bantam_plan::{Batch, PAGE_CELLS, Place, Target};

use super::Example;
use crate::random::Random;

/// What the order of an epoch is drawn for.
const ORDER: u64 = 0x0bad_cafe;

/// The examples of step `step` (from 0), where each step takes `each` of `count`: every epoch has an order of its own, drawn
/// from the seed, or the order of the file where there is none. The last step of an epoch takes what is left.
pub fn step_order(count: usize, each: usize, step: usize, seed: Option<u64>) -> Vec<usize> {
    let steps = count.div_ceil(each.max(1)).max(1);
    let (epoch, within) = (step / steps, step % steps);
    let order = match seed {
        Some(seed) => Random::new(seed, ORDER ^ epoch as u64).order(count),
        None => (0..count).collect(),
    };
    order.into_iter().skip(within * each).take(each).collect()
}

/// Packs examples into batches of at most `rows` tokens, first come, first served. Every learned token weighs
/// `1 / all learned tokens`, so that the losses of all batches sum to their mean. A sequence sees itself alone.
///
/// An example's last token predicts nothing and is left out.
pub fn micro_batches(examples: &[&Example], rows: usize) -> Vec<Batch> {
    micro_batches_with_prompts(examples, rows, 0.0)
}

/// As [`micro_batches`], where tokens of prompts are learned, too, each with `prompt` times the weight of an answer's.
pub fn micro_batches_with_prompts(examples: &[&Example], rows: usize, prompt: f32) -> Vec<Batch> {
    let learned: usize = examples.iter().map(|example| example.learned()).sum();
    let predicted: usize = examples.iter().map(|example| example.tokens.len().saturating_sub(1)).sum();
    let all = learned.max(1) as f32 + prompt * predicted.saturating_sub(learned) as f32;
    weighted(examples, rows, [1.0 / all, prompt / all])
}

/// As [`micro_batches`], every learned token with this weight.
pub fn weighted_batches(examples: &[&Example], rows: usize, weight: f32) -> Vec<Batch> {
    weighted(examples, rows, [weight, 0.0])
}

/// Weights of tokens of answers, and of prompts.
fn weighted(examples: &[&Example], rows: usize, [answer, prompt]: [f32; 2]) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    let mut pages = 0u32;
    for example in examples {
        let length = example.tokens.len().saturating_sub(1);
        if batches.last().is_none_or(|batch| batch.rows() + length > rows) {
            batches.push(Batch::default());
            pages = 0;
        }
        let Some(batch) = batches.last_mut() else { continue };
        let sequence = batch.tables.len() as u32;
        for position in 0..length {
            let row = batch.rows() as u32;
            batch.tokens.push(example.tokens[position]);
            batch.places.push(Place { sequence, position: position as u32 });
            let weight = if example.said[position + 1] { answer } else { prompt };
            if weight > 0.0 {
                batch.outputs.push(row);
                batch.targets.push(Target { token: example.tokens[position + 1], weight });
            }
        }
        let needed = length.div_ceil(PAGE_CELLS) as u32;
        batch.tables.push((pages..pages + needed).collect());
        pages += needed;
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_seen_once_an_epoch() {
        let mut seen: Vec<usize> = (0..4).flat_map(|step| step_order(10, 3, step, Some(7))).collect();
        assert_ne!(seen, (0..10).collect::<Vec<_>>());
        seen.sort_unstable();
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
        assert_ne!(step_order(10, 3, 0, Some(7)), step_order(10, 3, 4, Some(7)));
        assert_eq!(step_order(10, 3, 5, None), [3, 4, 5]);
    }

    #[test]
    fn examples_are_packed_as_sequences_of_their_own() {
        let example = |tokens: &[u32], first: usize| Example {
            tokens: tokens.to_vec(),
            said: (0..tokens.len()).map(|at| at >= first).collect(),
            line: 0,
        };
        let (a, b, c) = (example(&[1, 2, 3], 1), example(&[4, 5, 6, 7], 3), example(&[8, 9], 1));
        let batches = micro_batches(&[&a, &b, &c], 5);
        assert_eq!(batches.len(), 2);
        assert_eq!(batches[0].tokens, [1, 2, 4, 5, 6]);
        assert_eq!(batches[0].outputs, [0, 1, 4]);
        assert_eq!(batches[0].places[2], Place { sequence: 1, position: 0 });
        assert_eq!(batches[0].targets[2], Target { token: 7, weight: 0.25 });
        assert_eq!(batches[1].tokens, [8]);
        assert_eq!(batches[0].tables, [vec![0], vec![1]]);
    }

    #[test]
    fn tokens_of_prompts_weigh_what_is_asked_for() {
        let example = Example { tokens: vec![4, 5, 6, 7], said: vec![false, false, false, true], line: 0 };
        let check = |prompt: f32, expected: &[(u32, f32)]| {
            let batches = micro_batches_with_prompts(&[&example], 9, prompt);
            let found: Vec<(u32, f32)> =
                batches[0].targets.iter().map(|target| (target.token, target.weight)).collect();
            assert_eq!(found, expected);
        };
        check(0.0, &[(7, 1.0)]);
        // Weights sum to 1: two tokens of a half each, and a whole one.
        check(0.5, &[(5, 0.25), (6, 0.25), (7, 0.5)]);
    }
}
