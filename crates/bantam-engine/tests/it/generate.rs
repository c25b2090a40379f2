//! One request at a time.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};

use bantam_engine::{Answer, EngineError, Event, FinishReason, Reasoning, Request, SamplingSettings, generate};

use crate::fake::{
    BYTES, CONTROL, END, FakeModel, Mind, NAMELESS, START, THINK, VOCABULARY, request, tokenizer, tokens,
};

fn run(model: &mut FakeModel, request: Request) -> Result<Answer, EngineError> {
    let answer = generate(model, &tokenizer(), request, &AtomicBool::new(false), &mut |_| {});
    assert_eq!(model.open_sequences(), 0, "the sequence is given back");
    answer
}

/// What the model writes, what is asked, and what comes of it: text, thoughts, reason, generated tokens.
fn check(written: &str, change: impl Fn(&mut Request), expected: (&str, Option<&str>, FinishReason, usize)) {
    let mut model = FakeModel::script(&[("Q", written)]);
    let mut asked = request("Q");
    change(&mut asked);
    let (mut text, mut thoughts, mut logprobs) = (String::new(), String::new(), Vec::new());
    let mut hear = |event: Event<'_>| match event {
        Event::Text(piece) => text.push_str(piece),
        Event::Reasoning(piece) => thoughts.push_str(piece),
        Event::Logprob(logprob) => logprobs.push(logprob.clone()),
        Event::Prompt { .. } | Event::ToolCall(_) => {}
    };
    let answer = generate(&mut model, &tokenizer(), asked, &AtomicBool::new(false), &mut hear).unwrap();
    let found = (answer.text.as_str(), answer.reasoning_content.as_deref(), answer.finish_reason, answer.tokens.len());
    assert_eq!(found, expected, "{written:?}");
    assert_eq!((text, thoughts), (answer.text, answer.reasoning_content.unwrap_or_default()), "events of {written:?}");
    assert_eq!(logprobs, answer.logprobs.unwrap_or_default().content, "events of {written:?}");
    assert_eq!((answer.usage.prompt_tokens, answer.usage.completion_tokens), (2, expected.3));
}

use FinishReason::{Length, Stop};

#[test]
fn answers_end_where_they_should() {
    check("Hi.", |_| (), ("Hi.", None, Stop, 4));
    check("", |_| (), ("", None, Stop, 1));
    check("Hi.", |r| r.max_tokens = Some(3), ("Hi.", None, Length, 3));
    check("Hi.", |r| r.max_tokens = Some(4), ("Hi.", None, Stop, 4));
    check("Hi.", |r| r.max_tokens = Some(1), ("H", None, Length, 1));
    check("Hi.", |r| r.max_tokens = Some(0), ("", None, Length, 0));
    check("one END two", |r| r.stop = vec!["END".into()], ("one ", None, Stop, 7));
    check("one EN", |r| r.stop = vec!["END".into()], ("one EN", None, Stop, 7));
    check("one EN two", |r| r.stop = vec!["END".into(), "tw".into()], ("one EN ", None, Stop, 9));
    // A stop string is found although the limit is met with its last token.
    check("one END", |r| (r.stop, r.max_tokens) = (vec!["END".into()], Some(7)), ("one ", None, Stop, 7));
    check("one EN", |r| (r.stop, r.max_tokens) = (vec!["END".into()], Some(6)), ("one EN", None, Length, 6));
}

#[test]
fn characters_come_whole() {
    check("né 🦜!", |_| (), ("né 🦜!", None, Stop, 10));
    // Cut in the middle of a character: what there is of it becomes replacement characters, as in sentencepiece.
    check("né", |r| r.max_tokens = Some(2), ("n\u{FFFD}", None, Length, 2));
    check("a🦜b", |r| r.stop = vec!["🦜".into()], ("a", None, Stop, 5));
    let mut pieces = Vec::new();
    let mut model = FakeModel::script(&[("Q", "é🦜")]);
    let mut hear = |event: Event<'_>| {
        if let Event::Text(piece) = event {
            pieces.push(piece.to_owned());
        }
    };
    generate(&mut model, &tokenizer(), request("Q"), &AtomicBool::new(false), &mut hear).unwrap();
    assert_eq!(pieces, ["é", "🦜"]);
}

#[test]
fn special_tokens_are_left_out() {
    check("a<|im_start|>b", |_| (), ("ab", None, Stop, 4));
    check("a<|im_start|>b", |r| r.spell_special = true, ("a<|im_start|>b", None, Stop, 4));
    check("a<|im_start|>b<think>", |r| r.spelled_tokens = vec![CONTROL], ("a<|im_start|>b", None, Stop, 5));
    // A row of logits without a token in the vocabulary spells nothing.
    let mut logits = vec![0.0; VOCABULARY];
    logits[NAMELESS as usize] = 1.0;
    let mut model = FakeModel::new(Mind::Fixed(logits));
    let answer = run(&mut model, Request { max_tokens: Some(3), logprobs: Some(2), ..request("Q") }).unwrap();
    assert_eq!((answer.text.as_str(), answer.tokens), ("", vec![NAMELESS; 3]));
    assert_eq!(answer.logprobs.unwrap().content.len(), 3);
}

#[test]
fn thoughts_are_told_from_the_answer() {
    let markers = |opened| Reasoning { start: "<think>".into(), end: "</think>".into(), opened };
    let written = "<think>\nHm.\n</think>\n\nYes.";
    check(written, |r| r.reasoning = Some(markers(false)), ("Yes.", Some("Hm."), Stop, 14));
    // Without the markers known, one of them is a control token and left out, the other is text.
    check(written, |_| (), ("\nHm.\n</think>\n\nYes.", None, Stop, 14));
    check("Hm.</think>Yes.", |r| r.reasoning = Some(markers(true)), ("Yes.", Some("Hm."), Stop, 9));
    check("Yes.", |r| r.reasoning = Some(markers(false)), ("Yes.", None, Stop, 5));
    check("<think>Hm", |r| r.reasoning = Some(markers(false)), ("", Some("Hm"), Stop, 4));
    check(
        "<think>a END b",
        |r| (r.reasoning, r.stop) = (Some(markers(false)), vec!["END".into()]),
        ("", Some("a"), Stop, 6),
    );
}

#[test]
fn logprobs_follow_the_text() {
    check("one END two", |r| (r.stop, r.logprobs) = (vec!["END".into()], Some(0)), ("one ", None, Stop, 7));
    let mut model = FakeModel::script(&[("Q", "né END")]);
    let asked = Request { stop: vec!["END".into()], logprobs: Some(2), ..request("Q") };
    let answer = run(&mut model, asked).unwrap();
    let content = answer.logprobs.as_ref().unwrap().content.clone();
    let spelled: Vec<_> = content.iter().map(|token| (token.token.as_str(), token.bytes.as_slice())).collect();
    // The tokens of the stop string are left out, as is the one that ends an answer.
    assert_eq!(
        spelled,
        [("n", &b"n"[..]), ("\u{FFFD}", &[0xC3]), ("\u{FFFD}", &[0xA9]), (" ", b" ")],
        "bytes say what the text cannot"
    );
    let total = 10f64.exp() + (VOCABULARY - 1) as f64;
    assert!((content[0].logprob - (10.0 - total.ln())).abs() < 1e-9);
    assert!((content[0].top_logprobs[1].logprob + total.ln()).abs() < 1e-9);
    assert_eq!(content[0].top_logprobs[0].token, "n");
    let json = serde_json::to_value(&answer).unwrap();
    let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["text", "finish_reason", "usage", "timings", "logprobs"]);
    assert_eq!(json["finish_reason"], "stop");
    assert_eq!(json["usage"].to_string(), r#"{"prompt_tokens":2,"completion_tokens":7}"#);
    let first = &json["logprobs"]["content"][0];
    let keys: Vec<_> = first.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["token", "logprob", "bytes", "top_logprobs"]);
    assert_eq!(first["top_logprobs"][1]["bytes"].to_string(), first["top_logprobs"][1]["bytes"].to_string());
    assert!(json["timings"]["prompt_per_second"].as_f64().unwrap() > 0.0);
    assert!(json["timings"]["predicted_per_second"].as_f64().unwrap() > 0.0);
    assert_eq!(json["timings"]["predicted_n"], 6);
}

#[test]
fn prompts_are_never_cut() {
    let check = |prompt: Vec<u32>, expected: &str| {
        let mut model = FakeModel::new(Mind::Hash(1));
        model.context = 8;
        let error = run(&mut model, Request { prompt, ..request("") }).unwrap_err();
        assert_eq!((error.to_string().as_str(), model.runs), (expected, 0));
    };
    check(vec![START; 9], "the prompt has 9 tokens and does not fit the context of 8");
    check(
        vec![],
        "the prompt is empty, and the model's metadata puts no token before a text: there is nothing to go on from",
    );
    check(
        vec![START, VOCABULARY as u32],
        &format!("token {VOCABULARY} of the prompt is outside the vocabulary of {VOCABULARY} tokens"),
    );
}

#[test]
fn the_context_is_used_to_its_end() {
    for (prompt, generated) in [(8, 1), (7, 2), (1, 8)] {
        let mut model = FakeModel::new(Mind::Hash(1));
        model.context = 8;
        let asked = Request { prompt: vec![START; prompt], ignore_end: true, ..request("") };
        let answer = run(&mut model, asked).unwrap();
        assert_eq!(
            (answer.finish_reason, answer.context_full, answer.tokens.len()),
            (Length, true, generated),
            "a prompt of {prompt}"
        );
    }
    let mut model = FakeModel::script(&[("Q", "1234567")]);
    model.context = 8;
    let answer = run(&mut model, Request { max_tokens: Some(7), ..request("Q") }).unwrap();
    assert_eq!((answer.text.as_str(), answer.finish_reason, answer.context_full), ("1234567", Length, true));
    let answer = run(&mut model, Request { max_tokens: Some(6), ..request("Q") }).unwrap();
    assert_eq!((answer.text.as_str(), answer.finish_reason, answer.context_full), ("123456", Length, false));
}

#[test]
fn seeds_decide() {
    let mut model = FakeModel::new(Mind::Hash(7));
    let mut sample = |seed| {
        let sampling = SamplingSettings { top_k: 0, ..SamplingSettings::default() };
        run(&mut model, Request { seed, sampling, max_tokens: Some(40), ignore_end: true, ..request("Q") }).unwrap()
    };
    let first = sample(Some(1));
    assert_eq!(first.tokens, sample(Some(1)).tokens);
    assert_ne!(first.tokens, sample(Some(2)).tokens);
    let drawn = sample(None);
    assert_ne!(drawn.tokens, sample(None).tokens);
    assert_eq!(drawn.tokens, sample(Some(drawn.seed)).tokens, "the answer names the seed it was given");
}

#[test]
fn answers_can_be_stopped() {
    // Stopped by whoever listens, after some text.
    let mut model = FakeModel::script(&[("Q", "one two three")]);
    let (cancel, text) = (AtomicBool::new(false), RefCell::new(String::new()));
    let mut hear = |event: Event<'_>| {
        if let Event::Text(piece) = event {
            text.borrow_mut().push_str(piece);
            cancel.store(text.borrow().ends_with("two"), Ordering::Relaxed);
        }
    };
    let answer = generate(&mut model, &tokenizer(), request("Q"), &cancel, &mut hear).unwrap();
    assert_eq!((answer.text.as_str(), answer.finish_reason), ("one two", FinishReason::Cancelled));
    // Before anything is run.
    let answer = generate(&mut model, &tokenizer(), request("Q"), &AtomicBool::new(true), &mut |_| {}).unwrap();
    assert_eq!((answer.text.as_str(), answer.finish_reason, answer.tokens.len()), ("", FinishReason::Cancelled, 0));
    // By the model itself, in the prompt and later.
    for (run_number, expected) in [(0, ""), (3, "one")] {
        let mut model = FakeModel { interrupt_at: Some(run_number), ..FakeModel::script(&[("Q", "one two three")]) };
        let answer = run(&mut model, request("Q")).unwrap();
        assert_eq!((answer.text.as_str(), answer.finish_reason), (expected, FinishReason::Cancelled));
    }
}

#[test]
fn long_prompts_come_in_pieces() {
    let mut model = FakeModel { context: 4000, ..FakeModel::new(Mind::Hash(1)) };
    let mut progress = Vec::new();
    let asked = Request { prompt: vec![BYTES; 1300], max_tokens: Some(2), ignore_end: true, ..request("") };
    let mut hear = |event: Event<'_>| {
        if let Event::Prompt { done, total } = event {
            progress.push((done, total));
        }
    };
    generate(&mut model, &tokenizer(), asked, &AtomicBool::new(false), &mut hear).unwrap();
    assert_eq!(progress, [(512, 1300), (1024, 1300), (1300, 1300)]);
    assert_eq!((model.runs, model.rows), (4, 1301));
}

#[test]
fn failures_of_the_model_are_told() {
    let mut model = FakeModel { poison: Some(THINK), ..FakeModel::new(Mind::Hash(1)) };
    let error = run(&mut model, request("<think>")).unwrap_err();
    assert_eq!(error.to_string(), format!("token {THINK} is poison"));
    let mut model = FakeModel { most_sequences: 0, ..FakeModel::new(Mind::Hash(1)) };
    assert_eq!(run(&mut model, request("Q")).unwrap_err().to_string(), "no more sequences");
    let mut model = FakeModel::new(Mind::Fixed(vec![f32::NAN; VOCABULARY]));
    assert!(matches!(run(&mut model, request("Q")), Err(EngineError::NoCandidate { .. })));
    let error = run(&mut model, Request { stop: vec![String::new()], ..request("Q") }).unwrap_err();
    assert_eq!(error.to_string(), "stop must be a text of at least one character, not \"\"");
    let error = run(&mut model, Request { logprobs: Some(9999), ..request("Q") }).unwrap_err();
    assert_eq!(error.to_string(), format!("logprobs must be at most the vocabulary's size, not 9999 of {VOCABULARY}"));
}

#[test]
fn ends_can_be_ignored() {
    let mut logits = vec![0.0; VOCABULARY];
    logits[END as usize] = 1.0;
    let mut model = FakeModel::new(Mind::Fixed(logits));
    let answer = run(&mut model, Request { ignore_end: true, max_tokens: Some(3), ..request("Q") }).unwrap();
    assert_eq!((answer.tokens, answer.finish_reason), (vec![END; 3], Length));
    assert_eq!(tokens("Q").len(), 1);
}
