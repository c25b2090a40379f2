//! `bantam tune --from-scratch`: a model made of nothing, used like any other, stopped and gone on with, refused.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Expected, Folder, bantam, check, fails};

const SPEC: &str = r#"
family = "llama"
width = 32
layers = 2
heads = 2
kv_heads = 1
context = 64
chat_template = "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}{% if message.role == 'assistant' %}<|end|>{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"

[tokenizer]
size = 300
special = ["<|end|>", "<|user|>", "<|assistant|>"]
user_defined = [" "]
end = "<|end|>"

[general]
name = "Little one"
license = "mit"

[begin]
looks_back = [1]

[training]
epochs = EPOCHS
batch = 4
rows = 64
rate = 1e-2
average = 0.8
save_every = 1
"#;

const TEXT: &str = "One day a fox went out. The fox liked to play. The fox went home.\n";

const LINES: &str = "{\"messages\": [{\"role\": \"user\", \"content\": \"red\"}, {\"role\": \"assistant\", \"content\": \"green\"}]}\n\
                     {\"messages\": [{\"role\": \"user\", \"content\": \"one\"}, {\"role\": \"assistant\", \"content\": \"two\"}]}\n\
                     {\"text\": \"The fox and the hen.\"}\n";

struct Run {
    folder: Folder,
}

impl Run {
    fn new(name: &str, epochs: usize) -> Self {
        let run = Self { folder: Folder::new(name) };
        let spec = SPEC.replace("EPOCHS", &epochs.to_string());
        for (file, text) in [("spec.toml", spec.as_str()), ("corpus.txt", TEXT), ("lines.jsonl", LINES)] {
            std::fs::write(run.folder.0.join(file), text).expect("it is written");
        }
        run
    }

    fn path(&self, name: &str) -> String {
        self.folder.0.join(name).to_str().expect("the path is UTF-8").to_owned()
    }

    fn arguments(&self, target: &str, more: &[&str]) -> Vec<String> {
        let (spec, text, lines) = (self.path("spec.toml"), self.path("corpus.txt"), self.path("lines.jsonl"));
        let fixed = ["tune", "--from-scratch", &spec, &text, &lines, "-o", target];
        fixed.iter().chain(more).map(|part| (*part).to_owned()).collect()
    }

    fn tune(&self, target: &str, more: &[&str]) -> String {
        let arguments = self.arguments(target, more);
        let output = bantam(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), b"");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        said
    }
}

#[test]
fn a_model_is_made_of_nothing_and_used_like_any_other() {
    let run = Run::new("scratch", 80);
    let target = run.path("little.gguf");
    let said = run.tune(&target, &["--dry-run"]);
    assert!(said.contains("examples, ") && !run.folder.0.join("little.gguf.training").exists(), "{said}");
    run.tune(&target, &["--validation", &run.path("lines.jsonl")]);
    let report = std::fs::read(run.folder.0.join("little.gguf.training/run.json")).expect("run.json is written");
    let report: serde_json::Value = serde_json::from_slice(&report).expect("it is JSON");
    let validation = report["validation"].as_array().expect("a list");
    assert!(validation.len() == 81 && validation[80]["loss"].as_f64() < validation[0]["loss"].as_f64(), "{report}");
    assert!(report["peak_memory"].as_u64() <= report["promised_memory"].as_u64(), "{report}");
    assert_eq!(report["method"]["name"], "full");
    // Nothing but the report is left.
    let left = std::fs::read_dir(run.folder.0.join("little.gguf.training")).expect("it is there").count();
    assert_eq!(left, 1);
    let shown = bantam(&["show", &target, "--json"], b"");
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("it is JSON");
    assert_eq!((&shown["name"], &shown["family"]), (&"Little one".into(), &"llama".into()), "{shown}");
    let learned = Expected { stdout: Some("green\n"), ..Expected::default() };
    check(&["run", &target, "red", "--temperature", "0"], "", &learned);
    check(&["run", &target, "one", "--temperature", "0"], "", &Expected { stdout: Some("two\n"), ..learned });
    let small = run.path("small.gguf");
    check(&["convert", &target, "-o", &small, "--type", "q8_0"], "", &Expected::default());
    check(&run.arguments(&target, &[]).iter().map(String::as_str).collect::<Vec<_>>(), "", &fails(1, &["--force"]));
}

#[test]
fn a_model_begins_with_all_of_another_and_must_have_its_shape() {
    let run = Run::new("scratch-onward", 80);
    run.tune(&run.path("first.gguf"), &[]);
    let onward = |from: &str, to: &str| {
        let spec = SPEC.replace("EPOCHS", "1").replace("looks_back = [1]", "model = \"first.gguf\"").replace(from, to);
        std::fs::write(run.folder.0.join("spec.toml"), spec).expect("it is written");
    };
    // Other lines would make another tokenizer; the steps are too small to forget what was learnt.
    std::fs::write(run.folder.0.join("corpus.txt"), "Quick brown foxes jump over lazy hens.\n").expect("it is written");
    onward("rate = 1e-2", "rate = 1e-6");
    let second = run.path("second.gguf");
    run.tune(&second, &["--dry-run"]);
    assert!(!run.folder.0.join("second.gguf.training").exists());
    run.tune(&second, &[]);
    check(
        &["run", &second, "red", "--temperature", "0"],
        "",
        &Expected { stdout: Some("green\n"), ..Expected::default() },
    );
    let refused = |from: &str, to: &str, expected: &[&str]| {
        onward(from, to);
        let arguments = run.arguments(&run.path("third.gguf"), &[]);
        check(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), "", &fails(1, expected));
    };
    refused("width = 32", "width = 64", &["begin.model", "first.gguf", "token_embd.weight", "[64, ", "[32, "]);
    refused("layers = 2", "layers = 1", &["expected 11 tensors, found 20"]);
    refused("kv_heads = 1\n", "", &["blk.0.attn_k.weight", "[32, 32]", "[32, 16]"]);
    refused("first.gguf", "none.gguf", &["cannot read", "none.gguf"]);
    refused("model = ", "looks_back = [1]\nmodel = ", &["`begin.model` has its weights"]);
    let small = run.path("small.gguf");
    check(&["convert", &run.path("first.gguf"), "-o", &small, "--type", "f16"], "", &Expected::default());
    refused("first.gguf", "small.gguf", &["expected F32", "found F16"]);
}

#[test]
fn a_run_that_was_killed_goes_on_to_the_same_model() {
    let run = Run::new("scratch-killed", 60);
    let (whole, killed) = (run.path("whole.gguf"), run.path("killed.gguf"));
    run.tune(&whole, &["-t", "1"]);
    let state = run.folder.0.join("killed.gguf.training/training-state.safetensors");
    for more in [&[][..], &["--resume"], &["--resume"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bantam"))
            .args(run.arguments(&killed, more))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        // Some steps further on.
        let before = std::fs::metadata(&state).and_then(|facts| facts.modified()).ok();
        let changed = || std::fs::metadata(&state).and_then(|facts| facts.modified()).ok() != before;
        let begin = Instant::now();
        while !changed() && begin.elapsed() < Duration::from_secs(60) && child.try_wait().expect("it runs").is_none() {
            std::thread::yield_now();
        }
        child.kill().expect("it is killed");
        child.wait().expect("it ends");
        if !state.exists() {
            break;
        }
    }
    if state.exists() {
        run.tune(&killed, &["--resume"]);
    }
    let bytes = |path: &str| std::fs::read(path).expect("the model is there");
    assert!(bytes(&whole) == bytes(&killed), "both runs give the same bits");
}

#[test]
fn what_cannot_be_made_is_refused() {
    let run = Run::new("scratch-refused", 1);
    let (target, text) = (run.path("model.gguf"), run.path("corpus.txt"));
    let spec = run.path("wrong.toml");
    let refused = |from: &str, to: &str, expected: &str| {
        let text = std::fs::read_to_string(run.path("spec.toml")).expect("it is there");
        assert!(text.contains(from), "{from}");
        std::fs::write(&spec, text.replace(from, to)).expect("it is written");
        check(&["tune", "--from-scratch", &spec, &run.path("lines.jsonl"), "-o", &target], "", &fails(1, &[expected]));
    };
    refused("width = 32", "width = 33", "`width` is 33, no multiple of `heads`, 2");
    refused("family = \"llama\"", "family = \"lama\"", "there is no family `lama`; known are");
    refused("layers = 2", "layer = 2", "unknown field `layer`");
    refused("layers = 2", "layers = 0", "`layers` is 0");
    refused("size = 300", "size = 200", "200 tokens asked for, expected 260");
    refused("size = 300", "size = 300\npre_tokenizer = \"words\"", "words");
    refused("end = \"<|end|>\"", "end = \"<end>\"", "which is not among `tokenizer.special`");
    refused("average = 0.8", "schedule = \"up\"", "there is no schedule `up`");
    refused("average = 0.8", "average = 1.5", "`training.average` is 1.5");
    refused("context = 64", "context = 8", "longer than 8 tokens");
    std::fs::write(run.path("bad.jsonl"), "{\"text\": 1\n").expect("it is written");
    let good = run.path("spec.toml");
    let from = |corpus: &str, more: &[&str], expected: &str| {
        let arguments: Vec<&str> =
            ["tune", "--from-scratch", &good, corpus, "-o", &target].iter().chain(more).copied().collect();
        check(&arguments, "", &fails(1, &[expected]));
    };
    from(&run.path("bad.jsonl"), &[], "bad.jsonl:1");
    from(&run.path("none.txt"), &[], "none.txt");
    from(&text, &["--resume"], "no run to go on with");
    let folder = run.path("folder.gguf");
    std::fs::create_dir(&folder).expect("it is made");
    for more in [&[][..], &["--force"]] {
        let arguments = [&["tune", "--from-scratch", &good, &text, "-o", &folder], more].concat();
        check(&arguments, "", &fails(1, &["is a folder: -o names the new model's file"]));
    }
    from(&text, &["--memory", "1M"], "needs");
    // Nothing was drawn for it.
    assert!(!run.folder.0.join("model.gguf.training").exists());
    let both = ["tune", "--from-scratch", &good, &text, "-o", &target, "--rank", "4"];
    check(&both, "", &Expected { code: 2, stdout: None, stderr: &["cannot be used with"] });
}
