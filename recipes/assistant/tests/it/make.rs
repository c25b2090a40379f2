//! Steps that are done once, and go on where they stopped.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use anyhow::bail;
use assistant_recipe::make::Make;

/// A recipe in an empty folder that is gone when this is.
struct Kitchen(Make);

impl Kitchen {
    fn new(name: &str) -> Self {
        let output = std::env::temp_dir().join(format!("assistant-recipe-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&output).unwrap();
        let (data, encoder, bantam) = (output.join("data"), output.join("encoder"), output.join("bantam"));
        let quantized = "q6_k".to_owned();
        Self(Make { output, data, encoder, bantam, quantized, variations: 1, seed: 1, in_scope: 94.0 })
    }

    /// Names of all files, sorted.
    fn files(&self) -> Vec<String> {
        let all = std::fs::read_dir(&self.0.output).unwrap();
        let mut names: Vec<String> = all.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Kitchen {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0.output);
    }
}

#[test]
fn a_step_is_done_until_it_succeeds_and_then_no_more() {
    let kitchen = Kitchen::new("once");
    let make = &kitchen.0;
    let done = Cell::new(0);
    // Writes half of its file, and the rest where nothing stops it.
    let step = |stopped: bool| {
        make.once("learn.jsonl", |path| {
            done.set(done.get() + 1);
            std::fs::write(path, format!("half of {}", done.get()))?;
            if stopped {
                bail!("the disk is full");
            }
            Ok(std::fs::write(path, format!("all of {}", done.get()))?)
        })
    };
    let target = make.file("learn.jsonl");
    for attempt in 1..=2 {
        let error = format!("{:#}", step(true).unwrap_err());
        assert_eq!((error.as_str(), done.get()), ("learn.jsonl: the disk is full", attempt));
        assert!(!target.exists(), "half a file counts as a result");
    }
    for _ in 0..2 {
        step(false).unwrap();
        assert_eq!((done.get(), std::fs::read_to_string(&target).unwrap().as_str()), (3, "all of 3"));
    }
    assert_eq!(kitchen.files(), ["learn.jsonl"]);
    // What somebody put there stays as it is, and is not looked at.
    std::fs::write(make.file("spec.toml"), "by hand").unwrap();
    make.once("spec.toml", |_| bail!("it is there")).unwrap();
    assert_eq!(std::fs::read_to_string(make.file("spec.toml")).unwrap(), "by hand");
    // A step that makes no file has not been done.
    assert!(make.once("none", |_| Ok(())).is_err());
}

/// A command that notes its arguments, and fails or leaves its last argument's file.
#[cfg(unix)]
fn command(path: &Path, log: &Path, does: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let script = format!("#!/bin/sh\necho \"$@\" >> \"{}\"\n{does}\n", log.display());
    std::fs::write(path, script).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[cfg(unix)]
#[test]
fn a_training_that_was_stopped_goes_on() {
    let kitchen = Kitchen::new("train");
    let make = &kitchen.0;
    let log = make.file("log");
    let state: PathBuf = make.file("trained.gguf.training/training-state.safetensors");
    let asked = || {
        let told = std::fs::read_to_string(&log).unwrap();
        std::fs::remove_file(&log).unwrap();
        told.trim().replace(&format!("{}/", make.output.display()), "")
    };
    let train = || make.train("spec.toml", "learn.jsonl", "trained.gguf");
    let plain = "tune --from-scratch spec.toml learn.jsonl --validation choose.jsonl -o trained.gguf";
    // Killed before it had a state, and killed after.
    command(&make.bantam, &log, "exit 1");
    assert!(train().unwrap_err().to_string().contains("bantam tune failed"));
    assert_eq!(asked(), plain);
    std::fs::create_dir(state.parent().unwrap()).unwrap();
    std::fs::write(&state, "so far").unwrap();
    assert!(train().is_err());
    assert_eq!(asked(), format!("{plain} --resume"));
    assert!(state.exists());
    let target = make.file("trained.gguf");
    command(&make.bantam, &log, &format!("echo model > \"{}\"", target.display()));
    train().unwrap();
    assert_eq!(asked(), format!("{plain} --resume"));
    // And no more when it has ended.
    train().unwrap();
    assert!(!log.exists());
}
