//! Many requests together, each as if alone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use bantam_engine::{
    Answer, BatchOptions, BatchReport, EngineError, FromIterator, Request, Requests, SamplingSettings, generate,
    generate_batch,
};

use crate::fake::{BYTES, FakeModel, Mind, START, THINK, request, tokenizer};

type Delivered = Vec<Result<Answer, String>>;

fn serve(model: &mut FakeModel, requests: &mut dyn Requests, live: usize) -> (Delivered, BatchReport) {
    let mut delivered = Vec::new();
    let mut deliver = |index: usize, result: Result<Answer, EngineError>| {
        assert_eq!(index, delivered.len(), "in order");
        delivered.push(result.map_err(|error| error.to_string()));
    };
    let cancel = AtomicBool::new(false);
    let options = BatchOptions { live };
    let report = generate_batch(model, &tokenizer(), requests, options, &cancel, &mut deliver).unwrap();
    assert_eq!(model.open_sequences(), 0, "sequences are given back");
    (delivered, report)
}

fn serve_all(model: &mut FakeModel, requests: &[Request], live: usize) -> (Delivered, BatchReport) {
    serve(model, &mut FromIterator(requests.iter().cloned().map(Ok)), live)
}

/// Requests of all kinds: prompts short, long and alike, greedy and not, with stops, logprobs and limits.
fn requests() -> Vec<Request> {
    (0..40u32)
        .map(|number| {
            let shared = (0..number % 3 * 17).map(|index| BYTES + index % 50);
            let own = (0..1 + number * 7 % 23).map(|index| BYTES + 60 + (number * 31 + index) % 90);
            let long = (0..if number % 13 == 5 { 1200 } else { 0 }).map(|index| BYTES + (index + number) % 200);
            Request {
                prompt: [START].into_iter().chain(shared).chain(own).chain(long).collect(),
                sampling: match number % 3 {
                    0 => SamplingSettings::greedy(),
                    1 => SamplingSettings { repeat_penalty: 1.1, ..SamplingSettings::default() },
                    _ => SamplingSettings { temperature: 1.5, top_p: 0.9, ..SamplingSettings::neutral() },
                },
                seed: Some(u64::from(number) / 2),
                max_tokens: if number % 4 == 0 { Some(number as usize % 9) } else { None },
                logprobs: (number % 5 == 0).then_some(3),
                stop: if number % 6 == 1 { vec!["A".into(), "zz".into()] } else { Vec::new() },
                ..Request::new(Vec::new())
            }
        })
        .collect()
}

/// The answer without what the clock decides.
fn timeless(answer: &Answer) -> Answer {
    Answer { timings: Default::default(), ..answer.clone() }
}

#[test]
fn answers_are_those_given_alone() {
    let model = || FakeModel { context: 2000, ..FakeModel::new(Mind::Hash(3)) };
    let requests = requests();
    let alone: Vec<_> = requests
        .iter()
        .map(|asked| {
            let cancel = AtomicBool::new(false);
            timeless(&generate(&mut model(), &tokenizer(), asked.clone(), &cancel, &mut |_| {}).unwrap())
        })
        .collect();
    let mut lengths: Vec<_> = alone.iter().map(|answer| answer.tokens.len()).collect();
    lengths.dedup();
    assert!(lengths.len() > 20 && alone.iter().any(|answer| answer.tokens.len() > 60), "answers differ in length");
    for (live, most_sequences) in [(1, 64), (2, 64), (7, 64), (8, 3), (64, 64), (0, 64)] {
        let mut model = FakeModel { most_sequences, ..model() };
        let (delivered, report) = serve_all(&mut model, &requests, live);
        let delivered: Vec<_> = delivered.iter().map(|result| timeless(result.as_ref().unwrap())).collect();
        assert_eq!(delivered, alone, "{live} live");
        assert_eq!(report, BatchReport { answered: requests.len(), failed: 0, cancelled: false });
        assert_eq!(model.widest, live.clamp(1, most_sequences).min(requests.len()).min(model.widest.max(1)));
        assert!(
            model.widest <= live.max(1) && model.most_rows <= 512,
            "{} wide, {} rows",
            model.widest,
            model.most_rows
        );
        assert!(live < 2 || model.widest >= 2, "they are decoded together");
    }
}

#[test]
fn a_failing_request_fails_alone() {
    let mut requests = requests();
    requests.truncate(12);
    let (expected, _) = serve_all(&mut FakeModel { context: 2000, ..FakeModel::new(Mind::Hash(3)) }, &requests, 4);
    requests[2].prompt = vec![START; 3000];
    requests[3].prompt.push(THINK);
    requests[5].sampling.top_p = 7.0;
    requests[11].prompt.clear();
    for live in [1, 3, 12] {
        let mut model = FakeModel { context: 2000, poison: Some(THINK), ..FakeModel::new(Mind::Hash(3)) };
        let results = requests.iter().cloned().enumerate();
        let results = results.map(|(index, request)| match index {
            7 => Err(EngineError::Refused("line 8 is not JSON".into())),
            _ => Ok(request),
        });
        let (delivered, report) = serve(&mut model, &mut FromIterator(results), live);
        for (index, result) in delivered.iter().enumerate() {
            let error = match index {
                2 => "the prompt has 3000 tokens and does not fit the context of 2000",
                3 => &format!("token {THINK} is poison"),
                5 => "top-p must be a number from 0 to 1, not 7",
                7 => "line 8 is not JSON",
                11 => {
                    "the prompt is empty, and the model's metadata puts no token before a text: there is nothing to go on from"
                }
                _ => {
                    assert_eq!(
                        result.as_ref().map(timeless),
                        expected[index].as_ref().map(timeless),
                        "request {index}, {live} live"
                    );
                    continue;
                }
            };
            assert_eq!(result.as_ref().map(timeless), Err(&error.to_owned()));
        }
        assert_eq!(report, BatchReport { answered: 7, failed: 5, cancelled: false });
    }
}

#[test]
fn like_beginnings_are_computed_once() {
    let prompt = |last: u32| [vec![START], vec![BYTES; 200], vec![BYTES + last]].concat();
    let requests: Vec<_> =
        (0..10).map(|last| Request { prompt: prompt(last), max_tokens: Some(1), ..request("") }).collect();
    let mut model = FakeModel::new(Mind::Hash(3));
    serve_all(&mut model, &requests, 2);
    assert_eq!(model.rows, 2 * 202 + 8);
    // The same prompt again needs its last token for its logits.
    let mut model = FakeModel::new(Mind::Hash(3));
    serve_all(&mut model, &[requests[0].clone(), requests[0].clone()], 1);
    assert_eq!(model.rows, 202 + 1);
}

#[test]
fn whoever_waits_for_an_answer_gets_it() {
    // Each request is sent only when the one before it is answered.
    let (sender, mut receiver) = mpsc::channel();
    let mut sender = Some(sender);
    sender.as_ref().unwrap().send(Ok(request("1"))).unwrap();
    let mut answered = 0;
    let mut deliver = |_: usize, result: Result<Answer, EngineError>| {
        result.unwrap();
        answered += 1;
        match answered {
            1 => sender.as_ref().unwrap().send(Ok(request("2"))).unwrap(),
            2 => sender.as_ref().unwrap().send(Ok(Request { max_tokens: Some(0), ..request("3") })).unwrap(),
            _ => sender = None,
        }
    };
    let mut model = FakeModel::new(Mind::Hash(3));
    let (cancel, options) = (AtomicBool::new(false), BatchOptions::default());
    let report = generate_batch(&mut model, &tokenizer(), &mut receiver, options, &cancel, &mut deliver).unwrap();
    assert_eq!(report, BatchReport { answered: 3, failed: 0, cancelled: false });
}

#[test]
fn a_batch_can_be_stopped() {
    let requests = requests();
    let cancel = AtomicBool::new(false);
    let mut delivered = 0;
    let mut deliver = |_: usize, _: Result<Answer, EngineError>| {
        delivered += 1;
        cancel.store(delivered == 5, Ordering::Relaxed);
    };
    let mut model = FakeModel { context: 2000, ..FakeModel::new(Mind::Hash(3)) };
    let mut source = FromIterator(requests.iter().cloned().map(Ok));
    let options = BatchOptions { live: 1 };
    let report = generate_batch(&mut model, &tokenizer(), &mut source, options, &cancel, &mut deliver).unwrap();
    assert_eq!(report, BatchReport { answered: 5, failed: 0, cancelled: true });
    assert_eq!(model.open_sequences(), 0);
    // The model's own flag.
    let mut model = FakeModel { context: 2000, interrupt_at: Some(2), ..FakeModel::new(Mind::Hash(3)) };
    assert!(serve_all(&mut model, &requests, 3).1.cancelled);
}
