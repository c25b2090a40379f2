//! How long one token's choice takes on a large vocabulary: `cargo run --release -p bantam-engine --example sampling_speed`.
#![forbid(unsafe_code)]

use std::time::Instant;

use bantam_engine::SamplingSettings;
use bantam_engine::sampling::{Candidates, Random, Sampler};

fn main() {
    let mut random = Random::new(1);
    // Sums of uniform numbers look like the logits of a model: a bell with few tokens far above the rest.
    let logits: Vec<f32> =
        (0..128_256).map(|_| ((0..12).map(|_| random.next_unit()).sum::<f64>() * 2.5) as f32).collect();
    let all = SamplingSettings { top_k: 0, ..SamplingSettings::default() };
    let cases = [
        ("greedy", SamplingSettings::greedy()),
        ("default", SamplingSettings::default()),
        ("default with penalties", SamplingSettings { repeat_penalty: 1.1, ..SamplingSettings::default() }),
        ("top-p of all", SamplingSettings { min_p: 0.0, ..all.clone() }),
        ("min-p of all", SamplingSettings { top_p: 1.0, ..all.clone() }),
        ("typical-p of all", SamplingSettings { typical_p: 0.9, top_p: 1.0, min_p: 0.0, ..all }),
        ("the whole distribution", SamplingSettings::neutral()),
    ];
    for (name, settings) in cases {
        let mut candidates = Candidates::new(logits.len());
        let Ok(mut sampler) = Sampler::new(settings, 1, logits.len()) else { continue };
        let mut best = f64::INFINITY;
        for _ in 0..30 {
            let start = Instant::now();
            (0..10).for_each(|_| drop(std::hint::black_box(sampler.sample(&logits, &mut candidates))));
            best = best.min(start.elapsed().as_secs_f64() / 10.0);
        }
        println!("{name:24} {:7.1} µs", best * 1e6);
    }
}
