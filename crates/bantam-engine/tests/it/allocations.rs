//! Memory asked for while tokens are generated.

use std::sync::atomic::AtomicBool;

use bantam_engine::sampling::{Candidates, Sampler};
use bantam_engine::{Request, SamplingSettings, generate};
use bantam_testkit::CountingAllocator;

use crate::fake::{BYTES, FakeModel, Mind, VOCABULARY, request, tokenizer};

/// Settings that make every step of the chain work.
fn everything() -> SamplingSettings {
    SamplingSettings {
        temperature: 0.9,
        top_k: 100,
        top_p: 0.9,
        min_p: 0.01,
        typical_p: 0.95,
        repeat_penalty: 1.1,
        presence_penalty: 0.1,
        frequency_penalty: 0.1,
        penalty_window: Some(64),
        logit_bias: [(5, 1.0)].into(),
    }
}

#[test]
fn sampling_asks_for_no_memory() {
    assert!(CountingAllocator::is_installed());
    let logits: Vec<f32> = (0..3000).map(|index: u64| (index * 7919 % 3001) as f32 / 500.0).collect();
    let check = |settings: SamplingSettings| {
        let mut candidates = Candidates::new(logits.len());
        let mut sampler = Sampler::new(settings.clone(), 1, logits.len()).unwrap();
        (0..40).for_each(|_| drop(sampler.sample(&logits, &mut candidates)));
        let ((), counted) = CountingAllocator::count_thread(|| {
            (0..40).for_each(|_| drop(sampler.sample(&logits, &mut candidates)));
        });
        assert_eq!(counted.calls, 0, "{settings:?}");
    };
    check(SamplingSettings::greedy());
    check(SamplingSettings::default());
    check(SamplingSettings { top_k: 0, ..everything() });
    check(everything());
}

#[test]
fn a_step_asks_for_its_list_of_feeds_alone() {
    // 2000 tokens more must cost two requests a token: the list of what is fed and the text's last buffer at most.
    let tokenizer = tokenizer();
    let mut logits = vec![0.0; VOCABULARY];
    logits[BYTES as usize + 65] = 30.0;
    let mut model = FakeModel { context: 8192, ..FakeModel::new(Mind::Fixed(logits)) };
    let mut count = |tokens| {
        let asked = Request { max_tokens: Some(tokens), sampling: everything(), ..request("Q") };
        let cancel = AtomicBool::new(false);
        let work = || generate(&mut model, &tokenizer, asked, &cancel, &mut |_| {}).unwrap();
        let (answer, counted) = CountingAllocator::count_thread(work);
        assert_eq!(answer.tokens.len(), tokens);
        counted.calls
    };
    let (short, long) = (count(1000), count(3000));
    // Growing buffers (text, tokens) double, so a few requests come on top.
    assert!(long - short <= 2000 + 10, "{} requests for 2000 tokens", long - short);
}
