//! `bantam run` on a real model.

use serde_json::Value;

use crate::support::{Expected, Folder, bantam, changed_model, check, fails, model, shared};

fn json_lines(stdout: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(stdout).expect("stdout is UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

/// The author's own greedy text, which ends in a new story: the original program stops at BOS.
pub fn authors_text() -> Option<String> {
    let page = std::fs::read_to_string(shared("data/stories260k/stories260K.md")?).expect("the page is read");
    let (_, rest) = page.split_once("-t 0.0\n")?;
    rest.split_once("\n```").map(|(text, _)| text.to_owned())
}

#[test]
fn a_real_model_tells_its_story() {
    let (Some(model), Some(text)) = (shared("data/stories260k/stories260K-f32.gguf"), authors_text()) else { return };
    for file in [model.clone(), format!("{model}-v1.gguf")] {
        for threads in ["1", "2"] {
            let output = bantam(&["run", &file, "--raw", "--temperature", "0", "-t", threads, ""], b"");
            let told = String::from_utf8_lossy(&output.stdout);
            assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(told.trim_start().starts_with(&text), "{told}");
        }
    }
}

#[test]
fn prompts_come_from_everywhere() {
    let model = model();
    let run = |arguments: &[&str], stdin: &str| {
        let arguments = [&["run", &model, "--raw", "--temperature", "0", "-n", "8"], arguments].concat();
        let output = bantam(&arguments, stdin.as_bytes());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let expected = run(&["Lily had a dog."], "");
    assert!(expected.ends_with('\n') && expected.len() > 5, "{expected:?}");
    assert_eq!(run(&[], "Lily had a dog."), expected);
    assert_eq!(run(&[], "Lily had a dog.\n"), expected);
    assert_eq!(run(&["Lily had"], " a dog.\n"), expected);
    assert_eq!(run(&["--lines"], "Lily had a dog.\nTom\n").lines().next(), expected.lines().next());
    let folder = Folder::new("prompts");
    let file = folder.file("prompt.txt", "Lily had\n");
    assert_eq!(run(&["--file", &file, " a dog."], ""), expected);
    // A model without a template is run as with --raw, to the joints of the prompt.
    let output = bantam(&["run", &model, "--temperature", "0", "-n", "8", "--file", &file, " a"], b" dog.\n");
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

#[test]
fn answers_are_json_when_asked() {
    let model = model();
    let arguments = ["run", &model, "--raw", "--json", "--temperature", "0", "-n", "5", "--logprobs", "2", "Once upon"];
    let output = bantam(&arguments, b"");
    let lines = json_lines(&output.stdout);
    let [answer] = lines.as_slice() else { panic!("{} lines", lines.len()) };
    assert_eq!(answer["finish_reason"], "length");
    assert_eq!(answer["usage"]["completion_tokens"], 5);
    assert!(answer["usage"]["prompt_tokens"].as_u64().is_some_and(|count| count > 1));
    assert!(answer["timings"]["prompt_per_second"].as_f64().is_some_and(|speed| speed > 0.0));
    assert!(answer["timings"]["predicted_per_second"].as_f64().is_some_and(|speed| speed > 0.0));
    assert!(answer.get("index").is_none() && answer.get("reasoning_content").is_none());
    let content = answer["logprobs"]["content"].as_array().expect("logprobs");
    assert_eq!(content.len(), 5);
    assert!(answer["logprobs"].get("refusal").is_some_and(Value::is_null));
    let text: Vec<u8> = content
        .iter()
        .flat_map(|token| token["bytes"].as_array().expect("bytes"))
        .map(|byte| byte.as_u64().expect("a byte") as u8)
        .collect();
    assert_eq!(String::from_utf8_lossy(&text), answer["text"].as_str().expect("text"));
    for token in content {
        let best = token["top_logprobs"].as_array().expect("top_logprobs");
        assert_eq!(best.len(), 2);
        assert_eq!(best[0]["logprob"], token["logprob"], "greedy takes the likeliest");
    }
}

#[test]
fn many_prompts_give_the_answers_each_gets_alone() {
    let model = model();
    let prompts =
        ["Lily had a dog.", "", "Tom saw a", "Once upon a time there was a big", "The ball was red", "One day"];
    let settings = ["--raw", "--temperature", "0.9", "--seed", "7", "-n", "20", "--json"];
    let alone: Vec<Value> = prompts
        .iter()
        .map(|prompt| {
            let output = bantam(&[&["run", &model], &settings[..], &[prompt]].concat(), b"");
            json_lines(&output.stdout)[0]["text"].clone()
        })
        .collect();
    for parallel in ["1", "2", "5", "16"] {
        let arguments = [&["run", &model, "--lines", "--parallel", parallel], &settings[..]].concat();
        let output = bantam(&arguments, prompts.join("\n").as_bytes());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = json_lines(&output.stdout);
        assert_eq!(lines.len(), prompts.len());
        for (index, line) in lines.iter().enumerate() {
            assert_eq!(line["index"], index);
            assert_eq!(line["text"], alone[index], "prompt {index}, {parallel} together");
        }
    }
}

#[test]
fn a_line_that_fails_leaves_the_others() {
    let model = model();
    let long = "Lily ".repeat(2000);
    let stdin = format!(
        "{}\nnonsense\n{}\n{}\n",
        r#"{"prompt": "One"}"#,
        serde_json::json!({ "prompt": long }),
        r#"{"prompt": "Two", "max_tokens": 2}"#
    );
    let output = bantam(&["run", &model, "--raw", "--jsonl", "-n", "4", "--temperature", "0"], stdin.as_bytes());
    assert_eq!(output.status.code(), Some(1));
    let lines = json_lines(&output.stdout);
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0]["usage"]["completion_tokens"], 4);
    assert!(lines[1]["error"]["message"].as_str().is_some_and(|message| message.contains("no JSON")));
    assert!(lines[2]["error"]["message"].as_str().is_some_and(|message| message.contains("512")), "{}", lines[2]);
    assert_eq!((&lines[3]["usage"]["completion_tokens"], &lines[3]["index"]), (&2.into(), &3.into()));
    let output = bantam(&["run", &model, "--raw", "--lines", "-n", "4"], format!("One\n{long}\nTwo").as_bytes());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout.iter().filter(|&&byte| byte == b'\n').count(), 3);
    assert!(String::from_utf8_lossy(&output.stderr).contains("error: line 1: "));
}

#[test]
fn the_metadata_decides_what_stands_before_a_text() {
    let folder = Folder::new("ends");
    let plain = model();
    let eos = changed_model(&folder, "eos.gguf", |writer| {
        writer.set("tokenizer.ggml.add_eos_token", true);
    });
    let no_bos = changed_model(&folder, "no-bos.gguf", |writer| {
        writer.set("tokenizer.ggml.add_bos_token", false);
    });
    let answer = |model: &str, arguments: &[&str]| {
        let arguments =
            [&["run", model, "--json", "--temperature", "0", "-n", "5"], arguments, &["Once upon"]].concat();
        let output = bantam(&arguments, b"");
        json_lines(&output.stdout).remove(0)
    };
    let expected = answer(&plain, &["--raw"]);
    for arguments in [&["--raw"][..], &[]] {
        let found = answer(&eos, arguments);
        assert_eq!((&found["text"], &found["usage"]), (&expected["text"], &expected["usage"]), "{arguments:?}");
    }
    let count = |model: &str| answer(model, &["--raw"])["usage"]["prompt_tokens"].as_u64();
    assert_eq!(count(&no_bos).map(|count| count + 1), count(&plain));
    // The shape stands in the header: as many rows as there are tokens.
    let rows = |model: &str| bantam(&["logits", model, "Once upon", "-o", "-"], b"").stdout.len();
    assert_eq!(rows(&eos), rows(&plain));
    check(&["run", &no_bos, "--raw", ""], "", &fails(1, &["error: the prompt is empty"]));
}

#[test]
fn what_cannot_be_done_is_refused() {
    let model = model();
    let long = "Lily ".repeat(2000);
    check(&["run", &model, "--raw"], &long, &fails(1, &["512"]));
    check(&["run", &model, "--system", "Be kind.", "hello"], "", &fails(1, &["template"]));
    check(&["run", &model, "--think", "hello"], "", &fails(1, &["think"]));
    check(&["run", &model, "--raw", "--memory", "100K", "hello"], "", &fails(1, &["memory"]));
    check(&["run", &model, "--raw", "--logprobs", "1", "hello"], "", &fails(2, &["--json"]));
    check(&["run", &model, "--raw", "--file", "no-such.txt", "hello"], "", &fails(1, &["no-such.txt"]));
}

#[test]
fn a_model_without_a_template_says_so() {
    let model = model();
    let note = Expected { code: 0, stdout: None, stderr: &["note: ", "template"] };
    check(&["run", &model, "-n", "1", "hello"], "", &note);
    let output = bantam(&["run", &model, "--raw", "-n", "1", "hello"], b"");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_seed_decides_the_text() {
    let model = model();
    let run = |seed: &str, threads: &str| {
        let output =
            bantam(&["run", &model, "--raw", "--temperature", "1", "-n", "30", "-s", seed, "-t", threads, "One"], b"");
        output.stdout
    };
    assert_eq!(run("1", "1"), run("1", "2"));
    assert_ne!(run("1", "1"), run("2", "1"));
}

/// Ctrl-C ends the program with its code; a reader that goes away, silently.
#[cfg(unix)]
#[test]
fn whoever_stops_it_is_obeyed() {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::process::{Command, Stdio};

    let model = model();
    let start = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bantam"));
        command.args(["run", &model, "--raw", "-n", "4"]).args(arguments);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        piped.spawn().expect("the binary starts")
    };
    let mut child = start(&["--lines"]);
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
    stdin.write_all(b"One\n").expect("the line is taken");
    let mut answer = String::new();
    stdout.read_line(&mut answer).expect("an answer comes while more lines may");
    assert!(answer.ends_with('\n'));
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(status.success());
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    drop(stdin);

    let mut child = start(&["--lines"]);
    let mut stdin = child.stdin.take().expect("stdin is piped");
    drop(child.stdout.take());
    stdin.write_all(b"One\nTwo\n").expect("the lines are taken");
    drop(stdin);
    let mut stderr = String::new();
    child.stderr.take().expect("stderr is piped").read_to_string(&mut stderr).expect("stderr is text");
    assert_eq!((child.wait().expect("it ends").code(), stderr.as_str()), (Some(141), ""));
}
