//! A whole GGUF model from file to logits: opened, loaded within a memory limit, and run for a few tokens.

use std::path::PathBuf;

use bantam_runtime::{Feed, LoadOptions, Model, OpenOptions, Outputs, describe};

use super::{Target, checkpoint, gguf};

pub(super) const TARGET: Target = Target {
    name: "model",
    about: "a whole GGUF model: opened, loaded and run",
    seeds: || vec![checkpoint::MODEL.to_vec(), checkpoint::SCALED_MODEL.to_vec()],
    text: false,
    region: gguf::region,
    take,
};

const MEMORY: u64 = 1 << 30;

fn take(bytes: &[u8]) -> bool {
    // The runtime maps files, so there must be one; in memory where the system has such a place.
    let shared = PathBuf::from("/dev/shm");
    let folder = if shared.is_dir() { shared } else { std::env::temp_dir() };
    let path = folder.join(format!("bantam-fuzz-{}-{:?}.gguf", std::process::id(), std::thread::current().id()));
    if std::fs::write(&path, bytes).is_err() {
        return false;
    }
    let accepted = run(&path);
    let _ = std::fs::remove_file(&path);
    accepted
}

/// How a model that may be damaged is loaded: small, and in little memory.
pub(super) fn load_options() -> LoadOptions {
    LoadOptions {
        threads: Some(1),
        context: Some(8),
        chunk_rows: 4,
        memory_limit: Some(MEMORY),
        ..LoadOptions::default()
    }
}

fn run(path: &std::path::Path) -> bool {
    let options = load_options();
    let Ok(model) = Model::open(path, &OpenOptions::default()) else {
        // What cannot be opened can still be described, or refused in words.
        let _ = describe(path, &OpenOptions::default(), &options);
        return false;
    };
    let Ok(mut loaded) = model.load(&options, &mut |_| true) else { return false };
    let Ok(sequence) = loaded.open_sequence() else { return false };
    let last = loaded.vocabulary_len() as u32 - 1;
    let tokens = [0, last, last / 2, 1.min(last), 0, last];
    loaded.run(&[Feed { sequence, tokens: &tokens, outputs: Outputs::All }]).is_ok()
}
