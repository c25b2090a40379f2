//! The samplers against numpy, and what no golden can say.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use bantam_engine::sampling::{CHAIN, Candidates, History, Mask, Random, Sampler};
use bantam_engine::{EngineError, Request, SamplingOptions, SamplingSettings, generate};
use serde::Deserialize;

use crate::fake::{FakeModel, Mind, START, tokenizer};

/// The file that `tools/goldens/samplers.py` writes.
const GOLDENS: &str = include_str!("goldens/samplers.json");

#[derive(Deserialize)]
struct Goldens {
    chain: Vec<Case>,
    random: Vec<RandomCase>,
    logprobs: Vec<LogprobCase>,
}

#[derive(Deserialize)]
struct Case {
    size: usize,
    spread: u64,
    seed: u64,
    settings: SamplingOptions,
    #[serde(default)]
    history: Vec<u32>,
    #[serde(default)]
    special: HashMap<usize, String>,
    #[serde(default)]
    ids: Vec<u32>,
    #[serde(default)]
    probabilities: Vec<f64>,
    survivors: Option<Survivors>,
}

#[derive(Deserialize)]
struct Survivors {
    count: usize,
    sum: u64,
    entropy: f64,
}

#[derive(Deserialize)]
struct RandomCase {
    seed: String,
    bits: Vec<String>,
}

#[derive(Deserialize)]
struct LogprobCase {
    seed: u64,
    size: usize,
    spread: u64,
    top: Vec<(u32, f64)>,
}

fn goldens() -> Goldens {
    serde_json::from_str(GOLDENS).unwrap()
}

fn logits_of(seed: u64, size: usize, spread: u64) -> Vec<f32> {
    let mut x = seed;
    let mut next = || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (((x >> 33) % (2 * spread + 1)) as f64 - spread as f64) / 1000.0
    };
    (0..size).map(|_| next() as f32).collect()
}

/// What the chain leaves, by id, with probabilities.
fn survivors(case: &Case, logits: &[f32], candidates: &mut Candidates) -> Vec<(u32, f64)> {
    let settings = case.settings.resolve();
    let mut history = History::new(settings.penalty_window);
    history.extend(&case.history);
    candidates.fill(logits);
    let greedy = settings.temperature == 0.0;
    for step in CHAIN.iter().take(if greedy { 2 } else { CHAIN.len() }) {
        (step.apply)(candidates, &settings, &history);
    }
    if greedy {
        return vec![(candidates.greatest().unwrap(), 1.0)];
    }
    candidates.weigh();
    let total = candidates.total();
    let mut left: Vec<_> = candidates.as_slice().iter().map(|left| (left.id, left.weight / total)).collect();
    left.sort_by_key(|left| left.0);
    left
}

fn check(case: &Case, candidates: &mut Candidates) {
    let mut logits = logits_of(case.seed, case.size, case.spread);
    for (&id, number) in &case.special {
        logits[id] = number.parse().unwrap();
    }
    let left = survivors(case, &logits, candidates);
    let name = format!("{} of seed {} with {:?}", case.size, case.seed, case.settings);
    if let Some(expected) = &case.survivors {
        let sum: u64 = left.iter().map(|left| u64::from(left.0)).sum();
        assert_eq!((left.len(), sum), (expected.count, expected.sum), "{name}");
        let entropy: f64 = left.iter().map(|left| -left.1 * left.1.ln()).sum();
        assert!((entropy - expected.entropy).abs() < 1e-6, "{name}: {entropy} for {}", expected.entropy);
    } else {
        let ids: Vec<_> = left.iter().map(|left| left.0).collect();
        assert_eq!(ids, case.ids, "{name}");
        for ((id, found), expected) in left.iter().zip(&case.probabilities) {
            assert!((found - expected).abs() <= 1e-5 * expected, "{name}: {found} for {expected} of {id}");
        }
    }
    // The sampler draws from just these, as often as they are likely.
    let mut sampler = Sampler::new(case.settings.resolve(), 11, case.size).unwrap();
    sampler.read_prompt(&case.history);
    let plain = case.history.is_empty();
    let draws = if plain { 20_000 / case.size } else { 1 };
    let mut counts = HashMap::new();
    for _ in 0..draws {
        *counts.entry(sampler.sample(&logits, candidates).unwrap()).or_insert(0u32) += 1;
    }
    for (id, count) in counts {
        let Some(&(_, probability)) = left.iter().find(|left| left.0 == id) else { panic!("{name}: {id} was drawn") };
        let (expected, deviation) = (draws as f64 * probability, (draws as f64 * probability).sqrt());
        assert!(!plain || f64::from(count) <= expected + 5.0 * deviation + 4.0, "{name}: {id} {count} times");
    }
}

#[test]
fn samplers_keep_what_numpy_keeps() {
    let mut candidates = Candidates::default();
    let cases = goldens().chain;
    assert!(cases.len() > 80, "{} cases", cases.len());
    cases.iter().for_each(|case| check(case, &mut candidates));
}

#[test]
fn the_generator_is_xoshiro256_plus_plus() {
    for case in goldens().random {
        let mut random = Random::new(case.seed.parse().unwrap());
        let bits: Vec<_> = case.bits.iter().map(|_| random.next_bits().to_string()).collect();
        assert_eq!(bits, case.bits, "seed {}", case.seed);
    }
    assert_eq!(Random::stream(5, 0), 5);
    assert_ne!(Random::stream(5, 1), Random::stream(5, 2));
    assert_ne!(Random::fresh_seed(), Random::fresh_seed());
}

#[test]
fn logprobs_are_those_of_the_raw_logits() {
    let tokenizer = tokenizer();
    for case in goldens().logprobs {
        let logits = logits_of(case.seed, case.size, case.spread);
        let mut model = FakeModel::new(Mind::Fixed(logits));
        // Penalties, bias and temperature must not show.
        let sampling = SamplingSettings {
            temperature: 0.3,
            presence_penalty: 1.5,
            top_k: 3,
            logit_bias: [(case.top[4].0, 20.0)].into(),
            ..SamplingSettings::default()
        };
        let request = Request {
            sampling,
            logprobs: Some(case.top.len()),
            max_tokens: Some(2),
            ignore_end: true,
            ..Request::new(vec![START])
        };
        let answer = generate(&mut model, &tokenizer, request, &AtomicBool::new(false), &mut |_| {}).unwrap();
        let content = answer.logprobs.unwrap().content;
        assert_eq!((content.len(), answer.tokens[0]), (2, case.top[4].0), "the bias decides");
        for token in &content {
            assert!((token.logprob - case.top[4].1).abs() < 1e-6, "{} for {}", token.logprob, case.top[4].1);
            assert_eq!(token.top_logprobs.len(), case.top.len());
            for (found, (id, expected)) in token.top_logprobs.iter().zip(&case.top) {
                assert!((found.logprob - expected).abs() < 1e-6, "{} for {expected}", found.logprob);
                assert_eq!(found.bytes, tokenizer.token_bytes(*id).unwrap_or_default());
            }
        }
    }
}

#[test]
fn rows_without_a_number_are_an_error() {
    let mut candidates = Candidates::default();
    for settings in [SamplingSettings::greedy(), SamplingSettings::neutral(), SamplingSettings::default()] {
        for logit in [f32::NAN, f32::NEG_INFINITY] {
            let mut sampler = Sampler::new(settings.clone(), 1, 8).unwrap();
            let error = sampler.sample(&[logit; 8], &mut candidates).unwrap_err();
            assert!(matches!(error, EngineError::NoCandidate { vocabulary_len: 8 }));
            assert!(sampler.sample(&[], &mut candidates).is_err());
            // One infinity is the greatest of numbers.
            let mut row = [logit; 8];
            row[5] = f32::INFINITY;
            row[6] = 1.0;
            assert_eq!(sampler.sample(&row, &mut candidates).unwrap(), 5);
        }
    }
}

#[test]
fn the_greatest_are_those_that_sorting_finds() {
    let mut candidates = Candidates::default();
    // Wide and narrow spreads, the latter with many equal logits; lengths around the stretches that are looked at together.
    for (size, spread) in [(1, 9), (16, 2), (127, 9000), (128, 1), (129, 4), (1000, 3), (5000, 9000), (20_000, 40)] {
        let mut logits = logits_of(size as u64, size, spread);
        for (place, odd) in [f32::NAN, f32::NEG_INFINITY, -0.0, 0.0, f32::MAX].into_iter().enumerate() {
            logits.get_mut(7 + 113 * place).map(|logit| *logit = odd).unwrap_or_default();
        }
        if size == 5000 {
            // Counts as the greatest number, of which there is one before.
            logits[4000] = f32::INFINITY;
        }
        let finite = |id: u32| logits[id as usize].min(f32::MAX);
        let mut sorted: Vec<u32> = (0..size as u32).filter(|&id| logits[id as usize] > f32::NEG_INFINITY).collect();
        sorted.sort_by(|&a, &b| finite(b).total_cmp(&finite(a)).then(a.cmp(&b)));
        candidates.fill(&logits);
        assert_eq!(candidates.greatest().map(finite), Some(finite(sorted[0])));
        for count in [1, 2, 7, 40, 128, 157, 1000] {
            candidates.list_greatest(count);
            let found: Vec<u32> = candidates.as_slice().iter().map(|candidate| candidate.id).collect();
            assert_eq!(found, sorted[..count.min(sorted.len())], "{count} of {size}, spread {spread}");
        }
    }
}

#[test]
fn hard_temperatures_do_not_overflow() {
    let mut candidates = Candidates::default();
    let logits = [3.0e38, -3.0e38, 2.9e38, f32::MIN];
    for (temperature, expected) in [(1e-38, &[0][..]), (3e38, &[0, 1, 2, 3])] {
        let settings = SamplingSettings { temperature, ..SamplingSettings::neutral() };
        let mut sampler = Sampler::new(settings, 3, 4).unwrap();
        let mut drawn: Vec<_> = (0..300).map(|_| sampler.sample(&logits, &mut candidates).unwrap()).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn, expected, "temperature {temperature}");
    }
}

#[test]
fn settings_that_mean_nothing_are_refused() {
    let check = |change: fn(&mut SamplingSettings), expected: &str| {
        let mut settings = SamplingSettings::default();
        change(&mut settings);
        let error = Sampler::new(settings, 1, 10).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some(expected));
    };
    check(|s| s.temperature = -0.1, "temperature must be a number from 0, not -0.1");
    check(|s| s.temperature = f32::NAN, "temperature must be a number from 0, not NaN");
    check(|s| s.temperature = f32::INFINITY, "temperature must be a number from 0, not inf");
    check(|s| s.top_p = 1.5, "top-p must be a number from 0 to 1, not 1.5");
    check(|s| s.min_p = -1.0, "min-p must be a number from 0 to 1, not -1");
    check(|s| s.typical_p = f32::NAN, "typical-p must be a number from 0 to 1, not NaN");
    check(|s| s.repeat_penalty = 0.0, "repeat-penalty must be a number above 0, not 0");
    check(|s| s.presence_penalty = f32::INFINITY, "presence-penalty must be a finite number, not inf");
    check(|s| s.frequency_penalty = f32::NAN, "frequency-penalty must be a finite number, not NaN");
    check(
        |s| s.logit_bias = [(10, 1.0)].into(),
        "logit-bias must be tokens of the vocabulary, not token 10 of a vocabulary of 10",
    );
    check(|s| s.logit_bias = [(1, f32::NAN)].into(), "logit-bias must be a finite number or minus infinity, not NaN");
}

#[test]
fn options_stand_before_defaults() {
    let chosen = SamplingOptions { temperature: Some(0.2), repeat_last_n: Some(-1), ..SamplingOptions::default() };
    let model = SamplingOptions { temperature: Some(0.6), top_p: Some(0.9), ..SamplingOptions::default() };
    let settings = chosen.or(&model).resolve();
    let expected =
        SamplingSettings { temperature: 0.2, top_p: 0.9, penalty_window: None, ..SamplingSettings::default() };
    assert_eq!(settings, expected);
    assert_eq!(SamplingOptions::default().resolve(), SamplingSettings::default());
}

#[test]
fn masks_come_before_filters() {
    // Even tokens only, each once.
    for settings in [SamplingSettings::greedy(), SamplingSettings::default(), SamplingSettings::neutral()] {
        let mut sampler = Sampler::new(settings, 1, 6).unwrap();
        let mut candidates = Candidates::default();
        let logits = [0.5, 9.0, 0.4, 8.0, 0.3, 7.0];
        let mut drawn = Vec::new();
        let mut draw = |drawn: &[u32]| {
            let mask: Mask<'_> = &mut |logits| {
                let forbidden = (0..).zip(logits).filter(|(id, _)| id % 2 == 1 || drawn.contains(id));
                forbidden.for_each(|(_, logit)| *logit = f32::NEG_INFINITY);
                Ok(())
            };
            sampler.sample_under(&logits, &mut candidates, Some(mask))
        };
        for _ in 0..3 {
            let token = draw(&drawn).unwrap();
            drawn.push(token);
        }
        assert!(draw(&drawn).is_err());
        drawn.sort_unstable();
        assert_eq!(drawn, [0, 2, 4]);
    }
}
