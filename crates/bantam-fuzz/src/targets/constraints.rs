//! What answers are held to: schemas, expressions, choices and grammars, compiled and walked along.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::OnceLock;

use bantam_constrain::{Compiler, Constraint, ConstraintError};
use bantam_testkit::mutate::{Mutator, Region};
use bantam_text::{Tokenizer, Vocabulary};
use serde_json::Value;

use super::Target;

pub(super) const SCHEMA: Target = Target {
    name: "schema",
    about: "a JSON schema, and twenty tokens of an answer held to it",
    seeds: || of_kind("schema", SCHEMAS),
    text: true,
    region: everywhere,
    take: take_schema,
};

pub(super) const EXPRESSION: Target = Target {
    name: "expression",
    about: "a regular expression, and twenty tokens of an answer held to it",
    seeds: || of_kind("regex", EXPRESSIONS),
    text: true,
    region: everywhere,
    take: take_expression,
};

pub(super) const CHOICES: Target = Target {
    name: "choices",
    about: "choices, one a line, and twenty tokens of an answer held to them",
    seeds: || of_kind("choices", &["yes\nno", "a\nab\nabc\n\u{1f413}\n\u{1f414}", "x"]),
    text: true,
    region: everywhere,
    take: take_choices,
};

pub(super) const LARK: Target = Target {
    name: "lark",
    about: "a Lark grammar, and twenty tokens of an answer held to it",
    seeds: || of_kind("lark", LARKS),
    text: true,
    region: everywhere,
    take: |bytes| text(bytes).is_some_and(|source| accepted(bytes, compiler().lark(source)).is_some()),
};

pub(super) const GBNF: Target = Target {
    name: "gbnf",
    about: "a GBNF grammar, and twenty tokens of an answer held to it",
    seeds: || of_kind("gbnf", GBNFS),
    text: true,
    region: everywhere,
    take: |bytes| text(bytes).is_some_and(|source| accepted(bytes, compiler().gbnf(source)).is_some()),
};

/// Real sources, which constrained output is measured and judged with, too.
const CASES: &str = include_str!("../../../../tools/constraints/cases.json");

const SCHEMAS: &[&str] = &[
    r##"{"$defs":{"tree":{"type":"object","properties":{"left":{"$ref":"#/$defs/tree"},"right":{"$ref":"#/$defs/tree"},
    "value":{"type":["number","null"],"exclusiveMinimum":-1e3,"maximum":1000,"multipleOf":0.125}},"required":["value"],
    "additionalProperties":false}},"$ref":"#/$defs/tree"}"##,
    r#"{"allOf":[{"properties":{"a":{"type":"integer","minimum":3}}},{"properties":{"a":{"multipleOf":7},"b":{"const":"x\ny"}}}],
    "type":"object","required":["a","b"],"minProperties":2,"maxProperties":2,"propertyNames":true,"additionalProperties":true}"#,
    r#"{"type":"object","patternProperties":{"^x_[a-z]{1,5}$":{"enum":[1,"two",null,{"three":[3]}]}},"additionalProperties":
    {"type":"array","prefixItems":[{"format":"date","type":"string"}],"items":{"oneOf":[{"type":"string","pattern":"^\\d{3}-[^\"]+$"},
    {"type":"boolean"}]},"minItems":1,"maxItems":9}}"#,
];

const EXPRESSIONS: &[&str] = &[
    r"(?i)(?:[a-f0-9]{2}[:-]){5}[a-f0-9]{2}|\p{Greek}+\s?\P{L}*",
    r"((a|b)*c{2,7}){1,3}[^\n\x00-\x1f]{0,40}(?s:.)\.(?P<last>[[:alpha:]&&[^x]]+)$",
    r"^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$",
];

const LARKS: &[&str] = &[
    "%llguidance {}\nstart: greeting (\",\" SPACE? name)* END\ngreeting: \"hi\"i | \"hello\"\nname[max_tokens=5]: /[A-Z][a-z]+/\n\
     SPACE: \" \"+\nEND: (\"!\" | \".\"){1,3}\n",
    "start: object // no white space\nobject: \"{\" [pair (\",\" pair)*] \"}\"\npair: STRING \":\" value\n\
     value: STRING | NUMBER | object | \"[\" [value (\",\" value)*] \"]\"\nSTRING: /\"[^\"\\\\]*\"/\nNUMBER: /-?[0-9]+/\n\
     %ignore /[ \\t]+/\n",
    "start: %json {\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"integer\"}},\n \"required\": [\"a\"]} <|im_start|> \"x\"\n",
    "start: A B?\nA: /(?s:.{1,9})/ & ~/(?s:.*)end(?s:.*)/\nB: %regex { \"substring_words\": \"the quick brown fox\" }\n",
];

const GBNFS: &[&str] = &[
    "root ::= (move space)+\nmove ::= piece? [a-h] [1-8] \"x\"? [a-h] [1-8] (\"=\" [QRBN])? [+#]?\npiece ::= [KQRBN]\nspace ::= \" \"\n",
    "root ::= list\nlist ::= \"(\" (atom | list) (\" \" (atom | list)){0,5} \")\" # all of it\natom ::= [a-z\\u00e9\\x41-\\x5a]+ | \"\\\"\" [^\"]* \"\\\"\"\n",
    "root ::= <|im_start|> think | !<[5]> \"c\"\nthink ::= . | think think\n",
];

fn everywhere(bytes: &[u8]) -> Region {
    Region { range: 0..bytes.len(), percent: 100 }
}

/// The committed cases of a kind as their sources, and more.
fn of_kind(kind: &str, more: &[&str]) -> Vec<Vec<u8>> {
    let cases: Vec<Value> = serde_json::from_str(CASES).unwrap_or_default();
    let source = |case: &Value| match case.get(kind)? {
        Value::String(text) => Some(text.clone()),
        Value::Array(lines) if kind == "choices" => {
            let lines: Vec<&str> = lines.iter().filter_map(Value::as_str).collect();
            Some(lines.join("\n"))
        }
        schema => Some(schema.to_string()),
    };
    let cases = cases.iter().filter_map(source);
    cases.chain(more.iter().map(|text| (*text).to_owned())).map(String::into_bytes).collect()
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// A vocabulary of every byte, some words, and tokens that steer a model.
fn tokenizer() -> &'static Tokenizer {
    static TOKENIZER: OnceLock<Tokenizer> = OnceLock::new();
    TOKENIZER.get_or_init(|| {
        let mut named: Vec<(String, u32)> =
            [("<unk>", 2), ("<s>", 3), ("</s>", 3)].map(|(a, b)| (a.to_owned(), b)).into();
        named.extend((0..=255_u8).map(|byte| (format!("<0x{byte:02X}>"), 6)));
        let words =
            "▁|▁▁|yes|▁yes|no|the|{\"|\":|\"}|▁\"|\",▁\"|true|false|null|12|0.|e+|naï|()|[]|\\n|aaaa|▁the|://|,▁";
        named.extend(words.split('|').map(|word| (word.to_owned(), 1)));
        named.extend([("<|im_start|>", 3), ("<tool>", 4), ("unused", 5)].map(|(a, b)| (a.to_owned(), b)));
        let vocabulary = Vocabulary {
            model: "llama".into(),
            scores: (0..named.len()).map(|id| -(id as f32)).collect(),
            types: named.iter().map(|(_, kind)| *kind as _).collect(),
            tokens: named.into_iter().map(|(text, _)| text.into_bytes()).collect(),
            bos: Some(1),
            eos: Some(2),
            unknown: Some(0),
            ..Vocabulary::default()
        };
        Tokenizer::from_vocabulary(vocabulary).unwrap_or_else(|error| panic!("the vocabulary made here: {error}"))
    })
}

fn compiler() -> &'static Compiler {
    static COMPILER: OnceLock<Compiler> = OnceLock::new();
    COMPILER.get_or_init(|| {
        Compiler::new(tokenizer()).unwrap_or_else(|error| panic!("a compiler for the vocabulary made here: {error}"))
    })
}

/// Walks along a constraint that was accepted: what the answers became, and which of them are whole.
fn accepted(source: &[u8], made: Result<Constraint, ConstraintError>) -> Option<Vec<(Vec<u8>, bool)>> {
    let constraint = match made {
        Ok(constraint) => constraint,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return None;
        }
    };
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    Some((0..2).map(|round| walk(&constraint, &mut Mutator::new(hasher.finish(), round))).collect())
}

/// Twenty tokens that the masks allow, chosen at random.
fn walk(constraint: &Constraint, dice: &mut Mutator) -> (Vec<u8>, bool) {
    let tokenizer = tokenizer();
    let mut session = constraint.begin();
    let mut answer = Vec::new();
    let mut logits = vec![0.0_f32; tokenizer.vocabulary_len() + 3];
    for _ in 0..20 {
        if session.is_finished() {
            return (answer, true);
        }
        logits.fill(0.0);
        if session.mask(&mut logits, false).is_err() {
            // Too much work, said so.
            return (answer, false);
        }
        let allowed: Vec<u32> = (0_u32..).zip(&logits).filter(|(_, logit)| **logit == 0.0).map(|(id, _)| id).collect();
        let token = allowed.get(dice.below(allowed.len())).copied();
        let Some(token) = token else { panic!("a mask that allows nothing, behind {answer:?}") };
        let ends = tokenizer.end_of_generation().contains(&token);
        if ends && session.is_accepting() {
            return (answer, true);
        }
        if let Err(error) = session.accept(token, false) {
            let sentence = error.to_string();
            let spent = ["too much work", "two seconds"].iter().any(|words| sentence.contains(words));
            assert!(spent, "token {token}, which the mask allows, is refused behind {answer:?}: {sentence}");
            return (answer, false);
        }
        if !tokenizer.is_special(token) {
            answer.extend_from_slice(tokenizer.token_bytes(token).unwrap_or_default());
        }
    }
    let whole = session.is_accepting();
    (answer, whole)
}

fn take_schema(bytes: &[u8]) -> bool {
    let Ok(schema) = serde_json::from_slice::<Value>(bytes) else { return false };
    let Some(answers) = accepted(bytes, compiler().json_schema(&schema)) else { return false };
    for (answer, _) in answers.iter().filter(|(_, whole)| *whole) {
        let value: Result<Value, _> = serde_json::from_slice(answer);
        // Numbers beyond a double are JSON that this reader refuses.
        let valid = value.as_ref().map_or_else(|error| error.to_string().contains("number out of range"), |_| true);
        assert!(valid, "{:?} is no JSON", String::from_utf8_lossy(answer));
    }
    true
}

fn take_expression(bytes: &[u8]) -> bool {
    let Some(pattern) = text(bytes) else { return false };
    let Some(answers) = accepted(bytes, compiler().regex(pattern)) else { return false };
    for (answer, _) in answers.iter().filter(|(_, whole)| *whole) {
        assert!(text(answer).is_some(), "{answer:?} is no text");
    }
    true
}

fn take_choices(bytes: &[u8]) -> bool {
    let Some(lines) = text(bytes) else { return false };
    let choices: Vec<&str> = lines.split('\n').collect();
    let Some(answers) = accepted(bytes, compiler().choices(&choices)) else { return false };
    for (answer, whole) in &answers {
        let held =
            |choice: &&str| if *whole { choice.as_bytes() == answer } else { choice.as_bytes().starts_with(answer) };
        assert!(choices.iter().any(held), "{answer:?} is none of {choices:?}");
    }
    true
}
