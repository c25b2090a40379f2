//! `bantam embed` on tiny encoders whose vectors another implementation computed.

use bantam_testkit::{Golden, assert_close};
use serde_json::Value;

use crate::support::{Folder, bantam, check, fails};

struct Text {
    text: String,
    embedding: Vec<f32>,
}

fn texts(golden: &Golden) -> Vec<Text> {
    let json = std::fs::read(golden.directory.join("golden.json")).expect("the golden is there");
    let json: Value = serde_json::from_slice(&json).expect("JSON");
    let texts = json["texts"].as_array().expect("texts");
    let text = |each: &Value| Text {
        text: each["text"].as_str().expect("a text").to_owned(),
        embedding: numbers(&each["embedding"]),
    };
    texts.iter().map(text).collect()
}

fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().expect("numbers").iter().map(|number| number.as_f64().expect("a number") as f32).collect()
}

fn run(arguments: &[&str], stdin: &str) -> String {
    let output = bantam(&[&["embed"], arguments].concat(), stdin.as_bytes());
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn vector(line: &str, index: usize) -> Vec<f32> {
    let object: Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(object["index"], index, "{line}");
    numbers(&object["embedding"])
}

fn path(golden: &Golden) -> &str {
    golden.directory.to_str().expect("UTF-8")
}

#[test]
fn vectors_are_those_of_another_implementation() {
    for golden in Golden::encoders().iter().map(|name| Golden::load(name)) {
        let gguf = golden.gguf.as_deref().map(|path| path.to_str().expect("UTF-8"));
        for source in [Some(path(&golden)), gguf].into_iter().flatten() {
            let texts = texts(&golden);
            let lines: String = texts.iter().map(|text| format!("{}\n", text.text)).collect();
            let together = run(&[source, "--lines", "--json"], &lines);
            assert_eq!(together.lines().count(), texts.len());
            for (index, (text, line)) in texts.iter().zip(together.lines()).enumerate() {
                assert_close(&vector(line, index), &text.embedding, golden.tolerance, source);
                // Alone, in another batch and as plain numbers: the same to the last bit.
                let alone = run(&[source, "--json", "--", &text.text], "");
                assert_eq!(vector(&alone, 0), vector(line, index), "{source}: {:?}", text.text);
                let plain = run(&[source, "--", &text.text], "");
                let plain: Vec<f32> =
                    plain.split_whitespace().map(|number| number.parse().expect("a number")).collect();
                assert_eq!(plain, vector(line, index), "{source}: {:?}", text.text);
            }
            assert_eq!(run(&[source, "--lines", "--json", "--parallel", "2"], &lines), together);
        }
    }
}

#[test]
fn poolings_can_be_chosen() {
    let golden = Golden::load("tiny-bert-cls");
    let embed = |more: &[&str]| vector(&run(&[&[path(&golden), "the cat", "--json"], more].concat(), ""), 0);
    let length = |vector: &[f32]| vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    assert_eq!(embed(&["--pooling", "cls"]), embed(&[]));
    for pooling in ["mean", "last", "max"] {
        assert_ne!(embed(&["--pooling", pooling]), embed(&[]), "{pooling}");
        assert!((length(&embed(&["--pooling", pooling])) - 1.0).abs() < 1e-5, "{pooling}");
    }
    let longer = embed(&["--no-normalize"]);
    assert!((length(&longer) - 1.0).abs() > 1e-2);
    let scaled: Vec<f32> = longer.iter().map(|value| value / length(&longer)).collect();
    assert_close(&scaled, &embed(&["--no-normalize", "--normalize"]), 1e-6, "scaled");
}

#[test]
fn decoders_are_embedded_where_asked_and_encoders_make_no_text() {
    let golden = Golden::load("tiny-llama-a");
    check(&["embed", path(&golden), "a"], "", &fails(1, &["do not say", "--pooling"]));
    for source in [path(&golden), golden.gguf.as_deref().and_then(|path| path.to_str()).expect("there is one")] {
        let last = vector(&run(&[source, "a b", "--pooling", "last", "--json"], ""), 0);
        let mean = vector(&run(&[source, "a b", "--pooling", "mean", "--json"], ""), 0);
        assert_eq!(last.len(), mean.len());
        assert_ne!(last, mean);
    }
    let encoder = Golden::load("tiny-bert-mean");
    for command in
        [&["run", path(&encoder), "a"][..], &["logits", path(&encoder), "a", "-o", "-"], &["bench", path(&encoder)]]
    {
        check(command, "", &fails(1, &["makes vectors and no text", "embed"]));
    }
}

#[test]
fn what_does_not_fit_is_refused_and_never_cut() {
    let golden = Golden::load("tiny-bert-mean");
    let model = path(&golden);
    let long = "the ".repeat(60);
    check(&["embed", model, &long], "", &fails(1, &["62 tokens", "at most 48"]));
    let output = bantam(&["embed", model, "--lines", "--json"], format!("the\n{long}\ncat\n").as_bytes());
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[1].contains(r#"{"index":1,"error""#) && lines[1].contains("62 tokens"), "{}", lines[1]);
    assert_eq!(vector(lines[2], 2), vector(&run(&[model, "cat", "--json"], ""), 0));
    assert_eq!(run(&[model, "--lines"], ""), "");
    check(&["embed", model, "a", "--lines"], "", &fails(2, &["--lines"]));
}

#[test]
fn what_the_files_ask_for_is_done_or_refused_by_name() {
    let golden = Golden::load("tiny-bert-mean");
    let folder = Folder::new("embed-files");
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(golden.directory.join(file), folder.0.join(file)).expect("copied");
    }
    let model = folder.0.to_str().expect("UTF-8");
    check(&["embed", model, "a"], "", &fails(1, &["do not say", "--pooling"]));
    let write = |name: &str, text: &str| std::fs::write(folder.0.join(name), text).expect("written");
    let embed = || vector(&run(&[model, "the cat", "--json"], ""), 0);
    write("modules.json", r#"[{"path": "", "type": "a.Transformer"}, {"path": "1_Pooling", "type": "a.Pooling"}]"#);
    check(&["embed", model, "a"], "", &fails(1, &["1_Pooling/config.json"]));
    std::fs::create_dir(folder.0.join("1_Pooling")).expect("made");
    write("1_Pooling/config.json", r#"{"pooling_mode_mean_tokens": true}"#);
    let raw = embed();
    assert_eq!(raw, vector(&run(&[path(&golden), "the cat", "--json", "--no-normalize"], ""), 0));
    write("config_sentence_transformers.json", r#"{"prompts": {"q": "the "}, "default_prompt_name": "q"}"#);
    assert_eq!(embed(), vector(&run(&[path(&golden), "the the cat", "--json", "--no-normalize"], ""), 0));
    write("sentence_bert_config.json", r#"{"max_seq_length": 4}"#);
    check(&["embed", model, "the cat"], "", &fails(1, &["5 tokens", "at most 4"]));
    write("modules.json", r#"[{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]"#);
    check(&["embed", model, "a"], "", &fails(1, &["'Dense'"]));
    write("modules.json", r#"[{"path": "../../etc", "type": "a.Pooling"}]"#);
    check(&["embed", model, "a"], "", &fails(1, &["plain name"]));
}
