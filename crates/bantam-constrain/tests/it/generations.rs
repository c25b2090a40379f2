//! Answers from logits that want them to go wrong.

use bantam_constrain::Compiler;
use bantam_testkit::evidence;
use bantam_text::Tokenizer;
use serde_json::{Value, json};

use crate::adversary::{End, MOODS, Traits, answer};
use crate::vocabularies::{compile, open, small};

/// Whether an answer fulfils its case; a judge for schemas stands in `tools/constraints`.
fn valid(case: &Value, text: &str) -> bool {
    if let Some(choices) = case.get("choices").and_then(Value::as_array) {
        return choices.iter().any(|choice| choice == text);
    }
    let Ok(value) = serde_json::from_str::<Value>(text) else { return false };
    let Some(a) = value.get("a").and_then(Value::as_f64) else { return false };
    let kind = value.get("kind").and_then(Value::as_str);
    let list = value.get("list").and_then(Value::as_array);
    (-3.0..=40.0).contains(&a)
        && a % 5.0 == 0.0
        && matches!(kind, None | Some("naïve" | "new\nline" | "q\"uote"))
        && list.is_some_and(|list| (1..=3).contains(&list.len()) && list.iter().all(|item| item.is_boolean()))
        && value.as_object().is_some_and(|object| object.len() == 2 + usize::from(kind.is_some()))
}

fn check(tokenizer: &Tokenizer, seeds: u64, shared: bool) {
    let compiler = Compiler::new(tokenizer).unwrap();
    let traits = Traits::new(tokenizer, tokenizer.vocabulary_len() + 7);
    let schema = json!({ "type": "object", "additionalProperties": false, "required": ["a", "list"], "properties": {
        "a": { "type": "integer", "minimum": -3, "maximum": 40, "multipleOf": 5 },
        "kind": { "enum": ["naïve", "new\nline", "q\"uote"] },
        "list": { "type": "array", "items": { "type": "boolean" }, "minItems": 1, "maxItems": 3 },
    } });
    let cases = [json!({ "schema": schema }), json!({ "choices": ["yes", " no", "Yes, sir", "naïve 🐓", "  two"] })];
    let mut whole = 0;
    for case in &cases {
        let constraint = compile(&compiler, case).unwrap();
        for mood in MOODS {
            for seed in 0..seeds {
                for behind in [&[][..], &[40]] {
                    let answer = answer((&constraint, tokenizer, &traits), mood, seed, (60, behind));
                    let whole_now = matches!(answer.end, End::Whole | End::Helped(_));
                    assert!(whole_now, "{case}, {mood:?}, {seed}: {:?} {:?}", answer.end, answer.text);
                    assert!(valid(case, &answer.text), "{case}, {mood:?}, {seed}: {:?}", answer.text);
                    whole += 1;
                }
            }
        }
    }
    println!("{whole} valid answers");
    for case in &cases {
        let kind = case.as_object().unwrap().keys().next().unwrap();
        match shared {
            true => evidence::shown_with_shared("constraint", kind, "adversary"),
            false => evidence::shown("constraint", kind, "adversary"),
        }
    }
}

#[test]
fn small_vocabularies_give_valid_answers() {
    check(&small(), 20, false);
}

#[test]
fn real_vocabularies_give_valid_answers() {
    let Some(shared) = bantam_testkit::shared_dir() else { return };
    for name in ["smollm2/tokenizer.json", "ggml-vocab-llama-spm.gguf"] {
        check(&open(&shared.join("data/tokenizers").join(name)), 2, true);
    }
}
