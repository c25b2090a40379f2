//! `bantam convert`: what it prints, and what a killed one leaves.

use std::path::Path;
use std::process::{Command, Stdio};

use bantam_formats::Gguf;
use bantam_formats::gguf::{GgufWriter, TensorKind};
use bantam_tensor::TensorType;

use crate::support::{Folder, bantam, check, fails, model};

#[test]
fn a_model_goes_to_a_directory_and_back() {
    let folder = Folder::new("convert");
    let path = |name: &str| folder.0.join(name).to_str().expect("the path is UTF-8").to_owned();
    let (directory, again) = (path("dir"), path("again.gguf"));
    let output = bantam(&["convert", &model(), "-o", &directory, "--to", "hf", "--json"], b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(report["types"]["F32"]["tensors"].as_u64().is_some_and(|count| count > 10), "{report}");
    assert!(report["notes"].to_string().contains("were quantized and are F32 now"), "{report}");
    let output = bantam(&["convert", &directory, "-o", &again, "--type", "q8_0"], b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The same words, told by the same weights: encoding numbers that came out of Q8_0 loses next to nothing.
    let told = |model: &str| {
        let output = bantam(&["run", model, "--raw", "--temperature", "0", "-n", "40", "Once upon a time"], b"");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    assert_eq!(told(&model()), told(&directory));
    assert_eq!(told(&model()), told(&again));
    check(&["convert", &directory, "-o", &again], "", &fails(1, &["is there already; --force replaces it"]));
    check(&["convert", &directory, "-o", &directory, "--force"], "", &fails(1, &["it is never written to"]));
    check(&["convert", &directory, "-o", &again, "--type", "q9"], "", &fails(2, &["there is no type 'q9' to write"]));
}

/// A file large enough that converting it takes a while.
fn large(folder: &Folder) -> String {
    let mut writer = GgufWriter::new();
    writer.set("general.architecture", "llama");
    for layer in 0..64 {
        let name = format!("blk.{layer}.ffn_up.weight");
        writer.add_tensor(name, &[1024, 256], TensorKind::Known(TensorType::F32)).expect("the tensor is sound");
    }
    let path = folder.0.join("large.gguf");
    let row: Vec<u8> = (0..1024u32).flat_map(|i| ((i * 37 % 101) as f32 / 50.0 - 1.0).to_le_bytes()).collect();
    writer.write(&path, |_, out| (0..256).try_for_each(|_| out.write_all(&row))).expect("the model is written");
    path.to_str().expect("the path is UTF-8").to_owned()
}

/// Kills a conversion as soon as so many bytes of it are written.
fn killed(folder: &Folder, source: &str, target: &Path, more: &[&str], bytes: u64) {
    let written = || -> Option<u64> {
        let entries = std::fs::read_dir(&folder.0).expect("the folder is there").filter_map(Result::ok);
        let parts = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".part"));
        parts.map(|part| part.metadata().map_or(0, |found| found.len())).reduce(|sum, length| sum + length)
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_bantam"));
    command.args(["convert", source, "-t", "1", "--type", "q3_k", "--force", "-o"]).arg(target).args(more);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    while child.try_wait().expect("the child is ours").is_none() && written().is_none_or(|written| written < bytes) {
        std::thread::yield_now();
    }
    child.kill().expect("the child is ours");
    child.wait().expect("the child is ours");
    // What a killed one was writing stays beside the target, and may go.
    for entry in std::fs::read_dir(&folder.0).expect("the folder is there").filter_map(Result::ok) {
        if entry.file_name().to_string_lossy().ends_with(".part") {
            std::fs::remove_file(entry.path()).expect("the part is a file");
        }
    }
}

#[test]
fn a_killed_one_leaves_nothing_half_written() {
    let folder = Folder::new("convert-killed");
    let source = large(&folder);
    let tensors = |path: &Path| Gguf::parse(&std::fs::read(path).ok()?).ok().map(|gguf| gguf.tensors().len());
    // Some 7 MB come of it.
    for bytes in [0, 1 << 20, 4 << 20] {
        let target = folder.0.join("killed.gguf");
        killed(&folder, &source, &target, &[], bytes);
        // Whole, where it was quicker than the signal; else not there at all.
        assert!(!target.exists() || tensors(&target) == Some(64), "killed at {bytes} bytes");
        let _ = std::fs::remove_file(target);

        let target = folder.0.join("parts.gguf");
        let part = |number: usize| folder.0.join(format!("parts-{number:05}-of-00004.gguf"));
        killed(&folder, &source, &target, &["--split-max-tensors", "16"], bytes);
        // The part by which a model is opened has its name last.
        assert!(!part(1).exists() || (1..=4).all(|number| tensors(&part(number)) == Some(16)), "parts, {bytes} bytes");
        (1..=4).for_each(|number| drop(std::fs::remove_file(part(number))));
    }
    // One that was there is there still, or the new one is, whole.
    let target = folder.0.join("kept.gguf");
    std::fs::write(&target, "an older model").expect("the folder is there");
    killed(&folder, &source, &target, &[], 1 << 20);
    assert!(std::fs::read(&target).is_ok_and(|bytes| bytes == b"an older model") || tensors(&target) == Some(64));
    let output = bantam(&["convert", &source, "-o", target.to_str().expect("UTF-8"), "--force"], b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
