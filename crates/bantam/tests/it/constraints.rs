//! `bantam run` with answers held to a form.

use serde_json::Value;

use crate::support::{bantam, check, fails, model, prints};

/// Runs with a temperature at which this model writes anything.
fn run(arguments: &[&str], stdin: &str) -> std::process::Output {
    let model = model();
    bantam(&[&["run", &model, "--raw", "--temperature", "3", "--seed", "5"], arguments].concat(), stdin.as_bytes())
}

fn write(name: &str, text: &str) -> String {
    let path = std::env::temp_dir().join(format!("bantam-{}-{name}", std::process::id()));
    std::fs::write(&path, text).expect("the file is written");
    path.to_str().expect("a plain path").to_owned()
}

#[test]
fn answers_have_the_form_asked_for() {
    let schema = write(
        "a.json",
        r#"{"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": false}"#,
    );
    let output = run(&["--schema", &schema, "-n", "60", "a"], "");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(told["n"] == 1 || told["n"] == 2, "{told}");
    let grammar = write("a.gbnf", "root ::= (\"yes\" | \"no\") \"!\"");
    let output = run(&["--grammar", &grammar, "a"], "");
    assert!(matches!(&output.stdout[..], b"yes!\n" | b"no!\n"), "{output:?}");
    let output = run(&["--json", "--regex", "x{40}", "-n", "3", "a"], "");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&told["finish_reason"], &told["constraint_met"]), (&"length".into(), &false.into()), "{told}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("only the beginning"), "{output:?}");
}

#[test]
fn each_line_has_its_own_form() {
    let lines = concat!(
        r#"{"prompt": "a", "choices": ["left", "right"]}"#,
        "\n",
        r#"{"prompt": "a", "regex": "[0-9]{3}"}"#,
        "\n",
        r#"{"prompt": "a", "response_format": {"type": "json_schema", "json_schema": {"schema": {"not": {}}}}}"#,
        "\n",
        r#"{"prompt": "a"}"#,
        "\n",
        r#"{"prompt": "a", "grammar": "root ::= \"<\" [a-c] \">\""}"#,
        "\n",
    );
    let output = run(&["--jsonl", "--choices", "up,down", "-n", "30"], lines);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stdout).expect("UTF-8");
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let text = |index: usize| told[index]["text"].as_str().unwrap_or_default();
    assert!(["left", "right"].contains(&text(0)), "{told:?}");
    assert!(text(1).len() == 3 && text(1).bytes().all(|byte| byte.is_ascii_digit()), "{told:?}");
    assert!(
        told[2]["error"]["message"].as_str().is_some_and(|reason| reason.contains("\"not\" at its top")),
        "{told:?}"
    );
    assert!(["up", "down"].contains(&text(3)), "{told:?}");
    assert!(["<a>", "<b>", "<c>"].contains(&text(4)), "{told:?}");
}

#[test]
fn forms_that_cannot_be_honoured_are_refused() {
    let model = model();
    let schema = write("b.json", r#"{"properties": {"a": {"uniqueItems": true}}}"#);
    check(&["run", &model, "--raw", "--schema", &schema, "a"], "", &fails(1, &["\"uniqueItems\" at /properties/a"]));
    check(&["run", &model, "--raw", "--regex", "(a", "a"], "", &fails(1, &["the regular expression can't be used"]));
    check(&["run", &model, "--raw", "--grammar", "a.txt", "a"], "", &fails(2, &["neither .gbnf nor .lark"]));
    check(&["run", &model, "--raw", "--regex", "a", "--choices", "b", "a"], "", &fails(2, &["cannot be used with"]));
    check(&["run", &model, "--raw", "--choices", "b", "a"], "", &prints("b\n"));
}
