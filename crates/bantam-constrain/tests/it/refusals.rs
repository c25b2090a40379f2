//! What is refused, and in which words.

use bantam_constrain::{Compiler, ConstraintError};
use serde_json::{Value, json};

use crate::vocabularies::{compile, small};

/// Part of why a case is refused; none where it is not.
fn check(cases: &[(Value, Option<&str>)]) {
    let compiler = Compiler::new(&small()).unwrap();
    for (case, expected) in cases {
        match (compile(&compiler, case), expected) {
            (Ok(_), None) => {}
            (Err(error), Some(part)) => assert!(error.to_string().contains(part), "{case}: {error}"),
            (found, _) => panic!("{:.2000}: {:?}", case.to_string(), found.map(|_| "taken")),
        }
    }
}

fn schemas(cases: &[(Value, Option<&str>)]) {
    let cases: Vec<_> = cases.iter().map(|(schema, part)| (json!({ "schema": schema }), *part)).collect();
    check(&cases);
}

#[test]
fn schemas_are_honoured_or_refused_by_keyword_and_place() {
    let inside = |schema: Value| json!({ "type": "object", "properties": { "a/b": schema } });
    schemas(&[
        (json!(true), None),
        (json!(false), Some("")),
        (json!({}), None),
        (json!(3), Some("at its top, an object, true or false was expected, found a number")),
        (inside(json!({ "not": {} })), Some("\"not\" at /properties/a~1b can't be honoured")),
        (inside(json!({ "not": false })), None),
        (inside(json!({ "if": {}, "then": {} })), Some("\"if\" at /properties/a~1b")),
        (inside(json!({ "if": {} })), None),
        (inside(json!({ "contains": {} })), Some("\"contains\" at")),
        (inside(json!({ "uniqueItems": true })), Some("\"uniqueItems\" at")),
        (inside(json!({ "uniqueItems": false })), None),
        (inside(json!({ "dependentSchemas": { "a": {} } })), Some("\"dependentSchemas\" at")),
        (inside(json!({ "dependentRequired": { "a": [] } })), Some("\"dependentRequired\" at")),
        (inside(json!({ "dependencies": { "a": [] } })), Some("\"dependencies\" at")),
        (inside(json!({ "propertyNames": { "pattern": "a" } })), Some("\"propertyNames\" at")),
        (inside(json!({ "$dynamicRef": "#a" })), Some("\"$dynamicRef\" at")),
        (inside(json!({ "nullable": true })), Some("\"nullable\" at")),
        (json!({ "unevaluatedProperties": false, "properties": { "a": {} } }), None),
        (json!({ "unevaluatedProperties": false, "anyOf": [{}] }), Some("\"unevaluatedProperties\" at its top")),
        (
            inside(json!({ "format": "iri" })),
            Some("\"format\" at /properties/a~1b can't be honoured: the format \"iri\""),
        ),
        (inside(json!({ "type": "integer", "format": "int32" })), None),
        (inside(json!({ "pattern": "(?=a)" })), Some("\"pattern\" at /properties/a~1b can't be honoured: look-around")),
        (inside(json!({ "pattern": "\\bword" })), Some("word boundary")),
        (inside(json!({ "pattern": "(a)\\1" })), Some("back-reference")),
        (inside(json!({ "pattern": "(a" })), Some("\"pattern\" at /properties/a~1b can't be honoured: unclosed group")),
        (inside(json!({ "pattern": "a\\" })), Some("ends in a backslash")),
        (inside(json!({ "pattern": "\\x1b\\[0m" })), Some("control characters like U+001B are not written")),
        (inside(json!({ "pattern": "\\v" })), Some("U+000B")),
        (inside(json!({ "pattern": "\\cA|\\0" })), Some("U+0001")),
        (inside(json!({ "pattern": "a\u{7f}" })), Some("U+007F")),
        (inside(json!({ "pattern": "[\\v\\f]" })), None),
        (
            json!({ "type": "string", "pattern": "^[\\x01-\\x07]$" }),
            Some("\"pattern\" at its top can't be honoured: n"),
        ),
        (inside(json!({ "pattern": "(?x)a b" })), Some("the flag x in (?x…) is not supported")),
        (inside(json!({ "pattern": "(?i:a)(?<b>c)(?P<d>e)" })), None),
        (inside(json!({ "pattern": "\\p{Nope}" })), Some("Unicode property not found")),
        (inside(json!({ "pattern": "a$b" })), Some("only supported at the two ends")),
        (inside(json!({ "pattern": format!("^{}$", "\\(".repeat(300)) })), None),
        (inside(json!({ "patternProperties": { "\\x1b": {} } })), Some("\"patternProperties\" at /properties/a~1b")),
        (inside(json!({ "type": "text" })), Some("there is no type \"text\"")),
        (inside(json!({ "enum": [] })), Some("\"enum\" at")),
        (inside(json!({ "const": 9007199254740993_i64 })), Some("more digits than are told apart")),
        (inside(json!({ "const": "a\u{1}b" })), Some("control characters like U+0001")),
        (inside(json!({ "type": "integer", "minimum": 0, "maximum": 18446744073709551615_u64 })), None),
        (inside(json!({ "type": "integer", "minimum": 5, "exclusiveMinimum": true })), None),
        (inside(json!({ "multipleOf": 0 })), Some("not above 0")),
        (inside(json!({ "multipleOf": 100000 })), Some("65,535")),
        (
            inside(json!({ "multipleOf": 7e-9 })),
            Some("\"multipleOf\" at /properties/a~1b can't be honoured: it has more than 8"),
        ),
        (json!({ "allOf": [{ "multipleOf": 1e-8 }, { "multipleOf": 3 }] }), Some("\"multipleOf\" at /allOf/1")),
        (json!({ "allOf": [{ "multipleOf": 0.001 }, { "multipleOf": 80 }] }), Some("\"multipleOf\" at /allOf/1")),
        (inside(json!({ "minLength": -1 })), Some("a whole number from 0 was expected, found -1")),
        (inside(json!({ "minProperties": 2 })), Some("\"minProperties\" at")),
        (
            inside(json!({ "properties": { "a": {} }, "maxProperties": 2 })),
            Some("\"maxProperties\" at /properties/a~1b"),
        ),
        (json!({ "prefixItems": [{}], "additionalItems": false }), Some("\"additionalItems\" at its top")),
        (json!({ "items": [{ "type": "string" }], "additionalItems": false }), None),
        (json!({ "$ref": "https://example.com/a" }), Some("nothing is fetched")),
        (json!({ "$ref": "#/a" }), Some("there is nothing at \"#/a\"")),
        (json!({ "$schema": "http://example.com/" }), Some("\"$schema\" at its top")),
        (json!({ "$defs": { "a": { "$anchor": "b", "type": "null" } }, "$ref": "#b" }), None),
        (
            json!({ "oneOf": [{ "type": "string" }, { "minLength": 2 }] }),
            Some("\"oneOf\" at its top can't be honoured: an answer might fit two branches"),
        ),
        (json!({ "oneOf": [{ "const": 1 }, { "const": 2 }] }), None),
        (json!({ "oneOf": [{ "type": "string" }, { "type": "null" }] }), None),
        (json!({ "patternProperties": { "a": {}, "b": {} } }), Some("\"patternProperties\" at its top")),
        (json!({ "type": "object", "required": ["a"], "additionalProperties": false }), Some("'a' is unsatisfiable")),
        (json!({ "$defs": { "unused": { "not": {} } }, "type": "null" }), None),
        (json!({ "x-guidance": { "lenient": true }, "type": "null", "x-y": 1, "deprecated": true }), None),
    ]);
}

#[test]
fn many_properties_are_honoured_or_refused() {
    let many = |count: usize| {
        let properties: serde_json::Map<String, Value> =
            (0..count).map(|number| (format!("p{number}"), json!({ "type": "null" }))).collect();
        json!({ "type": "object", "properties": properties, "additionalProperties": false })
    };
    schemas(&[
        (many(700), None),
        (json!({ "items": many(2001) }), Some("\"properties\" at /items can't be honoured: it has more than 2000")),
    ]);
}

#[test]
fn words_that_are_no_keywords_are_noted() {
    let compiler = Compiler::new(&small()).unwrap();
    let schema = json!({ "properties": { "a": { "minLenght": 3, "x-order": 1, "title": "A" } } });
    let notes = compiler.json_schema(&schema).unwrap().notes().to_vec();
    let expected = "the schema's \"minLenght\" at /properties/a is no keyword of JSON Schema: no answer is held to it";
    assert_eq!(notes, [expected]);
}

#[test]
fn grammars_and_expressions_are_read_or_refused() {
    let regex = |pattern: &str| json!({ "regex": pattern });
    // Rules that derive nothing, twice as often with each: written out they would never end.
    let doubled: String = (0..40).map(|n| format!("a{n} ::= a{0} a{0}\n", n + 1)).collect();
    let doubled = format!("root ::= \"(\" root \")\" | \"x\" a0\n{doubled}a40 ::= \"\"\n");
    let gbnf = |grammar: &str| json!({ "gbnf": grammar });
    let lark = |grammar: &str| json!({ "lark": grammar });
    check(&[
        (regex("^a|b$"), None),
        (regex("(a"), Some("the regular expression can't be used: unclosed group")),
        (regex("[a"), Some("the regular expression can't be used: unclosed character class")),
        (regex("a\\"), Some("incomplete escape sequence")),
        (regex("(a|b)\\"), Some("incomplete escape sequence")),
        (regex("a\\\\"), None),
        (regex("*a"), Some("repetition operator missing expression")),
        (regex("a$b"), Some("only supported at the two ends")),
        (regex(&"\\(".repeat(300)), None),
        (regex(""), Some("it is empty")),
        (regex("a(?!b)"), Some("look-around")),
        (regex("[(?=]a[]^(?!]\\(?"), None),
        (regex("[^](?=](?=a)"), Some("look-around")),
        (regex("(?P<stop>a)"), Some("\"stop\"")),
        (regex(&format!("{}a{}", "(".repeat(5000), ")".repeat(5000))), Some("nest deeper than 240")),
        (regex("[a&&b]"), Some("no token")),
        (json!({ "choices": [] }), Some("there are none")),
        (json!({ "choices": ["a", ""] }), Some("one of them is empty")),
        (gbnf("root ::= \"a\" | [^\\x00-\\U0010FFFD] | .{2,3} | \"\\u00e9\""), None),
        (gbnf("root ::= (\"a\"\n | \"b\")* # comment\n\nx-y ::= root\n"), None),
        (gbnf("root ::= root \"a\" | \"b\""), None),
        (gbnf(&doubled), None),
        (gbnf("root ::= <[65]> | !<[66]> \"c\""), None),
        (gbnf("root ::= <end>"), Some("line 1: the vocabulary has no token <end>")),
        (gbnf("a ::= \"b\""), Some("it has no rule \"root\"")),
        (gbnf("root ::= a\n"), Some("line 1: there is no rule \"a\"")),
        (gbnf("root ::= \"a\n"), Some("line 1: a literal is not closed")),
        (gbnf("\n\nroot ::= [b-a]"), Some("line 3: the range")),
        (gbnf("root ::= *"), Some("nothing before a repetition")),
        (gbnf("root ::= \"a\"{3,2}"), Some("most is less")),
        (gbnf("root ::= \"a\"{1000000}"), Some("more than 100000")),
        (gbnf("root = \"a\""), Some("\"::=\" was expected, found")),
        (gbnf("root ::= \"\\q\""), Some("there is no escape \\q")),
        (gbnf("root ::= root"), Some("no token")),
        (gbnf(&format!("root ::= \"a\"{}", "*".repeat(20))), None),
        (
            gbnf(&format!("root ::= \"a\"{}", "*?".repeat(100_000))),
            Some("more than 100 repetitions follow one another"),
        ),
        (lark("start: A \"b\"\nA: /a+/"), None),
        (lark("begin: \"a\""), Some("start")),
        (lark("start: /(a/"), Some("line 1, column 8: a regular expression can't be read: unclosed group")),
        (lark(&format!("start: {}\"b\" // ((", "\"((\" /[(](a)/ ".repeat(300))), None),
        (lark("start: %json {\"not\": {}}"), Some("the schema's \"not\" at its top can't be honoured")),
        (lark("start: %json {\"multipleOf\": 7e-9}"), Some("the schema's \"multipleOf\" at its top can't be honoured")),
        (lark("start: %json {\n\"type\":\n\"null\"\n} b\n\nb: /(a/"), Some("line 6, column 4: a regular")),
        (lark("start: %json {"), Some("the grammar can't be used")),
        (gbnf(&format!("root ::= {}\"c\"", "\"((\" [(] ".repeat(300))), None),
        (lark("start: b"), Some("the grammar can't be used")),
        (lark("start: <|end|>"), Some("unknown special token")),
    ]);
}

#[test]
fn hostile_sources_end_in_a_sentence() {
    let nested = format!("start: {}\"a\"{}", "(".repeat(100_000), ")".repeat(100_000));
    let chain: String = (0..20_000).map(|number| format!("T{number}: T{} \"a\"\n", number + 1)).collect();
    let steps: String = (0..20_000).map(|number| format!("r{number} ::= r{} \"a\"\n", number + 1)).collect();
    let long = "a".repeat(2 << 20);
    check(&[
        (json!({ "lark": nested }), Some("nest deeper")),
        (json!({ "lark": format!("start: T0\n{chain}T20000: \"b\"") }), Some("")),
        (json!({ "gbnf": format!("root ::= r0\n{steps}r20000 ::= \"b\"") }), Some("")),
        (json!({ "regex": long }), Some("longer than 1 MiB")),
        (json!({ "regex": "(a*)*{1000}(b{1,1000}){1000}[^c]{100000}" }), None),
    ]);
}

#[test]
fn word_vocabularies_are_refused() {
    let words = bantam_text::Vocabulary {
        model: "bert".into(),
        tokens: [&b"[PAD]"[..], b"[UNK]", b"[CLS]", b"[SEP]", b"the"].map(<[u8]>::to_vec).into(),
        unknown: Some(1),
        ..bantam_text::Vocabulary::default()
    };
    if let Ok(tokenizer) = bantam_text::Tokenizer::from_vocabulary(words) {
        assert!(matches!(Compiler::new(&tokenizer), Err(ConstraintError::Vocabulary(_))));
    }
}
