//! Answers held to a constraint, end to end on the fake model.

use std::sync::atomic::AtomicBool;

use bantam_constrain::{Compiler, Constraint};
use bantam_engine::sampling::SamplingSettings;
use bantam_engine::{
    Answer, BatchOptions, EngineError, FinishReason, FromIterator, Reasoning, Request, generate, generate_batch,
};

use crate::fake::{BYTES, END, FakeModel, Mind, THINK, VOCABULARY, request, tokenizer, tokens};

fn compiler() -> Compiler {
    Compiler::new(&tokenizer()).unwrap()
}

fn serve(mind: Mind, request: Request) -> Result<Answer, EngineError> {
    generate(&mut FakeModel::new(mind), &tokenizer(), request, &AtomicBool::new(false), &mut |_| {})
}

/// Logits that love these tokens, the first most.
fn loves(ids: &[u32]) -> Mind {
    let mut logits = vec![0.0; VOCABULARY];
    for (rank, &id) in ids.iter().rev().enumerate() {
        logits[id as usize] = 10.0 + rank as f32;
    }
    Mind::Fixed(logits)
}

fn byte(text: &str) -> u32 {
    BYTES + u32::from(text.as_bytes()[0])
}

/// Text, thoughts, finish reason, whether the constraint is met.
type Told<'a> = (&'a str, Option<&'a str>, FinishReason, Option<bool>);

fn check(mind: Mind, constraint: &Constraint, change: impl Fn(Request) -> Request, expected: Told<'_>) {
    let answer = serve(mind, change(Request { constraint: Some(constraint.clone()), ..request("x") })).unwrap();
    let thoughts = answer.reasoning_content.as_deref();
    assert_eq!((answer.text.as_str(), thoughts, answer.finish_reason, answer.constraint_met), expected);
}

fn thinking(request: Request, opened: bool) -> Request {
    Request { reasoning: Some(Reasoning { start: "<think>".into(), end: "</think>".into(), opened }), ..request }
}

#[test]
fn answers_end_with_their_constraint() {
    use FinishReason::{Length, Stop};
    let compiler = compiler();
    let yes = compiler.choices(&["yes", "no"]).unwrap();
    let many = compiler.regex("b+").unwrap();
    // The end is loved and may not come before the answer is whole; then it need not come.
    check(loves(&[END, byte("y")]), &yes, |r| r, ("yes", None, Stop, Some(true)));
    check(loves(&[byte("z"), byte("n")]), &yes, |r| r, ("no", None, Stop, Some(true)));
    check(loves(&[END]), &many, |r| r, ("b", None, Stop, Some(true)));
    check(loves(&[byte("b")]), &many, |r| Request { max_tokens: Some(3), ..r }, ("bbb", None, Length, Some(true)));
    check(loves(&[byte("y")]), &yes, |r| Request { max_tokens: Some(2), ..r }, ("ye", None, Length, Some(false)));
    check(loves(&[byte("y")]), &yes, |r| Request { stop: vec!["es".into()], ..r }, ("y", None, Stop, Some(false)));
    check(loves(&[byte("y")]), &yes, |r| Request { ignore_end: true, ..r }, ("yes", None, Stop, Some(true)));
    // Filters see only what may come; penalties do not let anything else through.
    let narrow = SamplingSettings { temperature: 1.0, top_k: 1, repeat_penalty: 1.9, ..SamplingSettings::default() };
    let asked = |r| Request { sampling: narrow.clone(), seed: Some(3), ..r };
    check(loves(&[byte("z"), byte("y"), byte("n")]), &yes, asked, ("yes", None, Stop, Some(true)));
}

#[test]
fn thoughts_are_free_and_the_answer_is_not() {
    use FinishReason::{Length, Stop};
    let compiler = compiler();
    let yes = compiler.choices(&["yes", "no"]).unwrap();
    let script = |text: &str| {
        let asked = [vec![crate::fake::START], tokens("x")].concat();
        Mind::Script([(asked, tokens(text))].into())
    };
    let opened = |r| thinking(r, true);
    let may_open = |r| thinking(r, false);
    let quoted = compiler.choices(&["\n<think>yes"]).unwrap();
    check(script("no, hm.</think>\n\nyes"), &yes, opened, ("yes", Some("no, hm."), Stop, Some(true)));
    check(script("<think>no</think>yes"), &yes, may_open, ("yes", Some("no"), Stop, Some(true)));
    check(script("yes"), &yes, may_open, ("yes", None, Stop, Some(true)));
    // What looks like a marker is the answer's own where the constraint says so.
    check(loves(&[END]), &quoted, may_open, ("\n<think>yes", None, Stop, Some(true)));
    // In thoughts nothing ends the answer but their end, or the tokens given.
    let few = |r| Request { max_tokens: Some(4), ..thinking(r, true) };
    check(loves(&[END, byte("n")]), &yes, few, ("", Some("nnnn"), Length, Some(false)));
    check(loves(&[THINK, byte("n")]), &yes, |r| r, ("no", None, Stop, Some(true)));
}

#[test]
fn constraints_of_a_batch_are_each_ones_own() {
    let compiler = compiler();
    let schema = serde_json::json!({ "type": "object", "properties": { "a": { "type": "integer" } }, "maxProperties": 1,
        "additionalProperties": false, "required": ["a"] });
    let constraints = [
        Some(compiler.json_schema(&schema).unwrap()),
        None,
        Some(compiler.regex("[a-f]{8}-[0-9]+").unwrap()),
        Some(compiler.choices(&["left", "right", "straight on"]).unwrap()),
    ];
    let requests: Vec<Request> = (0..12)
        .map(|index| Request {
            constraint: constraints[index % 4].clone(),
            sampling: SamplingSettings::default(),
            seed: Some(index as u64),
            max_tokens: Some(40),
            ..request(&"abc"[..index % 3 + 1])
        })
        .collect();
    let mut together = Vec::new();
    let each = &mut FromIterator(requests.clone().into_iter().map(Ok));
    let deliver = &mut |_, answer: Result<Answer, EngineError>| together.push(answer.unwrap());
    let (mut model, cancel) = (FakeModel::new(Mind::Hash(7)), AtomicBool::new(false));
    generate_batch(&mut model, &tokenizer(), each, BatchOptions { live: 5 }, &cancel, deliver).unwrap();
    assert_eq!(together.len(), 12);
    for (request, answer) in requests.into_iter().zip(together) {
        let alone = serve(Mind::Hash(7), request).unwrap();
        assert_eq!((&alone.text, &alone.tokens), (&answer.text, &answer.tokens));
        assert_eq!(alone.constraint_met, answer.constraint_met);
    }
}
