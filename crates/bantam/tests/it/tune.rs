//! `bantam tune`: an adapter learned, used, stopped and gone on with, refused.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Folder, bantam, check, fails, model};

const DATA: &str = "{\"text\": \"Once upon a time there was a small fox.\"}\n\
                    {\"text\": \"The fox liked to play in the park.\"}\n\
                    {\"text\": \"One day it rained and the fox went home.\"}\n\
                    {\"prompt\": \"What did the fox do?\", \"completion\": \" It played in the park.\"}\n\
                    {\"text\": \"The end.\"}\n";

fn path(folder: &Folder, name: &str) -> String {
    folder.0.join(name).to_str().expect("the path is UTF-8").to_owned()
}

fn data(folder: &Folder) -> String {
    let path = path(folder, "data.jsonl");
    std::fs::write(&path, DATA).expect("the data is written");
    path
}

fn logits(folder: &Folder, extra: &[&str]) -> Vec<u8> {
    let file = path(folder, "logits.npy");
    let model = model();
    let arguments: Vec<&str> = ["logits", &model, "Once upon a", "-o", &file].iter().chain(extra).copied().collect();
    let output = bantam(&arguments, b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(&file).expect("the logits are written")
}

#[test]
fn an_adapter_is_learned_and_used() {
    let folder = Folder::new("tune");
    let (model, data, out) = (model(), data(&folder), path(&folder, "adapter"));
    let tune = ["tune", &model, &data, "-o", &out, "--rank", "4", "--epochs", "4", "--batch", "2", "--rate", "1e-2"];
    let dry: Vec<&str> = tune.iter().chain(&["--dry-run"]).copied().collect();
    assert!(bantam(&dry, b"").status.success() && !folder.0.join("adapter").exists());
    let with_validation: Vec<&str> = tune.iter().chain(&["--validation", "0.2"]).copied().collect();
    let output = bantam(&with_validation, b"");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("4 examples, "), "{said}");
    let run: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.0.join("adapter/run.json")).expect("run.json is written"))
            .expect("it is JSON");
    let losses: Vec<f64> = run["losses"].as_array().expect("a list").iter().filter_map(|loss| loss.as_f64()).collect();
    assert_eq!((losses.len(), run["validation"].as_array().expect("a list").len()), (8, 5));
    assert!(losses[6] + losses[7] < losses[0] + losses[1], "{losses:?}");
    assert!(!folder.0.join("adapter/training-state.safetensors").exists());
    let plain = logits(&folder, &[]);
    let off = format!("{out}:0");
    assert_ne!(logits(&folder, &["--adapter", &out]), plain);
    alike(&logits(&folder, &["--adapter", &off]), &plain, 1e-5, "an adapter times 0");
    // Several adapters add up.
    let (with, half) = (logits(&folder, &["--adapter", &out]), format!("{out}:0.5"));
    let once = format!("{out}:1");
    alike(&logits(&folder, &["--adapter", &once, "--adapter", &off]), &with, 1e-5, "an adapter beside one times 0");
    alike(&logits(&folder, &["--adapter", &half, "--adapter", &half]), &with, 1e-4, "two halves of an adapter");
    check(&tune, "", &fails(1, &["holds an adapter already; --force replaces it"]));
    let as_nf4: Vec<&str> = tune.iter().chain(&["--quantize", "nf4", "--force"]).copied().collect();
    succeeds(&as_nf4);
    let of_dora: Vec<&str> = as_nf4.iter().chain(&["--method", "dora"]).copied().collect();
    check(&of_dora, "", &fails(1, &["weights cannot be held as NF4 here"]));
    check(
        &["run", &model, "x", "--adapter", &out, "--type", "f16", "-n", "1"],
        "",
        &crate::support::Expected::default(),
    );
}

#[test]
fn a_run_that_was_killed_goes_on_to_the_same_bits() {
    let folder = goes_on_when_killed("tune-killed", &["--epochs", "40"]);
    check_report(&folder, ["rslora", "", ""], "<td>rsLoRA, rank 3, alpha 3.464, on all-linear</td>");
}

#[test]
fn a_run_of_each_kind_that_was_killed_goes_on_to_the_same_bits() {
    let folder = goes_on_when_killed("tune-killed-dora", &["--epochs", "8", "--method", "dora"]);
    check_report(&folder, ["dora", "", ""], "<td>DoRA, rank 3, alpha 6, on all-linear</td>");
    let folder = goes_on_when_killed("tune-killed-nf4", &["--epochs", "8", "--quantize", "nf4"]);
    check_report(&folder, ["rslora", "nf4", ""], "<td>held as NF4 with double quantization (QLoRA)</td>");
    let folder = goes_on_when_killed("tune-killed-saved", &["--epochs", "8", "--save-modules", "lm_head,*norm"]);
    check_report(&folder, ["rslora", "", "lm_head *norm"], "<td>lm_head, *norm</td>");
}

/// `run.json` and `report.html` say what was learned: the method's name, what frozen weights were held in, modules saved.
fn check_report(folder: &Folder, [method, held, saved]: [&str; 3], fact: &str) {
    let read = |name: &str| std::fs::read_to_string(folder.0.join("killed").join(name)).expect("it is written");
    let run: serde_json::Value = serde_json::from_str(&read("run.json")).expect("it is JSON");
    let modules = run["method"]["modules_to_save"].as_array().expect("a list").iter().filter_map(|name| name.as_str());
    let found = [run["method"]["name"].as_str(), run["quantize"].as_str()].map(Option::unwrap_or_default);
    assert_eq!((found, modules.collect::<Vec<_>>().join(" ").as_str()), ([method, held], saved));
    assert_eq!(run["optimiser"], "adamw");
    let page = read("report.html");
    assert!(page.contains(fact), "{page}");
    assert_eq!((page.contains("NF4"), page.contains("trained wholly")), (!held.is_empty(), !saved.is_empty()));
}

fn goes_on_when_killed(name: &str, options: &[&str]) -> Folder {
    let folder = Folder::new(name);
    let (model, data) = (model(), data(&folder));
    let arguments = |out: &str| {
        let fixed = ["--batch", "1", "--rank", "3", "--dropout", "0.1", "--save-every", "1"];
        let parts = ["tune", &model, &data, "-o", out].into_iter().chain(fixed).chain(options.iter().copied());
        parts.map(str::to_owned).collect::<Vec<_>>()
    };
    let (whole, killed) = (path(&folder, "whole"), path(&folder, "killed"));
    let run = |arguments: &[String]| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = bantam(&arguments, b"");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run(&arguments(&whole));
    let mut child = Command::new(env!("CARGO_BIN_EXE_bantam"))
        .args(arguments(&killed))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    // As soon as there is a state; a run that has ended already has an adapter instead.
    let state = folder.0.join("killed/training-state.safetensors");
    let begin = Instant::now();
    while !state.exists() && begin.elapsed() < Duration::from_secs(60) && child.try_wait().expect("it runs").is_none() {
        std::thread::yield_now();
    }
    child.kill().expect("it is killed");
    child.wait().expect("it ends");
    if state.exists() {
        let again: Vec<String> = arguments(&killed).into_iter().chain(["--resume".to_owned()]).collect();
        run(&again);
    }
    let adapter = |out: &str| std::fs::read(folder.0.join(out).join("adapter_model.safetensors")).expect("an adapter");
    assert!(adapter("whole") == adapter("killed"), "{name}: both runs give the same bits");
    folder
}

#[test]
fn what_cannot_be_learned_is_refused() {
    let folder = Folder::new("tune-refused");
    let (model, data, out) = (model(), data(&folder), path(&folder, "adapter"));
    let bad = path(&folder, "bad.jsonl");
    std::fs::write(&bad, "{\"text\": \"a\"}\n{\"texts\": \"a\"}\n").expect("written");
    check(&["tune", &model, &bad, "-o", &out], "", &fails(1, &["bad.jsonl:2: expected `messages`", "found `texts`"]));
    let short = ["tune", &model, &data, "-o", &out, "--max-length", "4"];
    check(&short, "", &fails(1, &["examples are longer than 4 tokens: line 1"]));
    check(
        &["tune", &model, &data, "-o", &out, "--target", "query"],
        "",
        &fails(1, &["no linear of this model is called"]),
    );
    check(&["tune", &model, &data, "-o", &out, "--memory", "1M"], "", &fails(1, &["tuning this model needs"]));
    // Adapters that alone are too large are refused before they are drawn, whoever asks.
    let large = ["tune", &model, &data, "-o", &out, "--rank", "65536", "--memory", "300M"];
    for arguments in [&large[..], &[&large[..], &["--dry-run"]].concat()] {
        check(arguments, "", &fails(1, &["tuning this model needs at least"]));
    }
    let bench = ["bench", &model, "--train", "--memory", "300M", "--rank"];
    check(&[&bench[..], &["16,65536"]].concat(), "", &fails(1, &["tuning this model needs at least"]));
    let bench = ["bench", &model, "--train", "--memory", "300M", "-r", "1"];
    for (options, told) in [
        // Before a table begins, and before terabytes of tokens are drawn.
        (&["--examples", "8000", "--length", "500"][..], "tuning this model needs"),
        (
            &["--examples", "1099511627776", "--length", "1099511627776"],
            "more than the 16777216 tokens that a step may have",
        ),
        (&["--examples", "1", "--length", "512"], "an example has 513 tokens, but the model's context is 512"),
        (&["--target", "query"], "no linear of this model is called `query`"),
    ] {
        check(&[&bench[..], options].concat(), "", &fails(1, &[told]));
    }
    let bench = [&bench[..], &["--rank"]].concat();
    check(
        &[&bench[..], &["1099511627776"]].concat(),
        "",
        &crate::support::Expected { code: 2, stdout: None, stderr: &["is not in 1..=65536"] },
    );
    check(&["tune", &model, &data, "-o", &out, "--resume"], "", &fails(1, &["there is no run to go on with"]));
    check(
        &["tune", &model, &data, "-o", &out, "--schedule", "up"],
        "",
        &crate::support::Expected { code: 2, stdout: None, stderr: &["there is no schedule 'up'"] },
    );
    for (options, told) in [
        (&["--method", "full", "--rank", "8"][..], "--rank is for adapters"),
        (&["--method", "full", "--quantize", "nf4"], "--quantize is for adapters"),
        (&["--beta", "0.2"], "--beta is for answers that are compared"),
        (&["--kind", "dora"], "--kind is for answers that are compared"),
        (&["--method", "full", "--kind", "lora"], "--kind is for answers that are compared"),
        (&["--method", "orpo", "--label-smoothing", "0.1"], "--label-smoothing is for --method dpo"),
        (&["--validate-every", "2"], "--validate-every needs examples to measure on"),
        (&["--patience", "2", "--validation", "0.0"], "--patience needs examples to measure on"),
        (&["--samples", "2"], "--samples needs examples to measure on"),
        (&["--method", "full", "--f32"], "--f32 is for frozen weights"),
        (&["--date", "2024-07-26", "--raw"], "--date is for chat templates"),
    ] {
        let arguments: Vec<&str> = ["tune", &model, &data, "-o", &out].iter().chain(options).copied().collect();
        check(&arguments, "", &crate::support::Expected { code: 2, stdout: None, stderr: &[told] });
    }
    check(&["run", &model, "x", "--adapter", &out], "", &fails(1, &["adapter_config.json"]));
}

/// Fails after it has begun.
fn stops(arguments: &[&str], told: &[&str]) {
    let output = bantam(arguments, b"");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(told.iter().all(|told| said.contains(told)), "{said}");
}

#[test]
fn a_loss_that_is_no_number_leaves_the_state_before_it() {
    let folder = Folder::new("tune-not-finite");
    let (model, data, out) = (model(), data(&folder), path(&folder, "adapter"));
    // The first step makes the weights so large that the second has no loss.
    let wild = ["--rate", "1e30", "--warmup", "0", "--schedule", "constant", "--clip", "0", "--save-every", "1"];
    let tune = [&["tune", &model, &data, "-o", &out, "--rank", "2", "--batch", "2"], &wild[..]].concat();
    stops(&tune, &["step 2: ", "training-state.safetensors holds the state after step 1", "--force"]);
    let state = folder.0.join("adapter/training-state.safetensors");
    assert!(state.exists() && !folder.0.join("adapter/adapter_model.safetensors").exists());
    // It is whole: going on comes to the same.
    let again = [&tune[..], &["--resume"]].concat();
    stops(&again, &["step 2: ", "holds the state after step 1"]);
}

#[test]
fn a_state_stays_until_all_is_written_and_no_part_of_one_does() {
    let folder = Folder::new("tune-report");
    let (model, data, out) = (model(), data(&folder), path(&folder, "adapter"));
    let inside = |name: &str| folder.0.join("adapter").join(name);
    let (state, left) = ("training-state.safetensors", "training-state.safetensors.4711-3.part");
    // What a run that was killed while it wrote its state leaves; and no report can be written.
    std::fs::create_dir_all(inside("report.html")).expect("a folder in the report's place");
    std::fs::write(inside(left), "half").expect("written");
    let tune = ["tune", &model, &data, "-o", &out, "--rank", "2", "--epochs", "1"];
    stops(&tune, &["report.html"]);
    assert!(inside(state).exists() && !inside(left).exists());
    std::fs::remove_dir(inside("report.html")).expect("it goes");
    succeeds(&[&tune[..], &["--resume"]].concat());
    assert!(inside("report.html").is_file() && !inside(state).exists());
}

/// The numbers of a NumPy file of f32.
fn numbers(file: &[u8]) -> Vec<f32> {
    let header = 10 + usize::from(u16::from_le_bytes([file[8], file[9]]));
    file[header..].as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn alike(found: &[u8], expected: &[u8], most: f32, context: &str) {
    let (found, expected) = (numbers(found), numbers(expected));
    assert_eq!(found.len(), expected.len());
    let apart = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    let range = expected.iter().fold(0f32, |most, x| most.max(x.abs()));
    assert!(apart <= most * range, "{context}: {apart} apart of {range}");
}

fn logits_of(folder: &Folder, model: &str, extra: &[&str]) -> Vec<u8> {
    let file = path(folder, "logits.npy");
    let arguments: Vec<&str> = ["logits", model, "Once upon a", "-o", &file].iter().chain(extra).copied().collect();
    let output = bantam(&arguments, b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(&file).expect("the logits are written")
}

fn succeeds(arguments: &[&str]) -> String {
    let output = bantam(arguments, b"");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

#[test]
fn an_adapter_merged_or_as_gguf_is_the_adapter() {
    let folder = Folder::new("tune-merged");
    let (model, data, out) = (model(), data(&folder), path(&folder, "adapter"));
    let (merged, gguf) = (path(&folder, "merged.gguf"), path(&folder, "adapter.gguf"));
    let mut tune = vec!["tune", &model, &data, "-o", &out, "--rank", "4", "--rate", "1e-2", "--method", "dora"];
    succeeds(&tune);
    let with = logits_of(&folder, &model, &["--adapter", &out]);
    succeeds(&["merge", &model, &out, "-o", &merged]);
    alike(&logits_of(&folder, &merged, &[]), &with, 3e-2, "DoRA merged");
    let told = fails(1, &["no place for DoRA's magnitudes", "bantam merge"]);
    check(&["merge", &model, &out, "-o", &gguf, "--adapter-only"], "", &told);
    std::fs::remove_file(&merged).expect("the merged model goes");
    tune.truncate(9);
    tune.extend(["--rank-pattern", "q_proj=2", "--force"]);
    succeeds(&tune);
    let with = logits_of(&folder, &model, &["--adapter", &out]);
    succeeds(&["merge", &model, &out, "-o", &merged]);
    // What was merged is rounded to blocks of 8 bits again.
    alike(&logits_of(&folder, &merged, &[]), &with, 3e-2, "merged");
    succeeds(&["merge", &model, &out, "-o", &gguf, "--adapter-only"]);
    alike(&logits_of(&folder, &model, &["--adapter", &gguf]), &with, 1e-4, "as GGUF");
    check(&["merge", &model, &out, "-o", &merged], "", &fails(1, &["is there already; --force replaces it"]));
    // Trained on another model than the merged one is.
    check(&["run", &merged, "x", "--adapter", &out, "-n", "1"], "", &fails(1, &["trained on another model"]));
    succeeds(&["run", &merged, "x", "--adapter", &out, "-n", "1", "--any-base"]);
}

#[test]
fn modules_are_trained_wholly_beside_an_adapter() {
    let folder = Folder::new("tune-saved");
    let (model, data, out) = (model(), data(&folder), path(&folder, "adapter"));
    let merged = path(&folder, "merged.gguf");
    let tune = ["tune", &model, &data, "-o", &out, "--rank", "4", "--rate", "1e-2", "--target", "q_proj"];
    let with = |modules: &'static str| tune.iter().copied().chain(["--save-modules", modules]).collect::<Vec<_>>();
    check(&with("nose"), "", &fails(1, &["nose", "lm_head"]));
    check(&with("attn_q"), "", &fails(1, &["attn_q"]));
    succeeds(&with("*norm"));
    let tuned = logits_of(&folder, &model, &["--adapter", &out]);
    succeeds(&["merge", &model, &out, "-o", &merged]);
    alike(&logits_of(&folder, &merged, &[]), &tuned, 3e-2, "norms merged");
    let half = format!("{out}:0.5");
    check(&["run", &model, "x", "--adapter", &half, "-n", "1"], "", &fails(1, &["it takes no factor"]));
    check(
        &["merge", &model, &out, "-o", &out, "--force", "--adapter-only"],
        "",
        &fails(1, &["no place for saved modules"]),
    );
}

#[test]
fn a_run_that_gets_no_better_ends_early() {
    let folder = Folder::new("tune-patience");
    let (model, data) = (model(), data(&folder));
    let steps = |name: &str, more: &[&str]| {
        let out = path(&folder, name);
        let tune = [
            "tune",
            &model,
            &data,
            "-o",
            &out,
            "--rank",
            "4",
            "--rate",
            "0.3",
            "--schedule",
            "constant",
            "--epochs",
            "20",
        ];
        succeeds(&[&tune[..], &["--validation", "0.4", "--validate-every", "1"], more].concat());
        let run = std::fs::read(folder.0.join(name).join("run.json")).expect("run.json is written");
        let run: serde_json::Value = serde_json::from_slice(&run).expect("it is JSON");
        let measured = run["validation"].as_array().expect("measurements").iter();
        let losses =
            measured.map(|point| point["loss"].as_f64().or(point[1].as_f64()).expect("a loss")).collect::<Vec<_>>();
        (run["steps"].as_u64().expect("steps"), losses)
    };
    let (whole, _) = steps("whole", &[]);
    let (early, losses) = steps("early", &["--patience", "2"]);
    assert!(early < whole, "{early} of {whole} steps: {losses:?}");
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    let [.., before, last] = losses[..] else { panic!("{losses:?}") };
    assert!(before >= best && last >= best, "{losses:?}");
}

#[test]
fn every_weight_is_trained_and_written_as_a_model() {
    let folder = Folder::new("tune-full");
    let (model, data, out) = (model(), data(&folder), path(&folder, "full"));
    let said = succeeds(&[
        "tune",
        &model,
        &data,
        "-o",
        &out,
        "--method",
        "full",
        "--rate",
        "1e-3",
        "--epochs",
        "6",
        "--optimiser",
        "muon",
        "--validation",
        "0.4",
        "--keep-best",
        "--patience",
        "3",
    ]);
    let tuned = path(&folder, "full/model.gguf");
    assert!(
        folder.0.join("full/model.gguf").exists() && !folder.0.join("full/best-weights.safetensors").exists(),
        "{said}"
    );
    assert_ne!(logits_of(&folder, &tuned, &[]), logits_of(&folder, &model, &[]));
    check(&["tune", &model, &data, "-o", &out, "--method", "full"], "", &fails(1, &["holds a model already"]));
    check(
        &["tune", &model, &data, "-o", &out, "--keep-best"],
        "",
        &crate::support::Expected { code: 2, stdout: None, stderr: &["--keep-best needs examples to measure on"] },
    );
}

#[test]
fn answers_are_compared() {
    let folder = Folder::new("tune-compared");
    let (model, pairs, singles) = (model(), path(&folder, "pairs.jsonl"), path(&folder, "singles.jsonl"));
    let (mut both, mut each) = (String::new(), String::new());
    for (n, (good, bad)) in [(" a red ball.", " no."), (" the park.", " a."), (" her mom.", " it.")].iter().enumerate()
    {
        let prompt = format!("Once there was {n}");
        both += &format!("{{\"prompt\": \"{prompt}\", \"chosen\": \"{good}\", \"rejected\": \"{bad}\"}}\n");
        for (answer, label) in [(good, true), (bad, false)] {
            each += &format!("{{\"prompt\": \"{prompt}\", \"completion\": \"{answer}\", \"label\": {label}}}\n");
        }
    }
    std::fs::write(&pairs, both).expect("written");
    std::fs::write(&singles, each).expect("written");
    for (method, kind, data) in [("dpo", "dora", &pairs), ("orpo", "lora", &pairs), ("kto", "rslora", &singles)] {
        let out = path(&folder, method);
        succeeds(&[
            "tune",
            &model,
            data,
            "-o",
            &out,
            "--method",
            method,
            "--kind",
            kind,
            "--rank",
            "2",
            "--epochs",
            "8",
            "--rate",
            "1e-2",
            "--optimiser",
            "adamw-8bit",
            "--validation",
            data,
        ]);
        let run = std::fs::read(folder.0.join(method).join("run.json")).expect("run.json is written");
        let run: serde_json::Value = serde_json::from_slice(&run).expect("it is JSON");
        let measured: Vec<f64> =
            run["validation"].as_array().expect("a list").iter().filter_map(|each| each["loss"].as_f64()).collect();
        assert!(measured.last() < measured.first(), "{method}: {measured:?}");
        assert_eq!((&run["loss"]["name"], &run["method"]["name"]), (&method.into(), &kind.into()));
    }
}
