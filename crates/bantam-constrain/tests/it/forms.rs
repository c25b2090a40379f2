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
    // A way to go on from each of very many to each behind it, in the midst of an answer, too.
    let text = json!({ "type": "string" });
    let many: serde_json::Map<String, Value> = (0..1_200).map(|number| (format!("p{number}"), text.clone())).collect();
    let many = schema(json!({ "type": "array", "items": { "properties": many, "additionalProperties": false } }));
    check(many, &["[{\"p0\":\"\",\"p700\":\"a\"}]"], &["[{\"p0\":\"\",\"p"], &["[{\"p1\":\"\",\"p0"]);
    let closed = schema(json!({ "type": "object", "properties": { "a": true }, "unevaluatedProperties": false }));
    check(closed, &["{}", "{\"a\":[]}"], &["{\"a\""], &["{\"b\""]);
}

#[test]
fn classes_in_patterns() {
    let pattern = |text: &str| json!({ "schema": { "type": "string", "pattern": text } });
    // Strings have one spelling: a character that needs an escape has its short one, and the others are not written.
    check(pattern("^[^\"]{2}$"), &["\"ab\"", "\"\\\\a\"", "\"\\na\""], &["\"a"], &["\"\\\"", "\"\\u00", "\"\u{7f}"]);
    check(pattern("^[^\\\\]{2}$"), &["\"ab\"", "\"\\\"a\"", "\"\\ta\""], &["\"a"], &["\"\\\\"]);
    check(pattern("^[^\"\\\\\\n]{9}$"), &["\"abcdefghi\""], &["\"a"], &["\"\\\\", "\"\\\"", "\"\\n"]);
    check(pattern("^[^\\\"\\\\]*$"), &["\"\"", "\"\\b\\f\""], &["\"a"], &["\"\\\\", "\"\\\""]);
    check(pattern("^[\\u0000-\\u001f]$"), &["\"\\n\"", "\"\\f\""], &["\"\\"], &["\"\\\\", "\"\\\"", "\" ", "\"\u{1}"]);
    check(pattern("^[\\x00-\\x20]{2}$"), &["\"\\t \""], &["\" "], &["\"\\\\", "\"\\\"", "\"a"]);
    check(pattern("^[\\x0b\\x0c]$"), &["\"\\f\""], &[], &["\"\\n", "\"\\\"", "\"\u{b}"]);
    check(pattern("^\\W\\P{L}.$"), &["\"+1\\t\""], &["\"\\"], &["\"a", "\"+a", "\"+1\\n"]);
    check(pattern("^\\p{Lu}\\p{Ll}*[\\p{L}\\d]$"), &["\"Éa1\"", "\"Aß\""], &["\"A"], &["\"a", "\"1"]);
    check(pattern("^\\p{Script=Greek}\\pN$"), &["\"λ1\""], &["\"λ"], &["\"a", "\"λλ"]);
    let names = json!({ "type": "object", "patternProperties": { "^[^\"]{2}$": { "type": "null" } },
        "additionalProperties": false });
    check(json!({ "schema": names }), &["{\"ab\":null}", "{}"], &["{\"a"], &["{\"\\\"", "{\"abc"]);
}

#[test]
fn exclusive_bounds() {
    let number = |bounds: Value| {
        let mut schema = bounds;
        schema["type"] = "number".into();
        json!({ "schema": schema })
    };
    let up_to = |above: f64, most: f64| number(json!({ "exclusiveMinimum": above, "maximum": most }));
    check(up_to(0.0, 0.5), &["0.5", "0.1", "0.000001"], &["0.", "0.0"], &["-", "0.6"]);
    for (case, equal) in [
        (up_to(0.0, 0.5), "0"),
        (up_to(0.0, 0.5), "0.0"),
        (up_to(1.0, 1.5), "1"),
        (number(json!({ "exclusiveMinimum": 10, "exclusiveMaximum": 10.01 })), "10"),
        (number(json!({ "exclusiveMinimum": 10, "exclusiveMaximum": 10.01 })), "10.00"),
        (number(json!({ "minimum": -5.5, "exclusiveMaximum": -5 })), "-5"),
        (number(json!({ "minimum": -0.5, "exclusiveMaximum": 0 })), "-0"),
        (number(json!({ "minimum": 0, "exclusiveMinimum": true, "maximum": 0.5 })), "0"),
        (number(json!({ "allOf": [{ "exclusiveMinimum": 0 }], "maximum": 0.5 })), "0"),
        (number(json!({ "exclusiveMinimum": 0, "maximum": 0.5, "multipleOf": 0.5 })), "0"),
    ] {
        // A beginning at most: more digits may follow.
        check(case, &[], &[], &[&format!("{equal} ")]);
    }
    check(
        number(json!({ "exclusiveMinimum": 1, "maximum": 1.5, "multipleOf": 0.5 })),
        &["1.5"],
        &["1"],
        &["1.0 ", "2"],
    );
    check(
        number(json!({ "exclusiveMinimum": -1, "exclusiveMaximum": 1, "minimum": -3 })),
        &["0", "-0.5"],
        &[],
        &["-1", "1"],
    );
    check(number(json!({ "exclusiveMinimum": 0, "minimum": 3 })), &["3", "4.5"], &[], &["2 ", "0"]);
    check(number(json!({ "exclusiveMinimum": 3, "minimum": 0 })), &["3.1", "4"], &[], &["3 ", "2 "]);
    let whole = json!({ "schema": { "type": "integer", "exclusiveMinimum": 5, "exclusiveMaximum": 8 } });
    check(whole, &["6", "7"], &[], &["5", "8"]);
    let large = json!({ "schema": { "type": "integer", "exclusiveMinimum": 9007199254740988_i64, "maximum": 9007199254740990_i64 } });
    check(large, &["9007199254740989"], &[], &["9007199254740988"]);
    check(
        number(json!({ "multipleOf": 0.00000006, "minimum": 0, "maximum": 1 })),
        &["0.00000012"],
        &["0.0000001"],
        &["0.00000015"],
    );
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
    // What is not of a kind is text: no broken characters, no bytes of control tokens.
    let grammar = "start: A | B\nA: \"<\" ~( \"(\" | ~ \"é\" )~2 \">\" // not ~ (\nB: ~/[a-z]*/i & /[a-zA-Z0-9]{2}/\n";
    check(json!({ "lark": grammar }), &["<éé>", "1a", "B2", "12"], &["<é", "a"], &["<ééé", "<é>", "<(", "ab", "Ab"]);
    let tokenizer = small();
    let constraint = compile(&Compiler::new(&tokenizer).unwrap(), &json!({ "lark": "start: A\nA: ~\"a\"" })).unwrap();
    let mut logits = vec![0.0; tokenizer.vocabulary_len()];
    constraint.begin().mask(&mut logits, false).unwrap();
    for (token, allowed) in
        [("<0x62>", true), ("<0xC3>", true), ("<0xFF>", false), ("<0x80>", false), ("<|im_start|>", false)]
    {
        assert_eq!(logits[tokenizer.token_id(token).unwrap() as usize] == 0.0, allowed, "{token}");
    }
    // A schema inside is held to as one alone is.
    let grammar =
        "start: \"%json\" inner // %json {\ninner: %json {\"format\": \"date\", \"type\": \"string\"} \"!\"\n";
    check(json!({ "lark": grammar }), &["%json\"2024-02-29\"!"], &["%json\"2024"], &["%json\"2023-02-29"]);
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
