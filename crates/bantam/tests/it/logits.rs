//! `bantam logits` and `bantam show` on tiny models whose logits another implementation computed.

use bantam_testkit::{Golden, assert_close, npy};

use crate::support::{Folder, bantam, check, fails};

#[test]
fn logits_are_those_of_another_implementation() {
    let folder = Folder::new("logits");
    for name in Golden::names() {
        let golden = Golden::load(&name);
        let directory = golden.directory.to_str().expect("the path is UTF-8");
        let sequence = &golden.sequences[0];
        let ids = sequence.tokens.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
        let file = folder.0.join("a.npy");
        let path = file.to_str().expect("the path is UTF-8");
        let mut sources = vec![(directory, usize::MAX)];
        let gguf = golden.gguf.as_deref().map(|path| path.to_str().expect("the path is UTF-8"));
        sources.extend(gguf.map(|path| (path, golden.rows_of_gguf())));
        let context = sequence.tokens.len().to_string();
        for (source, known) in sources {
            let arguments = ["logits", source, "--ids", &ids, "--context", &context];
            let output = bantam(&[&arguments[..], &["-o", path]].concat(), b"");
            assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
            let written = npy::read(&file);
            assert_eq!(written.shape, [sequence.tokens.len(), sequence.width], "{name}");
            let rows = written.f32();
            let last = known.min(sequence.tokens.len()) * sequence.width;
            if let Some(rows) = rows.get(sequence.first_row * sequence.width..last) {
                assert_close(rows, &sequence.logits[..rows.len()], golden.tolerance, source);
            }
            let stream = bantam(&[&arguments[..], &["-o", "-"]].concat(), b"");
            assert_eq!(stream.stdout, std::fs::read(&file).expect("the file is there"), "{name}");
            // Keys and values are not rounded, unless asked.
            let with_kv = |kv: &str| bantam(&[&arguments[..], &["--kv", kv, "-o", "-"]].concat(), b"").stdout;
            assert_eq!(stream.stdout, with_kv("f32"), "{name}");
            assert_ne!(stream.stdout, with_kv("f16"), "{name}");
        }
    }
}

#[test]
fn what_has_no_logits_is_refused() {
    let golden = Golden::load("tiny-llama-a");
    let model = golden.directory.to_str().expect("the path is UTF-8");
    check(&["logits", model, "--ids", "", "-o", "-"], "", &fails(1, &["no tokens"]));
    check(&["logits", model, "--ids", "1 99999", "-o", "-"], "", &fails(1, &["99999"]));
    check(&["logits", model, "--ids", "1", "-o", "/no/such/folder/a.npy"], "", &fails(1, &["/no/such/folder"]));
    let output = bantam(&["logits", model, "--ids", "1", "-o", "/no/such/folder/a.npy"], b"");
    assert_eq!(String::from_utf8_lossy(&output.stderr).matches("No such file").count(), 1, "the cause is said once");
    check(&["logits", model, "--ids", "1", "--type", "q4_k", "-o", "-", "--kv", "q8_0"], "", &fails(1, &["q8_0"]));
}

#[test]
fn models_are_described() {
    let golden = Golden::load("tiny-llama-a");
    let model = golden.directory.to_str().expect("the path is UTF-8");
    let text = bantam(&["show", model], b"");
    let text = String::from_utf8(text.stdout).expect("UTF-8");
    for word in ["family", "llama", "F16", "context", "tokenizer", "memory"] {
        assert!(text.contains(word), "{text}");
    }
    let facts = |arguments: &[&str]| -> serde_json::Value {
        let output = bantam(&[&["show", model, "--json"], arguments].concat(), b"");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let whole = facts(&[]);
    assert_eq!((&whole["family"], &whole["format"]), (&"llama".into(), &"huggingface".into()));
    assert!(whole["parameters"].as_u64().is_some_and(|count| count > 1000));
    let total = |facts: &serde_json::Value| facts["memory"]["cache"].as_u64().expect("a number");
    assert!(total(&facts(&["--context", "64"])) <= total(&whole));
    assert_eq!(facts(&["--type", "q8_0"])["types"][0]["type"], "Q8_0");
}

#[test]
fn speed_is_measured() {
    let golden = Golden::load("tiny-llama-a");
    let model = golden.directory.to_str().expect("the path is UTF-8");
    let output = bantam(
        &["bench", model, "-p", "8,4", "-n", "3", "-d", "0,2", "-b", "1,3", "-r", "2", "-t", "1", "--json"],
        b"",
    );
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let tests: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let tests = tests.as_array().expect("an array");
    let shape = |test: &serde_json::Value| {
        [&test["n_prompt"], &test["n_gen"], &test["n_depth"], &test["n_parallel"]].map(|n| n.as_u64())
    };
    let shapes: Vec<_> = tests.iter().map(shape).collect();
    let at = |depth| [[8, 0, depth, 1], [4, 0, depth, 1], [0, 3, depth, 1], [0, 3, depth, 3]];
    let expected: Vec<_> = [at(0), at(2)].as_flattened().iter().map(|shape| shape.map(Some)).collect();
    assert_eq!(shapes, expected);
    for test in tests {
        for key in ["avg_ts", "stddev_ts", "avg_ns", "n_threads", "model_size", "model_n_params", "bandwidth"] {
            assert!(test[key].is_number(), "{key} in {test}");
        }
        assert_eq!(test["samples_ns"].as_array().map(Vec::len), Some(2));
        assert!(test["load_ns"].is_number() && test.get("peak_memory").is_some() && test.get("int8_share").is_some());
    }
    let table = bantam(&["bench", model, "-p", "8", "-n", "3", "-b", "2", "-r", "1", "--markdown"], b"");
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    for line in ["| test | tokens/s |", "|---|--:|", "| pp8 |", "| tg3 x2 |", "loaded in "] {
        assert!(table.contains(line), "{line} in {table}");
    }
    check(&["bench", model, "-p", "0", "-n", "0"], "", &fails(1, &["nothing to measure"]));
}
