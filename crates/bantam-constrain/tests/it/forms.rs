//! Which answers a constraint lets through: each character is a token of its own, so every answer can be spelled out.

use bantam_constrain::{Compiler, Constraint};
use bantam_testkit::evidence;
use bantam_text::{Special, Tokenizer};
use serde_json::{Value, json};

use crate::vocabularies::{compile, small};

/// Whether an answer is a whole one, or where it leaves the constraint.
fn follow(constraint: &Constraint, tokenizer: &Tokenizer, answer: &str) -> Result<bool, String> {
    let mut session = constraint.begin();
    let bytes: Vec<u8> = answer.bytes().collect();
    for (at, byte) in bytes.iter().enumerate() {
        let spelled = format!("<0x{byte:02X}>");
        let id = tokenizer.token_id(&spelled).unwrap();
        let mut logits = vec![0.0; tokenizer.vocabulary_len()];
        if session.is_finished() {
            return Err(answer[at..].to_owned());
        }
        session.mask(&mut logits, false).map_err(|error| error.to_string())?;
        if logits[id as usize] == f32::NEG_INFINITY {
            return Err(String::from_utf8_lossy(&bytes[at..]).into_owned());
        }
        session.accept(id, false).map_err(|error| error.to_string())?;
    }
    Ok(session.is_accepting())
}

/// Answers that are whole, answers that are beginnings, answers that are neither.
fn check(case: Value, whole: &[&str], begun: &[&str], wrong: &[&str]) {
    let tokenizer = small();
    let constraint = compile(&Compiler::new(&tokenizer).unwrap(), &case).unwrap();
    for answer in whole {
        assert_eq!(follow(&constraint, &tokenizer, answer), Ok(true), "{case}: {answer}");
    }
    for answer in begun {
        assert_eq!(follow(&constraint, &tokenizer, answer), Ok(false), "{case}: {answer}");
    }
    for answer in wrong {
        assert!(follow(&constraint, &tokenizer, answer).is_err(), "{case}: {answer}");
    }
    evidence::shown("constraint", case.as_object().unwrap().keys().next().unwrap(), "masks");
}

#[test]
fn schemas() {
    let schema = |schema: Value| json!({ "schema": schema });
    let dates = schema(json!({ "format": "date", "type": "string" }));
    let long = "\"2023-02-29\"";
    check(
        dates,
        &["\"2024-02-29\"", "\"2000-02-29\"", "\"1999-12-31\""],
        &["\"19"],
        &[long, "\"1900-02-29\"", "\"0000-01-01\""],
    );
    let named = schema(json!({ "properties": { "a": { "type": "integer" } }, "type": "object" }));
    // A name that is taken does not come again in disguise.
    check(
        named,
        &["{}", "{\"a\":1}", "{\"a\": 1, \"b\": \"x\"}"],
        &["{\"a\":"],
        &["{\"a\":\"x\"}", "{\"\\u0061\":\"x\"}", "{\"b\":1,\"a\":\"x\"}"],
    );
    let exclusive =
        schema(json!({ "type": "integer", "anyOf": [{}], "exclusiveMinimum": true, "minimum": 5, "maximum": 7 }));
    check(exclusive, &["6", "7"], &[], &["5", "8"]);
    let tuple = schema(json!({ "type": "array", "items": [{ "type": "null" }], "additionalItems": { "const": 1 } }));
    check(tuple, &["[]", "[null]", "[null,1,1]"], &["[null,"], &["[1]", "[null,null]"]);
    let refers = schema(json!({ "$defs": { "a~/b%": { "enum": ["x"] } }, "$ref": "#/$defs/a~0~1b%25" }));
    check(refers, &["\"x\""], &["\"x"], &["\"y\""]);
    let dotted = schema(json!({ "type": "string", "pattern": "^[\\d.]{2}\\/.$" }));
    check(dotted, &["\"1./x\""], &["\"1./"], &["\"ab/x\"", "\"12/\\n\""]);
    let small_numbers = schema(json!({ "type": "number", "format": "int8", "multipleOf": 0.5 }));
    check(small_numbers, &["-128", "0.5", "127"], &["0."], &["128", "0.3"]);
    let closed = schema(json!({ "type": "object", "properties": { "a": true }, "unevaluatedProperties": false }));
    check(closed, &["{}", "{\"a\":[]}"], &["{\"a\""], &["{\"b\""]);
}

#[test]
fn expressions_and_choices() {
    check(json!({ "regex": "^(ab|cd)+$" }), &["ab", "abcd"], &["a", "abc"], &["x", "abx"]);
    check(json!({ "regex": "a.c" }), &["abc", "aéc"], &["a", "ab"], &["a\nc"]);
    check(json!({ "choices": ["a.b", "a\nc", "(", "é"] }), &["a.b", "a\nc", "(", "é"], &["a", "a."], &["aXb", "(("]);
}

#[test]
fn gbnf() {
    let rule = |text: &str| json!({ "gbnf": text });
    check(
        rule("root ::= \"a\"{2,3} [^\\n\\]x-z]? | \"\\x41\\u00e9\""),
        &["aa", "aaa", "aab", "aaaé", "Aé"],
        &["a", "A"],
        &["aax", "aa\n", "b"],
    );
    check(rule("root ::= . | \"(\" root \")\""), &["(", "((x))", "\n"], &["((", "(x"], &["xx", "(x)x"]);
    // All readings are kept: three letters that end in c, or these three.
    check(
        rule("root ::= word | word \" \" root\nword ::= [a-z] [a-z] \"c\" | \"abd\""),
        &["abc", "abd", "abc xyc abd"],
        &["ab", "abd "],
        &["abe", "abdc"],
    );
    check(rule("root ::= root \"+\" root | [0-9]+"), &["1", "1+22+3"], &["1+"], &["+", "1++"]);
    check(
        rule("root ::= a b # all of it\na ::= | \"x\"\nb ::= (\"y\"\n  | \"z\")*"),
        &["x", "xyz", "yy"],
        &[],
        &["xx"],
    );
}

#[test]
fn lark() {
    let grammar = "start: \"<\" NAME \">\" body \"</\" NAME \">\"\nNAME: /[a-z]{1,3}/\nbody: /[^<]*/ | start";
    check(json!({ "lark": grammar }), &["<a>b</a>", "<a><b></b></a>"], &["<a>"], &["<1>", "a"]);
}

#[test]
fn forced_text_is_cut_as_the_model_would_cut_it() {
    let Some(shared) = bantam_testkit::shared_dir() else { return };
    for name in ["smollm2/tokenizer.json", "ggml-vocab-llama-spm.gguf", "ggml-vocab-gpt-2.gguf"] {
        let tokenizer = crate::vocabularies::open(&shared.join("data/tokenizers").join(name));
        let compiler = Compiler::new(&tokenizer).unwrap();
        let text = "The quick brown fox, naïve as ever: {\"name\": \"value\"} 12345\n\n    done.";
        let mut session = compiler.choices(&[text]).unwrap().begin();
        let mut ids = Vec::new();
        while !session.is_finished() {
            let mut logits = vec![0.0; tokenizer.vocabulary_len()];
            session.mask(&mut logits, false).unwrap();
            let allowed: Vec<usize> = (0..logits.len()).filter(|&id| logits[id] == 0.0).collect();
            // Where one token is forced it is the canonical one; the last may be any of several.
            let longest = allowed.into_iter().max_by_key(|&id| tokenizer.token_bytes(id as u32).map_or(0, <[u8]>::len));
            ids.push(longest.unwrap() as u32);
            session.accept(*ids.last().unwrap(), false).unwrap();
        }
        let line = tokenizer.encode("\n", Special::AsText).unwrap();
        let whole = tokenizer.encode(&format!("\n{text}"), Special::AsText).unwrap();
        let expected = whole.strip_prefix(line.as_slice()).unwrap();
        assert_eq!(ids, expected, "{name}");
    }
}
