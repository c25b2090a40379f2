//! `@assistant`, the model within the command: what it answers, and when it is asked.

use serde_json::Value;

use crate::support::{Expected, Folder, bantam, check, fails, model};

fn call(said: &str) -> (String, String) {
    let output = bantam(&["run", said], b"");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("it is UTF-8");
    assert!(output.status.success(), "{}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn utterances_become_calls() {
    let check = |said: &str, expected: &str| {
        let (answer, told) = call(said);
        assert_eq!(answer.trim_end(), expected, "{said}");
        assert!(told.starts_with("note: @assistant") && told.lines().count() == 1, "{told}");
    };
    check(
        "play Heroes by David Bowie",
        r#"{"name": "PlayMusic", "arguments": {"track": "Heroes", "artist": "David Bowie"}}"#,
    );
    check(
        "add this song to my workout playlist",
        r#"{"name": "AddToPlaylist", "arguments": {"music_item": "song", "playlist_owner": "my", "playlist": "workout"}}"#,
    );
    check("set a timer for ten minutes", r#"{"name": "timer", "arguments": {}}"#);
    check("how do you say thank you in french", r#"{"name": "translate", "arguments": {}}"#);
    check("i lost my phone", r#"{"name": "find_phone", "arguments": {}}"#);
    check("flip a coin for me", r#"{"name": "flip_coin", "arguments": {}}"#);
}

#[test]
fn an_answer_says_how_sure_it_is() {
    let told = bantam(&["run", "@assistant", "flip a coin for me", "--json"], b"");
    let told: Value = serde_json::from_slice(&told.stdout).expect("it is JSON");
    let sure = told["confidence"].as_f64().expect("a number");
    assert!((0.5..=1.0).contains(&sure) && told["constraint_met"] == true, "{told}");
    // Alone, together, and as messages it is the same.
    let lines = bantam(&["run", "@assistant", "--lines", "--json"], b"flip a coin for me\nbook a table for two\n");
    let first: Value =
        serde_json::from_slice(lines.stdout.split(|byte| *byte == b'\n').next().expect("a line")).expect("JSON");
    assert_eq!((&first["text"], &first["confidence"]), (&told["text"], &told["confidence"]));
    let chat = bantam(
        &["run", "@assistant", "--jsonl"],
        b"{\"messages\": [{\"role\": \"user\", \"content\": \"flip a coin for me\"}]}\n",
    );
    let chat: Value = serde_json::from_slice(&chat.stdout).expect("it is JSON");
    assert_eq!((&chat["text"], &chat["confidence"]), (&told["text"], &told["confidence"]));
    // A form of one's own goes before the calls.
    check(
        &["run", "@assistant", "flip a coin for me", "--choices", "yes"],
        "",
        &Expected { stdout: Some("yes\n"), ..Expected::default() },
    );
    // Values are what was said, whatever that is.
    for said in ["play \"[]{}\\ by ☃", "add  to my list", "?"] {
        let told = bantam(&["run", "@assistant", said], b"");
        let answer: Value = serde_json::from_slice(&told.stdout).expect("it is JSON");
        let values = answer["arguments"].as_object().expect("arguments").values();
        let whole = |value: &Value| value.as_str().is_some_and(|value| said.contains(value) && value.trim() == value);
        assert!(values.flat_map(|v| v.as_array().cloned().unwrap_or(vec![v.clone()])).all(|v| whole(&v)), "{answer}");
    }
}

#[test]
fn what_looks_like_a_model_is_never_a_prompt() {
    let missing = |text: &str| check(&["run", text], "", &fails(1, &["there is no file or directory"]));
    for text in
        ["no-such-model", "no-such.gguf", "./no such model", "models/no such model", "no such model.gguf", "jazz"]
    {
        missing(text);
    }
    missing("@other");
    check(&["run", "no such model.gguf", "hello"], "", &fails(1, &["there is no file or directory"]));
    // With a model, several words are its prompt.
    check(&["run", &model(), "once upon a time", "-n", "1"], "", &Expected::default());
}

#[test]
fn other_commands_know_it_by_its_name() {
    let shown = bantam(&["show", "@assistant", "--json"], b"");
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("it is JSON");
    assert_eq!(shown["family"], "llama");
    assert!(shown["bytes"].as_u64().expect("a number") < 6 << 20, "{shown}");
    check(&["tokenize", "@assistant", "play"], "", &Expected::default());
    let folder = Folder::new("assistant");
    let copy = folder.0.join("copy.gguf").to_str().expect("it is UTF-8").to_owned();
    check(&["convert", "@assistant", "-o", &copy], "", &Expected::default());
    let same = |model: &str| bantam(&["run", model, "set a timer for ten minutes"], b"").stdout;
    assert_eq!(same(&copy), same("@assistant"));
    let lines = folder.0.join("lines.jsonl");
    let line = "{\"messages\": [{\"role\": \"user\", \"content\": \"beam me up\"}, {\"role\": \"assistant\", \"content\": \"no\"}]}\n";
    std::fs::write(&lines, line).expect("it is written");
    let (lines, adapter) = (lines.to_str().expect("UTF-8"), folder.0.join("adapter"));
    check(
        &["tune", "@assistant", lines, "-o", adapter.to_str().expect("UTF-8"), "--epochs", "1"],
        "",
        &Expected::default(),
    );
    check(&["bench", "@assistant", "-p", "8", "-n", "2", "-r", "1"], "", &Expected::default());
}
