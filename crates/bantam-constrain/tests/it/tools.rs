//! Calls for tools, held to their schemas whatever the model would rather say.

use bantam_constrain::{CallRules, Compiler, Constraint};
use bantam_testkit::evidence;
use bantam_text::tool_calls::{CONVENTIONS, Convention, Outcome, ToolCallParser, Tools, named};
use bantam_text::{Detokenizer, Tokenizer, Vocabulary};
use serde_json::{Value, json};

use crate::adversary::{Dice, MOODS, Mood, Traits};
use crate::vocabularies::open;

/// Single bytes, words, and the tokens of every convention: control tokens or plain ones, or none of them.
fn vocabulary(kind: Option<i32>) -> Tokenizer {
    let mut tokens: Vec<Vec<u8>> = [&b"<unk>"[..], b"<s>", b"</s>"].map(<[u8]>::to_vec).into();
    let mut types = vec![2, 3, 3];
    for byte in 0..=255_u8 {
        tokens.push(format!("<0x{byte:02X}>").into_bytes());
        types.push(6);
    }
    let words =
        ["▁", "{\"", "\":", "\"}", "▁\"", "true", "12", "weather", "name", "<tool", "_call", ">[", "\n{\"", "}}"];
    for text in words {
        tokens.push(text.into());
        types.push(1);
    }
    let spelled = CONVENTIONS.iter().flat_map(|convention| convention.tokens.iter().chain(convention.ends));
    for text in spelled {
        if let Some(kind) = kind.filter(|_| !tokens.iter().any(|token| token == text.as_bytes())) {
            tokens.push((*text).into());
            types.push(kind);
        }
    }
    let scores = (0..tokens.len()).map(|id| -(id as f32)).collect();
    let vocabulary = Vocabulary { model: "llama".into(), tokens, types, scores, ..Vocabulary::default() };
    let vocabulary = Vocabulary { bos: Some(1), eos: Some(2), unknown: Some(0), ..vocabulary };
    Tokenizer::from_vocabulary(Vocabulary { add_space_prefix: Some(false), ..vocabulary }).unwrap()
}

fn tools() -> Tools {
    Tools::from_json(json!([
        { "name": "weather", "parameters": {
            "type": "object", "additionalProperties": false, "required": ["city", "days"], "properties": {
                "city": { "type": "string", "maxLength": 12 },
                "days": { "type": "integer", "minimum": 1, "maximum": 14 },
                "unit": { "enum": ["C", "F"] },
        } } },
        { "name": "now" },
    ]))
    .unwrap()
}

/// Whether arguments are what a tool of [`tools`] asks for.
fn fits(name: &str, arguments: &str) -> bool {
    let Ok(Value::Object(arguments)) = serde_json::from_str(arguments) else { return false };
    let known = |key: &String| ["city", "days", "unit"].contains(&key.as_str());
    match name {
        "now" => arguments.is_empty(),
        "weather" => {
            arguments.get("city").and_then(Value::as_str).is_some_and(|city| city.chars().count() <= 12)
                && arguments
                    .get("days")
                    .and_then(Value::as_f64)
                    .is_some_and(|days| (1.0..=14.0).contains(&days) && days % 1.0 == 0.0)
                && arguments.get("unit").is_none_or(|unit| unit == "C" || unit == "F")
                && arguments.keys().all(known)
        }
        _ => false,
    }
}

/// What a parser makes of an answer by a model that writes `script` where it may, and then goes by its mood.
fn answer(
    (constraint, tokenizer, traits): (&Constraint, &Tokenizer, &Traits),
    rules: &CallRules<'_>,
    (mood, seed): (Mood, u64),
    script: &str,
) -> (String, Outcome, bool) {
    let mut session = constraint.begin();
    let mut detokenizer = Detokenizer::after(tokenizer, &[1]).skip_special(true);
    let (mut dice, mut logits, mut text) = (Dice(seed), Vec::new(), String::new());
    let spelled = |id: u32| rules.convention.tokens.iter().find(|spelling| tokenizer.token_id(spelling) == Some(id));
    let mut wanted = tokenizer.encode(script, bantam_text::Special::Parse).unwrap().into_iter();
    let mut done = false;
    for number in 0..600 {
        let want = wanted.next();
        traits.logits((number < 40 + script.len()).then_some(mood), &mut dice, &mut logits);
        if let Some(want) = want {
            logits[want as usize] = 1e38;
        }
        session.mask(&mut logits, false).unwrap();
        let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]).then(b.cmp(&a))).unwrap();
        assert!(logits[best] > f32::NEG_INFINITY, "a mask that allows nothing");
        let token = best as u32;
        if want.is_some_and(|want| want != token) {
            wanted = Vec::new().into_iter();
        }
        if tokenizer.end_of_generation().contains(&token) && session.is_accepting() {
            done = true;
            break;
        }
        session.accept(token, false).unwrap();
        match spelled(token).filter(|_| tokenizer.is_special(token)) {
            Some(spelling) => {
                text.push_str(detokenizer.finish());
                text.push_str(spelling);
            }
            None => text.push_str(detokenizer.push(token).unwrap()),
        }
        if session.is_finished() {
            done = true;
            break;
        }
    }
    text.push_str(detokenizer.finish());
    let mut parser = ToolCallParser::new(rules.convention, rules.tools.clone(), 1, 0);
    parser.push(&text, &mut |_| {});
    (text, parser.finish(done, &mut |_| {}), done)
}

fn check(tokenizer: &Tokenizer, conventions: &[&'static Convention], seeds: u64) {
    let compiler = Compiler::new(tokenizer).unwrap();
    let traits = Traits::new(tokenizer, tokenizer.vocabulary_len() + 3);
    let tools = tools();
    let (mut answers, mut whole, mut calls, mut unasked) = (0, 0, 0, 0);
    for convention in conventions.iter().copied() {
        for (required, parallel) in [(true, true), (true, false), (false, true)] {
            let rules = CallRules { convention, tools: &tools, required, parallel };
            let Some(constraint) = compiler.tool_calls(&rules).unwrap() else {
                assert!(!convention.is_held() || convention.channels, "{}", convention.name);
                continue;
            };
            let frame = &convention.frame;
            let good = frame.write(&[("weather", "{\"city\": \"")]);
            let good = &good[..good.rfind("\"city\": \"").unwrap_or(0)];
            let opening = frame.opening();
            let scripts =
                ["", "Yes. ", good, &frame.opening_for("other"), &format!("Let me see.\n{opening}"), &opening];
            for seed in 0..seeds {
                for script in scripts {
                    // The moods come in turn.
                    let mood = MOODS[answers % MOODS.len()];
                    let (text, outcome, done) = answer((&constraint, tokenizer, &traits), &rules, (mood, seed), script);
                    let told =
                        format!("{}, {required}, {mood:?}, {seed}, {script:?}: {text:?}\n{outcome:?}", convention.name);
                    let cut = !done && outcome.error.as_deref() == Some("the answer was cut inside of a call");
                    assert!(cut || outcome.error.is_none(), "{told}");
                    assert!(outcome.calls.iter().all(|call| fits(&call.name, &call.arguments)), "{told}");
                    assert!(!required || !done || !outcome.calls.is_empty(), "{told}");
                    assert!(parallel || outcome.calls.len() <= 1, "{told}");
                    answers += 1;
                    calls += outcome.calls.len();
                    whole += usize::from(done);
                    unasked += usize::from(!required && !outcome.calls.is_empty());
                }
            }
            evidence::shown("tool calls", convention.name, "held");
        }
    }
    println!(
        "{answers} answers, {whole} of them whole, with {calls} calls, {unasked} with calls that nobody asked for"
    );
    assert!(unasked > 0 && whole * 10 > answers * 8);
}

#[test]
fn control_tokens_frame_calls_that_fit() {
    check(&vocabulary(Some(3)), CONVENTIONS, 1);
}

#[test]
fn text_frames_calls_that_fit() {
    check(&vocabulary(Some(4)), CONVENTIONS, 1);
    check(&vocabulary(None), CONVENTIONS, 1);
}

#[test]
fn real_vocabularies_frame_calls_that_fit() {
    let Some(shared) = bantam_testkit::shared_dir() else { return };
    let tokenizer = open(&shared.join("data/tokenizers/smollm2/tokenizer.json"));
    check(&tokenizer, &[named("hermes").unwrap(), named("llama3").unwrap()], 1);
}

#[test]
fn schemas_that_cannot_be_honoured_are_refused_by_tool_and_keyword() {
    let compiler = Compiler::new(&vocabulary(None)).unwrap();
    let check = |tool: Value, expected: Option<&[&str]>| {
        let tools = Tools::from_json(json!([{ "name": "now" }, tool])).unwrap();
        let rules = CallRules { convention: named("hermes").unwrap(), tools: &tools, required: false, parallel: true };
        match (compiler.tool_calls(&rules), expected) {
            (Ok(found), None) => assert!(found.is_some()),
            (Err(found), Some(parts)) => {
                let found = found.to_string();
                assert!(parts.iter().all(|part| found.contains(part)), "{found}");
            }
            (found, _) => panic!("{tool}: {found:?}"),
        }
    };
    check(json!({ "name": "f", "parameters": {} }), None);
    check(json!({ "name": "f", "parameters": { "properties": { "a": {} } } }), None);
    check(json!({ "name": "f", "parameters": { "not": { "required": ["a"] } } }), Some(&["tool \"f\"", "\"not\""]));
    check(json!({ "name": "f", "parameters": { "type": "string" } }), Some(&["tool \"f\"", "\"type\"", "no object"]));
    check(
        json!({ "name": "f", "parameters": { "properties": { "a": { "type": "string", "pattern": "(?=a)" } } } }),
        Some(&["tool \"f\"", "\"pattern\""]),
    );
}
